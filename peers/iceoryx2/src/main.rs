//! Roles of iceoryx2 in `netcluster-loadtest compare`: emitters and listeners that share
//! memory, started by the load test as its own roles are.
//!
//! `version` tells the version of iceoryx2; `role` is for the load test alone.

#![forbid(unsafe_code)]

mod bus;

use std::process::ExitCode;

/// Versions that this program was built of.
const LOCK: &str = include_str!("../Cargo.lock");

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("version") => {
            println!("iceoryx2 {}", version(LOCK));
            ExitCode::SUCCESS
        }
        Some("role") => netcluster_loadtest::peers::run_program(bus::Bus::connect),
        _ => {
            eprintln!("error: `netcluster-loadtest compare` starts this program");
            ExitCode::from(2)
        }
    }
}

/// Reads the version of iceoryx2 from the lock file.
fn version(lock: &str) -> &str {
    let behind = lock.split("name = \"iceoryx2\"\nversion = \"").nth(1);
    behind.and_then(|rest| rest.split('"').next()).unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_library() {
        let version = version(LOCK);
        assert!(version.split('.').count() == 3, "{version}");
    }
}
