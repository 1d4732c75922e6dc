//! Frames that the handles of an async client append and its task writes, and how
//! tasks wait.

use std::pin::pin;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use netcluster_wire::Encoding;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::core::{Link, Outgoing, Port, lock};
use crate::error::Error;
use crate::memory::Ring;

/// Outcome of an attempt to put what waits into a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// No ring is in use.
    NoRing,
    /// Nothing waits any more.
    All,
    /// Something waits, for which there is room.
    Some,
    /// Something waits until the bell for room is rung.
    Full,
}

/// The outbox of an async client.
pub(super) struct Outbox {
    outgoing: Mutex<Outgoing>,
    patience: Duration,
    /// Notified when there is something to write.
    pub(super) work: Notify,
    /// Notified when something was written, or the link changed.
    room: Notify,
    /// Notified when something else changed that tasks may wait for.
    changed: Notify,
}

impl Port for Outbox {
    fn with<T>(&self, act: impl FnOnce(&mut Outgoing) -> T) -> T {
        act(&mut self.lock())
    }

    fn requested(&self) {
        self.work.notify_one();
    }

    fn link_changed(&self) {
        self.work.notify_one();
        self.room.notify_waiters();
    }

    fn changed(&self) {
        self.changed.notify_waiters();
    }
}

impl Outbox {
    /// Without a connection yet; waiting for one takes no longer than `patience`.
    pub(super) fn new(max_buffer_bytes: usize, patience: Duration) -> Outbox {
        Outbox {
            outgoing: Mutex::new(Outgoing::new(max_buffer_bytes, 0)),
            patience,
            work: Notify::new(),
            room: Notify::new(),
            changed: Notify::new(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Outgoing> {
        lock(&self.outgoing)
    }

    /// Waits until `check` finds something; `None`: not by this time.
    pub(super) async fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut check: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(found) = check() {
                return Some(found);
            }
            match deadline {
                None => changed.await,
                Some(deadline) => tokio::time::timeout_at(deadline, changed).await.ok()?,
            }
        }
    }

    /// Appends an event unless more than `bound` waits.
    fn append(
        &self,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
        bound: impl FnOnce(&Outgoing) -> usize,
    ) -> Result<(), Error> {
        let mut outgoing = self.lock();
        let bound = bound(&outgoing);
        let first = outgoing.append(event, encoding, payload, bound)?;
        let has_batch = outgoing.ring.as_ref().is_some_and(Ring::has_batch);
        let bell = if has_batch { outgoing.put() } else { None };
        drop(outgoing);
        if let Some(bell) = bell {
            bell.ring();
        }
        if has_batch {
            // Who waits since there was no room behind what was appended looks again.
            self.room.notify_waiters();
        }
        if first {
            self.work.notify_one();
        }
        Ok(())
    }

    /// Appends an event unless the buffer is full.
    pub(super) fn try_emit(
        &self,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<(), Error> {
        self.append(event, encoding, payload, |outgoing| outgoing.max_buffer_bytes)
    }

    /// Appends an event, waiting for room.
    pub(super) async fn emit(
        &self,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<(), Error> {
        match self.append(event, encoding, payload, Outgoing::bound) {
            Err(Error::Backpressure) => self.emit_slowly(event, encoding, payload).await,
            done => done,
        }
    }

    async fn emit_slowly(
        &self,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<(), Error> {
        let mut waited = false;
        let mut deadline = None;
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            let mut up = false;
            let bound = |outgoing: &Outgoing| {
                up = matches!(outgoing.link, Link::Up);
                // Listeners that emit all the time must not keep this one out.
                if up && waited { 2 * outgoing.max_buffer_bytes } else { outgoing.bound() }
            };
            match self.append(event, encoding, payload, bound) {
                Err(Error::Backpressure) => self.wait_for_room(room, up, &mut deadline).await?,
                done => return done,
            }
            waited = up;
        }
    }

    /// Waits until everything appended so far is written.
    pub(super) async fn flush(&self) -> Result<(), Error> {
        self.put();
        let target = self.lock().appended();
        let mut deadline = None;
        loop {
            let mut room = pin!(self.room.notified());
            room.as_mut().enable();
            let up = {
                let outgoing = self.lock();
                if let Link::Closed(error) = &outgoing.link {
                    return Err(error.clone());
                }
                if outgoing.written >= target {
                    return Ok(());
                }
                matches!(outgoing.link, Link::Up)
            };
            self.wait_for_room(room, up, &mut deadline).await?;
        }
    }

    /// Waits for `room`: without a connection only as long as patience lasts since
    /// the first time.
    async fn wait_for_room(
        &self,
        room: impl Future<Output = ()>,
        up: bool,
        deadline: &mut Option<Instant>,
    ) -> Result<(), Error> {
        let deadline = *deadline.get_or_insert_with(|| Instant::now() + self.patience);
        if up {
            room.await;
            return Ok(());
        }
        tokio::time::timeout_at(deadline, room).await.map_err(|_| Error::NotConnected)
    }

    /// Puts what waits into the ring, if there is one, as far as it has room.
    pub(super) fn put(&self) -> Put {
        let mut outgoing = self.lock();
        if outgoing.ring.is_none() {
            return Put::NoRing;
        }
        let written = outgoing.written;
        let bell = outgoing.put();
        let is_full = outgoing.want_room();
        let lacks_room = outgoing.lacks_room();
        let has_put = outgoing.written != written;
        drop(outgoing);
        if let Some(bell) = bell {
            bell.ring();
        }
        if has_put {
            self.room.notify_waiters();
        }
        if !lacks_room {
            Put::All
        } else if is_full {
            Put::Full
        } else {
            // There is room since.
            Put::Some
        }
    }

    /// Notes that so many bytes of those that were taken are written.
    pub(super) fn wrote(&self, bytes: usize) {
        self.lock().wrote(bytes);
        self.room.notify_waiters();
    }
}
