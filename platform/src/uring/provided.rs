//! The pool's buffers, lent to the kernel: it picks one when data arrives, so
//! that a connection without data holds none.
//!
//! ```text
//!   the buffer ring, shared with the kernel
//!   head (kernel takes)            tail (we add)
//!     ↓                              ↓
//!   [ 7 | 2 | 5 | 0 |              | … ]   entries: address, length, number
//! ```
//! Invariant: a buffer is in the ring exactly while the pool counts it as held,
//! and the ring has room for all buffers of the pool, so that adding cannot fail.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use bytes::Bytes;
use io_uring::types::BufRingEntry;

use super::ring::{Event, Ring};
use super::setup::{Unsupported, UringConfig};
use crate::pool::{BufferIndex, BufferPool, MAX_BUFFERS, PAGE_BYTES};

/// The number by which receives name the ring of buffers.
pub(super) const GROUP: u16 = 0;

/// The number of the ring of buffers for datagrams.
pub(super) const DATAGRAM_GROUP: u16 = 1;

/// The flag of a buffer ring whose buffers are consumed piece by piece.
const RING_INCREMENTAL: u16 = 2;

/// A pool and its ring.
pub(super) struct ProvidedBuffers {
    pool: BufferPool,
    entries: Entries,
    incremental: bool,
    /// Buffers lent at a time; see [`ProvidedBuffers::set_budget`].
    budget: usize,
}

impl ProvidedBuffers {
    /// A pool, all of it lent to the kernel.
    pub(super) fn new(ring: &mut Ring, config: &UringConfig) -> Result<Self, Unsupported> {
        let count = config.buffers.clamp(1, MAX_BUFFERS).next_power_of_two();
        let entries = Entries::new(count);
        let mut incremental = config.incremental;
        let mut registered = entries.register(ring, GROUP, incremental);
        if incremental && registered.is_err() {
            incremental = false;
            registered = entries.register(ring, GROUP, false);
        }
        registered.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => Unsupported::TooOld { lacks: "buffer rings" },
            Some(libc::ENOMEM) => Unsupported::LockedMemory,
            _ => Unsupported::Setup(error),
        })?;
        let pool = match &config.arena {
            Some(section) => {
                BufferPool::in_arena(section.receive_range(), count, config.buffer_bytes)
            }
            None => BufferPool::new(count, config.buffer_bytes),
        };
        let mut provided = ProvidedBuffers { pool, entries, incremental, budget: count };
        // Buffers of an arena take memory when they are lent: no more than the budget, which
        // is not known yet.
        if config.arena.is_none() {
            provided.lend();
        }
        Ok(provided)
    }

    /// A pool under a number of its own, nothing of it lent yet.
    ///
    /// # Errors
    /// What the system says of registering it.
    pub(super) fn empty(ring: &Ring, group: u16, count: usize, bytes: usize) -> io::Result<Self> {
        let entries = Entries::new(count);
        entries.register(ring, group, false)?;
        let pool = BufferPool::new(count, bytes);
        Ok(ProvidedBuffers { pool, entries, incremental: false, budget: count })
    }

    pub(super) fn pool(&self) -> &BufferPool {
        &self.pool
    }

    pub(super) fn pool_mut(&mut self) -> &mut BufferPool {
        &mut self.pool
    }

    pub(super) fn is_incremental(&self) -> bool {
        self.incremental
    }

    /// Sets how many bytes the kernel may fill between two waits. All it gets is one
    /// turn's work, so this keeps what a turn touches within the cache, and the
    /// same few buffers in use; the others are for what laggards pin.
    pub(super) fn set_budget(&mut self, bytes: usize) {
        let buffers = bytes.div_ceil(self.pool.buffer_bytes());
        self.budget = buffers.clamp(1, self.pool.buffers());
    }

    /// Whether a quarter of the budget is with the kernel: enough to go on after
    /// starvation without starving again at once.
    pub(super) fn is_ample(&self) -> bool {
        self.pool.held() * 4 >= self.budget
    }

    /// Number of bytes that one turn may bring.
    pub(super) fn budget_bytes(&self) -> usize {
        self.budget * self.pool.buffer_bytes()
    }

    /// Whether so few buffers are left, here and with the kernel, that starved
    /// receives must go on waiting.
    pub(super) fn is_short(&self) -> bool {
        (self.pool.buffers() - self.pool.pinned()) * 4 < self.budget
    }

    /// Lends free buffers to the kernel, up to the budget.
    pub(super) fn lend(&mut self) {
        self.pool.collect();
        let bytes = self.pool.buffer_bytes() as u32;
        let mut added = false;
        while self.pool.held() < self.budget {
            let Some(index) = self.pool.take() else { break };
            self.entries.add(self.pool.pointer(index), bytes, index);
            added = true;
        }
        if added {
            self.entries.publish();
        }
    }

    /// Takes what a receive brought, if anything.
    pub(super) fn received(&mut self, event: &Event) -> Option<Bytes> {
        let index = BufferIndex(event.buffer()?);
        if event.result > 0 {
            let length = event.result as usize;
            let goes_on = self.incremental && event.buffer_more();
            return Some(if goes_on {
                self.pool.chunk(index, length)
            } else {
                self.pool.last_chunk(index, length)
            });
        }
        // No data but a buffer. A plain one is ours again. An incremental one is
        // still the kernel's, whatever the missing "buffer more" flag says: the
        // kernels before 6.18.21 forget it at the end of a stream, and a buffer is
        // used up only by data.
        if !self.incremental {
            self.pool.seal(index);
        }
        None
    }
}

/// The memory of the buffer ring.
struct Entries {
    start: NonNull<BufRingEntry>,
    count: usize,
    tail: u16,
}

impl Entries {
    fn new(count: usize) -> Entries {
        assert!(count.is_power_of_two());
        assert!(count <= MAX_BUFFERS);
        let layout = Entries::layout(count);
        // SAFETY: the size is not zero; zeros are valid entries.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start.cast()) else {
            std::alloc::handle_alloc_error(layout)
        };
        Entries { start, count, tail: 0 }
    }

    fn layout(count: usize) -> Layout {
        let layout = Layout::array::<BufRingEntry>(count).expect("the count is bounded");
        layout.align_to(PAGE_BYTES).expect("a page is a valid alignment")
    }

    fn register(&self, ring: &Ring, group: u16, incremental: bool) -> io::Result<()> {
        let flags = if incremental { RING_INCREMENTAL } else { 0 };
        // SAFETY: the memory outlives the ring: `UringIo` drops the ring first.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                self.start.as_ptr() as u64,
                self.count as u16,
                group,
                flags,
            )
        }
    }

    /// Adds a buffer behind the tail, not yet visible to the kernel.
    fn add(&mut self, address: *mut u8, bytes: u32, index: BufferIndex) {
        let place = self.tail as usize & (self.count - 1);
        // SAFETY: the place lies in the ring and, the ring having room for all
        // buffers, is not one the kernel has yet to read. The setters leave alone
        // the field of entry 0 that is the ring's tail.
        let entry = unsafe { &mut *self.start.as_ptr().add(place) };
        entry.set_addr(address as u64);
        entry.set_len(bytes);
        entry.set_bid(index.0);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Lets the kernel see what was added.
    fn publish(&mut self) {
        // SAFETY: `start` is the first entry of the ring, so this is its tail.
        let tail = unsafe { &*BufRingEntry::tail(self.start.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr().cast(), Entries::layout(self.count)) }
    }
}
