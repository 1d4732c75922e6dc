//! The broker's arena, cut into sections: one for each shard.
//!
//! ```text
//!   section   [ receive buffers, 2 MiB | ring buffers, 16 MiB ]
//! ```
//! Receive buffers hold what comes by sockets, ring buffers what comes by rings. Only
//! what is used has memory: see [`ArenaRange::reserve`].
//!
//! Invariants: a section belongs to one back end, whose pools alone write to it; where a
//! range lies, in terms of buffers, is known to all. Clients have at most half of a pool's
//! buffers that have memory, whatever they release.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};

use netcluster_shm::Arena;

use crate::pool::BufferPool;

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

/// Number of buffers that a pool gets memory for, ahead of their use, when a client could not
/// be lent one: one to lend, one to keep.
const AHEAD_BUFFERS: usize = 2;

const SECTION_BYTES: usize = RECEIVE_BYTES + RING_BUFFERS * RING_BUFFER_BYTES;

const _: () = assert!(RECEIVE_BYTES.is_multiple_of(RING_BUFFER_BYTES));

/// Memory of a broker that its local clients read in place, for all its shards.
#[derive(Debug)]
pub struct BrokerArena {
    arena: Arc<Arena>,
    /// Use of each section's two pools: receive buffers, ring buffers.
    pools: Box<[[PoolUse; 2]]>,
}

/// Use of one pool, as all shards know it.
#[derive(Debug)]
struct PoolUse {
    /// For each buffer, the clients that were sent some of it and have not released it.
    clients: Box<[AtomicU32]>,
    /// Number of buffers of which there are such clients.
    lent: AtomicUsize,
    /// The most of them, half of those that have memory: the rest is for those who send.
    most_lent: AtomicUsize,
    /// One was not lent, as there were too few.
    is_short: AtomicBool,
    /// More than half of the buffers is pinned, by clients or by queues.
    is_pressed: AtomicBool,
}

impl PoolUse {
    fn new(buffers: usize) -> PoolUse {
        PoolUse {
            clients: (0..buffers).map(|_| AtomicU32::new(0)).collect(),
            lent: AtomicUsize::new(0),
            most_lent: AtomicUsize::new(0),
            is_short: AtomicBool::new(false),
            is_pressed: AtomicBool::new(false),
        }
    }

    fn lend(&self, index: usize) -> bool {
        let clients = &self.clients[index];
        let more = |count: u32| (count > 0).then(|| count + 1);
        if clients.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok() {
            return true;
        }
        let most = self.most_lent.load(Ordering::Relaxed);
        let place = |lent: usize| (lent < most).then(|| lent + 1);
        if self.lent.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place).is_err() {
            self.is_short.store(true, Ordering::Relaxed);
            return false;
        }
        if clients.fetch_add(1, Ordering::Relaxed) > 0 {
            // Another shard was first.
            self.lent.fetch_sub(1, Ordering::Relaxed);
        }
        true
    }

    fn give_back(&self, index: usize) {
        if self.clients[index].fetch_sub(1, Ordering::Relaxed) == 1 {
            self.lent.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn tell(&self, pool: &mut BufferPool) {
        if self.is_short.load(Ordering::Relaxed) {
            self.is_short.store(false, Ordering::Relaxed);
            pool.reserve_more(AHEAD_BUFFERS);
        }
        let is_pressed = pool.pinned() * 2 > pool.buffers();
        if self.is_pressed.load(Ordering::Relaxed) != is_pressed {
            self.is_pressed.store(is_pressed, Ordering::Relaxed);
        }
        let most_lent = pool.reserved() / 2;
        if self.most_lent.load(Ordering::Relaxed) != most_lent {
            self.most_lent.store(most_lent, Ordering::Relaxed);
        }
    }
}

impl BrokerArena {
    /// Makes the arena of a broker with so many shards.
    ///
    /// # Errors
    /// The system has no memory files that can be sealed, or no room.
    pub fn new(shards: usize) -> io::Result<Arc<BrokerArena>> {
        let shards = shards.max(1);
        BrokerArena::of(Arena::new(shards * SECTION_BYTES)?, shards)
    }

    /// Makes the arena of a simulated broker, within one process. No more than so many bytes
    /// can be reserved, but for those that are from the start.
    #[cfg(feature = "sim")]
    pub fn in_memory(shards: usize, reservable_bytes: usize) -> Arc<BrokerArena> {
        let shards = shards.max(1);
        let reservable_bytes = shards * FIRST_RESERVED_BYTES + reservable_bytes;
        let arena = Arena::in_memory(shards * SECTION_BYTES, reservable_bytes);
        BrokerArena::of(arena, shards).expect("so many bytes can be reserved")
    }

    fn of(arena: Arc<Arena>, shards: usize) -> io::Result<Arc<BrokerArena>> {
        // Nobody must find himself without any receive buffer.
        for start in (0..shards).map(|shard| shard * SECTION_BYTES) {
            arena.reserve(start..start + FIRST_RESERVED_BYTES)?;
        }
        let of_sockets = RECEIVE_BYTES / RECEIVE_BUFFER_BYTES;
        let pools = || [PoolUse::new(of_sockets), PoolUse::new(RING_BUFFERS)];
        Ok(Arc::new(BrokerArena { arena, pools: (0..shards).map(|_| pools()).collect() }))
    }

    /// The section of one shard, counted from 0. Each must be used by one back end alone.
    ///
    /// # Panics
    /// If there is no such shard.
    pub fn section(self: &Arc<BrokerArena>, shard: usize) -> ArenaSection {
        assert!(shard < self.pools.len());
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
    pub(crate) fn arena(&self) -> &Arc<Arena> {
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

    /// The pool that a buffer belongs to, and its place there.
    #[inline]
    fn pool_of(&self, buffer: PlacedBuffer) -> (&PoolUse, usize) {
        let pools = &self.broker.pools[buffer.offset / SECTION_BYTES];
        let at = buffer.offset % SECTION_BYTES;
        if buffer.bytes == RING_BUFFER_BYTES {
            (&pools[1], (at - RECEIVE_BYTES) / RING_BUFFER_BYTES)
        } else {
            (&pools[0], at / RECEIVE_BUFFER_BYTES)
        }
    }

    /// Whether more than half of the pool that a buffer belongs to is pinned, as its shard
    /// told.
    #[inline]
    pub(crate) fn is_pressed(&self, buffer: PlacedBuffer) -> bool {
        self.pool_of(buffer).0.is_pressed.load(Ordering::Relaxed)
    }

    /// Lends a buffer to one more client. False if half of its pool is lent and it is not:
    /// clients that release nothing must not keep a shard from receiving.
    #[must_use]
    pub(crate) fn lend(&self, buffer: PlacedBuffer) -> bool {
        let (pool, index) = self.pool_of(buffer);
        pool.lend(index)
    }

    /// Takes a buffer back from one client.
    pub(crate) fn give_back(&self, buffer: PlacedBuffer) {
        let (pool, index) = self.pool_of(buffer);
        pool.give_back(index);
    }

    /// Tells all shards how far this one's receive and ring buffers are pinned, and how many
    /// of them may be lent. A pool that was short of them gets more.
    pub(crate) fn tell(&self, pools: [&mut BufferPool; 2]) {
        for (usage, pool) in self.broker.pools[self.shard].iter().zip(pools) {
            usage.tell(pool);
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
        let mut pools = pools(&section, [32, 2]);
        let chunks: Vec<_> = (0..17).map(|_| chunk_of(&mut pools[0])).collect();
        section.tell(pools.each_mut());
        assert!(broker.section(0).is_pressed(own), "all shards know");
        assert!(!section.is_pressed(other));
        assert!(!section.is_pressed(section.buffer_at(2 * SECTION_BYTES - 1)), "the other pool");
        drop(chunks);
        section.tell(pools.each_mut());
        assert!(!broker.section(0).is_pressed(own));
    }

    fn pools(section: &ArenaSection, buffers: [usize; 2]) -> [BufferPool; 2] {
        let receive_range = section.receive_range();
        [
            BufferPool::in_arena(receive_range, buffers[0], RECEIVE_BUFFER_BYTES),
            BufferPool::in_arena(section.ring_range(), buffers[1], RING_BUFFER_BYTES),
        ]
    }

    fn chunk_of(pool: &mut BufferPool) -> bytes::Bytes {
        let index = pool.take().unwrap();
        pool.last_chunk(index, 1)
    }

    /// What broke: clients that released nothing had all buffers of a shard, which received
    /// nothing any more.
    #[test]
    fn no_more_than_half_of_a_pool_is_lent() {
        let broker = BrokerArena::new(2).unwrap();
        let (section, other) = (broker.section(1), broker.section(0));
        let mut pools = pools(&section, [9, 2]);
        for pool in &mut pools {
            pool.reserve_more(9);
        }
        section.tell(pools.each_mut());
        let buffer = |at: usize| section.buffer_at(SECTION_BYTES + at * RECEIVE_BUFFER_BYTES);
        for at in 0..4 {
            assert!(section.lend(buffer(at)) && other.lend(buffer(at)), "to two clients");
        }
        assert!(!section.lend(buffer(4)) && !other.lend(buffer(4)));
        assert!(section.lend(buffer(3)), "a third one pins nothing more");
        other.give_back(buffer(3));
        section.give_back(buffer(3));
        assert!(!section.lend(buffer(4)), "one still has it");
        section.give_back(buffer(3));
        assert!(section.lend(buffer(4)));
        assert!(section.lend(section.buffer_at(2 * SECTION_BYTES - 1)), "another pool");
        assert!(!section.lend(section.buffer_at(SECTION_BYTES + RECEIVE_BYTES)));
        assert!(!other.lend(other.buffer_at(0)), "another shard's, of which none has memory");
    }

    /// What broke: half of the buffers was lent that there could be, which was all that there
    /// was memory for.
    #[test]
    #[cfg(feature = "sim")]
    fn half_of_the_buffers_that_have_memory_is_lent() {
        let broker = BrokerArena::in_memory(1, 5 * RING_BUFFER_BYTES);
        let section = broker.section(0);
        let mut pools = pools(&section, [32, RING_BUFFERS]);
        let buffer = |at: usize| section.buffer_at(RECEIVE_BYTES + at * RING_BUFFER_BYTES);
        section.tell(pools.each_mut());
        let mut lent = 0;
        for _ in 0..RING_BUFFERS {
            lent += usize::from(section.lend(buffer(lent)));
            section.tell(pools.each_mut());
        }
        assert_eq!((lent, pools[1].reserved()), (2, 5));
        let left = (0..RING_BUFFERS).map_while(|_| pools[1].take()).count();
        assert_eq!(left, 5);
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
