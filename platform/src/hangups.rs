//! Whether this process is to outlive its terminal.

use std::fs;

/// Returns whether whoever started this process had it ignore SIGHUP, as `nohup` does, so
/// that it outlives its terminal. A system that does not tell counts as if it had.
pub fn ignores_hangups() -> bool {
    let Ok(status) = fs::read_to_string("/proc/self/status") else {
        return cfg!(not(target_os = "linux"));
    };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the lowest bit.
    mask.is_some_and(|mask| mask & 1 == 1)
}
