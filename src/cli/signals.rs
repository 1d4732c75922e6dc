//! Requests to end a command: signals on Unix, the console on Windows. The first
//! request asks for an end in order, the second ends at once.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use super::failure::Failure;

pub use system::Request;

/// Time between two looks whether work has panicked, which is told by nothing else.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// End of work that a request may interrupt.
pub enum Outcome<T> {
    /// Work that is done.
    Done(T),
    /// Request that came first; the work goes on by itself.
    Interrupted(Request),
}

/// Runs `work` on a thread of its own until it is done or the first request comes.
pub fn until_first<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Outcome<T>, Failure> {
    let (done, outcomes) = mpsc::channel();
    let interrupted = done.clone();
    // Nobody is told any more if the process ends already.
    on_first(move |request| drop(interrupted.send(Outcome::Interrupted(request))))?;
    let run = move || drop(done.send(Outcome::Done(work())));
    let worker = thread::Builder::new().name("work".into()).spawn(run);
    let worker =
        worker.map_err(|error| Failure::other(format_args!("cannot start a thread: {error}")))?;
    loop {
        match outcomes.recv_timeout(LOOK_EVERY) {
            Ok(outcome) => return Ok(outcome),
            Err(_) if !worker.is_finished() => {}
            // It has sent, or it panicked.
            Err(_) => {
                return outcomes.try_recv().map_err(|_| Failure::other("this is a bug: see above"));
            }
        }
    }
}

/// Calls `first` on the first request, from a thread of its own; a second one ends the
/// process.
pub fn on_first(first: impl FnOnce(Request) + Send + 'static) -> Result<(), Failure> {
    system::listen(first).map_err(|error| {
        Failure::other(format_args!("cannot listen to {}: {error}", system::NAMES))
    })
}
