//! The simulated buffer pool of one shard: it only counts, or, where memory is shared, cuts
//! its chunks out of the arena.
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

use crate::ArenaSection;
use crate::pool::{BufferIndex, BufferPool};

/// Bytes of a buffer that lies in the arena, 64 KiB, as those of the real back ends.
const ARENA_BUFFER_BYTES: usize = 64 << 10;

/// The most buffers that lie in the arena: 2 MiB.
const MAX_ARENA_BUFFERS: u32 = 32;

/// Chunks that are alive, and room for more.
#[derive(Debug)]
pub(super) struct ChunkPool {
    buffers: u32,
    pinned: Arc<AtomicU32>,
    in_arena: Option<InArena>,
}

/// Chunks in the arena.
#[derive(Debug)]
struct InArena {
    pool: BufferPool,
    /// The buffer of the next chunk.
    next: Option<BufferIndex>,
}

impl ChunkPool {
    pub(super) fn new(buffers: u32, section: Option<&ArenaSection>) -> ChunkPool {
        let in_arena = section.map(|section| {
            let buffers = buffers.clamp(1, MAX_ARENA_BUFFERS) as usize;
            let range = section.receive_range();
            InArena { pool: BufferPool::in_arena(range, buffers, ARENA_BUFFER_BYTES), next: None }
        });
        ChunkPool { buffers: buffers.max(1), pinned: Arc::default(), in_arena }
    }

    /// The pool in the arena, if memory is shared.
    pub(super) fn in_arena(&mut self) -> Option<&mut BufferPool> {
        self.in_arena.as_mut().map(|it| &mut it.pool)
    }

    pub(super) fn buffers(&self) -> u32 {
        self.in_arena.as_ref().map_or(self.buffers, |it| it.pool.buffers() as u32)
    }

    pub(super) fn pinned(&self) -> u32 {
        let counted = || self.pinned.load(Ordering::Relaxed);
        self.in_arena.as_ref().map_or_else(counted, |it| it.pool.pinned() as u32)
    }

    pub(super) fn is_empty(&mut self) -> bool {
        let Some(InArena { pool, next }) = &mut self.in_arena else {
            return self.pinned() >= self.buffers;
        };
        if next.is_none() {
            pool.collect();
            *next = pool.take();
        }
        next.is_none()
    }

    /// Whether enough is free to arm starved connections again.
    pub(super) fn quarter_is_free(&self) -> bool {
        let free = self.buffers().saturating_sub(self.pinned());
        free >= self.buffers().div_ceil(4)
    }

    /// A chunk of the bytes of `memory` from `pad` on; it takes one buffer, of which there is
    /// one.
    pub(super) fn chunk(&mut self, memory: Vec<u8>, pad: usize) -> Bytes {
        if let Some(InArena { pool, next }) = &mut self.in_arena {
            let index = next.take().expect("the caller looked");
            let bytes = &memory[pad..];
            drop(pool.chunk(index, pad.min(ARENA_BUFFER_BYTES - bytes.len())));
            pool.unfilled(index)[..bytes.len()].copy_from_slice(bytes);
            return pool.last_chunk(index, bytes.len());
        }
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
