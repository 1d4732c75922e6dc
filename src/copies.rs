//! Copies of what laggards hold, made once per chunk however many share it.
//!
//! A slow client's queue pins receive buffers, which are few. When they run
//! short, the ranges that blocked queues hold move to memory of their own, and
//! the buffers go back to the ring. The chunk is the unit: every slice of it that
//! any of the queues holds moves into one copy of the span they cover.
//!
//! Decision: `docs/decisions/006-grace-before-copying.md`.

use bytes::{Bytes, BytesMut};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_platform::Slice;

use crate::budget::Budget;

/// One round of copying out: first every slice is noted, then each is copied.
pub struct Copies {
    spans: HashMap<(usize, usize), Span, FixedState>,
    budget: Budget,
    /// Bytes copied in this round.
    pub copied_bytes: u64,
}

struct Span {
    start: usize,
    end: usize,
    copy: Option<Bytes>,
}

impl Copies {
    /// Returns an empty round; its memory is charged to `budget`.
    pub fn new(budget: Budget) -> Copies {
        Copies { spans: HashMap::with_hasher(FixedState::default()), budget, copied_bytes: 0 }
    }

    /// Notes that [`Copies::copy`] will be called with this slice.
    pub fn note(&mut self, slice: &Slice) {
        let span = self.spans.entry(key(slice)).or_insert(Span {
            start: slice.start(),
            end: slice.end(),
            copy: None,
        });
        span.start = span.start.min(slice.start());
        span.end = span.end.max(slice.end());
    }

    /// Returns a slice of the same bytes in memory of their own.
    ///
    /// # Panics
    /// If the slice was not noted: a programmer's error.
    pub fn copy(&mut self, slice: &Slice) -> Slice {
        let span = self.spans.get_mut(&key(slice)).expect("every slice was noted");
        let copy = span.copy.get_or_insert_with(|| {
            let bytes = &slice.chunk()[span.start..span.end];
            self.copied_bytes += bytes.len() as u64;
            self.budget.own(BytesMut::from(bytes))
        });
        Slice::new(copy.clone(), slice.start() - span.start, slice.end() - span.start)
    }
}

/// Returns the key of a slice's chunk, its place in memory: while a slice of a chunk
/// lives, no other chunk is there.
fn key(slice: &Slice) -> (usize, usize) {
    (slice.chunk().as_ptr().addr(), slice.chunk().len())
}
