//! Requests of a console, or of the end of a session, to a program: Windows alone.
//!
//! The system calls a handler, on a thread that it makes for it. After Ctrl-C and
//! Ctrl-Break the program goes on until it ends by itself. When the window is closed,
//! the user logs off or the machine goes down, it ends the program as soon as the
//! handler returns, or after some seconds: so then the handler does not return, and the
//! program has these seconds for its own end.

use std::io;
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use windows_sys::Win32::System::Console::{CTRL_BREAK_EVENT, CTRL_C_EVENT, SetConsoleCtrlHandler};
use windows_sys::core::BOOL;

/// Request of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Ctrl-C or Ctrl-Break.
    Interrupt,
    /// The window is closed, the user logs off, or the machine goes down.
    End,
}

/// Channel on which the handler tells what it is called for.
static REQUESTS: OnceLock<Sender<Request>> = OnceLock::new();

/// Receives all requests from now on; without this they end the program at once.
///
/// # Errors
/// What the system says; and when it was called before.
pub fn requests() -> io::Result<Receiver<Request>> {
    let (sender, requests) = mpsc::channel();
    if REQUESTS.set(sender).is_err() {
        return Err(io::Error::other("somebody in this program listens already"));
    }
    // SAFETY: the handler is a function and may be called at any time, on any thread.
    if unsafe { SetConsoleCtrlHandler(Some(handle), 1) } == 0 {
        return Err(io::Error::last_os_error());
    }
    // A shell that started it in the background may have made it deaf to Ctrl-C.
    // SAFETY: no handler is given: this only takes such deafness back.
    unsafe { SetConsoleCtrlHandler(None, 0) };
    Ok(requests)
}

/// The system's threads call this: a panic must not leave it, and none can.
unsafe extern "system" fn handle(kind: u32) -> BOOL {
    let request = match kind {
        CTRL_C_EVENT | CTRL_BREAK_EVENT => Request::Interrupt,
        _ => Request::End,
    };
    if let Some(requests) = REQUESTS.get() {
        let _ = requests.send(request);
    }
    while request == Request::End {
        thread::park();
    }
    1
}
