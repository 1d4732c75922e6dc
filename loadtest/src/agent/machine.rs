//! Description of a machine, and whose clock it has.

use serde::{Deserialize, Serialize};

use crate::result::MachineInfo;

/// Machine that takes part in a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Description of the machine, in the form of results.
    pub info: MachineInfo,
    /// Name of the machine's clock, the same for all machines that share it; empty if it
    /// is not known.
    pub clock: String,
}

impl Machine {
    /// Describes this machine.
    pub fn this() -> Machine {
        // Namespaces and containers of one kernel have one monotonic clock.
        let clock = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let clock = clock.unwrap_or_default().trim().to_owned();
        Machine { info: MachineInfo::here(""), clock }
    }

    /// Returns whether the machine has the same clock as another one.
    pub fn shares_clock(&self, other: &Machine) -> bool {
        !self.clock.is_empty() && self.clock == other.clock
    }
}
