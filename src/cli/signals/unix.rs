//! SIGINT, SIGTERM, and SIGHUP, which comes when the terminal goes away, or from whoever
//! wants a broker to read its configuration again.
//!
//! Decisions, in `docs/decisions`: `010-signal-hook.md`, `062-live-reload.md`.

use std::fs::File;
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

/// The process's controlling terminal, by the name that each process has for its own.
const TERMINAL: &str = "/dev/tty";

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

/// Calls `first` on the first one; the second one ends the process. With `reload`, SIGHUP
/// calls that, unless it came because the terminal went. Neither may wait.
pub fn listen(
    first: impl FnOnce(Request) + Send + 'static,
    mut reload: Option<super::Reload>,
) -> io::Result<()> {
    // The others are taken even if they are ignored: shells do that to SIGINT in what they
    // run in the background.
    let hangup = (!ignores_hangups()).then_some(SIGHUP);
    let mut signals = Signals::new([SIGINT, SIGTERM].into_iter().chain(hangup))?;
    let had_terminal = has_terminal();
    let wait = move || {
        let mut first = Some(first);
        for signal in signals.forever() {
            // The system takes the terminal away before it tells.
            let is_hangup = signal == SIGHUP && had_terminal && !has_terminal();
            if signal == SIGHUP
                && !is_hangup
                && let Some(reload) = &mut reload
            {
                reload();
                continue;
            }
            match first.take() {
                Some(first) => first(Request(signal)),
                None => process::exit(SIGNAL_EXIT_BASE + signal),
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}

fn has_terminal() -> bool {
    File::open(TERMINAL).is_ok()
}
