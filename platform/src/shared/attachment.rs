//! State of one connection with shared memory, and what comes from it.
//!
//! ```text
//!            receive          ring empty, about to sleep: its bell is asked for
//!   Idle ─────────────▶ Stream ──▶ chunk, chunk, … ──▶ Ended, behind the ring's last byte
//!     ▲ stop, filled      │ receive_into: Filling
//!     └───────────────────┘
//! ```
//! Bytes are copied out of the ring once and looked at afterwards: what the client does to
//! its memory meanwhile is its own affair.
//!
//! Invariant: after a fault nothing of the memory is used any more.

use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use netcluster_shm::{DescriptorWriter, RingReader, layout};

use super::arena::ArenaSection;
use super::outbound::Outbound;
use super::ring_buffers::{Filled, Front, Place, RingBuffers};
use super::{ClientMemory, MemoryUse};
use crate::io::ReceiveEnd;

/// Waits in which the ring was found nearly full, one after another, before a larger one
/// is asked for.
const FULL_WAITS: u8 = 8;

/// State of receiving.
#[derive(Debug)]
pub(super) enum Inbound {
    /// Nothing is received.
    Idle,
    /// Chunks.
    Stream,
    /// Nothing is received, and the completion that says so is not yet reported.
    Stopping,
    /// Into a buffer of the shard, up to this length.
    Filling(BytesMut, usize),
    /// The end was reported.
    Ended,
}

/// Outcome of one look at a ring.
#[derive(Debug)]
pub(super) enum Taken {
    /// There was nothing.
    Nothing,
    /// One chunk, and how much of it is new.
    Chunk(Bytes, usize),
    /// Bytes for the shard's own buffer: so many, and the buffer if it is full.
    Filled(usize, Option<BytesMut>),
    /// There was no buffer.
    Starved,
    /// The stream is over.
    End(ReceiveEnd),
}

/// One connection's shared memory.
#[derive(Debug)]
pub(super) struct Attachment {
    pub(super) memory: Arc<ClientMemory>,
    ring: RingReader,
    pub(super) inbound: Inbound,
    /// The socket's end, to be reported behind what is in the ring.
    end: Option<ReceiveEnd>,
    /// Bytes of the ring that come before that end.
    left: usize,
    /// The last chunk, as long as its end can be put back.
    last: Option<(Bytes, Place)>,
    front: Front,
    /// Length of a frame, as the shard said last; 0: not known.
    frame_bytes: usize,
    /// The last chunk was cut where a frame ended.
    was_cut: bool,
    full_waits: u8,
    pub(super) outbound: Outbound,
    /// Whether it is on the list of that name.
    pub(super) listed: Listed,
    /// The number of the turn in which it was served last.
    pub(super) turn: u64,
    /// Number of times that it was served in that turn.
    pub(super) served: u32,
    /// Reason for which the connection must end.
    pub(super) fault: Option<String>,
    /// The broker was killed: it revokes nothing.
    has_vanished: bool,
}

/// Lists of the shard that a connection is on.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) ready: bool,
    pub(super) idle: bool,
    pub(super) starved: bool,
    pub(super) in_flight: bool,
}

impl Attachment {
    pub(super) fn new(
        memory: &Arc<ClientMemory>,
        section: &ArenaSection,
        receives: bool,
    ) -> Attachment {
        let region = memory.region();
        Attachment {
            memory: Arc::clone(memory),
            ring: RingReader::new(Arc::clone(region)),
            inbound: if receives { Inbound::Stream } else { Inbound::Idle },
            end: None,
            left: 0,
            last: None,
            front: Front::default(),
            frame_bytes: 0,
            was_cut: false,
            full_waits: 0,
            outbound: Outbound::new(DescriptorWriter::new(Arc::clone(region)), section.clone()),
            listed: Listed::default(),
            turn: 0,
            served: 0,
            fault: None,
            has_vanished: false,
        }
    }

    /// Ends as in a process that is killed.
    #[cfg(feature = "sim")]
    pub(super) fn vanish(mut self) {
        self.has_vanished = true;
    }

    /// Whether bytes are wanted.
    pub(super) fn receives(&self) -> bool {
        self.fault.is_none() && matches!(self.inbound, Inbound::Stream | Inbound::Filling(..))
    }

    /// Looks how many bytes there are; what is behind the end is none of them.
    fn look(&mut self) -> Result<usize, String> {
        if self.end.is_some() {
            return Ok(self.left);
        }
        let there = self.ring.look().map_err(|fault| fault.to_string())?;
        if there * 4 > self.ring.size() * 3 {
            self.full_waits = self.full_waits.saturating_add(1);
        } else {
            self.full_waits = 0;
        }
        Ok(there)
    }

    /// Whether there are bytes, without taking note of how many.
    pub(super) fn has_bytes(&mut self) -> Result<bool, String> {
        if self.end.is_some() {
            return Ok(true);
        }
        Ok(self.ring.look().map_err(|fault| fault.to_string())? > 0)
    }

    /// Asks for the bell when bytes come; false if there are some.
    pub(super) fn wait(&mut self) -> Result<bool, String> {
        self.ring.wait().map_err(|fault| fault.to_string())
    }

    /// Notes the socket's end: what the client put before is all that comes, and nothing of
    /// what it was sent is read any more, should it still be there.
    pub(super) fn end(&mut self, end: ReceiveEnd) -> Result<(), String> {
        self.memory.region().revoke();
        if self.end.is_none() {
            self.left = self.ring.look().map_err(|fault| fault.to_string())?;
            self.end = Some(end);
        }
        Ok(())
    }

    /// Has the client put no more: what it has put before is all that comes.
    pub(super) fn end_ring(&mut self) -> Result<(), String> {
        if self.end.is_none() {
            self.left = self.ring.end().map_err(|fault| fault.to_string())?;
            self.end = Some(ReceiveEnd::Eof);
        }
        Ok(())
    }

    /// Takes what the state of receiving asks for.
    pub(super) fn take(&mut self, buffers: &mut RingBuffers) -> Result<Taken, String> {
        if !self.receives() {
            // The end waits, too, until it is asked for.
            return Ok(Taken::Nothing);
        }
        let there = self.look()?;
        if there == 0 {
            let Some(end) = self.end.take() else { return Ok(Taken::Nothing) };
            self.inbound = Inbound::Ended;
            return Ok(Taken::End(end));
        }
        let taken = match &mut self.inbound {
            Inbound::Filling(buffer, length) => {
                let bytes = there.min(*length - buffer.len());
                self.ring.take_into(&mut buffer.spare_capacity_mut()[..bytes]);
                // SAFETY: that many bytes of the spare capacity were filled.
                unsafe { buffer.set_len(buffer.len() + bytes) };
                let is_full = buffer.len() == *length;
                self.left = self.left.saturating_sub(bytes);
                Taken::Filled(bytes, if is_full { self.take_fill() } else { None })
            }
            Inbound::Stream => {
                let filled = buffers.fill(&mut self.ring, there, &self.front, self.frame_bytes);
                let Some(Filled { chunk, place, is_cut }) = filled else {
                    self.unpin_front();
                    return Ok(Taken::Starved);
                };
                let new = chunk.len() - self.front.bytes.len();
                self.left = self.left.saturating_sub(new);
                self.front = Front::default();
                self.last = Some((chunk.clone(), place));
                self.was_cut = is_cut;
                Taken::Chunk(chunk, new)
            }
            Inbound::Idle | Inbound::Stopping | Inbound::Ended => return Ok(Taken::Nothing),
        };
        if self.ring.tell() {
            self.memory.ring_room();
        }
        Ok(taken)
    }

    /// Starts to fill a buffer of the shard, with what was put back first. Returns the buffer
    /// if that is enough.
    pub(super) fn start_fill(&mut self, mut buffer: BytesMut, length: usize) -> Option<BytesMut> {
        let count = self.front.bytes.len().min(length.saturating_sub(buffer.len()));
        buffer.extend_from_slice(&self.front.bytes[..count]);
        self.front.bytes = self.front.bytes.slice(count..);
        buffer.reserve(length.saturating_sub(buffer.len()));
        let is_full = buffer.len() >= length;
        self.inbound = Inbound::Filling(buffer, length);
        if is_full { self.take_fill() } else { None }
    }

    fn take_fill(&mut self) -> Option<BytesMut> {
        match std::mem::replace(&mut self.inbound, Inbound::Idle) {
            Inbound::Filling(buffer, _) => Some(buffer),
            _ => None,
        }
    }

    /// Puts back the end of a chunk, if it is the last. Returns whether it is.
    pub(super) fn put_back(&mut self, of: &Bytes, bytes: usize, frame_bytes: usize) -> bool {
        let is_same = |chunk: &Bytes| chunk.as_ptr() == of.as_ptr() && chunk.len() == of.len();
        let last = self.last.take_if(|(chunk, _)| is_same(chunk));
        let Some((chunk, place)) = last else { return false };
        let front = chunk.slice(chunk.len() - bytes..);
        self.front = Front { bytes: front, place: Some(place) };
        self.frame_bytes = frame_bytes;
        true
    }

    /// Notes that nothing more of the last chunk can be put back.
    pub(super) fn settle(&mut self) {
        if self.last.take().is_some() && !self.was_cut {
            // Its frames were not large, or it would have ended in one of them.
            self.frame_bytes = 0;
        }
    }

    /// Copies the front of a frame out of its buffer: the rest may take its time.
    pub(super) fn unpin_front(&mut self) {
        if self.front.place.take().is_some() {
            self.front.bytes = Bytes::copy_from_slice(&self.front.bytes);
        }
    }

    pub(super) fn allow_largest_ring(&mut self) {
        self.ring.allow_largest();
    }

    pub(super) fn usage(&self) -> MemoryUse {
        MemoryUse {
            ring_bytes: self.ring.size() as u64,
            ring_held_bytes: (self.ring.seen() + self.front.bytes.len()) as u64,
            in_flight_bytes: self.outbound.in_flight_bytes() as u64,
            wants_larger_ring: self.full_waits >= FULL_WAITS
                && self.ring.limit() < layout::MAX_RING_BYTES,
        }
    }
}

impl Drop for Attachment {
    /// Revokes the memory: what the client has not released is used again.
    fn drop(&mut self) {
        if !self.has_vanished {
            self.memory.region().revoke();
        }
    }
}

/// Error of a connection that broke the rules.
pub(super) fn fault_error(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.to_owned())
}
