//! Backlog of frames that wait for room in the ring, in order.
//!
//! It is bounded by those who emit: they pause while a stream is blocked, so it
//! holds what one turn of a shard brought. Nothing in it pins a receive pool.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use netcluster_platform::Slice;

use crate::channel::LinkChannel;

/// Item that waits.
pub(super) enum Item {
    /// Frames of this channel, or a part of one. The first item may start in the
    /// middle of a frame, whose head is laid out already.
    Frames(Arc<LinkChannel>, Slice),
    /// Number of frames that nobody wants.
    Skip(u64),
}

/// Backlog of one outbound stream.
#[derive(Default)]
pub(super) struct Backlog {
    items: VecDeque<Item>,
    bytes: usize,
}

impl Backlog {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all frames in it.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends what is left of a piece behind its first `laid` bytes.
    pub(super) fn push(&mut self, channel: &Arc<LinkChannel>, piece: &Slice, laid: usize) {
        let rest = if piece.is_pooled() {
            Slice::from(Bytes::copy_from_slice(&piece.as_bytes()[laid..]))
        } else {
            let mut rest = piece.clone();
            rest.advance(laid);
            rest
        };
        self.bytes += rest.len();
        self.items.push_back(Item::Frames(channel.clone(), rest));
    }

    /// Appends frames that nobody wants.
    pub(super) fn push_skip(&mut self, frames: u64) {
        if let Some(Item::Skip(before)) = self.items.back_mut() {
            *before += frames;
        } else {
            self.items.push_back(Item::Skip(frames));
        }
    }

    /// Takes the first item out.
    pub(super) fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        if let Item::Frames(_, slice) = &item {
            self.bytes -= slice.len();
        }
        Some(item)
    }

    /// Puts the rest of the first item back.
    pub(super) fn put_back(&mut self, channel: Arc<LinkChannel>, rest: Slice) {
        self.bytes += rest.len();
        self.items.push_front(Item::Frames(channel, rest));
    }

    /// Number of unwanted frames that follow directly behind the first `bytes`.
    pub(super) fn skipped_behind(&self, bytes: usize) -> u64 {
        let mut left = bytes;
        for item in &self.items {
            match item {
                Item::Skip(frames) if left == 0 => return *frames,
                Item::Frames(_, slice) if left > 0 && slice.len() <= left => left -= slice.len(),
                _ => return 0,
            }
        }
        0
    }
}
