//! Shared memory on Linux.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use netcluster_shm::{Bells, Region, RegionFiles, layout};

/// Memory of one client, made by the broker.
#[derive(Debug)]
pub struct ClientMemory(Inner);

/// The memory, and how to wake the client.
#[derive(Debug)]
enum Inner {
    Files(RegionFiles),
    /// Memory of one process, for simulations.
    Simulated(Arc<Region>, [AtomicBool; 2]),
}

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
        Ok(Arc::new(ClientMemory(Inner::Files(RegionFiles::new()?))))
    }

    /// Makes memory of this process, for a simulated client.
    ///
    /// # Errors
    /// Never.
    pub fn in_memory() -> io::Result<Arc<ClientMemory>> {
        let bells = [AtomicBool::new(false), AtomicBool::new(false)];
        Ok(Arc::new(ClientMemory(Inner::Simulated(Region::in_memory(), bells))))
    }

    /// Reserves the largest ring. To be called off the shards' threads.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve_ring(&self) -> io::Result<()> {
        match &self.0 {
            Inner::Files(files) => files.reserve_ring(),
            Inner::Simulated(..) => Ok(()),
        }
    }

    /// Tells the client that nothing of its ring is taken: all of it stays its own.
    pub fn refuse_ring(&self) {
        self.region().end_ring(0);
    }

    /// The shared words and bytes.
    pub(crate) fn region(&self) -> &Arc<Region> {
        match &self.0 {
            Inner::Files(files) => files.region(),
            Inner::Simulated(region, _) => region,
        }
    }

    /// Rings for descriptors.
    pub(crate) fn ring_client(&self) {
        match &self.0 {
            Inner::Files(files) => files.bells().client.ring(),
            Inner::Simulated(_, [client, _]) => client.store(true, Ordering::SeqCst),
        }
    }

    /// Rings for room in the ring.
    pub(crate) fn ring_room(&self) {
        match &self.0 {
            Inner::Files(files) => files.bells().room.ring(),
            Inner::Simulated(_, [_, room]) => room.store(true, Ordering::SeqCst),
        }
    }

    fn files(&self) -> io::Result<&RegionFiles> {
        match &self.0 {
            Inner::Files(files) => Ok(files),
            Inner::Simulated(..) => {
                let text = "simulated memory has no descriptors";
                Err(io::Error::new(io::ErrorKind::Unsupported, text))
            }
        }
    }

    /// The bells.
    ///
    /// # Errors
    /// It is simulated.
    pub(crate) fn bells(&self) -> io::Result<&Arc<Bells>> {
        self.files().map(RegionFiles::bells)
    }

    /// Descriptors that the client is given.
    ///
    /// # Errors
    /// It is simulated.
    pub(crate) fn descriptors(&self) -> io::Result<[BorrowedFd<'_>; 4]> {
        self.files().map(RegionFiles::descriptors)
    }
}
