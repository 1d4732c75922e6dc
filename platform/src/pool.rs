//! The receive pool: the memory that a shard's bytes arrive in.
//!
//! ```text
//!   one allocation   [ buffer 0      | buffer 1      | buffer 2      | …
//!                      ####---------   #############
//!   chunks           ^ ^   ^ unfilled: only the back end (or the kernel) writes
//!                    └─┴─ filled: only read, by the holders of its chunks
//! ```
//! A back end takes a free buffer, fills it from the front, and hands each
//! received range out as a [`Bytes`] chunk. Once it has sealed the buffer and
//! the last chunk is dropped, on whichever thread, the buffer is free again.
//!
//! It does not decide when to receive, and it never waits.
//!
//! Invariant: a chunk covers only bytes below the buffer's fill mark, and the
//! mark only rises until no chunk is left. So no `&[u8]` ever covers memory
//! that somebody may still write.
//!
//! Decision: `docs/decisions/005-plain-receive-buffers.md`.

mod returns;
mod sync;

use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::Waker;
use crate::shared::ArenaRange;
use returns::Returns;

/// The most buffers of one pool: the kernel's limit for a ring of them.
pub const MAX_BUFFERS: usize = 1 << 15;

/// The largest buffer, 16 MiB: offsets in one stay far below 32 bits.
pub const MAX_BUFFER_BYTES: usize = 16 << 20;

/// The alignment of the pool, and what a buffer's size is a multiple of.
pub const PAGE_BYTES: usize = 4096;

/// A buffer of one pool, by its place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferIndex(pub u16);

/// A shard's receive buffers. Owned and used by one thread; its chunks travel.
pub struct BufferPool {
    shared: Arc<Shared>,
    buffers: Box<[Buffer]>,
    free: Vec<BufferIndex>,
    held: usize,
    /// Number of buffers that have memory.
    reserved: usize,
    /// Number of buffers for which there was no memory.
    lost: usize,
}

/// State of one buffer, as its owner knows it.
#[derive(Clone, Copy)]
struct Buffer {
    /// The bytes from the front that were handed out as chunks.
    filled: u32,
    /// Whether the back end has taken and not yet sealed it.
    held: bool,
    /// Whether its memory may be touched.
    reserved: bool,
}

impl BufferPool {
    /// A pool of `buffers` buffers of `buffer_bytes` each, all free.
    ///
    /// # Panics
    /// If there are none or more than [`MAX_BUFFERS`], or their size is not a
    /// multiple of [`PAGE_BYTES`] up to [`MAX_BUFFER_BYTES`].
    pub fn new(buffers: usize, buffer_bytes: usize) -> BufferPool {
        assert!((1..=MAX_BUFFERS).contains(&buffers));
        assert!((1..=MAX_BUFFER_BYTES).contains(&buffer_bytes));
        BufferPool::of(Memory::new(buffers * buffer_bytes), buffers, buffer_bytes)
    }

    /// A pool in memory that clients can read. A buffer's memory is reserved when it is first
    /// taken.
    ///
    /// # Panics
    /// As [`BufferPool::new`], and if the range is smaller.
    pub(crate) fn in_arena(range: ArenaRange, buffers: usize, buffer_bytes: usize) -> BufferPool {
        assert!((1..=MAX_BUFFERS).contains(&buffers));
        assert!((1..=MAX_BUFFER_BYTES).contains(&buffer_bytes));
        let memory = Memory::in_arena(range, buffers * buffer_bytes);
        BufferPool::of(memory, buffers, buffer_bytes)
    }

    fn of(memory: Memory, buffers: usize, buffer_bytes: usize) -> BufferPool {
        assert!(buffer_bytes.is_multiple_of(PAGE_BYTES));
        let reserved = memory.arena.is_none();
        BufferPool {
            shared: Arc::new(Shared {
                memory,
                buffer_bytes,
                returns: Returns::new(buffers),
                waker: OnceLock::new(),
            }),
            buffers: vec![Buffer { filled: 0, held: false, reserved }; buffers].into(),
            // Popped from the back: the lowest first.
            free: (0..buffers as u16).rev().map(BufferIndex).collect(),
            held: 0,
            reserved: if reserved { buffers } else { 0 },
            lost: 0,
        }
    }

    /// Takes a free buffer, empty, until [`BufferPool::seal`].
    pub fn take(&mut self) -> Option<BufferIndex> {
        let index = self.free.pop()?;
        if !self.buffers[index.0 as usize].reserved {
            return self.take_new(index);
        }
        self.hold_empty(index);
        Some(index)
    }

    fn hold_empty(&mut self, index: BufferIndex) {
        let buffer = &mut self.buffers[index.0 as usize];
        debug_assert!(!buffer.held);
        *buffer = Buffer { filled: 0, held: true, reserved: true };
        self.held += 1;
        self.shared.returns.hold_first(index.0 as usize);
    }

    /// Takes this buffer or one of those behind it, the first for which there is memory.
    #[cold]
    fn take_new(&mut self, first: BufferIndex) -> Option<BufferIndex> {
        let mut index = first;
        loop {
            if self.reserve(index) {
                self.hold_empty(index);
                return Some(index);
            }
            index = self.free.pop()?;
        }
    }

    /// Reserves memory for so many more buffers, which stay free. Those for which there is
    /// none are gone.
    #[cold]
    pub(crate) fn reserve_more(&mut self, count: usize) {
        for _ in 0..count {
            let is_new = |index: &BufferIndex| !self.buffers[index.0 as usize].reserved;
            let Some(place) = self.free.iter().rposition(is_new) else { return };
            if !self.reserve(self.free[place]) {
                self.free.remove(place);
                return;
            }
        }
    }

    /// Reserves the memory of a buffer. Returns whether there is some.
    fn reserve(&mut self, index: BufferIndex) -> bool {
        match self.shared.reserve(index.0 as usize) {
            Ok(()) => {
                self.buffers[index.0 as usize].reserved = true;
                self.reserved += 1;
                return true;
            }
            Err(error) if self.lost == 0 => tracing::warn!(
                %error,
                "there is no memory for a receive buffer; the shard goes on with fewer"
            ),
            Err(_) => {}
        }
        self.lost += 1;
        false
    }

    /// Takes the fill mark of a taken buffer back to its front, if no chunk of it is left.
    /// Returns whether it did.
    pub(crate) fn restart(&mut self, index: BufferIndex) -> bool {
        let buffer = &mut self.buffers[index.0 as usize];
        assert!(buffer.held);
        let alone = self.shared.returns.is_held_once(index.0 as usize);
        if alone {
            buffer.filled = 0;
        }
        alone
    }

    /// Number of bytes of a taken buffer that were handed out.
    pub(crate) fn filled_bytes(&self, index: BufferIndex) -> usize {
        self.buffers[index.0 as usize].filled as usize
    }

    /// The start of a taken buffer, for a kernel that writes to it. It must not
    /// write below the fill mark, nor at all after [`BufferPool::seal`]; and the
    /// pool must outlive its writing.
    pub fn pointer(&self, index: BufferIndex) -> *mut u8 {
        self.shared.pointer(index.0 as usize)
    }

    /// The part of a taken buffer that holds no chunk, to read into.
    ///
    /// # Panics
    /// If the buffer is not taken.
    pub fn unfilled(&mut self, index: BufferIndex) -> &mut [u8] {
        let buffer = self.buffers[index.0 as usize];
        assert!(buffer.held);
        let filled = buffer.filled as usize;
        let length = self.shared.buffer_bytes - filled;
        // SAFETY: the range lies in the buffer; it is initialised (the pool is
        // allocated zeroed); no chunk reaches past the fill mark; and `&mut self`
        // keeps a second such slice away.
        unsafe { std::slice::from_raw_parts_mut(self.pointer(index).add(filled), length) }
    }

    /// Raises the fill mark by `length` bytes that were received and hands them
    /// out. The buffer stays taken.
    ///
    /// # Panics
    /// If the buffer is not taken or is not that long.
    pub fn chunk(&mut self, index: BufferIndex, length: usize) -> Bytes {
        self.chunk_from(index, 0, length)
    }

    /// [`BufferPool::chunk`] that begins with the last `again` bytes which were handed out
    /// before.
    ///
    /// # Panics
    /// As [`BufferPool::chunk`], and if fewer were.
    pub(crate) fn chunk_from(&mut self, index: BufferIndex, again: usize, length: usize) -> Bytes {
        self.shared.returns.hold(index.0 as usize);
        self.hand_out(index, again, length)
    }

    /// [`BufferPool::chunk`] and [`BufferPool::seal`] in one, cheaper.
    ///
    /// # Panics
    /// If the buffer is not taken or is not that long.
    pub fn last_chunk(&mut self, index: BufferIndex, length: usize) -> Bytes {
        // The back end's hold becomes the chunk's.
        let chunk = self.hand_out(index, 0, length);
        self.buffers[index.0 as usize].held = false;
        self.held -= 1;
        chunk
    }

    #[inline(always)]
    fn hand_out(&mut self, index: BufferIndex, again: usize, length: usize) -> Bytes {
        let buffer = &mut self.buffers[index.0 as usize];
        let start = buffer.filled as usize;
        assert!(buffer.held);
        assert!(length <= self.shared.buffer_bytes - start);
        assert!(again <= start);
        buffer.filled = (start + length) as u32;
        Bytes::from_owner(Chunk {
            shared: Arc::clone(&self.shared),
            index: index.0,
            start: (start - again) as u32,
            length: (again + length) as u32,
        })
    }

    /// Gives up a taken buffer: it is free once its chunks are gone.
    ///
    /// # Panics
    /// If the buffer is not taken.
    pub fn seal(&mut self, index: BufferIndex) {
        let buffer = &mut self.buffers[index.0 as usize];
        assert!(buffer.held);
        buffer.held = false;
        self.held -= 1;
        if self.shared.returns.unhold(index.0 as usize) {
            self.free.push(index);
        }
    }

    /// Number of bytes of a taken buffer that are still unfilled.
    pub fn unfilled_bytes(&self, index: BufferIndex) -> usize {
        self.shared.buffer_bytes - self.buffers[index.0 as usize].filled as usize
    }

    /// Fetches the buffers whose last chunk was dropped since the last call.
    pub fn collect(&mut self) {
        let free = &mut self.free;
        self.shared.returns.collect(|index| free.push(BufferIndex(index as u16)));
    }

    /// Sets the waker that [`BufferPool::want`] uses. Only the first call counts.
    pub fn set_waker(&self, waker: Waker) {
        let _ = self.shared.waker.set(waker);
    }

    /// Asks that the next chunk which frees a buffer wakes the owner, once; call
    /// [`BufferPool::collect`] afterwards. Without it, a shard that waits for a
    /// buffer would not learn that another thread dropped the chunk.
    pub fn want(&self) {
        self.shared.returns.want();
    }

    /// Number of buffers that have memory, or can have it as far as is known.
    pub fn buffers(&self) -> usize {
        self.buffers.len() - self.lost
    }

    /// Number of buffers that have memory.
    pub(crate) fn reserved(&self) -> usize {
        self.reserved
    }

    /// The size of each.
    pub fn buffer_bytes(&self) -> usize {
        self.shared.buffer_bytes
    }

    /// Number of free buffers, as of the last [`BufferPool::collect`].
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// Number of buffers that are taken and not sealed.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Number of buffers that are neither: pinned by chunks alone.
    pub fn pinned(&self) -> usize {
        let gone = self.buffers() - self.free.len() - self.held;
        // Another thread may be giving one back at this moment.
        gone.saturating_sub(self.shared.returns.uncollected())
    }
}

impl std::fmt::Debug for BufferPool {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("BufferPool")
            .field("buffers", &self.buffers())
            .field("buffer_bytes", &self.buffer_bytes())
            .field("free", &self.free())
            .field("held", &self.held())
            .finish()
    }
}

/// Memory that the pool shares with its chunks; the last of them frees it.
struct Shared {
    memory: Memory,
    buffer_bytes: usize,
    returns: Returns,
    waker: OnceLock<Waker>,
}

impl Shared {
    fn pointer(&self, index: usize) -> *mut u8 {
        let offset = index * self.buffer_bytes;
        assert!(offset < self.memory.bytes);
        // SAFETY: the offset lies in the allocation, checked above.
        unsafe { self.memory.start.as_ptr().add(offset) }
    }

    fn reserve(&self, index: usize) -> io::Result<()> {
        match &self.memory.arena {
            Some(range) => range.reserve(index * self.buffer_bytes, self.buffer_bytes),
            None => Ok(()),
        }
    }
}

/// Range of one buffer, which a [`Bytes`] of the pool owns.
struct Chunk {
    shared: Arc<Shared>,
    index: u16,
    start: u32,
    length: u32,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        let pointer = self.shared.pointer(self.index as usize);
        // SAFETY: `hand_out` checked the range, which is initialised; the fill
        // mark lies behind it, so nobody writes to it while this chunk holds the
        // buffer, and the memory lives as long as `shared`.
        unsafe {
            std::slice::from_raw_parts(pointer.add(self.start as usize), self.length as usize)
        }
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let index = self.index as usize;
        if self.shared.returns.unhold(index)
            && self.shared.returns.send_back(index)
            && let Some(waker) = self.shared.waker.get()
        {
            waker.wake();
        }
    }
}

/// Zeroed pages of their own. Straight from the system where it is known how: an
/// allocator may touch or keep them, and a page that no byte ever reached should
/// cost nothing.
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
    /// The memory is a part of the broker's arena, which frees it.
    arena: Option<ArenaRange>,
}

impl Memory {
    /// The first bytes of a range of the arena, which this pool alone writes to.
    fn in_arena(range: ArenaRange, bytes: usize) -> Memory {
        assert!(bytes <= range.bytes());
        Memory { start: range.start(), bytes, arena: Some(range) }
    }
}

#[cfg(unix)]
impl Memory {
    fn new(bytes: usize) -> Memory {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        assert!(bytes > 0);
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at no given address touches nobody's memory.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::PRIVATE)
                .expect("address space for the receive pool")
        };
        let start = NonNull::new(start.cast()).expect("a mapping is not at 0");
        Memory { start, bytes, arena: None }
    }
}

#[cfg(unix)]
impl Drop for Memory {
    fn drop(&mut self) {
        if self.arena.is_some() {
            return;
        }
        // SAFETY: mapped in `new` with this size, and nobody refers to it any more.
        // Failing would leak it, which is all that can be done then.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(not(unix))]
impl Memory {
    fn layout(bytes: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(bytes, PAGE_BYTES).expect("a pool's size is bounded")
    }

    fn new(bytes: usize) -> Memory {
        assert!(bytes > 0);
        // SAFETY: the size is not zero.
        let start = unsafe { std::alloc::alloc_zeroed(Memory::layout(bytes)) };
        let Some(start) = NonNull::new(start) else {
            std::alloc::handle_alloc_error(Memory::layout(bytes))
        };
        Memory { start, bytes, arena: None }
    }
}

#[cfg(not(unix))]
impl Drop for Memory {
    fn drop(&mut self) {
        if self.arena.is_some() {
            return;
        }
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), Memory::layout(self.bytes)) }
    }
}

// SAFETY: the memory is plain bytes; who may touch which of them and when is the
// pool's invariant, and does not depend on the thread.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

#[cfg(test)]
mod tests;
