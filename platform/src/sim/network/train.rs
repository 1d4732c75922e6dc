//! Datagrams that travel together: one chunk of memory, cut at equal steps.
//!
//! ```text
//!   chunk   [ datagram 0 | datagram 1 | datagram 2 | last ]     refcounted
//!             segment      segment      segment      1..=segment
//! ```
//! Parts and copies of a train share its memory. Invariant: the chunk is not
//! empty, and `1 <= segment <= chunk.len()`.

use core::net::SocketAddr;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// The most datagrams of one train: what the kernel takes and gives at a time.
pub(super) const MAX_TRAIN_DATAGRAMS: usize = 64;

/// The most bytes of one train: the largest payload of an IPv4 datagram.
pub(super) const MAX_TRAIN_BYTES: usize = 65_507;

/// Datagrams of one sender to one target.
#[derive(Clone, Debug)]
pub(super) struct Train {
    pub(super) chunk: Bytes,
    pub(super) segment: usize,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
}

impl Train {
    /// Number of datagrams in the train.
    pub(super) fn count(&self) -> usize {
        self.chunk.len().div_ceil(self.segment)
    }

    /// The bytes of one datagram.
    pub(super) fn datagram(&self, index: usize) -> &[u8] {
        &self.chunk[self.range(index..index + 1)]
    }

    pub(super) fn datagrams(&self) -> impl Iterator<Item = &[u8]> {
        self.chunk.chunks(self.segment)
    }

    /// The train of the datagrams `indices`, at least one.
    pub(super) fn part(&self, indices: Range<usize>) -> Train {
        let chunk = self.chunk.slice(self.range(indices));
        Train { segment: self.segment.min(chunk.len()), chunk, ..*self }
    }

    /// Makes each datagram a train of its own.
    pub(super) fn singles(&self) -> impl Iterator<Item = Train> {
        (0..self.count()).map(|index| self.part(index..index + 1))
    }

    /// Appends `next` if the two can be one train; returns whether they can.
    pub(super) fn try_join(&mut self, next: &Train) -> bool {
        let is_full = self.chunk.len().is_multiple_of(self.segment);
        let fits = next.segment == self.segment || next.count() == 1;
        let joins = self.from == next.from
            && self.to == next.to
            && is_full
            && fits
            && next.segment <= self.segment
            && self.count() + next.count() <= MAX_TRAIN_DATAGRAMS
            && self.chunk.len() + next.chunk.len() <= MAX_TRAIN_BYTES;
        if joins {
            // What was joined before is nobody else's.
            let mut chunk = std::mem::take(&mut self.chunk).try_into_mut().unwrap_or_else(|it| {
                let mut chunk = BytesMut::with_capacity(it.len() + next.chunk.len());
                chunk.extend_from_slice(&it);
                chunk
            });
            chunk.extend_from_slice(&next.chunk);
            self.chunk = chunk.freeze();
        }
        joins
    }

    fn range(&self, indices: Range<usize>) -> Range<usize> {
        let end = (indices.end * self.segment).min(self.chunk.len());
        indices.start * self.segment..end
    }
}
