//! Shared memory where the system has none.

use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

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

fn unsupported() -> io::Error {
    let text = "this system has no memory files that can be sealed";
    io::Error::new(io::ErrorKind::Unsupported, text)
}
