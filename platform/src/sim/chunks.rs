//! The simulated buffer pool of one shard: it only counts.
//!
//! ```text
//!   chunk   [ pad 0–7 bytes | received bytes ]     freed with its last `Bytes`
//! ```
//! The pad moves the start of a chunk off any alignment, as in the real pool.
//! Invariant: `pinned` is the number of chunks that are alive anywhere, also on
//! other shards.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

/// Counts the chunks that are alive.
#[derive(Debug)]
pub(super) struct ChunkPool {
    buffers: u32,
    pinned: Arc<AtomicU32>,
}

impl ChunkPool {
    pub(super) fn new(buffers: u32) -> ChunkPool {
        ChunkPool { buffers: buffers.max(1), pinned: Arc::default() }
    }

    pub(super) fn buffers(&self) -> u32 {
        self.buffers
    }

    pub(super) fn pinned(&self) -> u32 {
        self.pinned.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pinned() >= self.buffers
    }

    /// Whether enough is free to arm starved connections again.
    pub(super) fn quarter_is_free(&self) -> bool {
        let free = self.buffers.saturating_sub(self.pinned());
        free >= self.buffers.div_ceil(4)
    }

    /// A chunk of the bytes of `memory` from `pad` on; it takes one buffer.
    pub(super) fn chunk(&self, memory: Vec<u8>, pad: usize) -> Bytes {
        self.pinned.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Pinned { memory, pad, pinned: Arc::clone(&self.pinned) })
    }

    /// `chunk` as it is; it takes one buffer as well.
    pub(super) fn pin(&self, chunk: Bytes) -> Bytes {
        self.pinned.fetch_add(1, Ordering::Relaxed);
        Bytes::from_owner(Pinned { memory: chunk, pad: 0, pinned: Arc::clone(&self.pinned) })
    }
}

/// The memory of one chunk; gives its buffer back when it is dropped.
struct Pinned<M> {
    memory: M,
    pad: usize,
    pinned: Arc<AtomicU32>,
}

impl<M: AsRef<[u8]>> AsRef<[u8]> for Pinned<M> {
    fn as_ref(&self) -> &[u8] {
        &self.memory.as_ref()[self.pad..]
    }
}

impl<M> Drop for Pinned<M> {
    fn drop(&mut self) {
        self.pinned.fetch_sub(1, Ordering::Relaxed);
    }
}
