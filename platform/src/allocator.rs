//! Giving memory back to the system.
//!
//! Decision: `docs/decisions/007-mimalloc-without-huge-pages.md`.

/// Gives back what the calling thread has freed and its allocator keeps for later. It
/// takes milliseconds where that is much: for a moment when nobody waits.
///
/// Does nothing without the feature `mimalloc`, where the allocator is another.
#[cfg(feature = "mimalloc")]
pub fn give_back_memory() {
    use libmimalloc_sys as _;

    unsafe extern "C" {
        fn mi_collect(force: bool);
    }

    // SAFETY: it may be called at any time, from any thread, and concerns free memory
    // only; mimalloc makes a heap for a thread that has none.
    unsafe { mi_collect(true) }
}

/// Gives back what the calling thread has freed and its allocator keeps for later: not
/// known how for this allocator.
#[cfg(not(feature = "mimalloc"))]
pub fn give_back_memory() {}
