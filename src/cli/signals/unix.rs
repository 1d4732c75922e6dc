//! SIGINT, SIGTERM, and SIGHUP, which comes when the terminal goes away.
//!
//! Decision: `docs/decisions/010-signal-hook.md`.

use std::ffi::c_int;
use std::fs;
use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Names of the signals that are listened to, for error messages.
pub const NAMES: &str = "SIGINT, SIGTERM and SIGHUP";

/// Number that a shell adds to a signal's for the exit code of a process that it
/// ended.
const SIGNAL_EXIT_BASE: i32 = 128;

/// Calls `first` on the first one, from a thread of its own; the second one ends the
/// process.
pub fn listen(first: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let wanted = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal));
    let mut signals = Signals::new(wanted)?;
    let wait = move || {
        let mut arrived = signals.forever();
        if arrived.next().is_some() {
            first();
        }
        if let Some(signal) = arrived.next() {
            process::exit(SIGNAL_EXIT_BASE + signal);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}

/// Whether who started this process wants it to outlive the terminal (`nohup`), or
/// this system does not tell. The others are taken even if they are ignored: shells
/// do that to SIGINT in what they run in the background.
fn is_ignored(signal: c_int) -> bool {
    signal == SIGHUP
        && fs::read_to_string("/proc/self/status").map_or(cfg!(not(target_os = "linux")), |text| {
            let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
            let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            mask.is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
        })
}
