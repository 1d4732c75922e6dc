//! SIGINT and SIGTERM: the first asks for an end in order, the second ends at once.

use std::process;
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::failure::Failure;

/// What a shell adds to a signal's number for the exit code of a process that it
/// ended.
const SIGNAL_EXIT_BASE: i32 = 128;

/// Calls `first` on the first signal, from a thread of its own; a second signal
/// ends the process.
pub fn on_first(first: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let cannot =
        |error| Failure::other(format_args!("cannot listen to SIGINT and SIGTERM: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(cannot)?;
    let wait = move || {
        let mut arrived = signals.forever();
        if arrived.next().is_some() {
            first();
        }
        if let Some(signal) = arrived.next() {
            process::exit(SIGNAL_EXIT_BASE + signal);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map_err(cannot)?;
    Ok(())
}
