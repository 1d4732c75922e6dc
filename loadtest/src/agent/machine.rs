//! What a machine says of itself.

use serde::{Deserialize, Serialize};

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Its name for people.
    pub host: String,
    /// Its operating system.
    pub os: String,
    /// The kernel's release.
    pub kernel: String,
    /// The processor's model.
    pub cpu: String,
    /// Cores that programs may use.
    pub cores: usize,
    /// The same for all that share a clock; empty if it is not known.
    pub clock: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        Machine {
            host: read("/proc/sys/kernel/hostname"),
            os: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            kernel: read("/proc/sys/kernel/osrelease"),
            cpu: cpu(),
            cores: std::thread::available_parallelism().map_or(1, |cores| cores.get()),
            // Namespaces and containers of one kernel have one monotonic clock.
            clock: read("/proc/sys/kernel/random/boot_id"),
        }
    }

    /// Whether it has the same clock as another.
    pub fn shares_clock(&self, other: &Machine) -> bool {
        !self.clock.is_empty() && self.clock == other.clock
    }
}

/// A line of a file; empty where there is none.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn cpu() -> String {
    let info = read("/proc/cpuinfo");
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|line| line.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.into(), |(_, model)| model.trim().to_owned())
}
