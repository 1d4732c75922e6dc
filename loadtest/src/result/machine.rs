//! Machine that took part: what it is, what runs on it, how well its clock is known.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

/// Machine of a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// Name of the machine in the scenario; unique in the result.
    pub name: String,
    /// Address of the machine's agent, `host:port`; empty for the coordinator's own
    /// machine.
    pub address: String,
    /// Operating system, such as `Debian GNU/Linux 12 (bookworm)`.
    pub os: String,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Logical processors that the measured processes may use.
    pub cores: u32,
    /// Versions by program: `netcluster`, `netcluster-loadtest`.
    pub versions: BTreeMap<String, String>,
    /// Difference of the clocks: the machine's minus the coordinator's.
    pub clock_offset_ns: i64,
    /// Error of that difference at the most.
    pub clock_error_ns: u64,
    /// Whether the machine took part to the end.
    pub complete: bool,
}

impl MachineInfo {
    /// Describes this machine, out of `/proc` and `/etc/os-release`; what cannot be found
    /// out is empty.
    pub fn here(name: &str) -> MachineInfo {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let own_version = env!("CARGO_PKG_VERSION").to_owned();
        let os = value_behind(&read("/etc/os-release"), "PRETTY_NAME", '=');
        MachineInfo {
            name: name.into(),
            os: if os.is_empty() { std::env::consts::OS.into() } else { os },
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            cpu: processor(&read("/proc/cpuinfo")),
            cores: thread::available_parallelism().map_or(0, |cores| cores.get() as u32),
            versions: BTreeMap::from([("netcluster-loadtest".into(), own_version)]),
            complete: true,
            ..MachineInfo::default()
        }
    }
}

/// Returns the processor's model, or the architecture's name where no model is told.
fn processor(cpuinfo: &str) -> String {
    let model = value_behind(cpuinfo, "model name", ':');
    if model.is_empty() { std::env::consts::ARCH.into() } else { model }
}

/// Returns the value of the first line `key SEPARATOR value`, without quotes.
fn value_behind(text: &str, key: &str, separator: char) -> String {
    let mut pairs = text.lines().filter_map(|line| line.split_once(separator));
    let found = pairs.find(|(name, _)| name.trim() == key);
    found.map_or("", |(_, value)| value.trim().trim_matches('"')).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_system_a_processor_and_cores() {
        let here = MachineInfo::here("a");
        assert_eq!(here.name, "a");
        assert!(!here.os.is_empty() && !here.cpu.is_empty() && here.cores > 0, "{here:?}");
        assert!(here.versions.contains_key("netcluster-loadtest"));
    }

    #[test]
    fn a_value_is_taken_without_its_quotes() {
        let text = "NAME=\"x\"\nPRETTY_NAME=\"Some OS 1 (a=b)\"\n";
        assert_eq!(value_behind(text, "PRETTY_NAME", '='), "Some OS 1 (a=b)");
        assert_eq!(value_behind(text, "VERSION", '='), "");
        assert_eq!(processor("processor : 0\nmodel name\t: Fast One\n"), "Fast One");
    }
}
