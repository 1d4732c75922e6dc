//! What a machine says of itself, and whose clock it has.

use serde::{Deserialize, Serialize};

use crate::result::MachineInfo;

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// As results tell it.
    pub info: MachineInfo,
    /// The same for all that share a clock; empty if it is not known.
    pub clock: String,
}

impl Machine {
    /// This one.
    pub fn this() -> Machine {
        // Namespaces and containers of one kernel have one monotonic clock.
        let clock = std::fs::read_to_string("/proc/sys/kernel/random/boot_id");
        let clock = clock.unwrap_or_default().trim().to_owned();
        Machine { info: MachineInfo::here(""), clock }
    }

    /// Whether it has the same clock as another.
    pub fn shares_clock(&self, other: &Machine) -> bool {
        !self.clock.is_empty() && self.clock == other.clock
    }
}
