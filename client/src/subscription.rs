//! The pull style: messages wait in a bounded queue until they are taken.
//!
//! When the queue is full the client's reader waits, and reads nothing further:
//! the broker then treats the client as any slow listener and paces the emitters
//! (or drops the oldest, for a `latest` connection). Other listeners of the same
//! client wait along; emitting goes on. While the client disconnects nothing
//! waits: what does not fit is dropped.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::loss::{Item, Lost};
use crate::message::OwnedMessage;
use crate::registry::{ListenerId, lock};

/// A queue holds at most this much, but at least one message.
pub(crate) const MAX_SUBSCRIPTION_BYTES: usize = 4 << 20;

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    takers: usize,
    pushers: usize,
    /// The client disconnects: do not wait for room.
    hurried: bool,
    /// Nothing more comes, or nobody takes it.
    ended: bool,
    /// Somebody can take from it.
    handed_out: bool,
}

/// Between the reader and who takes.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    room: Condvar,
}

impl Queue {
    /// Appends, waiting for room; `before_wait` runs once before that.
    pub(crate) fn push(&self, message: OwnedMessage, before_wait: impl FnOnce()) {
        let cost = message.cost_bytes();
        let mut state = lock(&self.state);
        if state.is_full(cost) && !state.handed_out {
            // Nothing is promised of what comes before `subscribe` returns.
            state.items.clear();
            state.bytes = 0;
        }
        if state.is_full(cost) && !state.hurried {
            drop(state);
            before_wait();
            state = lock(&self.state);
            state.pushers += 1;
            while state.is_full(cost) && !state.hurried && !state.ended {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.pushers -= 1;
        }
        if state.ended || state.is_full(cost) {
            return;
        }
        state.bytes += cost;
        state.items.push_back(Item::Message(message));
        if state.takers > 0 {
            self.filled.notify_one();
        }
    }

    /// Events are missing behind what is there.
    pub(crate) fn lose(&self, lost: Lost) {
        let mut state = lock(&self.state);
        if state.ended || state.items.back_mut().is_some_and(|last| last.take_in(lost)) {
            return;
        }
        state.items.push_back(Item::Lost(lost));
        if state.takers > 0 {
            self.filled.notify_one();
        }
    }

    /// `subscribe` is complete: from now on the reader waits for room.
    pub(crate) fn hand_out(&self) {
        lock(&self.state).handed_out = true;
    }

    /// Nobody waits for room any more.
    pub(crate) fn hurry(&self) {
        lock(&self.state).hurried = true;
        self.room.notify_all();
    }

    /// Nothing more comes; what is there can still be taken.
    pub(crate) fn end(&self) {
        lock(&self.state).ended = true;
        self.room.notify_all();
        self.filled.notify_all();
    }

    /// Takes one; `deadline` `None`: waits for ever.
    fn take(&self, deadline: Option<Instant>) -> Result<OwnedMessage, RecvError> {
        let mut state = lock(&self.state);
        loop {
            if let Some(item) = state.items.pop_front() {
                state.bytes -= item.cost_bytes();
                // By halves, so that not every message costs a wake-up.
                if state.pushers > 0 && state.bytes <= MAX_SUBSCRIPTION_BYTES / 2 {
                    self.room.notify_one();
                }
                return match item {
                    Item::Message(message) => Ok(message),
                    Item::Lost(lost) => Err(RecvError::Lost(lost)),
                };
            }
            if state.ended {
                return Err(RecvError::Ended);
            }
            let wait = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if wait == Some(Duration::ZERO) {
                return Err(RecvError::Empty);
            }
            state.takers += 1;
            state = match wait {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => {
                    self.filled.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
            state.takers -= 1;
        }
    }
}

impl State {
    fn is_full(&self, cost: usize) -> bool {
        !self.items.is_empty() && self.bytes + cost > MAX_SUBSCRIPTION_BYTES
    }
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// None came in time.
    Empty,
    /// Events are missing at this place; others will come.
    Lost(Lost),
    /// The client disconnected: none will come.
    Ended,
}

impl std::fmt::Display for RecvError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecvError::Empty => formatter.write_str("no message came in time"),
            RecvError::Lost(lost) => lost.fmt(formatter),
            RecvError::Ended => {
                formatter.write_str("the client disconnected: no more messages will come")
            }
        }
    }
}

impl std::error::Error for RecvError {}

/// Messages that match a pattern, to be taken. Dropping it ends it.
///
/// Where events are missing it says so, at their place in the order, as an error that
/// others follow. As an iterator it waits for each message (or loss) and ends when the
/// client does. It keeps the client alive. If nobody takes them, the reader waits once
/// they fill their room, and the broker's queue for this client fills behind it, as for any slow listener.
pub struct Subscription {
    client: Client,
    listener: ListenerId,
    queue: Arc<Queue>,
}

impl Subscription {
    pub(crate) fn new(client: Client, listener: ListenerId, queue: Arc<Queue>) -> Subscription {
        Subscription { client, listener, queue }
    }

    /// Waits for the next message; inside a listener of the same client it does
    /// not wait.
    ///
    /// # Errors
    /// If events are missing here, or the client disconnected.
    pub fn recv(&self) -> Result<OwnedMessage, RecvError> {
        match self.client.in_listener() {
            true => self.try_recv(),
            false => self.queue.take(None),
        }
    }

    /// Waits for the next message for so long.
    ///
    /// # Errors
    /// If none came, events are missing here, or the client disconnected.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<OwnedMessage, RecvError> {
        match self.client.in_listener() {
            true => self.try_recv(),
            false => self.queue.take(Instant::now().checked_add(timeout)),
        }
    }

    /// The next message if it is there.
    ///
    /// # Errors
    /// If it is not, events are missing here, or the client disconnected.
    pub fn try_recv(&self) -> Result<OwnedMessage, RecvError> {
        self.queue.take(Some(Instant::now()))
    }

    /// The client it belongs to.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Iterator for Subscription {
    type Item = Result<OwnedMessage, Lost>;

    fn next(&mut self) -> Option<Result<OwnedMessage, Lost>> {
        match self.recv() {
            Ok(message) => Some(Ok(message)),
            Err(RecvError::Lost(lost)) => Some(Err(lost)),
            Err(RecvError::Empty | RecvError::Ended) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.end();
        self.client.remove_listener(self.listener);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").field("listener", &self.listener).finish()
    }
}
