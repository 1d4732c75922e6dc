//! Whether this is still the process that mapped the memory.
//!
//! A child that was forked has the same rings as its parent: what it put there would
//! destroy what the parent puts. To ask for the own process id costs a system call; a
//! page that the kernel wipes in children costs a load. (The trick is that of random
//! number generators, which must not repeat in a child.)

use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags};

const PAGE_BYTES: usize = 4096;

/// The page.
#[derive(Debug)]
pub struct ForkGuard {
    page: NonNull<AtomicU32>,
}

impl ForkGuard {
    /// Makes the guard of this process.
    ///
    /// # Errors
    /// The kernel, before 4.14, cannot wipe pages.
    pub fn new() -> io::Result<ForkGuard> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at no given address touches nobody's memory.
        let page = unsafe {
            rustix::mm::mmap_anonymous(null_mut(), PAGE_BYTES, access, MapFlags::PRIVATE)?
        };
        let guard = ForkGuard { page: NonNull::new(page.cast()).expect("a mapping is not at 0") };
        // SAFETY: the page is this guard's alone.
        unsafe { rustix::mm::madvise(page, PAGE_BYTES, Advice::LinuxWipeOnFork)? };
        guard.word().store(1, Ordering::Relaxed);
        Ok(guard)
    }

    /// Whether this process is a child that was forked since.
    #[inline(always)]
    pub fn is_forked(&self) -> bool {
        self.word().load(Ordering::Relaxed) == 0
    }

    #[inline(always)]
    fn word(&self) -> &AtomicU32 {
        // SAFETY: the page is mapped, aligned and zero or one as long as the guard lives.
        unsafe { self.page.as_ref() }
    }
}

impl Drop for ForkGuard {
    fn drop(&mut self) {
        // SAFETY: mapped in `new` with this size, and nobody refers to it any more.
        let _ = unsafe { rustix::mm::munmap(self.page.as_ptr().cast(), PAGE_BYTES) };
    }
}

// SAFETY: the page holds one atomic word.
unsafe impl Send for ForkGuard {}
// SAFETY: as above.
unsafe impl Sync for ForkGuard {}
