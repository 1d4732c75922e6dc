//! Output of commands: standard output of a command that streams, buffered and
//! flushed when idle, and notices.
//!
//! One thread writes events, another flushes as soon as there is something: a
//! lone event is seen at once, many share a system call, and no timer is needed.
//! What fills the buffer faster than the reader of the output takes it waits. Whoever
//! decides about the end is a third thread and never touches the output, so that it
//! hears signals and clocks while nobody reads.

use std::fmt;
use std::io::{self, BufWriter, Stdout, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use netcluster_client::{DisconnectReason, Lifecycle};
use netcluster_wire::escape;

use super::log;

/// Largest amount that is gathered before it is written, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Shared by the thread that writes, the one that flushes, and the one that waits for
/// the end.
pub struct Output<E> {
    writer: Mutex<BufWriter<Stdout>>,
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    /// Something was written since the last flush began.
    pending: bool,
    /// A flush is under way.
    flushing: bool,
    end: Option<E>,
    broken: Option<io::Error>,
}

/// Reason for which [`Output::wait`] returned.
pub enum Ended<E> {
    /// [`Output::end`] was called.
    Told(E),
    /// The time was over.
    Late,
    /// Standard output cannot be written, or nobody reads it any more.
    Broken(io::Error),
}

/// Outcome of [`Output::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The output is written, all of it.
    Written,
    /// The output cannot be written, or something else told it to end.
    Disturbed,
    /// The time was over.
    Late,
}

impl<E: Send + 'static> Output<E> {
    /// Makes an output that has written nothing yet.
    pub fn start() -> io::Result<Arc<Output<E>>> {
        let output = Arc::new(Output {
            writer: Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, io::stdout())),
            state: Mutex::new(State { pending: false, flushing: false, end: None, broken: None }),
            changed: Condvar::new(),
        });
        let flushing = Arc::clone(&output);
        thread::Builder::new().name("output".into()).spawn(move || flushing.flush())?;
        let watching = Arc::clone(&output);
        let watch = move || {
            if netcluster_platform::wait_until_unread() {
                watching.fail(io::ErrorKind::BrokenPipe.into());
            }
        };
        thread::Builder::new().name("reader".into()).spawn(watch)?;
        Ok(output)
    }

    /// Writes something; what goes wrong shows when it is flushed.
    pub fn write(&self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) {
        // A writer that failed keeps its bytes, so that the flush fails as well.
        let _ = write(&mut lock(&self.writer));
        let mut state = lock(&self.state);
        if !state.pending {
            state.pending = true;
            self.changed.notify_all();
        }
    }

    /// Ends it; the first reason counts. Never waits for the output.
    pub fn end(&self, why: E) {
        lock(&self.state).end.get_or_insert(why);
        self.changed.notify_all();
    }

    fn fail(&self, error: io::Error) {
        lock(&self.state).broken.get_or_insert(error);
        self.changed.notify_all();
    }

    /// Flushes whatever is written, as long as it can be.
    fn flush(&self) {
        loop {
            let mut state = lock(&self.state);
            while !state.pending {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.pending = false;
            state.flushing = true;
            drop(state);
            let flushed = lock(&self.writer).flush();
            lock(&self.state).flushing = false;
            self.changed.notify_all();
            if let Err(error) = flushed {
                return self.fail(error);
            }
        }
    }

    /// Waits for the end.
    pub fn wait(&self, deadline: Option<Instant>) -> Ended<E> {
        let mut state = lock(&self.state);
        loop {
            if let Some(why) = state.end.take() {
                return Ended::Told(why);
            }
            if let Some(error) = state.broken.take() {
                return Ended::Broken(error);
            }
            if is_over(deadline) {
                return Ended::Late;
            }
            state = self.wait_change(state, deadline);
        }
    }

    /// Waits until everything is written, until it is told to end once more, or until
    /// then.
    pub fn settle(&self, deadline: Option<Instant>) -> Settled {
        let mut state = lock(&self.state);
        loop {
            if !state.pending && !state.flushing {
                return Settled::Written;
            }
            if state.end.is_some() || state.broken.is_some() {
                return Settled::Disturbed;
            }
            if is_over(deadline) {
                return Settled::Late;
            }
            state = self.wait_change(state, deadline);
        }
    }

    fn wait_change<'a>(
        &self,
        state: MutexGuard<'a, State<E>>,
        deadline: Option<Instant>,
    ) -> MutexGuard<'a, State<E>> {
        match deadline {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(deadline) => {
                let wait = deadline.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout(state, wait);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

/// Tells something on standard error. Whether anybody reads it does not matter:
/// `eprintln!` would panic. A broker does so by its log, which nobody waits for.
/// Whatever others had a say in is harmless.
pub fn notice(text: impl fmt::Display) {
    let text = text.to_string();
    let text = escape::page(&text);
    if !log::notice(&text) {
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// Tells how the connection of a command fares that goes on `doing` something; when quiet
/// only what went wrong.
pub fn tell_connection(happened: &Lifecycle, doing: &str, quiet: bool) {
    match happened {
        Lifecycle::Connect { resumed: true, .. } if !quiet => {
            notice(format_args!("{doing} again"));
        }
        Lifecycle::Disconnect { reason, .. } if !quiet => match reason {
            // These were told as errors; and the last was wanted.
            DisconnectReason::ClosedByBroker { .. }
            | DisconnectReason::Protocol(_)
            | DisconnectReason::Requested => {}
            _ => notice(format_args!("not {doing}: {reason}; waiting for a broker")),
        },
        Lifecycle::Error(error) => notice(format_args!("error: {error}")),
        _ => {}
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
