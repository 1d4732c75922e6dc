//! SIGINT and SIGTERM.

use std::io;
use std::process;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What is listened to, for error messages.
pub const NAMES: &str = "SIGINT and SIGTERM";

/// What a shell adds to a signal's number for the exit code of a process that it
/// ended.
const SIGNAL_EXIT_BASE: i32 = 128;

/// Calls `first` on the first one, from a thread of its own; the second one ends the
/// process.
pub fn listen(first: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
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
