//! What a client's handles and its two threads share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use netcluster_wire::{Pattern, Source};

use crate::builder::Options;
use crate::error::{DisconnectReason, Error};
use crate::loss::Lost;
use crate::outbox::Outbox;
use crate::registry::{Listener, ListenerId, Placement, Registry, Standing, lock};

use crate::subscription::Queue;

/// The longest wait for other machines: a broker waits no longer either.
pub(crate) const MAX_CLUSTER_WAIT: Duration = Duration::from_secs(3600);

/// Answers that somebody waits for.
#[derive(Default)]
struct Answers {
    /// By request number; `None` until it came. A connection that ends takes the
    /// open ones away.
    open: HashMap<u64, Option<String>>,
    /// The reader is gone.
    finished: bool,
}

/// See the module.
pub(crate) struct Shared {
    pub(crate) path: PathBuf,
    pub(crate) options: Options,
    pub(crate) outbox: Outbox,
    pub(crate) registry: Registry,
    pub(crate) source: AtomicU64,
    pub(crate) confirmed: AtomicU64,
    answers: Mutex<Answers>,
    answered: Condvar,
    subscriptions: Mutex<Vec<Weak<Queue>>>,
}

impl Shared {
    pub(crate) fn new(path: PathBuf, options: Options, outbox: Outbox) -> Shared {
        Shared {
            path,
            options,
            outbox,
            registry: Registry::default(),
            source: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            answers: Mutex::default(),
            answered: Condvar::new(),
            subscriptions: Mutex::default(),
        }
    }

    pub(crate) fn source(&self) -> Source {
        Source::from_u64(self.source.load(Ordering::Acquire))
    }

    /// Adds a listener, and its pattern's subscription if it is the first.
    pub(crate) fn add_listener(
        &self,
        pattern: &Pattern,
        placement: Placement,
        listener: Listener,
    ) -> Result<ListenerId, Error> {
        let mut table = self.registry.lock();
        let (id, first) = self.registry.add(&mut table, pattern, placement, listener);
        if first {
            // Under the registry's lock, so that requests of one pattern are written
            // in the order in which the table changed.
            match self.outbox.request(|outbound, out| outbound.subscribe(out, pattern)) {
                Ok(request) => table.asked(pattern, request),
                Err(error) => {
                    self.registry.remove(&mut table, id);
                    return Err(error);
                }
            }
        }
        Ok(id)
    }

    /// Takes a listener away; whether it was there.
    pub(crate) fn remove_listener(&self, id: ListenerId) -> bool {
        let mut table = self.registry.lock();
        let Some(unused) = self.registry.remove(&mut table, id) else { return false };
        if let Some(pattern) = unused {
            // If it fails the connection is over, or so full that events nobody
            // listens to do not matter.
            let _ = self.outbox.request(|outbound, out| outbound.unsubscribe(out, &pattern));
        }
        drop(table);
        if !self.outbox.on_reader() {
            self.outbox.push();
        }
        true
    }

    /// Waits until a pattern is in force.
    pub(crate) fn wait_in_force(&self, pattern: &Pattern) -> Result<(), Error> {
        let timeout = self.options.connect_timeout;
        let deadline = Instant::now() + timeout;
        let mut table = self.registry.lock();
        loop {
            match table.standing(pattern) {
                // Removed meanwhile by another thread: nothing to wait for.
                None | Some(Standing::InForce) => return Ok(()),
                Some(Standing::Refused(text)) => return Err(Error::PatternRefused(text.clone())),
                Some(Standing::Asked(_)) => {}
            }
            if let Some(error) = self.outbox.closed() {
                return Err(error);
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return Err(Error::Timeout {
                    waiting_for: "acknowledgement of a listener",
                    after: timeout,
                });
            }
            table = self
                .registry
                .changed
                .wait_timeout(table, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Makes a request and waits for its answer; `wait` longer than the broker by
    /// itself needs.
    pub(crate) fn ask(
        &self,
        waiting_for: &'static str,
        wait: Duration,
        encode: impl FnOnce(&mut crate::session::Outbound, &mut Vec<u8>) -> u64,
    ) -> Result<String, Error> {
        if self.outbox.on_reader() {
            return Err(Error::InsideListener(waiting_for));
        }
        let timeout = self.options.connect_timeout.saturating_add(wait.min(MAX_CLUSTER_WAIT));
        let deadline = Instant::now() + timeout;
        let mut answers = lock(&self.answers);
        if !self.outbox.is_connected() {
            return Err(self.outbox.closed().unwrap_or(Error::NotConnected));
        }
        // Under the lock: if the connection goes now, the question goes with it.
        let number = self.outbox.request(encode)?;
        answers.open.insert(number, None);
        drop(answers);
        self.outbox.push();
        if let Some(error @ Error::Forked) = self.outbox.closed() {
            return Err(error);
        }
        let mut answers = lock(&self.answers);
        loop {
            match answers.open.get_mut(&number) {
                None => return Err(self.outbox.closed().unwrap_or(Error::NotConnected)),
                Some(answer) => {
                    if let Some(answer) = answer.take() {
                        answers.open.remove(&number);
                        return Ok(answer);
                    }
                }
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                answers.open.remove(&number);
                return Err(Error::Timeout { waiting_for, after: timeout });
            }
            answers =
                self.answered.wait_timeout(answers, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// An answer came.
    pub(crate) fn answer(&self, number: u64, text: impl FnOnce() -> String) {
        if let Some(answer) = lock(&self.answers).open.get_mut(&number) {
            *answer = Some(text());
            self.answered.notify_all();
        }
    }

    /// The connection is gone, and with it the answers.
    pub(crate) fn forget_answers(&self) {
        lock(&self.answers).open.clear();
        self.answered.notify_all();
    }

    pub(crate) fn add_subscription(&self, queue: &Arc<Queue>) {
        let mut subscriptions = lock(&self.subscriptions);
        subscriptions.retain(|known| known.strong_count() > 0);
        subscriptions.push(Arc::downgrade(queue));
    }

    fn each_subscription(&self, act: impl Fn(&Queue)) {
        let queues: Vec<_> = lock(&self.subscriptions).iter().filter_map(Weak::upgrade).collect();
        queues.iter().for_each(|queue| act(queue));
    }

    /// Events are missing: those who pull are told as well.
    pub(crate) fn lose(&self, lost: Lost) {
        self.each_subscription(|queue| queue.lose(lost));
    }

    /// The reader must not wait for those who take from subscriptions any more.
    pub(crate) fn hurry(&self) {
        self.each_subscription(Queue::hurry);
    }

    /// Ends the client at once.
    pub(crate) fn close(&self, error: Error) {
        self.hurry();
        self.outbox.close(error);
        // Taken, so that nobody misses it between looking and waiting.
        drop(self.registry.lock());
        self.registry.changed.notify_all();
        drop(lock(&self.answers));
        self.answered.notify_all();
    }

    /// The reader is gone.
    pub(crate) fn finish(&self) {
        self.each_subscription(Queue::end);
        let mut answers = lock(&self.answers);
        answers.finished = true;
        answers.open.clear();
        self.answered.notify_all();
        drop(answers);
        drop(self.registry.lock());
        self.registry.changed.notify_all();
    }

    /// Waits until the reader is gone.
    pub(crate) fn wait_finished(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut answers = lock(&self.answers);
        while !answers.finished {
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return false;
            }
            answers =
                self.answered.wait_timeout(answers, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Sleeps unless the client is closed meanwhile; whether it is still open.
    pub(crate) fn pause(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        let mut answers = lock(&self.answers);
        loop {
            if self.outbox.closed().is_some() {
                return false;
            }
            let wait = deadline.saturating_duration_since(Instant::now());
            if wait.is_zero() {
                return true;
            }
            answers =
                self.answered.wait_timeout(answers, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// The error of a client that was told to end.
pub(crate) fn requested() -> Error {
    Error::Disconnected(DisconnectReason::Requested)
}
