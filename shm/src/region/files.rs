//! Memory of one connection as files, and its three bells.
//!
//! The broker makes all of it and passes the descriptors over the local socket, in the
//! order of [`RegionFiles::descriptors`]. The memory counts as the broker's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use super::{Memory, Region};
use crate::doorbell::{Bells, Doorbell};
use crate::layout::{FIRST_BYTES, REGION_BYTES, RING_AT};
use crate::memory::{self, Mapping};

/// Memory of a connection, as the broker made it.
#[derive(Debug)]
pub struct RegionFiles {
    file: OwnedFd,
    region: Arc<Region>,
    bells: Arc<Bells>,
    /// The client's ends of its two bells.
    client_ends: [Doorbell; 2],
}

impl RegionFiles {
    /// Makes a region and reserves what is used at first. To be called off the hot path.
    ///
    /// # Errors
    /// There is no memory or no descriptor, or the system has no such files.
    pub fn new() -> io::Result<RegionFiles> {
        let file = memory::create("netcluster-client", REGION_BYTES)?;
        memory::seal(file.as_fd(), false)?;
        memory::reserve(file.as_fd(), 0, FIRST_BYTES)?;
        let mapping = Mapping::new(file.as_fd(), 0, REGION_BYTES)?;
        let region = Arc::new(Region { memory: Memory::Mapped(mapping) });
        let broker = Doorbell::new()?;
        let ((client, client_end), (room, room_end)) = (Doorbell::pair()?, Doorbell::pair()?);
        Ok(RegionFiles {
            file,
            region,
            bells: Arc::new(Bells { broker, client, room }),
            client_ends: [client_end, room_end],
        })
    }

    /// Reserves the largest ring. To be called off the hot path, before
    /// [`RingReader::allow_largest`](crate::RingReader::allow_largest).
    ///
    /// # Errors
    /// There is no memory.
    pub fn reserve_ring(&self) -> io::Result<()> {
        match &self.region.memory {
            Memory::Mapped(mapping) => memory::populate(self.file.as_fd(), mapping, RING_AT),
            Memory::Heap(_) => Ok(()),
        }
    }

    /// The shared words and bytes.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// The bells.
    pub fn bells(&self) -> &Arc<Bells> {
        &self.bells
    }

    /// The descriptors that the client is given: the memory, then the bells of the broker, the client and
    /// the room.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 4] {
        let [client, room] = &self.client_ends;
        [self.file.as_fd(), self.bells.broker.as_fd(), client.as_fd(), room.as_fd()]
    }
}

/// Memory of a connection, as the client has it.
#[derive(Debug)]
pub struct ClientRegion {
    file: OwnedFd,
    region: Arc<Region>,
    bells: Arc<Bells>,
}

impl ClientRegion {
    /// Maps what a broker gave, in the order of [`RegionFiles::descriptors`].
    ///
    /// # Errors
    /// It is no such memory, or cannot be mapped.
    pub fn new(descriptors: [OwnedFd; 4]) -> io::Result<ClientRegion> {
        let [file, broker, client, room] = descriptors;
        memory::check(&file, REGION_BYTES)?;
        // The ring is mapped by the one who writes to it.
        let mapping = Mapping::new(file.as_fd(), 0, RING_AT)?;
        let [broker, client, room] = [broker, client, room].map(Doorbell::from_fd);
        Ok(ClientRegion {
            file,
            region: Arc::new(Region { memory: Memory::Mapped(mapping) }),
            bells: Arc::new(Bells { broker, client, room }),
        })
    }

    /// The shared words.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// The bells.
    pub fn bells(&self) -> &Arc<Bells> {
        &self.bells
    }

    /// Maps the first bytes of the ring twice, one behind the other.
    pub(crate) fn map_ring(&self, bytes: usize) -> io::Result<Mapping> {
        Mapping::twice(self.file.as_fd(), RING_AT, bytes)
    }
}
