//! The broker's memory that clients read in place.
//!
//! One file for all shards of a broker: a client maps it once, and a range of it is
//! named by its offset, whichever shard received the bytes.
//!
//! ```text
//!   [ shard 0's pools | shard 1's pools | … ]     one file, one mapping
//!        ^ offset, length: what a descriptor names
//! ```
//! It does not know what is in use: that is the business of the pools that are cut out
//! of it.
//!
//! Invariant: the broker alone can write to it: the file is sealed so that others can map
//! it to read only.

use std::io;
use std::ops::Range;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, PoisonError};

use crate::heap::Heap;
#[cfg(target_os = "linux")]
use crate::memory::{self, Mapping};

/// Bytes of a page, of which an arena's memory is reserved.
const PAGE_BYTES: usize = 4096;

/// The broker's side.
#[derive(Debug)]
pub struct Arena {
    start: NonNull<u8>,
    bytes: usize,
    memory: Memory,
}

/// The memory of an arena, which frees it.
#[derive(Debug)]
enum Memory {
    #[cfg(target_os = "linux")]
    File(OwnedFd, #[allow(dead_code, reason = "it unmaps")] Mapping),
    /// Within one process.
    Heap(#[allow(dead_code, reason = "it frees")] Heap, Mutex<Reserved>),
}

/// Pages that are reserved, as a system does that has so many.
#[derive(Debug)]
struct Reserved {
    pages: Vec<bool>,
    left: usize,
}

impl Reserved {
    fn reserve(&mut self, range: Range<usize>) -> io::Result<()> {
        let pages = &mut self.pages[range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES)];
        let more = pages.iter().filter(|is_there| !**is_there).count();
        self.left = self.left.checked_sub(more).ok_or(io::ErrorKind::OutOfMemory)?;
        pages.fill(true);
        Ok(())
    }
}

impl Arena {
    /// Makes an arena of this size, a multiple of the page. None of it is reserved: see
    /// [`Arena::reserve`].
    ///
    /// # Errors
    /// What the system says: it has no such files, cannot seal them, or has no room.
    pub fn new(bytes: usize) -> io::Result<Arc<Arena>> {
        #[cfg(target_os = "linux")]
        {
            let file = memory::create("netcluster-arena", bytes)?;
            let mapping = Mapping::new(file.as_fd(), 0, bytes)?;
            memory::seal(file.as_fd(), true)?;
            let start = mapping.start();
            Ok(Arc::new(Arena { start, bytes, memory: Memory::File(file, mapping) }))
        }
        #[cfg(not(target_os = "linux"))]
        {
            let text = format!("this system has no memory files, of {bytes} bytes, to be sealed");
            Err(io::Error::new(io::ErrorKind::Unsupported, text))
        }
    }

    /// Makes an arena within one process, of which so many bytes can be reserved.
    pub fn in_memory(bytes: usize, reservable_bytes: usize) -> Arc<Arena> {
        let heap = Heap::new(bytes);
        let start = heap.start();
        let pages = vec![false; bytes.div_ceil(PAGE_BYTES)];
        let reserved = Reserved { pages, left: reservable_bytes / PAGE_BYTES };
        let memory = Memory::Heap(heap, Mutex::new(reserved));
        Arc::new(Arena { start, bytes, memory })
    }

    /// Reserves a range: touching it before may end the process, if the system is out of
    /// memory. To be called off the hot path, once for each range.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve(&self, range: Range<usize>) -> io::Result<()> {
        match &self.memory {
            #[cfg(target_os = "linux")]
            Memory::File(file, _) => memory::reserve(file.as_fd(), range.start, range.len()),
            Memory::Heap(_, reserved) => {
                reserved.lock().unwrap_or_else(PoisonError::into_inner).reserve(range)
            }
        }
    }

    /// The file, to be given to clients; `None` within one process.
    #[cfg(target_os = "linux")]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.memory {
            Memory::File(file, _) => Some(file.as_fd()),
            Memory::Heap(..) => None,
        }
    }

    /// Number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first byte. Whoever cuts pools out of the arena sees to it that they do not
    /// overlap, and that nobody writes what somebody reads.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Offset of bytes that lie in the arena; `None` if they lie elsewhere.
    #[inline]
    pub fn offset_of(&self, bytes: &[u8]) -> Option<usize> {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.start.as_ptr() as usize);
        let end = offset.checked_add(bytes.len())?;
        (end <= self.bytes).then_some(offset)
    }
}

// SAFETY: plain bytes; who may touch which of them is the business of the pools that are cut
// out of it, and does not depend on the thread.
unsafe impl Send for Arena {}
// SAFETY: as above.
unsafe impl Sync for Arena {}

/// A client's side.
#[derive(Debug)]
pub struct ArenaView {
    start: NonNull<u8>,
    bytes: usize,
    _memory: ViewMemory,
}

/// The memory of a view, which keeps it mapped.
#[derive(Debug)]
enum ViewMemory {
    #[cfg(target_os = "linux")]
    Mapped(#[allow(dead_code, reason = "it unmaps")] Mapping),
    InMemory(#[allow(dead_code, reason = "it frees")] Arc<Arena>),
}

impl ArenaView {
    /// Maps an arena that a broker gave.
    ///
    /// # Errors
    /// It is no sealed file of that size, or cannot be mapped.
    #[cfg(target_os = "linux")]
    pub fn new(file: OwnedFd, bytes: usize) -> io::Result<ArenaView> {
        memory::check(&file, bytes)?;
        let mapping = Mapping::read_only(file.as_fd(), bytes)?;
        let start = mapping.start();
        Ok(ArenaView { start, bytes, _memory: ViewMemory::Mapped(mapping) })
    }

    /// The view of an arena within one process.
    pub fn in_memory(arena: Arc<Arena>) -> ArenaView {
        let (start, bytes) = (arena.start, arena.bytes);
        ArenaView { start, bytes, _memory: ViewMemory::InMemory(arena) }
    }

    /// Number of bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bytes of a range; `None` if it does not lie in the arena.
    ///
    /// They do not change before the descriptor that names them is released, unless the
    /// broker has revoked them because it ended the connection. Then they may be those of
    /// other events: whoever reads them checks [`Region::is_revoked`](crate::Region) before
    /// he trusts what he read.
    #[inline]
    pub fn range(&self, offset: u64, bytes: u32) -> Option<&[u8]> {
        let end = offset.checked_add(u64::from(bytes))?;
        if end > self.bytes as u64 {
            return None;
        }
        // SAFETY: the range lies in the mapping, whose file cannot shrink. The broker, whom
        // the client trusts with all it hears, writes there only after the release.
        Some(unsafe {
            let start = self.start.as_ptr().add(offset as usize);
            std::slice::from_raw_parts(start, bytes as usize)
        })
    }
}

// SAFETY: as for the broker's side, and it only reads.
unsafe impl Send for ArenaView {}
// SAFETY: as above.
unsafe impl Sync for ArenaView {}
