//! The pull style: messages wait in a bounded queue until they are taken.
//!
//! Pushing never waits. While a queue is full the driver reads nothing further
//! (see `Shared::is_held`), until it is half empty: the broker then treats the
//! client as any slow listener. A queue overshoots its bound by at most what one
//! read brought. While the client disconnects nothing is held, and a full queue
//! says instead what it dropped.
//!
//! Whoever waits for a message leaves a [`Waker`]; each message wakes one of them.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;

use netcluster_wire::LossReason;

use super::lock;
use crate::error::RecvError;
use crate::loss::{Item, Lost};
use crate::message::OwnedMessage;

/// A queue that holds more than this is full.
pub(crate) const MAX_SUBSCRIPTION_BYTES: usize = 4 << 20;

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// The queue was filled, and is not half empty since.
    full: bool,
    /// The client disconnects: nothing is held.
    hurried: bool,
    /// Nothing more comes, or nobody takes it.
    ended: bool,
    /// Somebody can take from it.
    handed_out: bool,
    wakers: VecDeque<Waker>,
}

/// The queue of one subscription.
#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// The number of the client's queues that are full.
    full: Arc<AtomicUsize>,
}

impl Queue {
    /// Makes an empty queue that counts in `full` while it is full.
    pub(super) fn new(full: Arc<AtomicUsize>, hurried: bool) -> Queue {
        Queue { state: Mutex::new(State { hurried, ..State::default() }), full }
    }

    /// Appends a message.
    pub(crate) fn push(&self, message: OwnedMessage) {
        let mut state = lock(&self.state);
        if state.ended {
            return;
        }
        let cost = message.cost_bytes();
        let fits = state.bytes + cost <= MAX_SUBSCRIPTION_BYTES;
        if !fits && !state.handed_out {
            // Nothing is promised of what comes before `subscribe` returns.
            state.items.clear();
            state.bytes = 0;
        } else if !fits && state.hurried && !state.items.is_empty() {
            let lost = Lost {
                source: Some(message.source()),
                count: Some(1),
                reason: LossReason::Overflow,
            };
            return append_loss(state, lost);
        }
        state.bytes += cost;
        state.items.push_back(Item::Message(message));
        if !fits && state.handed_out && !state.hurried {
            self.set_full(&mut state, true);
        }
        wake_one(state);
    }

    /// Appends that events are missing behind what is there.
    pub(super) fn lose(&self, lost: Lost) {
        let state = lock(&self.state);
        if !state.ended {
            append_loss(state, lost);
        }
    }

    /// Notes that `subscribe` is complete: from now on a full queue holds the driver.
    pub(crate) fn hand_out(&self) {
        lock(&self.state).handed_out = true;
    }

    /// Notes that the client disconnects: nothing is held any more.
    pub(super) fn hurry(&self) {
        let mut state = lock(&self.state);
        state.hurried = true;
        self.set_full(&mut state, false);
    }

    /// Ends the queue: nothing more comes; what is there can still be taken.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        self.set_full(&mut state, false);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Takes an item; tells whether the queue has room again since.
    pub(crate) fn take(&self) -> (Result<OwnedMessage, RecvError>, bool) {
        let mut state = lock(&self.state);
        let Some(item) = state.items.pop_front() else {
            return (Err(if state.ended { RecvError::Ended } else { RecvError::Empty }), false);
        };
        state.bytes -= item.cost_bytes();
        // By halves, so that not every message costs a wake-up.
        let room = state.full && state.bytes <= MAX_SUBSCRIPTION_BYTES / 2;
        if room {
            self.set_full(&mut state, false);
        }
        match item {
            Item::Message(message) => (Ok(message), room),
            Item::Lost(lost) => (Err(RecvError::Lost(lost)), room),
        }
    }

    /// Has `waker` woken once something can be taken; `false`: it can be now.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.state);
        let waits = state.items.is_empty() && !state.ended;
        if waits {
            state.wakers.push_back(waker.clone());
        }
        waits
    }

    /// Takes a waker back that may not be woken yet.
    pub(crate) fn stop_waiting(&self, waker: &Waker) {
        lock(&self.state).wakers.retain(|waiting| !waiting.will_wake(waker));
    }

    fn set_full(&self, state: &mut State, full: bool) {
        match (state.full, full) {
            (false, true) => self.full.fetch_add(1, Ordering::AcqRel),
            (true, false) => self.full.fetch_sub(1, Ordering::AcqRel),
            _ => return,
        };
        state.full = full;
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.end();
    }
}

fn append_loss(mut state: MutexGuard<'_, State>, lost: Lost) {
    if !state.items.back_mut().is_some_and(|last| last.take_in(lost)) {
        state.items.push_back(Item::Lost(lost));
        wake_one(state);
    }
}

/// Wakes one who waits, without the lock.
fn wake_one(mut state: MutexGuard<'_, State>) {
    let waker = state.wakers.pop_front();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
