//! Memory of one connection: control page, descriptors, ring. As files, with the bells, in
//! `files.rs`.

#[cfg(all(target_os = "linux", not(all(loom, test))))]
mod files;

use std::ptr::NonNull;
#[cfg(not(all(loom, test)))]
use std::sync::Arc;

#[cfg(not(all(loom, test)))]
use crate::heap::Heap;
#[cfg(not(all(loom, test)))]
use crate::layout::{CONTROL_BYTES, REGION_BYTES, RING_AT};
use crate::layout::{Control, DESCRIPTORS};
#[cfg(all(target_os = "linux", not(all(loom, test))))]
use crate::memory::Mapping;
use crate::sync::{AtomicU64, Ordering};

#[cfg(all(target_os = "linux", not(all(loom, test))))]
pub use files::{ClientRegion, RegionFiles};

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

/// The bytes of a region: of a file, or, for tests and simulations within one process, of
/// the heap.
#[cfg(not(all(loom, test)))]
#[derive(Debug)]
enum Memory {
    #[cfg(target_os = "linux")]
    Mapped(Mapping),
    Heap(Heap),
}

#[cfg(not(all(loom, test)))]
impl Memory {
    #[inline]
    fn start(&self) -> NonNull<u8> {
        match self {
            #[cfg(target_os = "linux")]
            Memory::Mapped(mapping) => mapping.start(),
            Memory::Heap(heap) => heap.start(),
        }
    }

    #[inline]
    fn control(&self) -> &Control {
        // SAFETY: the page is mapped as long as `self` lives, zero at first and aligned;
        // all its fields are atomics, for which every value is valid.
        unsafe { self.start().cast().as_ref() }
    }

    #[inline]
    fn descriptor(&self, index: usize) -> &[AtomicU64; 2] {
        assert!(index < DESCRIPTORS);
        // SAFETY: as above; the index was checked.
        unsafe { self.start().add(CONTROL_BYTES).cast::<[AtomicU64; 2]>().add(index).as_ref() }
    }

    #[inline]
    fn ring(&self) -> NonNull<u8> {
        #[cfg(target_os = "linux")]
        if let Memory::Mapped(mapping) = self {
            assert!(mapping.bytes() == REGION_BYTES);
        }
        // SAFETY: all of the region is mapped, checked above.
        unsafe { self.start().add(RING_AT) }
    }
}

#[cfg(not(all(loom, test)))]
impl Region {
    /// A region that both ends have within one process.
    pub fn in_memory() -> Arc<Region> {
        Arc::new(Region { memory: Memory::Heap(Heap::new(REGION_BYTES)) })
    }
}
