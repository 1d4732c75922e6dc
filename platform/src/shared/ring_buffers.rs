//! The pool for what comes by rings: filled from the front, whoever the bytes come from.
//!
//! ```text
//!   buffer   [ chunk | chunk … frame's front | rest, frame, frame … ]
//!                              └──────── the next chunk ────────┘
//! ```
//! The front of a frame that was handed out is not copied again if the rest can follow
//! right behind it: the next chunk then begins where the front does. Nobody writes what
//! a chunk covers.

use bytes::Bytes;
use netcluster_shm::RingReader;

use super::arena::{ArenaSection, RING_BUFFER_BYTES, RING_BUFFERS};
use crate::Waker;
use crate::pool::{BufferIndex, BufferPool};

/// A buffer with less room than this, 16 KiB, is not filled further if there is more.
const MIN_FILL_BYTES: usize = 16 << 10;

/// Number of buffers that have memory once the first client shares some, 1 MiB.
const FIRST_BUFFERS: usize = 4;

/// The longest frame that a chunk can hold from its first byte to its last.
pub(crate) const MAX_WHOLE_BYTES: usize = RING_BUFFER_BYTES;

/// Position behind a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    index: BufferIndex,
    end: usize,
}

/// Front of a chunk: bytes that were handed out before.
#[derive(Debug, Default)]
pub(crate) struct Front {
    pub(crate) bytes: Bytes,
    /// Place where they end, as long as they lie in a buffer of the pool.
    pub(crate) place: Option<Place>,
}

/// Outcome of filling.
#[derive(Debug)]
pub(crate) struct Filled {
    /// The front and what was taken.
    pub(crate) chunk: Bytes,
    pub(crate) place: Place,
    /// Whether it ends where a frame should, though there was more.
    pub(crate) is_cut: bool,
}

/// The pool.
#[derive(Debug)]
pub(crate) struct RingBuffers {
    pool: BufferPool,
    current: Option<BufferIndex>,
    /// The first buffers were reserved, or cannot be.
    is_tried: bool,
}

impl RingBuffers {
    /// Makes the pool of a shard.
    pub(crate) fn new(section: &ArenaSection) -> RingBuffers {
        let pool = BufferPool::in_arena(section.ring_range(), RING_BUFFERS, RING_BUFFER_BYTES);
        RingBuffers { pool, current: None, is_tried: false }
    }

    /// Takes from a ring, in which `there` bytes are to be taken, one chunk that begins with
    /// `front`, of a whole buffer at the most: what is handed on in one go costs one wake-up
    /// for each listener, and chunks of 64 KiB took twice the CPU with eight of them. `None`
    /// if there is no buffer.
    pub(crate) fn fill(
        &mut self,
        ring: &mut RingReader,
        there: usize,
        front: &Front,
        frame_bytes: usize,
    ) -> Option<Filled> {
        let again = front.bytes.len();
        debug_assert!(there > 0);
        debug_assert!(again < MAX_WHOLE_BYTES);
        let all = again + there;
        let wanted = all.min(RING_BUFFER_BYTES).max(again + 1);
        let least = frame_bytes.max(again + MIN_FILL_BYTES).min(wanted);
        let (index, follows) = self.buffer_for(front, least)?;
        let room = self.pool.unfilled_bytes(index) + if follows { again } else { 0 };
        let mut bytes = wanted.min(room);
        let cut = if frame_bytes == 0 { 0 } else { bytes - bytes % frame_bytes };
        let is_cut = bytes < all && cut > again;
        if is_cut {
            bytes = cut;
        }
        let target = self.pool.unfilled(index);
        let chunk = if follows {
            let more = bytes - again;
            ring.take(&mut target[..more]);
            self.pool.chunk_from(index, again, more)
        } else {
            target[..again].copy_from_slice(&front.bytes);
            ring.take(&mut target[again..bytes]);
            self.pool.chunk(index, bytes)
        };
        Some(Filled { chunk, place: Place { index, end: self.pool.filled_bytes(index) }, is_cut })
    }

    /// The buffer for a chunk of at least so many bytes, and whether it follows its front.
    fn buffer_for(&mut self, front: &Front, least: usize) -> Option<(BufferIndex, bool)> {
        if let Some(index) = self.current {
            let here = Place { index, end: self.pool.filled_bytes(index) };
            let follows = front.place == Some(here);
            let again = if follows { front.bytes.len() } else { 0 };
            if follows || !self.pool.restart(index) {
                if self.pool.unfilled_bytes(index) + again >= least {
                    return Some((index, follows));
                }
                self.pool.seal(index);
                self.current = None;
            }
        }
        if self.current.is_none() {
            // What came back last is warm, and memory that was never used stays so.
            self.pool.collect();
            self.current = self.pool.take();
        }
        Some((self.current?, false))
    }

    /// Sets the waker by which a buffer that is wanted wakes the shard.
    pub(crate) fn set_waker(&self, waker: Waker) {
        self.pool.set_waker(waker);
    }

    /// Collects what came back; whether a quarter of the buffers is free. If not, the next
    /// one that comes back wakes the shard.
    pub(crate) fn is_ample(&mut self) -> bool {
        self.pool.want();
        // It may be the last that there is, which then comes back as any other does.
        if let Some(index) = self.current.take() {
            self.pool.seal(index);
        }
        self.pool.collect();
        self.pool.free() >= self.pool.buffers().div_ceil(4)
    }

    /// Whether there is memory for at least one buffer. The first call reserves it, and some
    /// for more.
    pub(crate) fn has_memory(&mut self) -> bool {
        if !std::mem::replace(&mut self.is_tried, true) {
            self.current = self.pool.take();
            self.pool.reserve_more(FIRST_BUFFERS - 1);
        }
        self.pool.buffers() > 0
    }

    /// Number of buffers.
    pub(crate) fn buffers(&self) -> usize {
        self.pool.buffers()
    }

    /// The pool, to tell of it.
    pub(crate) fn pool(&mut self) -> &mut BufferPool {
        &mut self.pool
    }
}
