//! Items on their way from a client's reader thread to Python, where one holding of the
//! interpreter's lock takes a batch of them.
//!
//! A full inbox makes the reader wait: then the broker treats the client as any slow
//! listener. It does not while a call waits for an answer, which comes by the same reader;
//! what that lets in is bounded by the broker's queue for the client, and by a limit here.
//! While the client disconnects nothing waits, and a full inbox says instead what it
//! dropped.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use netcluster_client::{Lifecycle, LossReason, OwnedMessage, Source};

/// An inbox that holds more than this is full.
const MAX_INBOX_BYTES: usize = 4 << 20;

/// An inbox that holds more than this is full even while a call waits for an answer, which
/// comes too late then. More than a broker queues for a client, unless it is told to.
const MAX_CALLING_BYTES: usize = 64 << 20;

/// Events that are missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loss {
    /// Whose; `None` if several or unknown.
    pub(crate) source: Option<Source>,
    /// How many; `None` if unknown.
    pub(crate) count: Option<u64>,
    pub(crate) reason: LossReason,
}

/// One thing on its way to Python.
pub(crate) enum Item {
    /// An event for the listener of this number; 0: for whoever takes it.
    Message(u64, OwnedMessage),
    /// Events are missing here.
    Lost(Loss),
    /// Something happened to the connection.
    Lifecycle(Lifecycle),
}

impl Item {
    fn cost_bytes(&self) -> usize {
        match self {
            Item::Message(_, message) => message.payload().len() + size_of::<Item>(),
            Item::Lost(_) | Item::Lifecycle(_) => 0,
        }
    }
}

/// Called once when something arrives, on the reader's thread.
type Waker = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// Nothing more comes; what is there can be taken.
    ended: bool,
    waker: Option<Waker>,
}

impl State {
    /// Appends that events are missing. Losses in a row become one, so that there are no more
    /// of them than messages.
    fn lose(&mut self, loss: Loss) {
        let Some(Item::Lost(before)) = self.items.back_mut() else {
            return self.items.push_back(Item::Lost(loss));
        };
        before.source = before.source.filter(|source| loss.source == Some(*source));
        before.count = before.count.zip(loss.count).and_then(|(one, two)| one.checked_add(two));
        before.reason = loss.reason;
    }
}

/// Locks, also what a panic left behind: no state here is ever half changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a client's full inboxes make the reader wait.
#[derive(Default)]
pub(crate) struct Valve {
    /// Calls that wait for an answer.
    calls: AtomicUsize,
    hurried: AtomicBool,
    inboxes: Mutex<Vec<Weak<Inbox>>>,
}

impl Valve {
    /// Makes an inbox of this client.
    pub(crate) fn inbox(self: &Arc<Self>) -> Arc<Inbox> {
        let inbox = Arc::new(Inbox {
            valve: Arc::clone(self),
            state: Mutex::default(),
            arrived: Condvar::new(),
            room: Condvar::new(),
        });
        let mut inboxes = lock(&self.inboxes);
        inboxes.retain(|other| other.strong_count() > 0);
        inboxes.push(Arc::downgrade(&inbox));
        inbox
    }

    /// Whether the reader goes on waiting for an inbox that was full and holds so much.
    fn holds(&self, bytes: usize) -> bool {
        let is_called = self.calls.load(Ordering::SeqCst) > 0;
        let room = if is_called { MAX_CALLING_BYTES } else { MAX_INBOX_BYTES / 2 };
        bytes > room && !self.hurried.load(Ordering::SeqCst)
    }

    /// Runs a call that waits for an answer.
    pub(crate) fn while_open<T>(&self, call: impl FnOnce() -> T) -> T {
        struct Call<'a>(&'a Valve);
        impl Drop for Call<'_> {
            fn drop(&mut self) {
                self.0.calls.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        let _call = Call(self);
        self.each(Inbox::look_again);
        call()
    }

    /// Notes that the client disconnects: nothing waits any more.
    pub(crate) fn hurry(&self) {
        self.hurried.store(true, Ordering::SeqCst);
        self.each(Inbox::look_again);
    }

    /// Ends all inboxes.
    pub(crate) fn end(&self) {
        self.each(Inbox::end);
    }

    /// Calls this with each inbox.
    pub(crate) fn each(&self, act: impl Fn(&Inbox)) {
        let inboxes: Vec<_> = lock(&self.inboxes).iter().filter_map(Weak::upgrade).collect();
        inboxes.iter().for_each(|inbox| act(inbox));
    }
}

/// A queue towards Python.
pub(crate) struct Inbox {
    valve: Arc<Valve>,
    state: Mutex<State>,
    arrived: Condvar,
    room: Condvar,
}

impl Inbox {
    /// Appends an item; a message waits while the inbox is full.
    pub(crate) fn push(&self, item: Item) {
        let mut state = lock(&self.state);
        if let Item::Message(_, message) = &item
            && state.bytes > MAX_INBOX_BYTES
        {
            while self.valve.holds(state.bytes) && !state.ended {
                state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.bytes > MAX_INBOX_BYTES && self.valve.hurried.load(Ordering::SeqCst) {
                let source = Some(message.source());
                let loss = Loss { source, count: Some(1), reason: LossReason::Overflow };
                return state.lose(loss);
            }
        }
        if state.ended {
            return;
        }
        if let Item::Lost(loss) = item {
            state.lose(loss);
        } else {
            state.bytes += item.cost_bytes();
            state.items.push_back(item);
        }
        if state.items.len() == 1 {
            self.wake(state);
        }
    }

    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let waker = state.waker.take();
        drop(state);
        self.arrived.notify_all();
        // Under no lock: it may wait for the interpreter's.
        if let Some(waker) = waker {
            waker();
        }
    }

    fn look_again(&self) {
        drop(lock(&self.state));
        self.room.notify_all();
    }

    /// Notes that nothing more comes.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.ended = true;
        self.room.notify_all();
        self.wake(state);
    }

    /// Ends it and forgets what is there: nobody takes it.
    pub(crate) fn close(&self) {
        let forgotten = {
            let mut state = lock(&self.state);
            state.bytes = 0;
            std::mem::take(&mut state.items)
        };
        drop(forgotten);
        self.end();
    }

    /// Takes what is there, `most` items at the most; waits for the first until `deadline`.
    pub(crate) fn take(&self, most: usize, deadline: Option<Instant>) -> Taken {
        let mut state = lock(&self.state);
        while state.items.is_empty() && !state.ended {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            state = match left {
                None => self.arrived.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return Taken::Nothing,
                Some(left) => {
                    let waited = self.arrived.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        let was_full = state.bytes > MAX_INBOX_BYTES / 2;
        let items = if state.items.len() <= most {
            std::mem::take(&mut state.items)
        } else {
            state.items.drain(..most).collect()
        };
        if items.is_empty() {
            return Taken::Ended;
        }
        state.bytes -= items.iter().map(Item::cost_bytes).sum::<usize>();
        if was_full && !self.valve.holds(state.bytes) {
            self.room.notify_all();
        }
        Taken::Items(items)
    }

    /// Has `waker` called once something can be taken; `false`: it can be now.
    pub(crate) fn arm(&self, waker: Waker) -> bool {
        let mut state = lock(&self.state);
        if !state.items.is_empty() || state.ended {
            return false;
        }
        // The one before is dropped without the lock: it holds what is Python's.
        let before = state.waker.replace(waker);
        drop(state);
        drop(before);
        true
    }
}

/// What was taken.
pub(crate) enum Taken {
    Items(VecDeque<Item>),
    /// Nothing came in time.
    Nothing,
    /// Nothing more comes.
    Ended,
}
