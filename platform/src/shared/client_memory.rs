//! Memory of one client: as files, or, for the simulator, within one process.

use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::BorrowedFd;
use std::sync::Arc;

#[cfg(target_os = "linux")]
use netcluster_shm::RegionFiles;
use netcluster_shm::{Bells, Region, layout};

/// Memory of one client, made by the broker.
#[derive(Debug)]
pub struct ClientMemory {
    region: Arc<Region>,
    bells: Arc<Bells>,
    #[cfg(target_os = "linux")]
    files: Option<RegionFiles>,
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
    #[cfg(target_os = "linux")]
    pub fn new() -> io::Result<Arc<ClientMemory>> {
        let files = RegionFiles::new()?;
        let (region, bells) = (Arc::clone(files.region()), Arc::clone(files.bells()));
        Ok(Arc::new(ClientMemory { region, bells, files: Some(files) }))
    }

    /// Fails: the system has no such files.
    ///
    /// # Errors
    /// Always.
    #[cfg(not(target_os = "linux"))]
    pub fn new() -> io::Result<Arc<ClientMemory>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes memory within one process.
    #[cfg(feature = "sim")]
    pub fn in_memory() -> Arc<ClientMemory> {
        Arc::new(ClientMemory {
            region: Region::in_memory(),
            bells: Bells::in_memory(),
            #[cfg(target_os = "linux")]
            files: None,
        })
    }

    /// Reserves the largest ring. To be called off the shards' threads.
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve_ring(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        if let Some(files) = &self.files {
            return files.reserve_ring();
        }
        Ok(())
    }

    /// Tells the client that nothing of its ring is taken: all of it stays its own.
    pub fn refuse_ring(&self) {
        self.region.end_ring(0);
    }

    /// The shared words and bytes.
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Rings for descriptors.
    pub(crate) fn ring_client(&self) {
        self.bells.client.ring();
    }

    /// Rings for room in the ring.
    pub(crate) fn ring_room(&self) {
        self.bells.room.ring();
    }

    /// The bells.
    pub(crate) fn bells(&self) -> &Arc<Bells> {
        &self.bells
    }

    /// Descriptors that the client is given; `None` within one process.
    #[cfg(target_os = "linux")]
    pub(crate) fn descriptors(&self) -> Option<[BorrowedFd<'_>; 4]> {
        self.files.as_ref().map(RegionFiles::descriptors)
    }
}
