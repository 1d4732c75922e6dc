//! What commands print: standard output of a command that streams, buffered and
//! flushed when idle, and notices.
//!
//! One thread writes events, another flushes as soon as there is something: a
//! lone event is seen at once, many share a system call, and no timer is needed.
//! What fills the buffer faster than the reader of the output takes it waits.

use std::fmt;
use std::io::{self, BufWriter, Stdout, Write};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use netcluster_wire::escape;

use super::log;

/// What is gathered at most before it is written, in bytes.
const BUFFER_BYTES: usize = 64 << 10;

/// Shared by the thread that writes and the one that flushes and waits for the end.
pub struct Output<E> {
    writer: Mutex<BufWriter<Stdout>>,
    state: Mutex<State<E>>,
    changed: Condvar,
}

struct State<E> {
    /// Something was written since the last flush.
    pending: bool,
    end: Option<E>,
}

/// Why [`Output::pump`] returned.
pub enum Ended<E> {
    /// By [`Output::end`].
    Told(E),
    /// It was time.
    Late,
    /// Standard output cannot be written.
    Broken(io::Error),
}

impl<E> Output<E> {
    /// Nothing written yet.
    pub fn new() -> Output<E> {
        Output {
            writer: Mutex::new(BufWriter::with_capacity(BUFFER_BYTES, io::stdout())),
            state: Mutex::new(State { pending: false, end: None }),
            changed: Condvar::new(),
        }
    }

    /// Writes something; what goes wrong shows when it is flushed.
    pub fn write(&self, write: impl FnOnce(&mut BufWriter<Stdout>) -> io::Result<()>) {
        // A writer that failed keeps its bytes, so that the flush fails as well.
        let _ = write(&mut lock(&self.writer));
        let mut state = lock(&self.state);
        if !state.pending {
            state.pending = true;
            self.changed.notify_one();
        }
    }

    /// Ends it; the first reason counts. Never waits for the output.
    pub fn end(&self, why: E) {
        lock(&self.state).end.get_or_insert(why);
        self.changed.notify_one();
    }

    /// Flushes what is written until the end.
    pub fn pump(&self, deadline: Option<Instant>) -> Ended<E> {
        loop {
            let mut late = false;
            let mut state = lock(&self.state);
            while !state.pending && state.end.is_none() && !late {
                state = match deadline {
                    None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                    Some(deadline) => {
                        let wait = deadline.saturating_duration_since(Instant::now());
                        let waited = self.changed.wait_timeout(state, wait);
                        waited.unwrap_or_else(PoisonError::into_inner).0
                    }
                };
                late = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            }
            late = late || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            state.pending = false;
            let end = state.end.take();
            drop(state);
            if let Err(error) = lock(&self.writer).flush() {
                return Ended::Broken(error);
            }
            match end {
                Some(why) => return Ended::Told(why),
                None if late => return Ended::Late,
                None => {}
            }
        }
    }
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
