//! The pull style: messages as a [`Stream`].
//!
//! When a queue is full the client's task reads nothing further until it is half
//! empty, which paces the emitters as any slow listener does. A queue overshoots
//! its bound by at most what one read brought.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::client::AsyncClient;
use crate::loss::{Item, Lost};
use crate::message::OwnedMessage;
use crate::registry::{ListenerId, lock};
use crate::subscription::{MAX_SUBSCRIPTION_BYTES, RecvError};

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    full: bool,
    ended: bool,
    /// Somebody can take from it.
    handed_out: bool,
    waker: Option<Waker>,
}

/// Between the task and who takes.
#[derive(Default)]
pub(super) struct Queue(Mutex<State>);

impl Queue {
    pub(super) fn push(&self, message: OwnedMessage) {
        let mut state = lock(&self.0);
        if state.ended {
            return;
        }
        state.bytes += message.cost_bytes();
        if !state.handed_out && state.bytes > MAX_SUBSCRIPTION_BYTES {
            // Nothing is promised of what comes before `subscribe` returns.
            state.items.clear();
            state.bytes = message.cost_bytes();
        }
        state.full |= state.handed_out && state.bytes > MAX_SUBSCRIPTION_BYTES;
        state.items.push_back(Item::Message(message));
        wake(state);
    }

    /// Events are missing behind what is there.
    pub(super) fn lose(&self, lost: Lost) {
        let mut state = lock(&self.0);
        if !state.ended && !state.items.back_mut().is_some_and(|last| last.take_in(lost)) {
            state.items.push_back(Item::Lost(lost));
            wake(state);
        }
    }

    /// `subscribe` is complete: from now on a full queue makes the task wait.
    pub(super) fn hand_out(&self) {
        lock(&self.0).handed_out = true;
    }

    /// Whether the task must wait before it reads more.
    pub(super) fn is_full(&self) -> bool {
        let state = lock(&self.0);
        state.full && !state.ended
    }

    pub(super) fn end(&self) {
        let mut state = lock(&self.0);
        state.ended = true;
        wake(state);
    }

    /// Takes one; whether the queue has room again.
    fn take(&self) -> (Result<OwnedMessage, RecvError>, bool) {
        let mut state = lock(&self.0);
        let Some(item) = state.items.pop_front() else {
            return (Err(if state.ended { RecvError::Ended } else { RecvError::Empty }), false);
        };
        state.bytes -= item.cost_bytes();
        let room = state.full && state.bytes <= MAX_SUBSCRIPTION_BYTES / 2;
        if room {
            state.full = false;
        }
        match item {
            Item::Message(message) => (Ok(message), room),
            Item::Lost(lost) => (Err(RecvError::Lost(lost)), room),
        }
    }
}

/// Wakes who waits, without the lock.
fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Messages that match a pattern, to be taken. Where events are missing it says so, at
/// their place in the order, as an error that others follow. Dropping it ends it; it
/// keeps the client alive.
pub struct AsyncSubscription {
    client: AsyncClient,
    listener: ListenerId,
    queue: Arc<Queue>,
}

impl AsyncSubscription {
    pub(super) fn new(
        client: AsyncClient,
        listener: ListenerId,
        queue: Arc<Queue>,
    ) -> AsyncSubscription {
        AsyncSubscription { client, listener, queue }
    }

    /// Waits for the next message. Cancel safe: if it is dropped before it is complete,
    /// no message is lost.
    ///
    /// # Errors
    /// If events are missing here (others follow), or the client disconnected.
    pub async fn recv(&mut self) -> Result<OwnedMessage, RecvError> {
        match std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await {
            Some(Ok(message)) => Ok(message),
            Some(Err(lost)) => Err(RecvError::Lost(lost)),
            None => Err(RecvError::Ended),
        }
    }

    /// The next message if it is there.
    ///
    /// # Errors
    /// If it is not, events are missing here, or the client disconnected.
    pub fn try_recv(&mut self) -> Result<OwnedMessage, RecvError> {
        let (message, room) = self.queue.take();
        if room {
            self.client.drained();
        }
        message
    }
}

impl Stream for AsyncSubscription {
    type Item = Result<OwnedMessage, Lost>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<OwnedMessage, Lost>>> {
        match self.try_recv() {
            Ok(message) => return Poll::Ready(Some(Ok(message))),
            Err(RecvError::Lost(lost)) => return Poll::Ready(Some(Err(lost))),
            Err(RecvError::Ended) => return Poll::Ready(None),
            Err(RecvError::Empty) => {}
        }
        let mut state = lock(&self.queue.0);
        if state.items.is_empty() && !state.ended {
            state.waker = Some(context.waker().clone());
            return Poll::Pending;
        }
        drop(state);
        // It came in between.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for AsyncSubscription {
    fn drop(&mut self) {
        self.queue.end();
        self.client.remove_listener(self.listener);
        self.client.drained();
    }
}

impl std::fmt::Debug for AsyncSubscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AsyncSubscription").field("listener", &self.listener).finish()
    }
}
