//! Shared memory where the system has none.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::MemoryUse;
use crate::Waker;
use crate::io::{Completion, Conn, IoStats};

/// Memory of a broker that its local clients read in place: there is none.
#[derive(Debug)]
pub enum BrokerArena {}

impl BrokerArena {
    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn new(_shards: usize) -> io::Result<Arc<BrokerArena>> {
        Err(unsupported())
    }

    /// The section of one shard.
    pub fn section(self: &Arc<BrokerArena>, _shard: usize) -> ArenaSection {
        match **self {}
    }
}

/// Part of the arena that one shard writes to: there is none.
#[derive(Clone, Copy, Debug)]
pub enum ArenaSection {}

impl ArenaSection {
    pub(crate) fn receive_range(&self) -> ArenaRange {
        match *self {}
    }
}

/// Memory of one pool: there is none.
#[derive(Debug)]
pub(crate) enum ArenaRange {}

impl ArenaRange {
    pub(crate) fn start(&self) -> NonNull<u8> {
        match *self {}
    }

    pub(crate) fn bytes(&self) -> usize {
        match *self {}
    }

    pub(crate) fn reserve(&self, _at: usize, _bytes: usize) -> io::Result<()> {
        match *self {}
    }
}

/// Memory of one client: there is none.
#[derive(Debug)]
pub enum ClientMemory {}

impl ClientMemory {
    /// Bytes that are reserved when it is made.
    pub const FIRST_BYTES: usize = 0;

    /// Bytes that are reserved with the largest ring.
    pub const MAX_BYTES: usize = 0;

    /// Fails.
    ///
    /// # Errors
    /// Always.
    pub fn new() -> io::Result<Arc<ClientMemory>> {
        Err(unsupported())
    }

    /// Does nothing.
    pub fn refuse_ring(&self) {}

    /// Does nothing.
    ///
    /// # Errors
    /// Never.
    pub fn reserve_ring(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Shared memory of one back end: there is none.
#[derive(Debug)]
pub(crate) struct SharedMemory;

impl SharedMemory {
    pub(crate) fn new(section: Option<ArenaSection>, _waker: Waker) -> SharedMemory {
        match section {
            Some(section) => match section {},
            None => SharedMemory,
        }
    }

    pub(crate) fn receive(&mut self, _conn: Conn) {}

    pub(crate) fn stop_receive(&mut self, _conn: Conn) {}

    pub(crate) fn receive_into(&mut self, _conn: Conn, _buffer: BytesMut, _length: usize) {}

    pub(crate) fn end_receiving(&mut self, _conn: Conn) {}

    pub(crate) fn put_back(
        &mut self,
        _conn: Conn,
        _chunk: &Bytes,
        _bytes: usize,
        _frame_bytes: usize,
    ) -> bool {
        false
    }

    pub(crate) fn is_read(&mut self, _conn: Conn) -> bool {
        true
    }

    pub(crate) fn allow_largest_ring(&mut self, _conn: Conn) {}

    pub(crate) fn on_writable(&mut self, _conn: Conn) {}

    pub(crate) fn arena_bytes(&self) -> usize {
        0
    }

    pub(crate) fn usage(&self, _conn: Conn) -> Option<MemoryUse> {
        None
    }

    pub(crate) fn has_work(&self) -> bool {
        false
    }

    pub(crate) fn starved(&self) -> bool {
        false
    }

    pub(crate) fn add_stats(&self, _stats: &mut IoStats) {}

    pub(crate) fn starvations(&self) -> u64 {
        0
    }

    pub(crate) fn start(
        &mut self,
        _is_pressed: impl FnOnce() -> bool,
        _starves: bool,
        _completions: &mut Vec<Completion>,
    ) {
    }

    pub(crate) fn may_sleep(&mut self, _starves: bool) -> bool {
        true
    }

    pub(crate) fn turn(&mut self, _budget: usize, _completions: &mut Vec<Completion>) -> usize {
        0
    }
}

fn unsupported() -> io::Error {
    let text = "this system has no memory files that can be sealed";
    io::Error::new(io::ErrorKind::Unsupported, text)
}
