//! The ring of descriptors from the broker to a client: what to read next, and where.
//!
//! ```text
//!             head (released)   taken        tail (written)
//!               ▼                 ▼            ▼
//!   [ free …   | read in place …  | to read …  | free … ]   positions modulo DESCRIPTORS
//! ```
//! One descriptor names a range of the arena, or says that so many bytes come by the
//! socket: so everything has one order, wherever it is.
//!
//! Invariants: the broker uses a range again only after its descriptor is released; a
//! client that says it released what it was not given breaks the rules.

use std::sync::Arc;

use crate::layout::DESCRIPTORS;
use crate::region::Region;
use crate::sync::{Ordering, fence};

/// Kind of a descriptor: a range of the arena.
const KIND_ARENA: u64 = 1;
/// Kind of a descriptor: bytes of the socket.
const KIND_SOCKET: u64 = 2;

/// The place of the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descriptor {
    /// In the arena.
    Arena {
        /// Offset in the arena.
        offset: u64,
        /// Number of bytes.
        bytes: u32,
    },
    /// The next bytes of the socket.
    Socket {
        /// Number of bytes.
        bytes: u32,
    },
    /// A kind that is not known.
    Unknown,
}

impl Descriptor {
    /// The two words: an offset, and length and kind.
    fn to_words(self) -> [u64; 2] {
        match self {
            Descriptor::Arena { offset, bytes } => [offset, u64::from(bytes) | KIND_ARENA << 32],
            Descriptor::Socket { bytes } => [0, u64::from(bytes) | KIND_SOCKET << 32],
            Descriptor::Unknown => [0, 0],
        }
    }

    fn from_words([offset, rest]: [u64; 2]) -> Descriptor {
        let bytes = rest as u32;
        match rest >> 32 {
            KIND_ARENA => Descriptor::Arena { offset, bytes },
            KIND_SOCKET => Descriptor::Socket { bytes },
            _ => Descriptor::Unknown,
        }
    }
}

/// The broker's end.
#[derive(Debug)]
pub struct DescriptorWriter {
    region: Arc<Region>,
    written: u64,
    /// Descriptors that the client may know of.
    told: u64,
    released: u64,
}

impl DescriptorWriter {
    /// Begins to write the descriptors of a region.
    pub fn new(region: Arc<Region>) -> DescriptorWriter {
        DescriptorWriter { region, written: 0, told: 0, released: 0 }
    }

    /// Number of descriptors that still fit, as far as is known.
    #[inline]
    pub fn room(&self) -> usize {
        DESCRIPTORS - self.unreleased()
    }

    /// Number of descriptors written and, as far as is known, not released.
    #[inline]
    pub fn unreleased(&self) -> usize {
        (self.written - self.released) as usize
    }

    /// Number of descriptors written since the start.
    #[inline]
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes a descriptor; the client sees it after [`DescriptorWriter::tell`].
    ///
    /// # Panics
    /// If there is no room: a programmer's error.
    #[inline]
    pub fn push(&mut self, descriptor: Descriptor) {
        assert!(self.room() > 0);
        let words = self.region.descriptor(self.written);
        for (word, value) in words.iter().zip(descriptor.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
        self.written += 1;
    }

    /// Lets the client have what was written. Returns whether its bell must be rung.
    #[inline]
    #[must_use]
    pub fn tell(&mut self) -> bool {
        if self.told == self.written {
            return false;
        }
        self.told = self.written;
        let control = self.region.control();
        control.descriptor_tail.0.store(self.written, Ordering::Release);
        // With the fence in `DescriptorReader::wait`: one of the two sees the other.
        fence(Ordering::SeqCst);
        control.client_waits.0.load(Ordering::Relaxed) != 0
            && control.client_waits.0.swap(0, Ordering::Relaxed) != 0
    }

    /// Looks how many more descriptors the client has released since the last look.
    ///
    /// # Errors
    /// It says it released more than it was given, or fewer than it had: the connection must
    /// end.
    #[inline]
    pub fn look(&mut self) -> Result<usize, ReleaseFault> {
        let released = self.region.control().descriptor_head.0.load(Ordering::Acquire);
        if released < self.released || released > self.told {
            return Err(ReleaseFault);
        }
        let more = released - self.released;
        self.released = released;
        Ok(more as usize)
    }

    /// Asks for the broker's bell when so many descriptors, since the start, are released.
    /// Returns whether they are not: then it will ring. Call [`DescriptorWriter::look`]
    /// before.
    pub fn want_release(&mut self, at: u64) -> bool {
        let control = self.region.control();
        control.release_at.0.store(at, Ordering::Relaxed);
        // With the fence in `DescriptorReader::release`: one of the two sees the other.
        fence(Ordering::SeqCst);
        let waits = control.descriptor_head.0.load(Ordering::Relaxed) < at;
        if !waits {
            control.release_at.0.store(0, Ordering::Relaxed);
        }
        waits
    }
}

/// A client says that it released what it was not given, or takes back what it released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReleaseFault;

impl std::fmt::Display for ReleaseFault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the client released what it was not given")
    }
}

impl std::error::Error for ReleaseFault {}

/// The client's end.
#[derive(Debug)]
pub struct DescriptorReader {
    region: Arc<Region>,
    /// Descriptors taken.
    taken: u64,
    /// Descriptors of which the broker knows that they are released.
    released: u64,
    /// The tail as last looked at.
    tail: u64,
}

impl DescriptorReader {
    /// Begins to read the descriptors of a region.
    pub fn new(region: Arc<Region>) -> DescriptorReader {
        DescriptorReader { region, taken: 0, released: 0, tail: 0 }
    }

    /// The region.
    pub fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Whether there is a descriptor.
    #[inline]
    pub fn is_there(&mut self) -> bool {
        if self.taken >= self.tail {
            self.tail = self.region.control().descriptor_tail.0.load(Ordering::Acquire);
        }
        self.taken < self.tail
    }

    /// Takes the next descriptor, if there is one.
    #[inline]
    pub fn take(&mut self) -> Option<Descriptor> {
        if !self.is_there() {
            return None;
        }
        let words = self.region.descriptor(self.taken);
        self.taken += 1;
        Some(Descriptor::from_words([
            words[0].load(Ordering::Relaxed),
            words[1].load(Ordering::Relaxed),
        ]))
    }

    /// Releases all that was taken: nothing refers to it any more. Returns whether the
    /// broker's bell must be rung.
    #[inline]
    #[must_use]
    pub fn release(&mut self) -> bool {
        if self.released == self.taken {
            return false;
        }
        self.released = self.taken;
        let control = self.region.control();
        control.descriptor_head.0.store(self.taken, Ordering::Release);
        // With the fence in `DescriptorWriter::want_release`: one of the two sees the other.
        fence(Ordering::SeqCst);
        let at = control.release_at.0.load(Ordering::Relaxed);
        at != 0 && self.taken >= at && control.release_at.0.swap(0, Ordering::Relaxed) != 0
    }

    /// Asks for the client's bell when a descriptor comes. Returns whether there is none:
    /// then it will ring.
    pub fn wait(&mut self) -> bool {
        let region = Arc::clone(&self.region);
        let control = region.control();
        control.client_waits.0.store(1, Ordering::Relaxed);
        // With the fence in `DescriptorWriter::tell`: one of the two sees the other.
        fence(Ordering::SeqCst);
        let waits = !self.is_there();
        if !waits {
            control.client_waits.0.store(0, Ordering::Relaxed);
        }
        waits
    }
}
