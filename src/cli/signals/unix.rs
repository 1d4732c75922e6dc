//! SIGINT, SIGTERM, and SIGHUP, which comes when the terminal goes away.
//!
//! Decision: `docs/decisions/010-signal-hook.md`.

use std::io;
use std::process;
use std::thread;

use netcluster_platform::ignores_hangups;
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
    // The others are taken even if they are ignored: shells do that to SIGINT in what they
    // run in the background.
    let hangup = (!ignores_hangups()).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))?;
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
