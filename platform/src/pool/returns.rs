//! Return of buffers to the pool that owns them, from whichever thread
//! drops the last range of one.
//!
//! ```text
//!   any thread                                 the owning shard
//!   count[i] 1 → 0, set bit i of word[i/64]    swap word with 0: the set bits
//!   if wanted: unset it, wake the owner        are buffers that came back
//! ```
//! Invariant: a buffer's bit is set exactly once per time that its count falls
//! to zero, and by then nobody looks at its memory. It knows nothing of the
//! memory itself.

// `cfg(loom)` is set by whoever checks the model and unknown to Cargo.
#![allow(unexpected_cfgs)]

use super::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};

/// Number of buffers that one word stands for.
const WORD_BITS: usize = 64;

/// Reference counts of a pool's buffers, and which ones fell to zero.
pub(super) struct Returns {
    counts: Box<[AtomicU32]>,
    words: Box<[AtomicU64]>,
    wanted: AtomicBool,
}

impl Returns {
    pub(super) fn new(buffers: usize) -> Returns {
        Returns {
            counts: (0..buffers).map(|_| AtomicU32::new(0)).collect(),
            words: (0..buffers.div_ceil(WORD_BITS)).map(|_| AtomicU64::new(0)).collect(),
            wanted: AtomicBool::new(false),
        }
    }

    /// Adds the first holder of a buffer that nobody holds.
    pub(super) fn hold_first(&self, index: usize) {
        let before = self.counts[index].swap(1, Ordering::Relaxed);
        debug_assert_eq!(before, 0, "a free buffer has no holders");
    }

    /// Adds a holder, made by one that exists.
    pub(super) fn hold(&self, index: usize) {
        self.counts[index].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there is one holder. If that is the caller, nobody else looks at the memory.
    pub(super) fn is_held_once(&self, index: usize) -> bool {
        // Acquire: what the others read happens before what the caller writes.
        self.counts[index].load(Ordering::Acquire) == 1
    }

    /// Gives up one hold. True if it was the last: the caller decides how the
    /// buffer gets back.
    #[must_use]
    pub(super) fn unhold(&self, index: usize) -> bool {
        // Release: what this holder read happens before the buffer's next use.
        // Acquire by the last one: it passes on what all others did.
        if self.counts[index].fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        fence(Ordering::Acquire);
        true
    }

    /// Sends a buffer back whose last hold was given up. True if the owner waits
    /// for it and must be woken.
    #[must_use]
    pub(super) fn send_back(&self, index: usize) -> bool {
        self.words[index / WORD_BITS].fetch_or(1 << (index % WORD_BITS), Ordering::Release);
        // With the fence in `want`: either the owner's `collect` after it sees the
        // bit, or this thread sees `wanted`. Anything weaker lets both miss, and a
        // starved shard would sleep on a free buffer.
        fence(Ordering::SeqCst);
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::Relaxed)
    }

    /// Asks to be woken by the next buffer that comes back. Call `collect` after.
    pub(super) fn want(&self) {
        self.wanted.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Number of buffers that came back and are not collected.
    pub(super) fn uncollected(&self) -> usize {
        self.words.iter().map(|word| word.load(Ordering::Relaxed).count_ones() as usize).sum()
    }

    /// Calls `found` for each buffer that came back since the last call.
    pub(super) fn collect(&self, mut found: impl FnMut(usize)) {
        for (word_index, word) in self.words.iter().enumerate() {
            // The plain look first keeps the line shared while nothing came back.
            if word.load(Ordering::Relaxed) == 0 {
                continue;
            }
            // Acquire: the buffers' next users come after their last readers.
            let mut bits = word.swap(0, Ordering::Acquire);
            while bits != 0 {
                found(word_index * WORD_BITS + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::thread;

    #[test]
    fn loom_two_holders_send_a_buffer_back_once() {
        loom::model(|| {
            let returns = Arc::new(Returns::new(1));
            returns.hold_first(0);
            returns.hold(0);
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let returns = Arc::clone(&returns);
                    thread::spawn(move || {
                        if returns.unhold(0) {
                            let _ = returns.send_back(0);
                        }
                    })
                })
                .collect();
            let mut found = 0;
            returns.collect(|_| found += 1);
            for thread in threads {
                thread.join().unwrap();
            }
            returns.collect(|_| found += 1);
            assert_eq!(found, 1);
        });
    }

    #[test]
    fn loom_a_starved_owner_sees_the_buffer_or_is_woken() {
        loom::model(|| {
            let returns = Arc::new(Returns::new(1));
            returns.hold_first(0);
            let thread = {
                let returns = Arc::clone(&returns);
                thread::spawn(move || returns.unhold(0) && returns.send_back(0))
            };
            returns.want();
            let mut found = false;
            returns.collect(|_| found = true);
            let woken = thread.join().unwrap();
            assert!(found || woken);
        });
    }
}
