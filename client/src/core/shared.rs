//! The half of a client that its handles and its driver share: who listens to
//! what, who waits for which answer, and why the client is over. Calls change it
//! and look at it; waiting is the driver's.
//!
//! Lock order: registry, then answers, then the port's. Listeners, replies and the
//! port's notices run under none of them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use netcluster_wire::{Pattern, SharedStep, Source};

use super::answers::{Answer, Question, Reply};
use super::lock;
use super::outgoing::Outgoing;
use super::queue::Queue;
use super::registry::{Command, Listener, ListenerId, Placement, Registry, Standing};
use crate::builder::Options;
use crate::error::{DisconnectReason, Error};
use crate::lifecycle::{Lifecycle, LifecycleListener};
use crate::loss::Lost;
use crate::memory::Ring;

/// The part that a driver supplies: the place of the frames to write, and waking
/// whoever waits. None of it waits.
pub(crate) trait Port: Send + Sync + 'static {
    /// Does something with the frames that wait to be written, under their lock.
    fn with<T>(&self, act: impl FnOnce(&mut Outgoing) -> T) -> T;

    /// Notes that a request was appended: it is to be written.
    fn requested(&self);

    /// Notes that the link changed: who waits for room looks again, and what may be written
    /// now is.
    fn link_changed(&self);

    /// Notes that something else changed that calls or the driver may wait for: a pattern's
    /// standing, a full subscription, the end.
    fn changed(&self);
}

/// Queues of subscriptions that somebody may take from.
#[derive(Default)]
struct Subscriptions {
    queues: Vec<Weak<Queue>>,
    hurried: bool,
}

/// The half of a client that its handles and its driver share.
pub(crate) struct Shared<P> {
    pub(crate) options: Options,
    pub(crate) registry: Registry,
    pub(crate) port: P,
    path: OnceLock<PathBuf>,
    source: AtomicU64,
    confirmed: AtomicU64,
    answers: Mutex<HashMap<u64, Reply>>,
    subscriptions: Mutex<Subscriptions>,
    full: Arc<AtomicUsize>,
    finished: AtomicBool,
}

impl<P: Port> Shared<P> {
    /// Makes the shared half of a client that is not connected yet.
    pub(crate) fn new(options: Options, lifecycle: Vec<LifecycleListener>, port: P) -> Shared<P> {
        let shared = Shared {
            options,
            registry: Registry::default(),
            port,
            path: OnceLock::new(),
            source: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            answers: Mutex::default(),
            subscriptions: Mutex::default(),
            full: Arc::default(),
            finished: AtomicBool::new(false),
        };
        lifecycle.into_iter().for_each(|listener| shared.on_lifecycle(listener));
        shared
    }

    /// The socket that answered; empty before the first welcome.
    pub(crate) fn path(&self) -> &Path {
        self.path.get().map_or(Path::new(""), PathBuf::as_path)
    }

    /// The source that this client is.
    pub(crate) fn source(&self) -> Source {
        Source::from_u64(self.source.load(Ordering::Acquire))
    }

    /// Notes that a connection to the socket at this path is welcomed.
    pub(super) fn welcomed(&self, path: &Path, source: Source) {
        self.path.get_or_init(|| path.to_owned());
        self.source.store(source.to_u64(), Ordering::Release);
    }

    /// Sequence of the last own event known to be queued at every target.
    pub(crate) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Acquire)
    }

    /// Notes that everything up to this sequence is queued at every target.
    pub(super) fn confirm(&self, sequence: u64) {
        self.confirmed.fetch_max(sequence, Ordering::AcqRel);
    }

    /// Sequence of the last event emitted; 0: none yet.
    pub(crate) fn last_sequence(&self) -> u64 {
        self.port.with(|outgoing| outgoing.outbound.last_sequence())
    }

    /// The largest payload that the broker takes, in bytes.
    pub(crate) fn max_payload(&self) -> usize {
        self.port.with(|outgoing| outgoing.outbound.max_payload())
    }

    /// Tells why the client is over, if it is.
    pub(crate) fn closed(&self) -> Option<Error> {
        self.port.with(|outgoing| outgoing.closed())
    }

    /// Whether the bye was appended.
    pub(super) fn is_leaving(&self) -> bool {
        self.port.with(|outgoing| outgoing.leaving)
    }

    /// Whether the driver is done and all listeners are gone.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    /// Adds a listener, and its pattern's subscription if it is the first.
    ///
    /// # Errors
    /// Too much waits already, or the client ended; it is not added then.
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
            let subscribe = |outgoing: &mut Outgoing| {
                outgoing.request(|outbound, out| outbound.subscribe(out, pattern))
            };
            match self.port.with(subscribe) {
                Ok(request) => table.asked(pattern, request),
                Err(error) => {
                    self.registry.remove(&mut table, id);
                    return Err(error);
                }
            }
            drop(table);
            self.port.requested();
        }
        Ok(id)
    }

    /// Takes a listener away; tells whether it was there.
    pub(crate) fn remove_listener(&self, id: ListenerId) -> bool {
        let mut table = self.registry.lock();
        let Some(unused) = self.registry.remove(&mut table, id) else { return false };
        if let Some(pattern) = unused {
            // If it fails the connection is over, or so full that events nobody
            // listens to do not matter.
            let _ = self.port.with(|outgoing| {
                outgoing.request(|outbound, out| outbound.unsubscribe(out, &pattern))
            });
            drop(table);
            self.port.requested();
        }
        true
    }

    /// Takes the listeners of exactly this pattern away, or all; tells how many.
    pub(crate) fn remove_all_listeners(&self, pattern: Option<&str>) -> usize {
        let ids = self.registry.lock().ids(pattern);
        ids.into_iter().filter(|&id| self.remove_listener(id)).count()
    }

    /// Whether a pattern is in force; `None`: not answered yet.
    pub(crate) fn in_force(&self, pattern: &Pattern) -> Option<Result<(), Error>> {
        let standing = self.registry.lock().standing(pattern).cloned();
        match standing {
            // Removed meanwhile by another thread: nothing to wait for.
            None | Some(Standing::InForce) => Some(Ok(())),
            Some(Standing::Refused(text)) => Some(Err(Error::PatternRefused(text))),
            Some(Standing::Forbidden(text)) => Some(Err(Error::Forbidden(text))),
            Some(Standing::Asked(_)) => self.closed().map(Err),
        }
    }

    /// Tells why a pattern is not in force after this time.
    pub(crate) fn not_in_force(&self, after: Duration) -> Error {
        if self.port.with(|outgoing| outgoing.is_connected()) {
            Error::Timeout { waiting_for: "acknowledgement of a listener", after }
        } else {
            self.unanswered()
        }
    }

    /// Adds a listener to the connection.
    pub(crate) fn on_lifecycle(&self, listener: LifecycleListener) {
        self.registry.command(&mut self.registry.lock(), Command::Lifecycle(listener));
    }

    /// Asks the broker; `reply` is called with the answer, or dropped if none can
    /// come any more. The question's number.
    ///
    /// # Errors
    /// There is no connection.
    pub(crate) fn ask(&self, question: Question<'_>, reply: Reply) -> Result<u64, Error> {
        let mut answers = lock(&self.answers);
        // Under the lock: if the connection goes now, the question goes with it.
        let number = self.port.with(|outgoing| {
            if outgoing.is_connected() {
                outgoing.request(|outbound, out| question.encode(outbound, out))
            } else {
                Err(outgoing.closed().unwrap_or(Error::NotConnected))
            }
        })?;
        answers.insert(number, reply);
        drop(answers);
        self.port.requested();
        self.check_forked()?;
        Ok(number)
    }

    /// Time for which an answer to this question is waited for.
    pub(crate) fn patience(&self, question: &Question<'_>) -> Duration {
        self.options.connect_timeout.saturating_add(question.extra_wait())
    }

    /// Notes that nobody waits for this answer any more.
    pub(crate) fn withdraw(&self, number: u64) {
        let reply = lock(&self.answers).remove(&number);
        drop(reply);
    }

    /// Tells why no answer comes any more.
    pub(crate) fn unanswered(&self) -> Error {
        self.closed().unwrap_or(Error::NotConnected)
    }

    /// Gives an answer to who waits for it; tells whether somebody does.
    pub(super) fn answer(&self, number: u64, answer: Answer) -> bool {
        let reply = lock(&self.answers).remove(&number);
        reply.map(|reply| reply(answer)).is_some()
    }

    /// Checks whether this process was forked, which is found out when something is written.
    fn check_forked(&self) -> Result<(), Error> {
        match self.closed() {
            Some(error @ Error::Forked) => Err(error),
            _ => Ok(()),
        }
    }

    /// Makes a queue for a subscription.
    pub(crate) fn queue(&self) -> Arc<Queue> {
        let mut subscriptions = lock(&self.subscriptions);
        subscriptions.queues.retain(|queue| queue.strong_count() > 0);
        let queue = Arc::new(Queue::new(Arc::clone(&self.full), subscriptions.hurried));
        subscriptions.queues.push(Arc::downgrade(&queue));
        queue
    }

    fn each_queue(&self, act: impl Fn(&Queue)) {
        let queues: Vec<_> =
            lock(&self.subscriptions).queues.iter().filter_map(Weak::upgrade).collect();
        queues.iter().for_each(|queue| act(queue));
    }

    /// Tells those who pull that events are missing.
    pub(super) fn lose(&self, lost: Lost) {
        self.each_queue(|queue| queue.lose(lost));
    }

    /// Whether a subscription is full: nothing further must be read.
    #[inline]
    pub(crate) fn is_held(&self) -> bool {
        self.full.load(Ordering::Acquire) > 0
    }

    /// Notes that the driver must not wait for those who take from subscriptions any more.
    fn hurry(&self) {
        lock(&self.subscriptions).hurried = true;
        self.each_queue(Queue::hurry);
    }

    /// Ends the conversation in order: appends the bye.
    ///
    /// # Errors
    /// If it cannot be said; the client is closed then.
    pub(crate) fn leave(&self) -> Result<(), Error> {
        self.hurry();
        let mut left = self.port.with(Outgoing::leave);
        if left.is_ok() {
            self.port.requested();
            left = self.check_forked();
        }
        self.port.changed();
        match left {
            // Already over in order: there is nothing left to do.
            Err(Error::Disconnected(DisconnectReason::Requested)) => Ok(()),
            Err(error) => {
                self.close(requested());
                Err(error)
            }
            Ok(()) => Ok(()),
        }
    }

    /// Tells how the orderly end went that [`Shared::leave`] began; `in_time`: the driver
    /// is done.
    ///
    /// # Errors
    /// The broker did not answer, or the connection broke meanwhile.
    pub(crate) fn left(&self, in_time: bool) -> Result<(), Error> {
        if !in_time {
            self.close(requested());
            let after = self.options.disconnect_timeout;
            return Err(Error::Timeout { waiting_for: "goodbye of the broker", after });
        }
        match self.closed() {
            None | Some(Error::Disconnected(DisconnectReason::Requested)) => Ok(()),
            Some(error) => Err(error),
        }
    }

    /// Ends the client at once.
    pub(crate) fn close(&self, error: Error) {
        self.hurry();
        self.port.with(|outgoing| outgoing.close(error));
        self.port.link_changed();
        self.port.changed();
    }

    /// Notes that the connection is gone, and with it what was in force and the answers.
    pub(super) fn disconnected(&self) {
        self.port.with(Outgoing::disconnected);
        self.port.link_changed();
        self.registry.lock().disconnected();
        self.forget_answers();
    }

    fn forget_answers(&self) {
        let forgotten = std::mem::take(&mut *lock(&self.answers));
        drop(forgotten);
    }

    /// Takes in that the broker offers memory, of which this is the outgoing half.
    pub(super) fn offer(&self, ring: Ring) {
        self.port.with(|outgoing| outgoing.offer(ring));
        self.port.requested();
    }

    /// Tells the broker why the memory that it offers is not used.
    pub(super) fn decline(&self, reason: String) {
        let step = SharedStep::Decline(reason);
        let declined = self.port.with(|outgoing| {
            outgoing.request(|outbound, out| {
                outbound.step(out, &step);
                0
            })
        });
        // Else nothing can be said any more, or the broker waits for an answer in vain.
        if declined.is_ok() {
            self.port.requested();
        }
    }

    /// Notes that the driver is done.
    pub(super) fn finish(&self) {
        self.each_queue(Queue::end);
        self.finished.store(true, Ordering::Release);
        self.forget_answers();
        self.port.changed();
    }
}

/// The error of a client that was told to end.
pub(crate) fn requested() -> Error {
    Error::Disconnected(DisconnectReason::Requested)
}

/// Makes the lifecycle event that tells of a loss.
pub(super) fn lifecycle_of(lost: Lost) -> Lifecycle {
    let Lost { source, count, reason } = lost;
    Lifecycle::Lost { source, count, reason }
}
