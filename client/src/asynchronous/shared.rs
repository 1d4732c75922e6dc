//! What the handles and the task of an async client share.

use std::collections::HashMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use netcluster_wire::limits::MAX_HEAD_BYTES;
use netcluster_wire::{Pattern, Source};
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::client::Cleanup;
use super::subscription::Queue;
use crate::builder::Options;
use crate::error::{DisconnectReason, Error};
use crate::registry::{Listener, ListenerId, Placement, Registry, Standing, lock};
use crate::session::{Outbound, unwritten};

/// Emitters wait when this much is there.
const EMITTERS_WAIT_AT_BYTES: usize = 512 << 10;
/// Requests wait besides the events up to this much, then they are refused.
const REQUEST_ROOM_BYTES: usize = 1 << 20;

/// Where written bytes go.
#[derive(Debug)]
pub(super) enum Link {
    Up,
    /// Only `front`, the subscriptions, may be written yet.
    Resuming,
    Down,
    Closed(Error),
}

/// What was emitted and is not taken by the task yet.
pub(super) struct Outgoing {
    pub(super) outbound: Outbound,
    buffer: Vec<u8>,
    front: Vec<u8>,
    /// Bytes that the task took and has not written.
    pub(super) in_flight: usize,
    /// Bytes of requests appended since the task wrote all it took.
    pub(super) request_bytes: usize,
    pub(super) link: Link,
    pub(super) leaving: bool,
    /// The task is gone.
    finished: bool,
}

/// See the module.
pub(super) struct Shared {
    pub(super) path: PathBuf,
    pub(super) options: Options,
    pub(super) registry: Registry,
    outgoing: Mutex<Outgoing>,
    /// Something to write.
    pub(super) work: Notify,
    /// Something was written, or the link changed.
    pub(super) room: Notify,
    /// A standing changed, or the client ended.
    pub(super) changed: Notify,
    /// A subscription was emptied by half.
    pub(super) drained: Notify,
    pub(super) source: AtomicU64,
    pub(super) confirmed: AtomicU64,
    pub(super) answers: Mutex<HashMap<u64, oneshot::Sender<String>>>,
    pub(super) subscriptions: Mutex<Vec<Weak<Queue>>>,
}

impl Shared {
    pub(super) fn new(path: PathBuf, options: Options, outbound: Outbound) -> Shared {
        let outgoing = Outgoing {
            outbound,
            buffer: Vec::new(),
            front: Vec::new(),
            in_flight: 0,
            request_bytes: 0,
            link: Link::Up,
            leaving: false,
            finished: false,
        };
        Shared {
            path,
            options,
            registry: Registry::default(),
            outgoing: Mutex::new(outgoing),
            work: Notify::new(),
            room: Notify::new(),
            changed: Notify::new(),
            drained: Notify::new(),
            source: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            answers: Mutex::default(),
            subscriptions: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Outgoing> {
        lock(&self.outgoing)
    }

    pub(super) fn source(&self) -> Source {
        Source::from_u64(self.source.load(Ordering::Acquire))
    }

    /// Appends an event unless more than `bound` waits.
    pub(super) fn append(&self, event: &str, payload: &[u8], bound: usize) -> Result<(), Error> {
        let mut outgoing = self.lock();
        if let Link::Closed(error) = &outgoing.link {
            return Err(error.clone());
        }
        if outgoing.leaving {
            return Err(Error::Disconnected(DisconnectReason::Requested));
        }
        let pending = outgoing.pending();
        if pending > 0 && pending + payload.len() + MAX_HEAD_BYTES > bound {
            return Err(Error::Backpressure);
        }
        let Outgoing { outbound, buffer, .. } = &mut *outgoing;
        let was_empty = buffer.is_empty();
        outbound.emit(buffer, event, payload)?;
        drop(outgoing);
        if was_empty {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Appends an event, waiting for room.
    pub(super) async fn emit(&self, event: &str, payload: &[u8]) -> Result<(), Error> {
        let deadline = Instant::now() + self.options.connect_timeout;
        let mut waited = false;
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            let down = matches!(self.lock().link, Link::Down | Link::Resuming);
            let bound = match down {
                true => self.options.max_buffer_bytes,
                // Listeners that emit all the time must not keep this one out.
                false if waited => 2 * self.options.max_buffer_bytes,
                false => EMITTERS_WAIT_AT_BYTES,
            };
            waited = !down;
            match self.append(event, payload, bound) {
                Err(Error::Backpressure) if !down => room.await,
                Err(Error::Backpressure) => {
                    tokio::time::timeout_at(deadline, room)
                        .await
                        .map_err(|_| Error::NotConnected)?;
                }
                other => return other,
            }
        }
    }

    /// Appends a request.
    pub(super) fn request<T>(
        &self,
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>) -> T,
    ) -> Result<T, Error> {
        let number = self.lock().request(encode)?;
        self.work.notify_one();
        Ok(number)
    }

    /// Appends the bye, after which nothing may be emitted.
    pub(super) fn leave(&self) -> Result<(), Error> {
        let mut outgoing = self.lock();
        if !matches!(outgoing.link, Link::Up | Link::Closed(_)) {
            return Err(Error::NotConnected);
        }
        outgoing.request(|outbound, out| outbound.bye(out))?;
        // Under the same lock: the answer may come at once, and without this it
        // looks like a broker that shuts down.
        outgoing.leaving = true;
        drop(outgoing);
        self.work.notify_one();
        self.drained.notify_one();
        Ok(())
    }

    /// Makes a request and waits for its answer.
    pub(super) async fn ask(
        &self,
        waiting_for: &'static str,
        wait: Duration,
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>) -> u64,
    ) -> Result<String, Error> {
        let (number, receiver) = self.put_question(encode)?;
        // Also if it is dropped: nobody waits for the answer then.
        let _asking = Cleanup::new(|| drop(lock(&self.answers).remove(&number)));
        let after =
            self.options.connect_timeout.saturating_add(wait.min(crate::shared::MAX_CLUSTER_WAIT));
        match tokio::time::timeout(after, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(self.closed().unwrap_or(Error::NotConnected)),
            Err(_) => Err(Error::Timeout { waiting_for, after }),
        }
    }

    fn put_question(
        &self,
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>) -> u64,
    ) -> Result<(u64, oneshot::Receiver<String>), Error> {
        let (sender, receiver) = oneshot::channel();
        let mut answers = lock(&self.answers);
        if matches!(self.lock().link, Link::Down) {
            return Err(Error::NotConnected);
        }
        // Under the lock: if the connection goes now, the question goes with it.
        let number = self.request(encode)?;
        answers.insert(number, sender);
        Ok((number, receiver))
    }

    pub(super) fn answer(&self, number: u64, text: impl FnOnce() -> String) {
        if let Some(sender) = lock(&self.answers).remove(&number) {
            // Whoever asked may have given up.
            let _ = sender.send(text());
        }
    }

    pub(super) fn add_listener(
        &self,
        pattern: &Pattern,
        placement: Placement,
        listener: Listener,
    ) -> Result<ListenerId, Error> {
        let mut table = self.registry.lock();
        let (id, first) = self.registry.add(&mut table, pattern, placement, listener);
        if first {
            match self.request(|outbound, out| outbound.subscribe(out, pattern)) {
                Ok(request) => table.asked(pattern, request),
                Err(error) => {
                    self.registry.remove(&mut table, id);
                    return Err(error);
                }
            }
        }
        Ok(id)
    }

    pub(super) fn remove_listener(&self, id: ListenerId) -> bool {
        let mut table = self.registry.lock();
        let Some(unused) = self.registry.remove(&mut table, id) else { return false };
        if let Some(pattern) = unused {
            // If it fails the connection is over, or so full that events nobody
            // listens to do not matter.
            let _ = self.request(|outbound, out| outbound.unsubscribe(out, &pattern));
        }
        true
    }

    /// Waits until a pattern is in force.
    pub(super) async fn wait_in_force(&self, pattern: &Pattern) -> Result<(), Error> {
        let after = self.options.connect_timeout;
        let deadline = Instant::now() + after;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            match self.registry.lock().standing(pattern) {
                None | Some(Standing::InForce) => return Ok(()),
                Some(Standing::Refused(text)) => return Err(Error::PatternRefused(text.clone())),
                Some(Standing::Asked(_)) => {}
            }
            if let Some(error) = self.closed() {
                return Err(error);
            }
            let waiting_for = "acknowledgement of a listener";
            tokio::time::timeout_at(deadline, changed)
                .await
                .map_err(|_| Error::Timeout { waiting_for, after })?;
        }
    }

    /// Waits until everything appended so far is written.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        let deadline = Instant::now() + self.options.connect_timeout;
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            let up = {
                let outgoing = self.lock();
                if let Link::Closed(error) = &outgoing.link {
                    return Err(error.clone());
                }
                if outgoing.pending() == 0 {
                    return Ok(());
                }
                matches!(outgoing.link, Link::Up)
            };
            if up {
                room.await;
            } else {
                tokio::time::timeout_at(deadline, room).await.map_err(|_| Error::NotConnected)?;
            }
        }
    }

    /// Waits until the client is over; why.
    pub(super) async fn until_closed(&self) -> Error {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(error) = self.closed() {
                return error;
            }
            changed.await;
        }
    }

    /// As [`Shared::until_closed`]; `None`: not in time.
    pub(super) async fn wait_closed(&self, timeout: Duration) -> Option<Error> {
        tokio::time::timeout(timeout, self.until_closed()).await.ok()
    }

    /// Waits until the task is gone; whether it was in time.
    pub(super) async fn wait_finished(&self, timeout: Duration) -> bool {
        let finished = async {
            loop {
                let mut changed = pin!(self.changed.notified());
                changed.as_mut().enable();
                if self.lock().finished {
                    return;
                }
                changed.await;
            }
        };
        tokio::time::timeout(timeout, finished).await.is_ok()
    }

    /// The connection is gone; what was not written is kept.
    pub(super) fn disconnected(&self) {
        let mut outgoing = self.lock();
        if !matches!(outgoing.link, Link::Closed(_)) {
            outgoing.link = Link::Down;
        }
        drop(outgoing);
        self.registry.lock().disconnected();
        lock(&self.answers).clear();
        self.room.notify_waiters();
    }

    /// Ends the client at once.
    pub(super) fn close(&self, error: Error) {
        let mut outgoing = self.lock();
        if !matches!(outgoing.link, Link::Closed(_)) {
            outgoing.link = Link::Closed(error);
        }
        drop(outgoing);
        self.work.notify_one();
        self.drained.notify_one();
        self.room.notify_waiters();
        self.changed.notify_waiters();
    }

    /// The task is gone; `error` says why unless the client ended before.
    pub(super) fn finish(&self, error: Error) {
        self.queues().iter().for_each(|queue| queue.end());
        self.lock().finished = true;
        self.close(error);
        lock(&self.answers).clear();
    }

    pub(super) fn closed(&self) -> Option<Error> {
        match &self.lock().link {
            Link::Closed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// The subscriptions that are still taken from.
    pub(super) fn queues(&self) -> Vec<Arc<Queue>> {
        let mut queues = lock(&self.subscriptions);
        queues.retain(|queue| queue.strong_count() > 0);
        queues.iter().filter_map(Weak::upgrade).collect()
    }
}

impl Outgoing {
    pub(super) fn pending(&self) -> usize {
        self.front.len() + self.buffer.len() + self.in_flight
    }

    /// Appends a request; the task is yet to be woken.
    fn request<T>(
        &mut self,
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>) -> T,
    ) -> Result<T, Error> {
        if let Link::Closed(error) = &self.link {
            return Err(error.clone());
        }
        if self.leaving {
            return Err(Error::Disconnected(DisconnectReason::Requested));
        }
        if self.request_bytes > REQUEST_ROOM_BYTES {
            return Err(Error::Backpressure);
        }
        let before = self.buffer.len();
        let number = encode(&mut self.outbound, &mut self.buffer);
        self.request_bytes += self.buffer.len() - before;
        Ok(number)
    }

    /// What may be written now, if anything, in place of the empty `spare`. Also
    /// after the end: what was emitted before still goes.
    pub(super) fn take(&mut self, spare: &mut Vec<u8>) {
        let source = match self.link {
            _ if !self.front.is_empty() => &mut self.front,
            Link::Up | Link::Closed(_) => &mut self.buffer,
            Link::Resuming | Link::Down => return,
        };
        std::mem::swap(source, spare);
        self.in_flight = spare.len();
    }

    /// A new connection is welcomed: the subscriptions (by `encode`) go first,
    /// then what the old one did not write: the rest of `batch` and the buffer.
    pub(super) fn resume(
        &mut self,
        batch: &[u8],
        written: usize,
        welcomed: impl FnOnce(&mut Outbound),
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>),
    ) {
        if matches!(self.link, Link::Closed(_)) {
            return;
        }
        let mut old = unwritten(batch, written).to_vec();
        // Events that an interrupted resumption left in front do not exist.
        self.front.clear();
        old.extend_from_slice(&self.buffer);
        self.buffer.clear();
        welcomed(&mut self.outbound);
        self.outbound.reconnect(&old, &mut self.buffer);
        encode(&mut self.outbound, &mut self.front);
        self.in_flight = 0;
        self.request_bytes = 0;
        self.link = Link::Resuming;
    }
}
