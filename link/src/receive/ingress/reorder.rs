//! Datagrams that came before their turn: opened, by number.
//!
//! ```text
//!   fed                 next
//!   |                   |
//!   [ some | some | some | none | some | none | none | some ]
//!     the turn of these    ^ missing: nothing behind goes on
//!     has come
//! ```
//! Bodies lie one behind the other in chunks, so that a datagram costs no
//! allocation of its own.
//!
//! Invariant: the last slot, if there is one, is full; the caller bounds how far
//! ahead slots reach. The bytes of all bodies are counted in the share.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use netcluster_wire::link::DataHeader;

use super::reassembly_budget::Share;
use crate::channel::ChannelHash;

/// Bytes of a chunk that bodies are put into.
const CHUNK_BYTES: usize = 64 << 10;

/// Facts that a data header says of the frames in its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Offset in the body at which the first frame starts.
    pub boundary: Option<usize>,
    /// Ordinal of the first event that starts there or behind.
    pub ordinal: u64,
    /// The channel in force at the boundary.
    pub channel: ChannelHash,
}

impl Facts {
    /// Facts of a datagram.
    #[inline]
    pub fn of(header: &DataHeader, body: &[u8]) -> Facts {
        Facts {
            boundary: header.boundary_in(body.len()),
            ordinal: header.ordinal.get(),
            channel: ChannelHash(header.channel.get()),
        }
    }
}

/// One datagram.
#[derive(Debug)]
pub(super) struct Stored {
    pub facts: Facts,
    pub body: Bytes,
}

/// Reorder buffer: datagrams that came before their turn.
#[derive(Debug)]
pub(super) struct ReorderBuffer {
    slots: VecDeque<Option<Stored>>,
    chunk: BytesMut,
    share: Share,
}

impl ReorderBuffer {
    /// Makes an empty buffer.
    pub fn new(share: Share) -> ReorderBuffer {
        ReorderBuffer { slots: VecDeque::new(), chunk: BytesMut::new(), share }
    }

    /// Whether a body of so many bytes may be put.
    #[inline]
    pub fn has_room(&self, bytes: usize) -> bool {
        self.share.has_room(bytes)
    }

    /// Whether the datagram at this distance from the front is there.
    #[inline]
    pub fn has(&self, ahead: usize) -> bool {
        matches!(self.slots.get(ahead), Some(Some(_)))
    }

    /// Copies and opens a body; it is stored only if that succeeds.
    ///
    /// # Errors
    /// What `open` says.
    pub fn put<E>(
        &mut self,
        ahead: usize,
        facts: Facts,
        body: &[u8],
        open: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.chunk.capacity() < body.len() {
            self.chunk.reserve(CHUNK_BYTES.max(body.len()));
        }
        self.chunk.extend_from_slice(body);
        if let Err(error) = open(&mut self.chunk[..]) {
            self.chunk.clear();
            return Err(error);
        }
        let body = self.chunk.split().freeze();
        self.share.add(body.len());
        if ahead >= self.slots.len() {
            self.slots.resize_with(ahead + 1, || None);
        }
        self.slots[ahead] = Some(Stored { facts, body });
        Ok(())
    }

    /// Takes the front slot, if it is full.
    pub fn pop(&mut self) -> Option<Stored> {
        if !self.has(0) {
            return None;
        }
        let stored = self.slots.pop_front().flatten()?;
        self.share.remove(stored.body.len());
        Some(stored)
    }

    /// Leaves `count` slots behind, whatever is in them.
    #[inline]
    pub fn skip(&mut self, count: u64) {
        // The usual case, for every datagram that comes in its turn.
        if !self.slots.is_empty() {
            self.drop_front(count);
        }
    }

    fn drop_front(&mut self, count: u64) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.slots.len());
        for stored in self.slots.drain(..count).flatten() {
            self.share.remove(stored.body.len());
        }
    }

    /// Distance to the first full slot.
    pub fn first(&self) -> Option<u64> {
        self.slots.iter().position(Option::is_some).map(|at| at as u64)
    }

    /// Distance behind the last full slot.
    pub fn len(&self) -> u64 {
        self.slots.len() as u64
    }

    /// Gives memory back, if nothing is stored: the stream pauses.
    pub fn rest(&mut self) {
        if self.slots.is_empty() && self.slots.capacity() > 0 {
            self.slots = VecDeque::new();
            self.chunk = BytesMut::new();
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.skip(u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::super::reassembly_budget::{FREE_REORDER_BYTES, REORDER_BYTES, ReassemblyBudget};
    use super::*;

    fn reorder() -> ReorderBuffer {
        ReorderBuffer::new(ReassemblyBudget::default().share())
    }

    const FACTS: Facts = Facts { boundary: None, ordinal: 0, channel: ChannelHash::NONE };

    fn put(reorder: &mut ReorderBuffer, ahead: usize, body: &[u8]) {
        reorder.put(ahead, FACTS, body, |_| Ok::<(), ()>(())).unwrap();
    }

    #[test]
    fn datagrams_come_out_by_number_and_stop_at_a_hole() {
        let mut reorder = reorder();
        put(&mut reorder, 3, b"three");
        put(&mut reorder, 0, b"zero");
        put(&mut reorder, 1, b"one");
        assert_eq!(reorder.pop().unwrap().body, b"zero"[..]);
        assert_eq!(reorder.pop().unwrap().body, b"one"[..]);
        assert!(reorder.pop().is_none());
        assert_eq!(reorder.first(), Some(1));
        reorder.skip(1);
        assert_eq!(reorder.pop().unwrap().body, b"three"[..]);
        assert!(reorder.slots.is_empty());
        reorder.skip(u64::MAX);
    }

    #[test]
    fn streams_share_memory_and_each_has_a_little_in_any_case() {
        let budget = ReassemblyBudget::default();
        let (mut greedy, mut other) =
            (ReorderBuffer::new(budget.share()), ReorderBuffer::new(budget.share()));
        let body = vec![0; 1 << 20];
        (1..=REORDER_BYTES / body.len()).for_each(|at| put(&mut greedy, at, &body));
        assert!(!greedy.has_room(1));
        assert!(other.has_room(FREE_REORDER_BYTES) && !other.has_room(FREE_REORDER_BYTES + 1));
        put(&mut other, 1, b"x");
        greedy.skip(2);
        assert!(greedy.has_room(body.len() - 1) && !greedy.has_room(body.len()));
        drop(greedy);
        assert!(other.has_room(REORDER_BYTES - 1));
        other.clear();
        assert!(other.has_room(REORDER_BYTES));
    }

    #[test]
    fn what_does_not_open_leaves_no_trace() {
        let mut reorder = reorder();
        assert_eq!(reorder.put(5, FACTS, b"forged", |_| Err(7)), Err(7));
        assert!(reorder.slots.is_empty());
        put(&mut reorder, 0, b"good");
        assert_eq!(reorder.pop().unwrap().body, b"good"[..]);
    }
}
