//! Requests to end a command: signals on Unix, the console on Windows. The first
//! request asks for an end in order, the second ends at once.
//!
//! Invariant: whoever hears requests does nothing else, so that the second one is heard
//! whatever the first one waits for, and the first one whatever a reload waits for.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
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

/// Reads the configuration again.
pub type Reload = Box<dyn FnMut() + Send>;

/// Calls `first` on the first request, from a thread of its own; a second one ends the
/// process.
pub fn on_first(first: impl FnOnce(Request) + Send + 'static) -> Result<(), Failure> {
    listen(first, None)
}

/// Calls `first` on the first request to end, and `reload` on requests to read the
/// configuration again, each from a thread of its own; a second request to end ends the
/// process.
pub fn on_first_or_reload(
    first: impl FnOnce(Request) + Send + 'static,
    reload: Reload,
) -> Result<(), Failure> {
    listen(first, Some(reload))
}

fn listen(
    first: impl FnOnce(Request) + Send + 'static,
    reload: Option<Reload>,
) -> Result<(), Failure> {
    let cannot = |error: io::Error| {
        Failure::other(format_args!("cannot listen to {}: {error}", system::NAMES))
    };
    let (asked, requests) = mpsc::sync_channel(1);
    let end = move || requests.recv().map(first).unwrap_or_default();
    thread::Builder::new().name("ending".into()).spawn(end).map_err(cannot)?;
    let reload = match reload {
        Some(reload) => Some(reloader(reload).map_err(cannot)?),
        None => None,
    };
    // There is room for the only one.
    let first = move |request| {
        let _ = asked.try_send(request);
    };
    system::listen(first, reload).map_err(cannot)
}

/// Returns a call that hands its work to a thread of its own. A request that comes while one
/// waits is the same one.
fn reloader(mut reload: Reload) -> io::Result<Reload> {
    let (asked, requests) = mpsc::sync_channel(1);
    let run = move || requests.iter().for_each(|()| reload());
    thread::Builder::new().name("reload".into()).spawn(run)?;
    let ask = move || {
        let _ = asked.try_send(());
    };
    Ok(Box::new(ask))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The thread that hears signals read the configuration, and heard no other one.
    #[test]
    fn whoever_asks_for_a_reload_does_not_wait_for_it() {
        let (begun, begins) = mpsc::channel();
        let (go_on, waits) = mpsc::channel();
        let mut ask = reloader(Box::new(move || {
            begun.send(()).unwrap();
            waits.recv().unwrap();
        }))
        .unwrap();
        ask();
        begins.recv().unwrap();
        // All that come meanwhile are one.
        (0..10).for_each(|_| ask());
        go_on.send(()).unwrap();
        begins.recv().unwrap();
        go_on.send(()).unwrap();
        ask();
        begins.recv().unwrap();
        go_on.send(()).unwrap();
        drop(ask);
        assert!(begins.recv().is_err(), "that was all");
    }
}
