//! The memory that incomplete large frames, and datagrams before their turn, may
//! take over all streams.
//!
//! Frames of up to [`LARGE_FRAME_BYTES`] fit the chunk that every stream has
//! anyway; a larger one is charged whole from the time its header is known until
//! it is complete or given up. What is over the limit waits, and its sender with
//! it; a single frame is always let through, however large.
//!
//! Datagrams before their turn are those behind a hole. Whoever opens streams with
//! holes and never fills them could else take any amount of memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that incomplete frames of all streams take together.
pub const REASSEMBLY_BYTES: usize = 64 << 20;

/// Frames up to this size are not charged.
pub const LARGE_FRAME_BYTES: usize = 256 << 10;

const _: () = assert!(LARGE_FRAME_BYTES < REASSEMBLY_BYTES);

/// Bytes of datagrams before their turn, of all streams together: a full store of
/// more than forty streams with the usual size of datagrams.
pub const REORDER_BYTES: usize = 256 << 20;

/// Of these, a stream has so many in any case, whatever others do.
pub const FREE_REORDER_BYTES: usize = 256 << 10;

const _: () = assert!(FREE_REORDER_BYTES < REORDER_BYTES);

/// The budget. Cloning gives another handle to it.
#[derive(Clone, Debug)]
pub struct Reassembly {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    reorder_bytes: AtomicUsize,
}

/// What one stream keeps of datagrams before their turn, counted with all others'.
#[derive(Debug)]
pub(super) struct Share {
    shared: Arc<Shared>,
    bytes: usize,
}

/// Bytes that are charged until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Reassembly {
    /// A budget of so many bytes.
    pub fn new(limit_bytes: usize) -> Reassembly {
        let (used_bytes, reorder_bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Reassembly { shared: Arc::new(Shared { limit_bytes, used_bytes, reorder_bytes }) }
    }

    /// The share of one more stream.
    pub(super) fn share(&self) -> Share {
        Share { shared: self.shared.clone(), bytes: 0 }
    }

    /// Bytes charged now.
    pub fn used_bytes(&self) -> usize {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    /// Room for a frame of so many bytes; `None` if there is none now.
    pub(super) fn charge(&self, bytes: usize) -> Option<Charge> {
        let limit = self.shared.limit_bytes;
        let fits = |used: usize| match used.checked_add(bytes) {
            Some(sum) if used == 0 || sum <= limit => Some(sum),
            _ => None,
        };
        self.shared.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Charge { shared: self.shared.clone(), bytes })
    }
}

impl Share {
    /// Whether so many bytes may be kept besides.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let all_bytes = self.shared.reorder_bytes.load(Ordering::Relaxed);
        self.bytes + bytes <= FREE_REORDER_BYTES || all_bytes + bytes <= REORDER_BYTES
    }

    /// So many bytes are kept.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.shared.reorder_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// So many are no longer.
    pub(super) fn remove(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.shared.reorder_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.remove(self.bytes);
    }
}

impl Default for Reassembly {
    fn default() -> Reassembly {
        Reassembly::new(REASSEMBLY_BYTES)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.shared.used_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frame_always_fits_and_more_only_within_the_limit() {
        let budget = Reassembly::new(100);
        let first = budget.charge(1000).expect("nobody else holds any");
        assert!(budget.charge(1).is_none());
        drop(first);
        let _first = budget.charge(60).unwrap();
        assert!(budget.charge(41).is_none());
        let second = budget.charge(40).unwrap();
        assert_eq!(budget.used_bytes(), 100);
        drop(second);
        assert_eq!(budget.used_bytes(), 60);
    }
}
