//! Memory of one connection: control page, descriptors, ring; and its three bells.
//!
//! The broker makes all of it and passes the descriptors over the local socket, in the
//! order of [`RegionFiles::descriptors`]. The memory counts as the broker's.

use std::ptr::NonNull;

use crate::layout::{Control, DESCRIPTORS, RING_ENDS};
use crate::sync::{AtomicU64, Ordering};

#[cfg(not(all(loom, test)))]
pub use files::{Bells, ClientRegion, RegionFiles};

/// The shared words and bytes, as one side has them mapped.
#[derive(Debug)]
pub struct Region {
    memory: Memory,
}

impl Region {
    /// The control page.
    #[inline]
    pub(crate) fn control(&self) -> &Control {
        self.memory.control()
    }

    /// The two words of the descriptor at a position.
    #[inline]
    pub(crate) fn descriptor(&self, position: u64) -> &[AtomicU64; 2] {
        self.memory.descriptor(position as usize & (DESCRIPTORS - 1))
    }

    /// The values of the two words of a descriptor, for who compares them with the
    /// specification.
    #[cfg(not(all(loom, test)))]
    pub fn descriptor_words(&self, position: u64) -> [u64; 2] {
        let [offset, rest] = self.descriptor(position);
        [offset.load(Ordering::Acquire), rest.load(Ordering::Acquire)]
    }

    /// The first byte of the ring, where this side has it mapped with the rest.
    #[inline]
    pub(crate) fn ring(&self) -> NonNull<u8> {
        self.memory.ring()
    }

    /// Number of words of the control page.
    pub const WORDS: usize = 12;

    /// Writes any value to a word of the control page, cut to its size: what a hostile client
    /// can do, for tests.
    ///
    /// # Panics
    /// If there is no such word.
    pub fn set_word(&self, word: usize, value: u64) {
        let control = self.control();
        let longs = [
            &control.ring_head,
            &control.descriptor_tail,
            &control.release_at,
            &control.ring_tail,
            &control.descriptor_head,
            &control.room_at,
        ];
        let shorts = [
            &control.ring_limit,
            &control.broker_waits,
            &control.revoked,
            &control.ring_bytes,
            &control.client_waits,
        ];
        match longs.get(word) {
            Some(long) => long.0.store(value, Ordering::SeqCst),
            None if word == Region::WORDS - 1 => control.ring_end.0.store(value, Ordering::SeqCst),
            None => shorts[word - longs.len()].0.store(value as u32, Ordering::SeqCst),
        }
    }

    /// Notes that what the client has not released is used again: the connection is over.
    pub fn revoke(&self) {
        self.control().revoked.0.store(1, Ordering::SeqCst);
    }

    /// Announces that the broker is about to say where the ring ends for it.
    pub fn announce_ring_end(&self) {
        self.control().ring_end.0.store(RING_ENDS, Ordering::Release);
    }

    /// Notes that the broker takes no bytes of the ring behind this position: they are the
    /// client's, who emits them again elsewhere.
    pub fn end_ring(&self, position: u64) {
        self.control().ring_end.0.store(position + 1, Ordering::Release);
    }

    /// Whether the broker has ended the connection and uses the arena's ranges again.
    #[inline]
    pub fn is_revoked(&self) -> bool {
        self.control().revoked.0.load(Ordering::Acquire) != 0
    }
}

#[cfg(all(loom, test))]
#[derive(Debug)]
struct Memory {
    control: Control,
    descriptors: Vec<[AtomicU64; 2]>,
}

#[cfg(all(loom, test))]
impl Memory {
    fn control(&self) -> &Control {
        &self.control
    }

    fn descriptor(&self, index: usize) -> &[AtomicU64; 2] {
        // The model has few.
        &self.descriptors[index % self.descriptors.len()]
    }

    fn ring(&self) -> NonNull<u8> {
        NonNull::dangling()
    }
}

#[cfg(all(loom, test))]
impl Region {
    /// A region without bytes, for the model.
    pub fn model() -> std::sync::Arc<Region> {
        let descriptors = (0..2).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect();
        std::sync::Arc::new(Region { memory: Memory { control: Control::default(), descriptors } })
    }
}

#[cfg(not(all(loom, test)))]
use files::Memory;

#[cfg(not(all(loom, test)))]
mod files {
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::io;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
    use std::ptr::NonNull;
    use std::sync::Arc;

    use super::Region;
    use crate::doorbell::Doorbell;
    use crate::layout::{CONTROL_BYTES, Control, DESCRIPTORS, FIRST_BYTES, REGION_BYTES, RING_AT};
    use crate::memory::{self, Mapping};
    use crate::sync::AtomicU64;

    /// The bytes of a region: of a file, or, for tests and simulations within one process,
    /// of the heap.
    #[derive(Debug)]
    pub(super) enum Memory {
        Mapped(Mapping),
        Heap(NonNull<u8>),
    }

    const HEAP: Layout = match Layout::from_size_align(REGION_BYTES, 4096) {
        Ok(layout) => layout,
        Err(_) => panic!("a region's size is a constant"),
    };

    impl Memory {
        #[inline]
        fn start(&self) -> NonNull<u8> {
            match self {
                Memory::Mapped(mapping) => mapping.start(),
                Memory::Heap(start) => *start,
            }
        }

        #[inline]
        pub(super) fn control(&self) -> &Control {
            // SAFETY: the page is mapped as long as `self` lives, zero at first and aligned;
            // all its fields are atomics, for which every value is valid.
            unsafe { self.start().cast().as_ref() }
        }

        #[inline]
        pub(super) fn descriptor(&self, index: usize) -> &[AtomicU64; 2] {
            assert!(index < DESCRIPTORS);
            // SAFETY: as above; the index was checked.
            unsafe { self.start().add(CONTROL_BYTES).cast::<[AtomicU64; 2]>().add(index).as_ref() }
        }

        #[inline]
        pub(super) fn ring(&self) -> NonNull<u8> {
            if let Memory::Mapped(mapping) = self {
                assert!(mapping.bytes() == REGION_BYTES);
            }
            // SAFETY: all of the region is mapped, checked above.
            unsafe { self.start().add(RING_AT) }
        }
    }

    impl Drop for Memory {
        fn drop(&mut self) {
            if let Memory::Heap(start) = self {
                // SAFETY: allocated by `in_memory` with this layout.
                unsafe { dealloc(start.as_ptr(), HEAP) };
            }
        }
    }

    // SAFETY: all bytes but the ring's are atomics; who touches the ring's is the business of
    // its two ends.
    unsafe impl Send for Memory {}
    // SAFETY: as above.
    unsafe impl Sync for Memory {}

    impl Region {
        /// A region that both ends have within one process.
        pub fn in_memory() -> Arc<Region> {
            // SAFETY: the size is not zero.
            let start = unsafe { alloc_zeroed(HEAP) };
            let Some(start) = NonNull::new(start) else { handle_alloc_error(HEAP) };
            Arc::new(Region { memory: Memory::Heap(start) })
        }
    }

    /// The bells of one connection.
    #[derive(Debug)]
    pub struct Bells {
        /// Rung by the client: bytes are in the ring, or descriptors were released.
        pub broker: Doorbell,
        /// Rung by the broker: descriptors are there.
        pub client: Doorbell,
        /// Rung by the broker: the ring has room again.
        pub room: Doorbell,
    }

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
}
