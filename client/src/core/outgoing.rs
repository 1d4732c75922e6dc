//! Frames that wait to be written, and when they may be.
//!
//! ```text
//!   resume ─► front ──┐
//!                     ├─► the driver writes, the front first
//!   emit, request ─► buffer ┘
//!   emit, while nothing else waits ─► ring
//! ```
//! The driver keeps it behind its lock, and writes by its own means: by
//! [`Outgoing::take`] and [`Outgoing::put_back`], or in place. See `memory.rs` beside it
//! for the way from the socket to the ring.
//!
//! Invariants: `front` and `buffer` start with a whole frame each, the first
//! `front_at` bytes of `front` are written. Events are not written before the
//! subscriptions of their connection are in force. What is appended to the ring comes
//! before all else.

use netcluster_wire::limits::MAX_HEAD_BYTES;
use netcluster_wire::{Encoding, Source};

use super::session::{Outbound, unwritten};
use crate::error::{DisconnectReason, Error};
use crate::memory::Ring;

mod memory;

/// Emitters wait when this much is there and somebody else writes.
pub(crate) const EMITTERS_WAIT_AT_BYTES: usize = 512 << 10;
/// Requests wait besides the events up to this much, then they are refused.
const REQUEST_ROOM_BYTES: usize = 1 << 20;
/// Counting of written bytes starts here so that corrections can go below.
const WRITTEN_ORIGIN: u64 = 1 << 48;

/// Whether frames can be written.
#[derive(Debug)]
pub(crate) enum Link {
    /// All frames may be written.
    Up,
    /// Only `front`, the subscriptions, may be written yet.
    Resuming,
    /// There is no connection at the moment.
    Down,
    /// The client ended, and why.
    Closed(Error),
}

/// Frames of one client that wait to be written.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) outbound: Outbound,
    pub(crate) buffer: Vec<u8>,
    pub(crate) front: Vec<u8>,
    pub(crate) front_at: usize,
    /// A frame that the broker took a part of, and does not take the rest of.
    cut_frame: Option<Vec<u8>>,
    /// Bytes that the driver took and has not written.
    pub(crate) in_flight: usize,
    /// Bytes of requests appended since all was written.
    pub(crate) request_bytes: usize,
    pub(crate) link: Link,
    /// Emitters append up to this without waiting; 0: not at all.
    pub(crate) limit: usize,
    /// Nothing may be emitted any more: the bye is appended.
    pub(crate) leaving: bool,
    /// The count of bytes written so far, see [`Outgoing::appended`].
    pub(crate) written: u64,
    pub(crate) max_buffer_bytes: usize,
    /// The ring that everything goes by, unless somebody has it at the moment.
    pub(crate) ring: Option<Ring>,
    /// A ring that is not used yet, and whether the broker is being told.
    pub(crate) next_ring: Option<Ring>,
    pub(crate) accepting: bool,
}

impl Outgoing {
    /// Before the first connection, with a buffer of this capacity.
    pub(crate) fn new(max_buffer_bytes: usize, capacity: usize) -> Outgoing {
        Outgoing {
            outbound: Outbound::new(),
            buffer: Vec::with_capacity(capacity),
            front: Vec::new(),
            front_at: 0,
            cut_frame: None,
            in_flight: 0,
            request_bytes: 0,
            link: Link::Down,
            limit: 0,
            leaving: false,
            written: WRITTEN_ORIGIN,
            max_buffer_bytes,
            ring: None,
            next_ring: None,
            accepting: false,
        }
    }

    /// Bytes that are appended and not written.
    pub(crate) fn pending(&self) -> usize {
        let in_ring = self.ring.as_ref().map_or(0, Ring::appended);
        self.buffer.len() + self.front.len() - self.front_at + self.in_flight + in_ring
    }

    /// Computes what `written` will be once all that is appended now is written.
    pub(crate) fn appended(&self) -> u64 {
        self.written + self.pending() as u64
    }

    /// Whether there is something that may be written now.
    pub(crate) fn has_work(&self) -> bool {
        match self.link {
            Link::Up => {
                !self.front.is_empty()
                    || !self.buffer.is_empty()
                    || self.is_offered()
                    || self.ring.as_ref().is_some_and(|ring| ring.appended() > 0)
            }
            Link::Resuming => !self.front.is_empty(),
            _ => false,
        }
    }

    /// Tells why the client is over, if it is.
    pub(crate) fn closed(&self) -> Option<Error> {
        match &self.link {
            Link::Closed(error) => Some(error.clone()),
            _ => None,
        }
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up | Link::Resuming)
    }

    /// Whether something may still be appended.
    ///
    /// # Errors
    /// The client ended, or is about to.
    pub(crate) fn check_open(&self) -> Result<(), Error> {
        match &self.link {
            Link::Closed(error) => Err(error.clone()),
            _ if self.leaving => Err(Error::Disconnected(DisconnectReason::Requested)),
            _ => Ok(()),
        }
    }

    /// Appends an event unless more than `bound` waits; whether it is the first in an
    /// empty buffer.
    ///
    /// # Errors
    /// As [`Outbound::emit`], or too much waits already, or the client ended.
    pub(crate) fn append(
        &mut self,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
        bound: usize,
    ) -> Result<bool, Error> {
        self.check_open()?;
        if self.buffer.is_empty()
            && self.front.is_empty()
            && let Some(ring) = &mut self.ring
        {
            if ring.is_forked() {
                self.close(Error::Forked);
                return Err(Error::Forked);
            }
            let first = ring.appended() == 0;
            if self.outbound.emit_in_place(ring, event, encoding, payload)? {
                return Ok(first);
            }
        }
        let pending = self.pending();
        if pending > 0 && pending + payload.len() + MAX_HEAD_BYTES > bound {
            return Err(Error::Backpressure);
        }
        let first = self.buffer.is_empty();
        self.outbound.emit_encoded(&mut self.buffer, event, encoding, payload)?;
        Ok(first)
    }

    /// Appends a request by `encode`; gives its number.
    ///
    /// # Errors
    /// Too much waits already, or the client ended.
    pub(crate) fn request(
        &mut self,
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>) -> u64,
    ) -> Result<u64, Error> {
        self.check_open()?;
        if self.request_bytes > REQUEST_ROOM_BYTES {
            return Err(Error::Backpressure);
        }
        let before = self.buffer.len();
        let number = encode(&mut self.outbound, &mut self.buffer);
        self.request_bytes += self.buffer.len() - before;
        Ok(number)
    }

    /// Appends the bye, after which nothing may be appended.
    ///
    /// # Errors
    /// There is no connection, or the client ended.
    pub(crate) fn leave(&mut self) -> Result<(), Error> {
        if !matches!(self.link, Link::Up | Link::Closed(_)) {
            return Err(Error::NotConnected);
        }
        self.request(|outbound, out| outbound.bye(out))?;
        self.leaving = true;
        self.limit = 0;
        Ok(())
    }

    /// Takes in that the first connection is welcomed.
    pub(crate) fn open(&mut self, source: Source, max_payload: u64) {
        if !matches!(self.link, Link::Closed(_)) {
            self.outbound.welcomed(source, max_payload);
            self.link = Link::Up;
            self.limit = EMITTERS_WAIT_AT_BYTES;
        }
    }

    /// Takes in that the connection is gone; what was not written is kept.
    pub(crate) fn disconnected(&mut self) {
        self.forget_memory();
        if !matches!(self.link, Link::Closed(_)) {
            self.link = Link::Down;
            self.limit = if self.leaving { 0 } else { self.max_buffer_bytes };
        }
    }

    /// Takes in that a new connection is welcomed: its subscriptions (by `subscribe`) go first,
    /// then the events that the old one did not write. Gives the sequence of the last event
    /// that it did write.
    pub(super) fn resume(
        &mut self,
        source: Source,
        max_payload: u64,
        subscribe: impl FnOnce(&mut Outbound, &mut Vec<u8>),
    ) -> u64 {
        if matches!(self.link, Link::Closed(_)) {
            return 0;
        }
        let end = self.appended();
        let mut old = unwritten(&self.front, self.front_at).to_vec();
        old.extend_from_slice(&self.buffer);
        self.outbound.welcomed(source, max_payload);
        self.buffer.clear();
        let events = self.outbound.reconnect(&old, &mut self.buffer);
        self.front.clear();
        self.front_at = 0;
        self.in_flight = 0;
        self.request_bytes = 0;
        subscribe(&mut self.outbound, &mut self.front);
        // Whoever waits for `flush` waits for the same event as before.
        self.written = end - self.pending() as u64;
        self.link = Link::Resuming;
        self.outbound.last_sequence() - events
    }

    /// Takes in that all subscriptions are in force: events may go.
    pub(super) fn resumed(&mut self) {
        if matches!(self.link, Link::Resuming) {
            self.link = Link::Up;
            self.limit = if self.leaving { 0 } else { EMITTERS_WAIT_AT_BYTES };
        }
    }

    /// Ends the client at once; the first reason stays.
    pub(crate) fn close(&mut self, error: Error) {
        if !matches!(self.link, Link::Closed(_)) {
            self.link = Link::Closed(error);
        }
        self.limit = 0;
    }

    /// Takes what may be written now, if anything, in place of the empty `spare`.
    /// Also after the end: what was emitted before still goes.
    pub(crate) fn take(&mut self, spare: &mut Vec<u8>) {
        debug_assert!(spare.is_empty());
        if self.ring.is_some() {
            return;
        }
        let source = match self.link {
            Link::Down => return,
            // The rest of what another connection began.
            _ if self.front_at > 0 => return,
            _ if !self.front.is_empty() => &mut self.front,
            Link::Up | Link::Closed(_) => &mut self.buffer,
            Link::Resuming => return,
        };
        std::mem::swap(source, spare);
        if self.front.is_empty() && self.is_offered() {
            self.begin_accept(spare);
        }
        self.in_flight = spare.len();
    }

    /// Notes that so many of the taken bytes are written.
    pub(crate) fn wrote(&mut self, bytes: usize) {
        self.in_flight -= bytes;
        self.written += bytes as u64;
        if self.in_flight == 0 {
            self.request_bytes = 0;
            self.end_accept();
        }
    }

    /// Takes back what was taken and could not be written to its end.
    pub(crate) fn put_back(&mut self, taken: Vec<u8>, written: usize) {
        if written < taken.len() {
            // What is in front is taken first, and comes only with a connection.
            debug_assert!(self.front.is_empty());
            self.front = taken;
            self.front_at = written;
        }
        self.in_flight = 0;
    }
}
