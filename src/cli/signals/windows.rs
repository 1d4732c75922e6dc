//! Ctrl-C, Ctrl-Break, and the end of the window or the session.

use std::io;
use std::process;
use std::thread;

use netcluster_platform::console;

/// Names of the events that are listened to, for error messages.
pub const NAMES: &str = "Ctrl-C and Ctrl-Break";

/// The exit code of a program that Ctrl-C has ended (`STATUS_CONTROL_C_EXIT`).
const CONTROL_C_EXIT: i32 = 0xC000_013A_u32.cast_signed();

/// Event that asked for the end.
#[derive(Clone, Copy, Debug)]
pub struct Request;

impl Request {
    /// Ends the process as Ctrl-C would have.
    pub fn end(self) -> ! {
        process::exit(CONTROL_C_EXIT)
    }
}

/// Calls `first` on the first one, which may not wait; the second one ends the process. No
/// event asks for a reload.
pub fn listen(
    first: impl FnOnce(Request) + Send + 'static,
    _reload: Option<super::Reload>,
) -> io::Result<()> {
    let requests = console::requests()?;
    let wait = move || {
        if requests.recv().is_ok() {
            first(Request);
        }
        if requests.recv().is_ok() {
            Request.end();
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}
