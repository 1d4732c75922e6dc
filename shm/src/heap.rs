//! Zeroed memory of one process, for both ends within it: tests and simulations.
//!
//! Invariant: its owner alone frees it, when nobody refers to it any more.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// Alignment of the memory in bytes, as that of a mapping.
const ALIGNMENT_BYTES: usize = 4096;

/// The memory.
#[derive(Debug)]
pub(crate) struct Heap {
    start: NonNull<u8>,
    layout: Layout,
}

impl Heap {
    /// Allocates so many bytes.
    ///
    /// # Panics
    /// If it is none, or more than there are addresses.
    pub(crate) fn new(bytes: usize) -> Heap {
        assert!(bytes > 0);
        let layout = Layout::from_size_align(bytes, ALIGNMENT_BYTES).expect("a size in reason");
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Heap { start, layout }
    }

    /// The first byte.
    #[inline]
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

// SAFETY: plain bytes; who may touch which of them is the business of the types that own
// it, and does not depend on the thread.
unsafe impl Send for Heap {}
// SAFETY: as above.
unsafe impl Sync for Heap {}
