//! Shared memory on Linux.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use netcluster_shm::{Bells, Region, RegionFiles, layout};

/// Memory of one client, made by the broker.
#[derive(Debug)]
pub struct ClientMemory(RegionFiles);

impl ClientMemory {
    /// Bytes that are reserved when it is made.
    pub const FIRST_BYTES: usize = layout::FIRST_BYTES;

    /// Bytes that are reserved with the largest ring.
    pub const MAX_BYTES: usize = layout::REGION_BYTES;

    /// Makes memory, reserved as far as it is used at first. To be called off the shards'
    /// threads.
    ///
    /// # Errors
    /// There is no memory or no descriptor, or the system has no such files.
    pub fn new() -> io::Result<Arc<ClientMemory>> {
        Ok(Arc::new(ClientMemory(RegionFiles::new()?)))
    }

    /// Reserves the largest ring. To be called off the shards' threads.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve_ring(&self) -> io::Result<()> {
        self.0.reserve_ring()
    }

    /// Tells the client that nothing of its ring is taken: all of it stays its own.
    pub fn refuse_ring(&self) {
        self.region().end_ring(0);
    }

    /// The shared words and bytes.
    pub(crate) fn region(&self) -> &Arc<Region> {
        self.0.region()
    }

    /// Rings for descriptors.
    pub(crate) fn ring_client(&self) {
        self.bells().client.ring();
    }

    /// Rings for room in the ring.
    pub(crate) fn ring_room(&self) {
        self.bells().room.ring();
    }

    /// The bells.
    pub(crate) fn bells(&self) -> &Arc<Bells> {
        self.0.bells()
    }

    /// Descriptors that the client is given.
    pub(crate) fn descriptors(&self) -> [BorrowedFd<'_>; 4] {
        self.0.descriptors()
    }
}
