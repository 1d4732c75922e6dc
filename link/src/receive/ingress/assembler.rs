//! Assembler: from bodies of datagrams, in order, to runs of whole frames.
//!
//! ```text
//!   chunk   [ rest of a frame | body | body | body ]   bodies are copied (and
//!                                ^ mark    ^ mark      opened) here, once
//!
//!   settle  [ run … | run … | channel | run … ][ beginning of a frame ]
//!             └──────────── ready ───────────┘  └─ stays in the chunk
//! ```
//! A mark is where a datagram says that a frame starts, with the ordinal of that
//! event. Many datagrams are scanned at once; if the count of events then agrees
//! with the last mark, all is well. If not, they are scanned again from mark to
//! mark, to find where events are missing or something is broken.
//!
//! Behind a hole or something broken the stream is *adrift*: bytes are dropped up
//! to the next mark, which says where the stream stands.
//!
//! It knows no numbers of datagrams; what comes in is in order and authentic.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use netcluster_platform::Slice;
use netcluster_wire::link::limits::MAX_DATAGRAM_BYTES;

use super::frame_scanner::{FrameScanner, Piece, Stop};
use super::reassembly_budget::{Charge, LARGE_FRAME_BYTES, ReassemblyBudget, Turn};
use super::reorder::Facts;
use super::{Delivery, IngressConfig};
use crate::channel::ChannelHash;

/// Bytes of a chunk of a busy stream; slices of it pin it whole.
pub const CHUNK_BYTES: usize = 256 << 10;

/// Bytes of a stream's first chunk. Each is twice as large as the one before, so
/// that the many streams with little traffic cost little.
const FIRST_CHUNK_BYTES: usize = 16 << 10;

/// Unscanned bytes that a stream takes before it must be polled.
pub const MAX_FRESH_BYTES: usize = 192 << 10;

/// Most bytes that one receive brings. A chunk with less room is left between two batches,
/// when little has to move with it.
const TRAIN_BYTES: usize = 64 << 10;

/// Bytes of a part of a frame that may move to another chunk.
const LITTLE_BYTES: usize = 16 << 10;

const _: () = assert!(FIRST_CHUNK_BYTES <= CHUNK_BYTES);
const _: () = assert!(LITTLE_BYTES + TRAIN_BYTES < CHUNK_BYTES);
const _: () = assert!(MAX_FRESH_BYTES + LITTLE_BYTES + MAX_DATAGRAM_BYTES < CHUNK_BYTES);
const _: () = assert!(LARGE_FRAME_BYTES <= CHUNK_BYTES);

/// Mark that a datagram sets: a frame starts here.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: usize,
    ordinal: u64,
    channel: ChannelHash,
}

/// The assembler of one stream.
#[derive(Debug)]
pub(super) struct Assembler {
    scanner: FrameScanner,
    /// Bytes that are not yet delivered: settled ones left it, so it begins with a frame.
    chunk: BytesMut,
    /// The size that the chunk was made with; 0 if there is none.
    chunk_bytes: usize,
    /// Bytes of the chunk that the last scan left as the beginning of a frame.
    partial: usize,
    marks: Vec<Mark>,
    is_adrift: bool,
    /// The mark before had a lower ordinal than there are events.
    is_behind: bool,
    /// Chunk that the pieces are offsets of.
    ready: Bytes,
    reassembly: ReassemblyBudget,
    charge: Option<Charge>,
    /// Number of large frames that were charged so far.
    charges: u64,
    /// The large frame that found no room in the budget.
    wanted_bytes: Option<usize>,
    /// Place of the stream among those that wait.
    turn: Option<Turn>,
    /// The chunk is larger than others, for one frame.
    is_grown: bool,
    malformed: u64,
}

impl Assembler {
    /// Makes an assembler that waits for the first mark.
    pub fn new(node: u32, ordinal: u64, config: &IngressConfig) -> Assembler {
        Assembler {
            scanner: FrameScanner::new(node, ordinal, config.max_payload_bytes),
            chunk: BytesMut::new(),
            chunk_bytes: 0,
            partial: 0,
            marks: Vec::new(),
            is_adrift: true,
            is_behind: false,
            ready: Bytes::new(),
            reassembly: config.reassembly.clone(),
            charge: None,
            charges: 0,
            wanted_bytes: None,
            turn: None,
            is_grown: false,
            malformed: 0,
        }
    }

    /// Begins with a part of a frame of this channel, which another broker had.
    pub fn resume(&mut self, channel: ChannelHash, partial: &[u8]) {
        let facts = Facts { boundary: Some(0), ordinal: self.scanner.ordinal, channel };
        let Ok(()) = self.push(&facts, partial, |_| Ok::<(), std::convert::Infallible>(()));
        self.settle();
    }

    /// Ordinal of the next event, channel in force, and part of a frame that has come: all of
    /// which is settled.
    pub fn standing(&self) -> (u64, ChannelHash, &[u8]) {
        debug_assert!(self.scanner.pieces.is_empty());
        (self.scanner.ordinal, self.scanner.channel, &self.chunk[..self.partial])
    }

    /// Whether a frame has begun that is not complete.
    pub fn has_partial(&self) -> bool {
        self.partial > 0
    }

    /// Frames and headers that no peer should send.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// Whether the scan is not too far behind to take another datagram.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.chunk.len() - self.partial < MAX_FRESH_BYTES
    }

    /// Whether a large frame has, or now gets, the memory it needs.
    #[inline]
    pub fn has_memory(&mut self) -> bool {
        self.wanted_bytes.is_none_or(|bytes| self.charge_frame(bytes))
    }

    /// Whether it has been in vain so far.
    pub fn waits_for_memory(&self) -> bool {
        self.wanted_bytes.is_some()
    }

    /// The large frame that is filling: which one it is, and how far it is.
    pub fn filling(&self) -> Option<(u64, usize)> {
        self.charge.as_ref().map(|_| (self.charges, self.chunk.len()))
    }

    /// Whether streams of other peers wait for memory.
    pub fn is_memory_scarce(&self) -> bool {
        self.reassembly.is_scarce()
    }

    /// Takes the body of the next datagram; nothing of it stays if `open` fails.
    ///
    /// # Errors
    /// What `open` says.
    #[inline]
    pub fn push<E>(
        &mut self,
        facts: &Facts,
        body: &[u8],
        open: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.make_room(body.len());
        let at = self.chunk.len();
        self.chunk.extend_from_slice(body);
        if let Err(error) = open(&mut self.chunk[at..]) {
            self.chunk.truncate(at);
            return Err(error);
        }
        if let Some(boundary) = facts.boundary {
            let (ordinal, channel) = (facts.ordinal, facts.channel);
            self.marks.push(Mark { at: at + boundary, ordinal, channel });
        }
        Ok(())
    }

    /// The next piece that was found.
    #[inline]
    pub fn pop(&mut self) -> Option<Delivery> {
        Some(match self.scanner.pieces.pop_front()? {
            Piece::Run { start, end, frames, channel, source, name_len } => {
                let ready = if self.scanner.pieces.is_empty() {
                    std::mem::take(&mut self.ready)
                } else {
                    self.ready.clone()
                };
                let slice = Slice::new(ready, start, end);
                Delivery::Run { channel, slice, frames, source, name_len }
            }
            Piece::Lost(count) => Delivery::Lost { count },
            Piece::Large(count, bytes) => Delivery::Large { count, bytes },
        })
    }

    /// Scans what came since the last time; returns whether there was anything.
    /// All pieces must have been taken.
    pub fn settle(&mut self) -> bool {
        debug_assert!(self.scanner.pieces.is_empty());
        if self.chunk.len() == self.partial {
            return false;
        }
        let mut at = match self.marks.last().copied() {
            Some(last) if !self.is_adrift && self.agrees(last.at, last.ordinal) => last.at,
            _ => self.settle_by_marks(),
        };
        self.marks.clear();
        if !self.is_adrift {
            at = match self.scanner.scan(&self.chunk, at, self.chunk.len()) {
                Stop::Whole => self.chunk.len(),
                Stop::Partial(stop) => stop,
                Stop::Broken(stop) => {
                    self.note_broken();
                    stop
                }
            };
        }
        if at > 0 {
            // The frame that was incomplete is over.
            self.forget_charge();
        }
        self.ready = self.chunk.split_to(at).freeze();
        self.keep_partial();
        true
    }

    /// Gives memory back, if all of it is delivered: the stream pauses.
    pub fn rest(&mut self) {
        if self.chunk_bytes > 0 && self.chunk.is_empty() && self.scanner.pieces.is_empty() {
            self.chunk = BytesMut::new();
            self.chunk_bytes = 0;
            self.marks = Vec::new();
            self.scanner.pieces = VecDeque::new();
        }
    }

    /// Gives up what has begun: numbers are missing that will not come. All that came
    /// before must be settled.
    pub fn cut(&mut self) {
        debug_assert_eq!(self.chunk.len(), self.partial);
        self.is_adrift = true;
        self.keep_partial();
    }

    /// Reports events below this ordinal as lost, as they will not come any more; whether
    /// any are missing.
    pub fn lose_until(&mut self, ordinal: u64) -> bool {
        self.scanner.push_lost_until(ordinal)
    }

    /// Takes back what was believed of the ordinals, if it was more than this; whether it
    /// was. Behind it a loss would have been hidden, and perhaps was.
    pub fn correct(&mut self, ordinal: u64) -> bool {
        let is_behind = ordinal < self.scanner.ordinal;
        if is_behind {
            self.malformed += 1;
            self.scanner.push_lost(None);
            self.scanner.ordinal = ordinal;
        }
        is_behind
    }

    /// Reports a loss of which nobody knows how much is missing from here on.
    pub fn lose_unknown(&mut self) {
        self.scanner.push_lost(None);
    }

    /// Scans up to the last mark; whether it found what that says. If not, it is
    /// as if nothing was scanned.
    #[inline]
    fn agrees(&mut self, at: usize, ordinal: u64) -> bool {
        let before = (self.scanner.ordinal, self.scanner.channel);
        let stop = self.scanner.scan(&self.chunk, 0, at);
        if stop == Stop::Whole && self.scanner.ordinal == ordinal {
            return true;
        }
        self.scanner.pieces.clear();
        (self.scanner.ordinal, self.scanner.channel) = before;
        false
    }

    /// Scans from mark to mark; returns how far.
    #[cold]
    fn settle_by_marks(&mut self) -> usize {
        let mut at = 0;
        for mark in std::mem::take(&mut self.marks) {
            if !self.is_adrift && self.scanner.scan(&self.chunk, at, mark.at) != Stop::Whole {
                // A broken frame, or one that reaches over the mark.
                self.note_broken();
            }
            if mark.ordinal < self.scanner.ordinal {
                self.malformed += 1;
                if self.is_adrift {
                    self.scanner.push_lost(None);
                }
                if self.is_behind {
                    // Two in a row: what was believed before was wrong.
                    self.scanner.ordinal = mark.ordinal;
                }
                self.is_behind = !self.is_behind;
            } else {
                self.is_behind = false;
            }
            self.scanner.push_lost_until(mark.ordinal);
            if self.is_adrift {
                self.scanner.channel = mark.channel;
                self.is_adrift = false;
            }
            at = mark.at;
        }
        at
    }

    fn note_broken(&mut self) {
        self.malformed += 1;
        self.is_adrift = true;
    }

    /// Looks at the beginning of a frame that is left in the chunk: drops it, or
    /// sees that it gets the memory it needs.
    #[inline]
    fn keep_partial(&mut self) {
        let mut frame_bytes = 0;
        if !self.is_adrift && !self.chunk.is_empty() {
            match self.scanner.announced(&self.chunk) {
                Ok(layout) => frame_bytes = layout.map_or(0, |layout| layout.frame_len),
                Err(()) => self.note_broken(),
            }
        }
        if self.is_adrift {
            self.chunk.clear();
        }
        self.partial = self.chunk.len();
        if frame_bytes > LARGE_FRAME_BYTES {
            if self.charge.is_none() {
                self.charge_frame(frame_bytes);
            }
            return;
        }
        self.forget_charge();
        if self.is_grown {
            // The large frame is out; slices of small ones shall not pin its memory.
            self.chunk_bytes = CHUNK_BYTES.max(self.partial);
            let mut chunk = BytesMut::with_capacity(self.chunk_bytes);
            chunk.extend_from_slice(&self.chunk);
            self.chunk = chunk;
            self.is_grown = false;
        }
    }

    /// Gives back what a large frame was charged: there is none (any more).
    #[inline]
    fn forget_charge(&mut self) {
        if self.charge.is_some() || self.wanted_bytes.is_some() {
            self.charge = None;
            self.wanted_bytes = None;
            self.turn = None;
        }
    }

    #[cold]
    fn charge_frame(&mut self, bytes: usize) -> bool {
        self.charge = self.reassembly.charge(bytes, &mut self.turn);
        if self.charge.is_none() {
            self.wanted_bytes = Some(bytes);
            return false;
        }
        self.wanted_bytes = None;
        self.charges += 1;
        self.is_grown = true;
        self.chunk.reserve(bytes - self.chunk.len());
        true
    }

    /// Makes room for a body. A chunk whose slices are all gone is used again.
    #[inline]
    fn make_room(&mut self, bytes: usize) {
        let length = self.chunk.len();
        let spare = self.chunk.capacity() - length;
        let is_between = length == self.partial && length < LITTLE_BYTES;
        if spare < bytes || (is_between && spare < TRAIN_BYTES.min(self.chunk_bytes / 4)) {
            self.chunk_bytes = (2 * self.chunk_bytes).clamp(FIRST_CHUNK_BYTES, CHUNK_BYTES);
            self.is_grown |= length + bytes > CHUNK_BYTES;
            self.chunk.reserve(bytes.max(self.chunk_bytes.saturating_sub(length)));
        }
    }
}
