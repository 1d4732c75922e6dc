//! Memory files without a name, their seals, and mappings of them.
//!
//! The files vanish with the last process that has them: nothing is left behind by
//! whoever is killed.
//!
//! Invariant: a mapping is of a file that can no longer shrink, and is unmapped by its
//! owner alone.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{NonNull, null_mut};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// Mapped bytes of a file.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    /// Maps bytes of a file, which is sealed against shrinking, to read and write.
    pub(crate) fn new(file: BorrowedFd<'_>, at: usize, bytes: usize) -> io::Result<Mapping> {
        Mapping::map(file, at, bytes, ProtFlags::READ | ProtFlags::WRITE)
    }

    /// Maps bytes of such a file to read only.
    pub(crate) fn read_only(file: BorrowedFd<'_>, bytes: usize) -> io::Result<Mapping> {
        Mapping::map(file, 0, bytes, ProtFlags::READ)
    }

    fn map(
        file: BorrowedFd<'_>,
        at: usize,
        bytes: usize,
        access: ProtFlags,
    ) -> io::Result<Mapping> {
        // SAFETY: a new mapping at no given address touches nobody's memory.
        let start = unsafe {
            rustix::mm::mmap(null_mut(), bytes, access, MapFlags::SHARED, file, at as u64)?
        };
        Ok(Mapping { start: not_null(start), bytes })
    }

    /// Maps the same bytes of such a file twice, one behind the other, to read and write: a
    /// range that begins in the first half is contiguous, also where a ring's end lies in it.
    pub(crate) fn twice(file: BorrowedFd<'_>, at: usize, bytes: usize) -> io::Result<Mapping> {
        // SAFETY: as above; nothing can be read or written there yet.
        let start = unsafe {
            rustix::mm::mmap_anonymous(
                null_mut(),
                2 * bytes,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        // It unmaps both halves, whatever they are by then.
        let mapping = Mapping { start: not_null(start), bytes: 2 * bytes };
        for half in [0, bytes] {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            let flags = MapFlags::SHARED | MapFlags::FIXED;
            // SAFETY: the half lies in the mapping just made, which nobody else knows.
            unsafe {
                let place = mapping.start.as_ptr().add(half).cast();
                rustix::mm::mmap(place, bytes, access, flags, file, at as u64)?;
            }
        }
        Ok(mapping)
    }

    /// The first byte.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Number of bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn not_null(start: *mut c_void) -> NonNull<u8> {
    NonNull::new(start.cast()).expect("a mapping is not at 0")
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` or `twice` with this size, and nobody refers to it any
        // more. Failing would leak it, which is all that can be done then.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

// SAFETY: a mapping is plain bytes; who may touch which of them is the business of the
// types that own it, and does not depend on the thread.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

/// Makes a file of this size, all zero, none of it reserved yet, that is not inherited.
pub(crate) fn create(name: &str, bytes: usize) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Systems may insist that memory says whether it can be executed, or not know the flag.
    let file = match rustix::fs::memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags)?,
        other => other?,
    };
    rustix::fs::ftruncate(&file, bytes as u64)?;
    Ok(file)
}

/// Fixes the size of a file for good. With `read_only` whoever has not mapped it yet can
/// map it to read only.
pub(crate) fn seal(file: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let mut seals = SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    if read_only {
        seals |= SealFlags::FUTURE_WRITE;
    }
    rustix::fs::fcntl_add_seals(file, seals)?;
    Ok(())
}

/// Reserves bytes of a file, so that to touch them never fails.
pub(crate) fn reserve(file: BorrowedFd<'_>, at: usize, bytes: usize) -> io::Result<()> {
    Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), at as u64, bytes as u64)?)
}

/// Reserves mapped bytes, so that to touch them never fails; not by their file, which a
/// client has too and can keep locked. Kernels before 5.14 know only that way.
pub(crate) fn populate(file: BorrowedFd<'_>, mapping: &Mapping, at: usize) -> io::Result<()> {
    assert!(at < mapping.bytes);
    let bytes = mapping.bytes - at;
    // SAFETY: the range lies in the mapping, whose content does not change.
    let outcome = unsafe {
        let start = mapping.start.as_ptr().add(at).cast();
        rustix::mm::madvise(start, bytes, Advice::LinuxPopulateWrite)
    };
    match outcome {
        Err(Errno::INVAL) => reserve(file, at, bytes),
        outcome => Ok(outcome?),
    }
}

/// Checks that a file which another process made is at least this long and cannot become
/// shorter.
pub(crate) fn check(file: &impl AsFd, bytes: usize) -> io::Result<()> {
    let seals = rustix::fs::fcntl_get_seals(file)?;
    let size = rustix::fs::fstat(file)?.st_size;
    if !seals.contains(SealFlags::SHRINK) || size < 0 || (size as u64) < bytes as u64 {
        let text = "the broker's memory file is too short, or could become so";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(())
}
