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

/// Signal that asked for the end.
#[derive(Clone, Copy, Debug)]
pub struct Request(i32);

impl Request {
    /// Ends the process as the signal would have, so that a shell, which looks whether it was
    /// one, ends its script, too.
    pub fn end(self) -> ! {
        // It does not come back from a signal that ends.
        let _ = signal_hook::low_level::emulate_default_handler(self.0);
        process::exit(SIGNAL_EXIT_BASE + self.0)
    }
}

/// Calls `first` on the first one, from a thread of its own; the second one ends the
/// process.
pub fn listen(first: impl FnOnce(Request) + Send + 'static) -> io::Result<()> {
    // The others are taken even if they are ignored: shells do that to SIGINT in what they
    // run in the background.
    let hangup = (!ignores_hangups()).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))?;
    let wait = move || {
        let mut arrived = signals.forever();
        if let Some(signal) = arrived.next() {
            first(Request(signal));
        }
        if let Some(signal) = arrived.next() {
            process::exit(SIGNAL_EXIT_BASE + signal);
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}
