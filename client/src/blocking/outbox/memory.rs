//! Writing to a ring of shared memory: most of the time a few stores; waiting only while
//! the ring is full, without the lock.
//!
//! Invariants: a thread that waits has the ring, and is the one that writes; all that is
//! appended to the ring is put before.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use netcluster_wire::Encoding;
use netcluster_wire::frame::padding_of;
use netcluster_wire::header::frame_len;
use netcluster_wire::limits::MAX_HEAD_BYTES;

use super::super::stream::Socket;
use super::{Guard, Link, Outbox};
use crate::core::Outgoing;
use crate::error::Error;
use crate::memory::Ring;

/// A payload that is larger than the ring is put in pieces of this size: the broker takes
/// one while the next is copied.
const PIECE_BYTES: usize = 32 << 10;

impl Outbox {
    /// Puts what waits now: with `wait` all of it, else what the ring has room for; the rest
    /// is the flusher's. The caller made sure that nobody writes.
    pub(super) fn put_all<'a>(&'a self, mut state: Guard<'a>, wait: bool) -> Guard<'a> {
        let target = state.out.appended();
        loop {
            let bell = state.out.put();
            state.unclaimed = true;
            state.last_write = Instant::now();
            if state.waiters > 0 {
                self.room.notify_all();
            }
            if let Some(bell) = bell {
                drop(state);
                bell.ring();
                state = self.lock();
            }
            let is_up = matches!(state.out.link, Link::Up);
            if !is_up || state.writing || !state.out.lacks_room() {
                return state;
            }
            if !wait {
                state.urgent = true;
                if std::mem::take(&mut state.parked) {
                    self.work.notify_one();
                }
                return state;
            }
            if state.out.written >= target {
                return state;
            }
            let bytes = state.out.wanted_bytes();
            state = self.wait_in_ring(state, bytes);
            if state.writing {
                return state;
            }
        }
    }

    /// Emits an event for which the ring has no room now.
    pub(super) fn emit_to_ring<'a>(
        &'a self,
        mut state: Guard<'a>,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<(), Error> {
        let bytes = frame_len(event.len(), payload.len());
        loop {
            state = self.put_all(state, true);
            state.out.check_open()?;
            let is_busy = state.writing || state.out.lacks_room();
            let Outgoing { outbound, ring, .. } = &mut state.out;
            let Some(ring) = ring.as_mut().filter(|_| !is_busy) else {
                // Others came first, or the connection is gone.
                let mut state = self.admit(state, payload.len() + MAX_HEAD_BYTES)?;
                let Outgoing { outbound, buffer, .. } = &mut state.out;
                outbound.emit_encoded(buffer, event, encoding, payload)?;
                return self.appended(state);
            };
            if outbound.emit_in_place(ring, event, encoding, payload)? {
                return self.appended(state);
            }
            if bytes > ring.size() {
                return self.emit_in_pieces(state, event, encoding, payload);
            }
            state = self.wait_in_ring(state, bytes);
        }
    }

    /// Emits an event that is larger than the ring.
    fn emit_in_pieces(
        &self,
        mut state: Guard<'_>,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<(), Error> {
        let mut head = Vec::with_capacity(2 * MAX_HEAD_BYTES);
        state.out.outbound.emit_head(&mut head, event, encoding, payload.len())?;
        let (Some(socket), Some(mut ring)) = (state.socket.clone(), state.out.ring.take()) else {
            state.out.buffer.append(&mut head);
            state.out.buffer.extend_from_slice(payload);
            state.out.buffer.extend_from_slice(padding_of(payload.len()));
            return self.appended(state);
        };
        let parts = [&head, payload, padding_of(payload.len())];
        let total = parts.iter().map(|part| part.len()).sum();
        state.writing = true;
        state.out.in_flight = total;
        drop(state);
        let (written, outcome) = put_parts(&mut ring, &socket, parts);
        let mut state = self.lock();
        state.out.in_flight = 0;
        state.out.written += written as u64;
        state.last_write = Instant::now();
        if written < total {
            // For the next connection, behind what this one has and does not take.
            head.extend_from_slice(payload);
            head.extend_from_slice(padding_of(payload.len()));
            state.out.front = head;
            state.out.front_at = written;
        }
        self.give_back(state, ring, &socket, outcome).check_forked()
    }

    /// Waits until the ring is empty if the broker allows a larger one, which is used then: a
    /// broker that keeps up would leave the small one in use for ever.
    pub(super) fn grow_ring<'a>(&'a self, state: Guard<'a>) -> Guard<'a> {
        let grows = state.out.ring.as_ref().is_some_and(Ring::may_grow);
        if !grows || state.writing || state.out.lacks_room() {
            return state;
        }
        self.wait_in_ring(state, 0)
    }

    /// Waits until the ring has room for so many bytes, or the connection is gone.
    /// Does not wait if something is appended, which the caller is to put first.
    fn wait_in_ring<'a>(&'a self, mut state: Guard<'a>, bytes: usize) -> Guard<'a> {
        // A ping without its event, or what others appended while the bell was rung.
        if state.out.ring.as_ref().is_some_and(|ring| ring.appended() > 0) {
            return state;
        }
        let (Some(socket), Some(mut ring)) = (state.socket.clone(), state.out.ring.take()) else {
            return state;
        };
        state.writing = true;
        drop(state);
        let outcome = socket.wait_for_room(&mut ring, bytes);
        self.give_back(self.lock(), ring, &socket, outcome)
    }

    /// Gives the ring back that this thread had alone.
    fn give_back<'a>(
        &self,
        mut state: Guard<'a>,
        ring: Ring,
        socket: &Arc<Socket>,
        outcome: io::Result<()>,
    ) -> Guard<'a> {
        state.writing = false;
        // Also if it failed: some of it may have to be taken back.
        state.out.ring = Some(ring);
        if !state.is_current(socket) {
            // The reader found the connection gone meanwhile.
            state.out.forget_memory();
        }
        if let Err(error) = outcome {
            state.failed(socket, Some(error.kind()));
        }
        if state.waiters > 0 {
            self.room.notify_all();
        }
        state
    }
}

/// Puts the parts one after the other; how many bytes, and how it failed if it did.
fn put_parts(ring: &mut Ring, socket: &Socket, parts: [&[u8]; 3]) -> (usize, io::Result<()>) {
    let mut written = 0;
    ring.begin_cut(parts.iter().map(|part| part.len()).sum());
    for mut rest in parts {
        while !rest.is_empty() {
            let copied = ring.copy(&rest[..rest.len().min(PIECE_BYTES)]);
            if ring.is_ended() {
                return (written, Err(io::ErrorKind::BrokenPipe.into()));
            }
            written += copied;
            rest = &rest[copied..];
            if let Some(bell) = ring.put() {
                bell.ring();
            }
            if copied == 0
                && let Err(error) = socket.wait_for_room(ring, 0)
            {
                return (written, Err(error));
            }
        }
    }
    if ring.is_taken() {
        ring.end_cut();
        return (written, Ok(()));
    }
    // The broker has ended while a piece was put: as if the last byte were missing, it is
    // emitted again as a whole.
    (written.saturating_sub(1), Err(io::ErrorKind::BrokenPipe.into()))
}
