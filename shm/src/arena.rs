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
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use crate::memory::{self, Mapping};

/// The broker's side.
#[derive(Debug)]
pub struct Arena {
    file: OwnedFd,
    mapping: Mapping,
}

impl Arena {
    /// Makes an arena of this size, a multiple of the page. None of it is reserved: see
    /// [`Arena::reserve`].
    ///
    /// # Errors
    /// What the system says: it has no such files, cannot seal them, or has no room.
    pub fn new(bytes: usize) -> io::Result<Arc<Arena>> {
        let file = memory::create("netcluster-arena", bytes)?;
        let mapping = Mapping::new(file.as_fd(), 0, bytes)?;
        memory::seal(file.as_fd(), true)?;
        Ok(Arc::new(Arena { file, mapping }))
    }

    /// Reserves a range: touching it before may end the process, if the system is out of
    /// memory. To be called off the hot path, once for each range.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve(&self, range: Range<usize>) -> io::Result<()> {
        memory::reserve(self.file.as_fd(), range.start, range.len())
    }

    /// The file, to be given to clients.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Number of bytes.
    pub fn bytes(&self) -> usize {
        self.mapping.bytes()
    }

    /// The first byte. Whoever cuts pools out of the arena sees to it that they do not
    /// overlap, and that nobody writes what somebody reads.
    pub fn start(&self) -> NonNull<u8> {
        self.mapping.start()
    }

    /// Offset of bytes that lie in the arena; `None` if they lie elsewhere.
    #[inline]
    pub fn offset_of(&self, bytes: &[u8]) -> Option<usize> {
        let offset = (bytes.as_ptr() as usize).wrapping_sub(self.mapping.start().as_ptr() as usize);
        let end = offset.checked_add(bytes.len())?;
        (end <= self.mapping.bytes()).then_some(offset)
    }
}

/// A client's side.
#[derive(Debug)]
pub struct ArenaView {
    mapping: Mapping,
}

impl ArenaView {
    /// Maps an arena that a broker gave.
    ///
    /// # Errors
    /// It is no sealed file of that size, or cannot be mapped.
    pub fn new(file: OwnedFd, bytes: usize) -> io::Result<ArenaView> {
        memory::check(&file, bytes)?;
        Ok(ArenaView { mapping: Mapping::read_only(file.as_fd(), bytes)? })
    }

    /// Number of bytes.
    pub fn bytes(&self) -> usize {
        self.mapping.bytes()
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
        if end > self.mapping.bytes() as u64 {
            return None;
        }
        // SAFETY: the range lies in the mapping, whose file cannot shrink. The broker, whom
        // the client trusts with all it hears, writes there only after the release.
        Some(unsafe {
            let start = self.mapping.start().as_ptr().add(offset as usize);
            std::slice::from_raw_parts(start, bytes as usize)
        })
    }
}
