//! Names of namespaces, and what dead processes left behind.
//!
//! ```text
//!   netcluster-4711-0-h2     made by process 4711, its network 0, host 2
//! ```
//! Invariant: only names of this form are ever removed, and only if the process
//! in them is gone or is this one.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Directory in which the system keeps the names of namespaces.
pub(super) const DIRECTORY: &str = "/var/run/netns";
const PREFIX: &str = "netcluster-";

/// Returns the name of a namespace of this process.
pub(super) fn name(network: u32, role: &str) -> String {
    format!("{PREFIX}{}-{network}-{role}", std::process::id())
}

/// Removes a namespace; a process that still runs in it keeps it until that process ends.
pub(super) fn remove(name: &str) {
    // It is not there any more, or the next sweep tries again.
    let _ = Command::new("ip")
        .args(["netns", "delete", name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// Removes the namespaces of processes that are gone. Returns their number.
pub fn sweep() -> usize {
    let entries = fs::read_dir(DIRECTORY).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let dead: Vec<String> = names
        .filter(|name| owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()))
        .collect();
    dead.iter().for_each(|name| remove(name));
    dead.len()
}

/// Reads from a namespace's name which process made it.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_ours_have_an_owner() {
        assert_eq!(owner(&name(3, "h1")), Some(std::process::id()));
        assert_eq!(owner("netcluster-x-0-h1"), None);
        assert_eq!(owner("blue"), None);
    }
}
