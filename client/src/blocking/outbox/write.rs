//! Writing: one thread at a time, without the lock.

use std::io::{ErrorKind, IoSlice};
use std::sync::Arc;
use std::time::Instant;

use netcluster_wire::frame::padding_of;

use super::super::stream::Socket;
use super::{EMITTED, EMITTERS_WAIT_AT_BYTES, Guard, Link, Outbox, State};
use crate::error::Error;

impl Outbox {
    /// Writes what is there, then `payload`, whose head was appended last. With
    /// `wait` all of it; else what the socket takes, the rest is the flusher's.
    /// The caller made sure that nobody writes.
    pub(super) fn write<'a>(
        &'a self,
        mut state: Guard<'a>,
        wait: bool,
        payload: &[u8],
    ) -> Guard<'a> {
        if state.out.ring.is_some() && payload.is_empty() {
            return self.put_all(state, wait);
        }
        let (socket, whole) = match (&state.out.link, &state.socket) {
            (Link::Up, Some(socket)) => (Arc::clone(socket), !state.out.accepting),
            (Link::Resuming, Some(socket)) => (Arc::clone(socket), false),
            _ => return state,
        };
        state.writing = true;
        let front = std::mem::take(&mut state.out.front);
        let from = std::mem::take(&mut state.out.front_at);
        let spare = std::mem::take(&mut state.spare);
        let mut body = if whole { std::mem::replace(&mut state.out.buffer, spare) } else { spare };
        if payload.is_empty() && state.out.is_offered() {
            state.out.begin_accept(&mut body);
        }
        state.unclaimed |= whole;
        let padding = padding_of(payload.len());
        let parts = [&front[from..], &body[..], payload, padding];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        state.out.in_flight = total;
        drop(state);
        let (written, failure) = write_parts(&socket, parts, wait);
        let failed = failure.is_some();
        let mut state = self.lock();
        state.keep_rest(front, from, body, written, [payload, padding]);
        state.writing = false;
        state.out.in_flight = 0;
        state.out.written += written as u64;
        state.last_write = Instant::now();
        if failed {
            state.failed(&socket, failure);
        }
        if state.waiters > 0 {
            self.room.notify_all();
        }
        if written == total {
            state.out.request_bytes = 0;
            state.out.end_accept();
        } else if !failed {
            state.urgent = true;
            if std::mem::take(&mut state.parked) {
                self.work.notify_one();
            }
        }
        state
    }

    /// Writes what is there without waiting; the flusher does the rest.
    pub(crate) fn push(&self) {
        let state = self.lock();
        if state.out.has_work() && !state.writing && state.out.front_at == 0 {
            drop(self.write(state, false, b""));
        } else if state.out.has_work() {
            self.wake_flusher(state);
        }
    }

    /// Pushes what listeners on this thread emitted, if anything.
    #[inline]
    pub(crate) fn push_emitted(&self) {
        if EMITTED.get() {
            EMITTED.set(false);
            self.push();
        }
    }

    /// Whether listeners on this thread emitted since the last push.
    #[inline]
    pub(crate) fn has_emitted(&self) -> bool {
        EMITTED.get()
    }

    /// Waits until everything appended so far is written; the reader's thread
    /// only tries.
    pub(crate) fn flush(&self, deadline: Option<Instant>) -> Result<(), Error> {
        let mut state = self.lock();
        let target = state.out.appended();
        let mut tried = false;
        while state.out.written < target {
            if let Link::Closed(error) = &state.out.link {
                return Err(error.clone());
            }
            let reader = self.on_reader();
            if reader && (tried || state.writing) {
                return Err(Error::Backpressure);
            }
            tried = true;
            let blocks = state.out.ring.is_none() || state.out.lacks_room();
            if !state.writing
                && matches!(state.out.link, Link::Up)
                && (deadline.is_none() || !blocks)
            {
                state = self.write(state, !reader, b"");
                continue;
            }
            // With a deadline this thread must not block in a write: the flusher does.
            let deadline = deadline.unwrap_or_else(|| Instant::now() + self.patience);
            if Instant::now() >= deadline || reader {
                return Err(Error::NotConnected);
            }
            state.urgent = true;
            if std::mem::take(&mut state.parked) {
                self.work.notify_one();
            }
            state = self.wait_for_room_until(state, deadline);
        }
        if Socket::WRITES_BEHIND && !self.on_reader() {
            return self.settle(state, deadline);
        }
        Ok(())
    }

    /// Waits until what was written without waiting is the system's.
    fn settle(&self, state: Guard<'_>, deadline: Option<Instant>) -> Result<(), Error> {
        let connected = state.out.is_connected();
        let Some(socket) = state.socket.clone().filter(|_| connected) else { return Ok(()) };
        drop(state);
        let left = deadline
            .map_or(self.patience, |deadline| deadline.saturating_duration_since(Instant::now()));
        match socket.settle(left) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(Error::NotConnected),
        }
    }
}

impl State {
    /// Whether this is the socket of the connection that there is.
    pub(super) fn is_current(&self, socket: &Arc<Socket>) -> bool {
        self.socket.as_ref().is_some_and(|current| Arc::ptr_eq(current, socket))
    }

    /// Takes in that writing to this connection failed.
    pub(super) fn failed(&mut self, socket: &Arc<Socket>, failure: Option<ErrorKind>) {
        let is_current = self.is_current(socket);
        if is_current && socket.is_foreign() {
            self.out.close(Error::Forked);
        } else if is_current {
            self.out.disconnected();
        }
        // If the broker hung up, what it said last is to be read, also why: the
        // reader goes on to the end and starts over then.
        if !matches!(failure, Some(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset)) {
            socket.shut_down();
        }
    }

    /// Whether this process was found to be a forked child.
    ///
    /// # Errors
    /// It is.
    pub(super) fn check_forked(&self) -> Result<(), Error> {
        match &self.out.link {
            Link::Closed(error @ Error::Forked) => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Makes what a write left the front again, from a frame's start.
    fn keep_rest(
        &mut self,
        mut front: Vec<u8>,
        from: usize,
        mut body: Vec<u8>,
        written: usize,
        tail: [&[u8]; 2],
    ) {
        let front_rest = front.len() - from;
        let tail_bytes = tail[0].len() + tail[1].len();
        if written == front_rest + body.len() + tail_bytes {
            if body.capacity() <= EMITTERS_WAIT_AT_BYTES * 2 {
                body.clear();
                self.spare = body;
            }
            return;
        }
        body.extend_from_slice(tail[0]);
        body.extend_from_slice(tail[1]);
        if written >= front_rest {
            self.out.front = body;
            self.out.front_at = written - front_rest;
        } else {
            front.extend_from_slice(&body);
            self.out.front = front;
            self.out.front_at = from + written;
        }
    }
}

/// Writes the parts one after the other; how much, and how it failed if it did.
fn write_parts(socket: &Socket, parts: [&[u8]; 4], wait: bool) -> (usize, Option<ErrorKind>) {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut written = 0;
    while written < total {
        let mut skip = written;
        let mut slices = [IoSlice::new(&[]); 4];
        for (slice, part) in slices.iter_mut().zip(parts) {
            let skipped = skip.min(part.len());
            skip -= skipped;
            *slice = IoSlice::new(&part[skipped..]);
        }
        match socket.write(&slices, wait) {
            Ok(0) if !wait => break,
            Ok(0) => return (written, Some(ErrorKind::WriteZero)),
            Err(error) => return (written, Some(error.kind())),
            Ok(bytes) => written += bytes,
        }
    }
    (written, None)
}
