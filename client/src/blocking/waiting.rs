//! Waits of threads: for a condition that somebody else makes true, or for a message.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Instant;

use crate::core::{Queue, lock};
use crate::error::RecvError;
use crate::message::OwnedMessage;

/// A bell, rung after each change that somebody may wait for.
#[derive(Debug, Default)]
pub(super) struct Bell {
    mutex: Mutex<()>,
    rung: Condvar,
}

impl Bell {
    /// Has all who wait look again. Not under a lock that their conditions take.
    pub(super) fn ring(&self) {
        // Taken, so that nobody misses it between looking and waiting.
        drop(lock(&self.mutex));
        self.rung.notify_all();
    }

    /// Waits until `check` finds something; `None`: not by this time.
    pub(super) fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut check: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let mut guard = lock(&self.mutex);
        loop {
            if let Some(found) = check() {
                return Some(found);
            }
            let Some(deadline) = deadline else {
                guard = self.rung.wait(guard).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            guard = self.rung.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Wakes a thread that waits for a message.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Takes a message, waiting until `deadline`; `None`: for ever. The second value is that of
/// [`Queue::take`].
pub(super) fn take(
    queue: &Queue,
    deadline: Option<Instant>,
) -> (Result<OwnedMessage, RecvError>, bool) {
    let mut waker = None;
    loop {
        let (taken, room) = queue.take();
        if taken != Err(RecvError::Empty) {
            return (taken, room);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return (taken, room);
        }
        let waker =
            waker.get_or_insert_with(|| Waker::from(Arc::new(Unpark(std::thread::current()))));
        if queue.wait(waker) {
            match left {
                None => std::thread::park(),
                Some(left) => std::thread::park_timeout(left),
            }
            queue.stop_waiting(waker);
        }
    }
}
