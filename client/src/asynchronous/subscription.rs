//! The pull style: messages as a [`Stream`].
//!
//! When a queue is full the client's task reads nothing further until it is half
//! empty, which paces the emitters as any slow listener does. A queue overshoots
//! its bound by at most what one read brought.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::client::AsyncClient;
use crate::message::OwnedMessage;
use crate::registry::{ListenerId, lock};
use crate::subscription::{MAX_SUBSCRIPTION_BYTES, RecvError};

#[derive(Default)]
struct State {
    messages: VecDeque<OwnedMessage>,
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
            state.messages.clear();
            state.bytes = message.cost_bytes();
        }
        state.full |= state.handed_out && state.bytes > MAX_SUBSCRIPTION_BYTES;
        state.messages.push_back(message);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
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
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    /// Takes one; whether the queue has room again.
    fn take(&self) -> (Result<OwnedMessage, RecvError>, bool) {
        let mut state = lock(&self.0);
        let Some(message) = state.messages.pop_front() else {
            return (Err(if state.ended { RecvError::Ended } else { RecvError::Empty }), false);
        };
        state.bytes -= message.cost_bytes();
        let room = state.full && state.bytes <= MAX_SUBSCRIPTION_BYTES / 2;
        if room {
            state.full = false;
        }
        (Ok(message), room)
    }
}

/// Messages that match a pattern, to be taken. Dropping it ends it; it keeps the
/// client alive.
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

    /// Waits for the next message; `None`: the client disconnected. Cancel safe: if it
    /// is dropped before it is complete, no message is lost.
    pub async fn recv(&mut self) -> Option<OwnedMessage> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// The next message if it is there.
    ///
    /// # Errors
    /// If it is not, or the client disconnected.
    pub fn try_recv(&mut self) -> Result<OwnedMessage, RecvError> {
        let (message, room) = self.queue.take();
        if room {
            self.client.drained();
        }
        message
    }
}

impl Stream for AsyncSubscription {
    type Item = OwnedMessage;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<OwnedMessage>> {
        match self.try_recv() {
            Ok(message) => return Poll::Ready(Some(message)),
            Err(RecvError::Ended) => return Poll::Ready(None),
            Err(RecvError::Empty) => {}
        }
        let mut state = lock(&self.queue.0);
        if state.messages.is_empty() && !state.ended {
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
