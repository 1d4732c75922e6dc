//! The broker's arena, cut into sections: one for each shard.
//!
//! ```text
//!   section   [ receive buffers, 2 MiB | ring buffers, 16 MiB ]
//! ```
//! Receive buffers hold what comes by sockets, ring buffers what comes by rings. Only
//! what is used has memory: see [`ArenaRange::reserve`].
//!
//! Invariant: a section belongs to one back end, whose pools alone write to it; where a
//! range lies, in terms of buffers, is known to all.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use netcluster_shm::Arena;

/// Bytes of a section for receive buffers, 2 MiB.
pub const RECEIVE_BYTES: usize = 2 << 20;

/// Bytes of a receive buffer, as far as the arena knows, 64 KiB.
const RECEIVE_BUFFER_BYTES: usize = 64 << 10;

/// Bytes of one buffer for what comes by rings, 256 KiB.
pub(crate) const RING_BUFFER_BYTES: usize = 256 << 10;

/// Number of buffers for what comes by rings.
pub(crate) const RING_BUFFERS: usize = 64;

/// Bytes of a section that are reserved from the start, 256 KiB: the first receive buffers.
const FIRST_RESERVED_BYTES: usize = 4 * RECEIVE_BUFFER_BYTES;

const SECTION_BYTES: usize = RECEIVE_BYTES + RING_BUFFERS * RING_BUFFER_BYTES;

const _: () = assert!(RECEIVE_BYTES.is_multiple_of(RING_BUFFER_BYTES));

/// Memory of a broker that its local clients read in place, for all its shards.
#[derive(Debug)]
pub struct BrokerArena {
    arena: Arc<Arena>,
    /// For each section's two pools: more than half of it is pinned.
    pressed: Box<[[AtomicBool; 2]]>,
}

impl BrokerArena {
    /// Makes the arena of a broker with so many shards.
    ///
    /// # Errors
    /// The system has no memory files that can be sealed, or no room.
    pub fn new(shards: usize) -> io::Result<Arc<BrokerArena>> {
        let shards = shards.max(1);
        let arena = Arena::new(shards * SECTION_BYTES)?;
        // Nobody must find himself without any receive buffer.
        for start in (0..shards).map(|shard| shard * SECTION_BYTES) {
            arena.reserve(start..start + FIRST_RESERVED_BYTES)?;
        }
        let pressed = (0..shards).map(|_| Default::default()).collect();
        Ok(Arc::new(BrokerArena { arena, pressed }))
    }

    /// The section of one shard, counted from 0. Each must be used by one back end alone.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn section(self: &Arc<BrokerArena>, shard: usize) -> ArenaSection {
        assert!(shard < self.pressed.len());
        ArenaSection { broker: Arc::clone(self), shard }
    }
}

/// Part of the arena that one shard writes to.
#[derive(Clone, Debug)]
pub struct ArenaSection {
    broker: Arc<BrokerArena>,
    shard: usize,
}

/// Buffer of some shard's pools: the offset at which it begins, and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlacedBuffer {
    pub(crate) offset: usize,
    pub(crate) bytes: usize,
}

impl ArenaSection {
    /// The whole arena.
    pub(crate) fn arena(&self) -> &Arena {
        &self.broker.arena
    }

    /// Size of the whole arena in bytes.
    pub(crate) fn arena_bytes(&self) -> usize {
        self.broker.arena.bytes()
    }

    /// The memory of the shard's receive buffers.
    pub(crate) fn receive_range(&self) -> ArenaRange {
        let start = self.shard * SECTION_BYTES;
        ArenaRange { arena: Arc::clone(&self.broker.arena), start, bytes: RECEIVE_BYTES }
    }

    /// The memory of the shard's ring buffers.
    pub(crate) fn ring_range(&self) -> ArenaRange {
        let start = self.shard * SECTION_BYTES + RECEIVE_BYTES;
        let bytes = RING_BUFFERS * RING_BUFFER_BYTES;
        ArenaRange { arena: Arc::clone(&self.broker.arena), start, bytes }
    }

    /// The buffer that an offset lies in.
    #[inline]
    pub(crate) fn buffer_at(&self, offset: usize) -> PlacedBuffer {
        let is_ring = offset % SECTION_BYTES >= RECEIVE_BYTES;
        let bytes = if is_ring { RING_BUFFER_BYTES } else { RECEIVE_BUFFER_BYTES };
        let base = offset - offset % SECTION_BYTES;
        PlacedBuffer { offset: base + (offset - base) / bytes * bytes, bytes }
    }

    /// Whether more than half of the pool that a buffer belongs to is pinned, as its shard
    /// told.
    #[inline]
    pub(crate) fn is_pressed(&self, buffer: PlacedBuffer) -> bool {
        let flags = &self.broker.pressed[buffer.offset / SECTION_BYTES];
        flags[usize::from(buffer.bytes == RING_BUFFER_BYTES)].load(Ordering::Relaxed)
    }

    /// Tells all shards whether more than half of this one's receive and ring buffers are
    /// pinned.
    pub(crate) fn set_pressed(&self, pressed: [bool; 2]) {
        for (flag, pressed) in self.broker.pressed[self.shard].iter().zip(pressed) {
            if flag.load(Ordering::Relaxed) != pressed {
                flag.store(pressed, Ordering::Relaxed);
            }
        }
    }
}

/// Memory of one pool.
#[derive(Debug)]
pub(crate) struct ArenaRange {
    arena: Arc<Arena>,
    start: usize,
    bytes: usize,
}

impl ArenaRange {
    /// The first byte.
    pub(crate) fn start(&self) -> NonNull<u8> {
        // SAFETY: the range lies in the arena, as its section was cut.
        unsafe { self.arena.start().add(self.start) }
    }

    /// Number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Reserves a part of the range: before, it must not be touched.
    ///
    /// # Errors
    /// There is no memory.
    pub(crate) fn reserve(&self, at: usize, bytes: usize) -> io::Result<()> {
        assert!(at + bytes <= self.bytes);
        self.arena.reserve(self.start + at..self.start + at + bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_offset_lies_in_the_buffer_that_is_named() {
        let broker = BrokerArena::new(2).unwrap();
        let section = broker.section(1);
        for offset in [0, 70_000, RECEIVE_BYTES - 1, RECEIVE_BYTES, SECTION_BYTES - 1] {
            for base in [0, SECTION_BYTES] {
                let buffer = section.buffer_at(base + offset);
                assert!((buffer.offset..buffer.offset + buffer.bytes).contains(&(base + offset)));
                assert_eq!(buffer.bytes == RING_BUFFER_BYTES, offset >= RECEIVE_BYTES);
            }
        }
        let (own, other) = (section.buffer_at(SECTION_BYTES + 5), section.buffer_at(5));
        section.set_pressed([true, false]);
        assert!(broker.section(0).is_pressed(own), "all shards know");
        assert!(!section.is_pressed(other));
        assert!(!section.is_pressed(section.buffer_at(2 * SECTION_BYTES - 1)), "the other pool");
    }

    #[test]
    fn ranges_of_sections_do_not_overlap() {
        let broker = BrokerArena::new(2).unwrap();
        let ranges = [0, 1].map(|shard| {
            let section = broker.section(shard);
            [section.receive_range(), section.ring_range()].map(|range| {
                let start = range.start().as_ptr() as usize;
                (start, start + range.bytes())
            })
        });
        let mut ranges = ranges.concat();
        ranges.sort_unstable();
        assert!(ranges.windows(2).all(|pair| pair[0].1 == pair[1].0));
    }
}
