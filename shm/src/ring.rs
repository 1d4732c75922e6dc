//! The ring of bytes from a client to the broker, written by the client alone.
//!
//! ```text
//!            head (taken)    tail (put)     appended, not put yet
//!              ▼               ▼              ▼
//!   [ free …  | bytes …        | bytes …      | free … ]   positions modulo the ring's size
//! ```
//! The client maps the ring twice, one behind the other, so that whatever it appends is
//! contiguous. The broker copies. Between them there are only two positions, and a word
//! each by which a side asks to be woken.
//!
//! Invariants: `head <= tail <= head + size`, as each side keeps its own; what the other
//! one says is read once and checked. The size changes only while the ring is empty.

use std::fmt;
use std::mem::MaybeUninit;
use std::ptr::NonNull;
use std::sync::Arc;

#[cfg(all(target_os = "linux", not(all(loom, test))))]
use std::io;

use crate::layout::{MAX_RING_BYTES, MIN_RING_BYTES, RING_ENDS};
#[cfg(all(target_os = "linux", not(all(loom, test))))]
use crate::memory::Mapping;
#[cfg(all(target_os = "linux", not(all(loom, test))))]
use crate::region::ClientRegion;
use crate::region::Region;
use crate::sync::{Ordering, fence, yield_now};

/// Looks for the end that is about to be said; more than a second of them.
#[cfg(not(all(loom, test)))]
const MAX_LOOKS: u32 = 2_000_000;
#[cfg(all(loom, test))]
const MAX_LOOKS: u32 = 4;

/// Way in which a client broke the rules of its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingFault {
    /// More bytes are said to be there than fit, or fewer than were.
    Tail,
    /// The ring is said to have a size that is none of those allowed.
    Size,
}

impl fmt::Display for RingFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            RingFault::Tail => {
                "the client's ring says it holds more than fits, or less than it did"
            }
            RingFault::Size => "the client's ring has a size that is not allowed",
        })
    }
}

impl std::error::Error for RingFault {}

/// The broker's end.
#[derive(Debug)]
pub struct RingReader {
    region: Arc<Region>,
    /// Bytes taken.
    head: u64,
    /// Bytes of which the client knows that they were taken.
    told: u64,
    /// The tail as last looked at.
    tail: u64,
    size: usize,
    /// The largest size that the client may use.
    limit: usize,
}

impl RingReader {
    /// Begins to read a ring that nobody has read.
    pub fn new(region: Arc<Region>) -> RingReader {
        let (size, limit) = (MIN_RING_BYTES, MIN_RING_BYTES);
        RingReader { region, head: 0, told: 0, tail: 0, size, limit }
    }

    /// Lets the client use the largest ring, which must be reserved.
    pub fn allow_largest(&mut self) {
        self.limit = MAX_RING_BYTES;
        let control = self.region.control();
        control.ring_limit.0.store(MAX_RING_BYTES as u32, Ordering::Release);
    }

    /// The largest size that the client may use, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Looks how many bytes there are.
    ///
    /// # Errors
    /// The client broke the rules, and nothing of what it says counts: the connection must
    /// end.
    #[inline]
    pub fn look(&mut self) -> Result<usize, RingFault> {
        let control = self.region.control();
        let tail = control.ring_tail.0.load(Ordering::Acquire);
        let size = match control.ring_bytes.0.load(Ordering::Relaxed) as usize {
            0 => MIN_RING_BYTES,
            size => size,
        };
        let is_allowed = || size.is_power_of_two() && (MIN_RING_BYTES..=self.limit).contains(&size);
        if size != self.size && !is_allowed() {
            return Err(RingFault::Size);
        }
        if tail < self.tail || tail - self.head > size as u64 {
            return Err(RingFault::Tail);
        }
        (self.tail, self.size) = (tail, size);
        Ok((tail - self.head) as usize)
    }

    /// Takes nothing that is put from now on. Returns the bytes that are still to be taken.
    ///
    /// # Errors
    /// As [`RingReader::look`].
    pub fn end(&mut self) -> Result<usize, RingFault> {
        self.region.announce_ring_end();
        // With the fence in `RingWriter::put`: either the bytes are seen here, or the client
        // sees that the end is about to be said.
        fence(Ordering::SeqCst);
        let left = self.look();
        // Whatever the client puts meanwhile lies behind this position, and is its own.
        self.region.end_ring(self.tail);
        left
    }

    /// Bytes that were there at the last look and are not taken.
    #[inline]
    pub fn seen(&self) -> usize {
        (self.tail - self.head) as usize
    }

    /// Size of the ring in bytes, as the client uses it.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Takes the first bytes: copies them to `target`, all of it.
    ///
    /// # Panics
    /// If it is longer than what was [seen](RingReader::seen): a programmer's error.
    #[inline]
    pub fn take(&mut self, target: &mut [u8]) {
        // SAFETY: the bytes are initialised, and `take_into` writes nothing but bytes.
        self.take_into(unsafe { &mut *(std::ptr::from_mut(target) as *mut [MaybeUninit<u8>]) });
    }

    /// [`RingReader::take`] to memory that need not be initialised: all of it is afterwards.
    ///
    /// # Panics
    /// As [`RingReader::take`].
    #[inline]
    pub fn take_into(&mut self, target: &mut [MaybeUninit<u8>]) {
        assert!(target.len() <= self.seen());
        assert!(self.size <= MAX_RING_BYTES);
        #[cfg(not(all(loom, test)))]
        {
            let at = self.head as usize & (self.size - 1);
            let first = target.len().min(self.size - at);
            let (ring, to) = (self.region.ring(), target.as_mut_ptr().cast::<u8>());
            // SAFETY: both ranges lie in the ring, which is mapped: `at + first <= size`, and
            // the rest is shorter than `size`, which is at most the ring's. `target` is of
            // another memory. The client may write there meanwhile: then its bytes are any,
            // and nobody has looked at them before they were copied.
            unsafe {
                std::ptr::copy_nonoverlapping(ring.as_ptr().add(at), to, first);
                std::ptr::copy_nonoverlapping(ring.as_ptr(), to.add(first), target.len() - first);
            }
        }
        self.head += target.len() as u64;
    }

    /// Tells the client what was taken. Returns whether its bell for room must be rung.
    #[inline]
    #[must_use]
    pub fn tell(&mut self) -> bool {
        if self.told == self.head {
            return false;
        }
        self.told = self.head;
        let control = self.region.control();
        control.ring_head.0.store(self.head, Ordering::Release);
        // With the fence in `RingWriter::want_room`: one of the two sees the other.
        fence(Ordering::SeqCst);
        let room_at = control.room_at.0.load(Ordering::Relaxed);
        room_at != 0 && self.head >= room_at && control.room_at.0.swap(0, Ordering::Relaxed) != 0
    }

    /// Whether the client waits for room.
    pub fn is_room_wanted(&self) -> bool {
        self.region.control().room_at.0.load(Ordering::Relaxed) != 0
    }

    /// Asks for the broker's bell when bytes come. Returns whether there are none: then it
    /// will ring.
    ///
    /// # Errors
    /// As [`RingReader::look`].
    pub fn wait(&mut self) -> Result<bool, RingFault> {
        let control = self.region.control();
        control.broker_waits.0.store(1, Ordering::Relaxed);
        // With the fence in `RingWriter::put`: one of the two sees the other.
        fence(Ordering::SeqCst);
        let region = Arc::clone(&self.region);
        let there = self.look()?;
        if there > 0 {
            region.control().broker_waits.0.store(0, Ordering::Relaxed);
        }
        Ok(there == 0)
    }
}

/// The client's end.
#[derive(Debug)]
pub struct RingWriter {
    region: Arc<Region>,
    bytes: Bytes,
    size: usize,
    /// The head as last looked at.
    head: u64,
    /// Bytes put.
    tail: u64,
    /// Bytes put or appended.
    end: u64,
}

/// The ring's bytes, as the client has them mapped.
#[derive(Debug)]
enum Bytes {
    /// Twice, one behind the other.
    #[cfg(all(target_os = "linux", not(all(loom, test))))]
    Twice(ClientRegion, Mapping),
    /// Once, in a region within one process.
    Once,
}

impl RingWriter {
    /// Begins to write the ring of a region that a broker gave.
    ///
    /// # Errors
    /// The ring cannot be mapped.
    #[cfg(all(target_os = "linux", not(all(loom, test))))]
    pub fn new(region: ClientRegion) -> io::Result<RingWriter> {
        let mapping = region.map_ring(MIN_RING_BYTES)?;
        let shared = Arc::clone(region.region());
        Ok(RingWriter { bytes: Bytes::Twice(region, mapping), ..RingWriter::in_memory(shared) })
    }

    /// Begins to write the ring of a region within one process.
    pub fn in_memory(region: Arc<Region>) -> RingWriter {
        RingWriter { region, bytes: Bytes::Once, size: MIN_RING_BYTES, head: 0, tail: 0, end: 0 }
    }

    fn start(&self) -> NonNull<u8> {
        match &self.bytes {
            #[cfg(all(target_os = "linux", not(all(loom, test))))]
            Bytes::Twice(_, mapping) => mapping.start(),
            Bytes::Once => self.region.ring(),
        }
    }

    /// Size of the ring in bytes.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Bytes that are appended and not put.
    #[inline(always)]
    pub fn appended(&self) -> usize {
        (self.end - self.tail) as usize
    }

    /// Bytes that were put and, as far as is known, not taken by the broker.
    pub fn untaken(&mut self) -> usize {
        self.look();
        (self.tail - self.head) as usize
    }

    /// Bytes of room, as far as is known.
    #[inline(always)]
    fn known_room(&self) -> usize {
        self.size - (self.end - self.head) as usize
    }

    #[cold]
    #[inline(never)]
    fn look(&mut self) {
        let head = self.region.control().ring_head.0.load(Ordering::Acquire);
        // The broker takes nothing that was not put.
        self.head = head.clamp(self.head, self.tail);
    }

    /// Bytes of room.
    pub fn room(&mut self) -> usize {
        self.look();
        self.known_room()
    }

    /// The place of the next bytes, if there is room for so many in one piece; they may hold
    /// anything. See [`RingWriter::append`].
    #[inline(always)]
    pub fn space(&mut self, bytes: usize) -> Option<&mut [u8]> {
        if self.known_room() < bytes {
            self.look();
            if self.known_room() < bytes {
                return None;
            }
        }
        let at = self.end as usize & (self.size - 1);
        if matches!(self.bytes, Bytes::Once) && at + bytes > self.size {
            return None;
        }
        // SAFETY: the range lies in the mapping, whose second half is the first once more. It
        // is initialised, and free: the broker reads below `tail` only, so this is the only
        // reference to these bytes in all processes.
        Some(unsafe { std::slice::from_raw_parts_mut(self.start().as_ptr().add(at), bytes) })
    }

    /// Appends the first bytes of the last [`RingWriter::space`].
    ///
    /// # Panics
    /// If there is less room: a programmer's error.
    #[inline(always)]
    pub fn append(&mut self, bytes: usize) {
        assert!(bytes <= self.known_room());
        self.end += bytes as u64;
    }

    /// Appends a copy of as much of `bytes` as there is room for. Returns how much.
    pub fn copy(&mut self, bytes: &[u8]) -> usize {
        if self.known_room() < bytes.len() {
            self.look();
        }
        let bytes = &bytes[..bytes.len().min(self.known_room())];
        let mut done = 0;
        while done < bytes.len() {
            let at = self.end as usize & (self.size - 1);
            let more = (bytes.len() - done).min(self.size - at);
            let Some(space) = self.space(more) else { break };
            space.copy_from_slice(&bytes[done..done + more]);
            self.append(more);
            done += more;
        }
        done
    }

    /// Whether the broker takes nothing more of what is put.
    #[inline]
    pub fn is_ended(&self) -> bool {
        self.region.control().ring_end.0.load(Ordering::Acquire) != 0
    }

    /// The end that the broker has said, 0 if none; waits for the moment that it takes to say where.
    fn ring_end(&self) -> u64 {
        for _ in 0..MAX_LOOKS {
            match self.region.control().ring_end.0.load(Ordering::Acquire) {
                RING_ENDS => yield_now(),
                end => return end,
            }
        }
        // It has died between two stores: what it has not taken is lost with it.
        0
    }

    /// Position of the first byte that the broker does not take: what is not put, and what it
    /// said that it will not take.
    pub fn untaken_from(&self) -> u64 {
        match self.ring_end() {
            0 => self.tail,
            end => (end - 1).clamp(self.head, self.tail),
        }
    }

    /// Position behind all that is appended.
    pub fn position(&self) -> u64 {
        self.end
    }

    /// Takes back what the broker does not take, in order.
    pub fn take_back(&mut self) -> Vec<u8> {
        let from = self.untaken_from();
        let bytes = (self.end - from) as usize;
        let mut taken = Vec::with_capacity(bytes);
        self.end = self.tail;
        while taken.len() < bytes {
            let at = (from as usize + taken.len()) & (self.size - 1);
            let more = (bytes - taken.len()).min(self.size - at);
            // SAFETY: as in `space`.
            taken.extend_from_slice(unsafe {
                std::slice::from_raw_parts(self.start().as_ptr().add(at), more)
            });
        }
        taken
    }

    /// Lets the broker have what is appended. Returns whether its bell must be rung.
    #[inline]
    #[must_use]
    pub fn put(&mut self) -> bool {
        if self.tail == self.end {
            return false;
        }
        self.tail = self.end;
        let control = self.region.control();
        control.ring_tail.0.store(self.tail, Ordering::Release);
        // With the fence in `RingReader::wait`: one of the two sees the other.
        fence(Ordering::SeqCst);
        control.broker_waits.0.load(Ordering::Relaxed) != 0
            && control.broker_waits.0.swap(0, Ordering::Relaxed) != 0
    }

    /// Asks for the bell for room when so many bytes have room, or half of the ring if that
    /// is more. Returns whether they have none yet: then it will ring. Everything must be
    /// put.
    ///
    /// # Panics
    /// If something is not: it would wait for ever.
    pub fn want_room(&mut self, bytes: usize) -> bool {
        assert!(self.tail == self.end);
        let bytes = bytes.clamp(self.size / 2, self.size);
        // The position up to which the broker must have taken.
        let position = (self.end + bytes as u64).saturating_sub(self.size as u64);
        let region = Arc::clone(&self.region);
        let control = region.control();
        control.room_at.0.store(position, Ordering::Relaxed);
        // With the fence in `RingReader::tell`: one of the two sees the other.
        fence(Ordering::SeqCst);
        self.look();
        let waits = self.head < position;
        if !waits {
            control.room_at.0.store(0, Ordering::Relaxed);
        }
        waits
    }

    /// Whether the broker allows a larger ring than this one.
    pub fn may_grow(&self) -> bool {
        self.limit() > self.size
    }

    /// The size that the broker allows, if it can be.
    fn limit(&self) -> usize {
        let limit = self.region.control().ring_limit.0.load(Ordering::Acquire) as usize;
        if limit.is_power_of_two() && limit <= MAX_RING_BYTES { limit } else { 0 }
    }

    /// Uses a larger ring, if the broker allows it and this one is empty at the moment.
    /// Returns whether it does from now on.
    #[cfg(not(all(loom, test)))]
    pub fn grow(&mut self) -> bool {
        let limit = self.limit();
        if limit <= self.size {
            return false;
        }
        self.look();
        if self.head != self.end {
            return false;
        }
        #[cfg(target_os = "linux")]
        if let Bytes::Twice(region, mapping) = &mut self.bytes {
            match region.map_ring(limit) {
                Ok(larger) => *mapping = larger,
                Err(_) => return false,
            }
        }
        self.size = limit;
        self.region.control().ring_bytes.0.store(limit as u32, Ordering::Release);
        true
    }
}

// SAFETY: the bytes between `tail` and the end of the ring are this writer's alone, whatever
// thread it is on.
unsafe impl Send for RingWriter {}
