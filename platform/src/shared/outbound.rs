//! Sending to one connection with shared memory.
//!
//! ```text
//!   slices   [ arena | arena | own memory | own memory | arena ]
//!              │       │       └── one sendmsg ──┘       │
//!   client     Arena   Arena         Socket{bytes}       Arena     descriptors, in order
//! ```
//! What is in the arena is not touched: the client reads it in place, and the slice stays
//! in flight until it is released. All else goes by the socket. Once the client is gone
//! nothing is in flight, and what is sent goes nowhere.
//!
//! Invariant: in flight is one entry for each descriptor that is not known to be released;
//! together they pin no more than [`MAX_PINNED_BYTES`] of buffers, each of which is lent.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use netcluster_shm::{Descriptor, DescriptorWriter, ReleaseFault, layout};

use super::arena::{ArenaSection, PlacedBuffer};
use crate::io::MAX_SLICES_PER_SEND;
use crate::slice::Slice;

/// The most bytes of the arena in flight to one connection, 512 KiB: what a socket holds.
const MAX_IN_FLIGHT_BYTES: usize = 512 << 10;

/// The most bytes of buffers that what is in flight to one connection pins, 1 MiB.
const MAX_PINNED_BYTES: usize = 1 << 20;

/// A slice shorter than this, 4 KiB, goes by the socket rather than pin one buffer too many.
const SMALL_BYTES: usize = 4 << 10;

/// Range of the arena in flight. The slice is there to be dropped.
#[derive(Debug)]
pub(super) struct Pinned {
    buffer: PlacedBuffer,
    slice: Slice,
}

/// Thing that a connection waits for before it sends again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blocked {
    /// Nothing.
    No,
    /// Room in the socket.
    Socket,
    /// Releases.
    Release,
}

/// Outcome of a send.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) bytes: usize,
    pub(super) blocked: bool,
    /// There is room again already.
    pub(super) writable: bool,
    pub(super) syscalls: u64,
    /// The client waits for descriptors: ring its bell.
    pub(super) rings: bool,
}

/// Reason for which nothing can be sent any more.
#[derive(Debug)]
pub(super) enum SendFault {
    Socket(io::Error),
    Release(ReleaseFault),
}

/// State of sending.
#[derive(Debug)]
pub(super) struct Outbound {
    section: ArenaSection,
    descriptors: DescriptorWriter,
    /// One for each descriptor: the memory that it pins, if it is in the arena.
    in_flight: VecDeque<Option<Pinned>>,
    in_flight_bytes: usize,
    /// The buffers pinned, each with how many entries pin it.
    pins: Vec<(PlacedBuffer, u32)>,
    pinned_bytes: usize,
    pub(super) blocked: Blocked,
    /// `Writable` is owed when all is released.
    pub(super) awaits_reading: bool,
    /// The other end is gone: nothing more is read.
    is_over: bool,
    /// A send was carried out and is not yet reported.
    pub(super) sending: bool,
}

/// Way for a slice to go.
enum Way {
    Arena(Descriptor, PlacedBuffer),
    Socket,
    /// Later: too much is in flight.
    Wait,
}

impl Outbound {
    pub(super) fn new(descriptors: DescriptorWriter, section: ArenaSection) -> Outbound {
        Outbound {
            section,
            descriptors,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            pins: Vec::new(),
            pinned_bytes: 0,
            blocked: Blocked::No,
            awaits_reading: false,
            is_over: false,
            sending: false,
        }
    }

    pub(super) fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// Whether something is not known to be released.
    pub(super) fn is_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// Drops what was released since the last look.
    pub(super) fn look(&mut self) -> Result<(), ReleaseFault> {
        for _ in 0..self.descriptors.look()? {
            if let Some(Some(pinned)) = self.in_flight.pop_front() {
                self.unpin(&pinned);
            }
        }
        Ok(())
    }

    fn unpin(&mut self, pinned: &Pinned) {
        self.in_flight_bytes -= pinned.slice.len();
        let place = self.pins.iter().position(|(buffer, _)| *buffer == pinned.buffer);
        let place = place.expect("it was pinned");
        self.pins[place].1 -= 1;
        if self.pins[place].1 == 0 {
            self.pins.swap_remove(place);
            self.section.give_back(pinned.buffer);
            self.pinned_bytes -= pinned.buffer.bytes;
        }
    }

    /// Pins a slice, unless too much of its pool is lent. Returns whether it did.
    fn pin(&mut self, buffer: PlacedBuffer, slice: &Slice) -> bool {
        // Mostly it is the last one again.
        match self.pins.iter_mut().rev().find(|(pinned, _)| *pinned == buffer) {
            Some((_, count)) => *count += 1,
            None if !self.section.lend(buffer) => return false,
            None => {
                self.pins.push((buffer, 1));
                self.pinned_bytes += buffer.bytes;
            }
        }
        self.in_flight_bytes += slice.len();
        self.in_flight.push_back(Some(Pinned { buffer, slice: slice.clone() }));
        true
    }

    #[inline]
    fn way(&self, slice: &Slice) -> Way {
        let section = &self.section;
        let Some(offset) = section.arena().offset_of(slice.as_bytes()) else { return Way::Socket };
        let buffer = section.buffer_at(offset);
        if section.is_pressed(buffer) {
            return Way::Socket;
        }
        if self.in_flight_bytes + slice.len() > MAX_IN_FLIGHT_BYTES {
            return if self.in_flight_bytes == 0 { Way::Socket } else { Way::Wait };
        }
        let is_pinned = self.pins.iter().rev().any(|(pinned, _)| *pinned == buffer);
        if !is_pinned && self.pinned_bytes + buffer.bytes > MAX_PINNED_BYTES {
            return if slice.len() < SMALL_BYTES { Way::Socket } else { Way::Wait };
        }
        Way::Arena(Descriptor::Arena { offset: offset as u64, bytes: slice.len() as u32 }, buffer)
    }

    /// Sends the first slices, as many as one send takes and as there is room for. `write`
    /// writes to the socket at once; it returns `None` if there is no room.
    pub(super) fn send<'a>(
        &mut self,
        mut write: impl FnMut(&[IoSlice<'_>]) -> io::Result<Option<usize>>,
        slices: impl Iterator<Item = &'a Slice>,
    ) -> Result<Sent, SendFault> {
        let mut sent =
            Sent { bytes: 0, blocked: false, writable: false, syscalls: 0, rings: false };
        if self.is_over {
            // A failure would end what still comes from it.
            sent.bytes = slices.take(MAX_SLICES_PER_SEND).map(Slice::len).sum();
            return Ok(sent);
        }
        self.look().map_err(SendFault::Release)?;
        let mut run = Run { list: [IoSlice::new(&[]); MAX_SLICES_PER_SEND], count: 0, bytes: 0 };
        let slices = slices.filter(|slice| !slice.is_empty()).take(MAX_SLICES_PER_SEND);
        let mut outcome = Ok(());
        for slice in slices {
            // One for the run that stands before it, one for itself.
            let way = if self.descriptors.room() < 2 { Way::Wait } else { self.way(slice) };
            if let Way::Socket = way {
                run.add(slice);
                continue;
            }
            outcome = self.send_run(&mut write, &mut run, &mut sent);
            if outcome.is_err() || self.blocked != Blocked::No {
                break;
            }
            if let Way::Arena(descriptor, buffer) = way {
                if self.pin(buffer, slice) {
                    self.descriptors.push(descriptor);
                    sent.bytes += slice.len();
                } else {
                    run.add(slice);
                }
            } else {
                self.blocked = Blocked::Release;
                break;
            }
        }
        if outcome.is_ok() && self.blocked == Blocked::No {
            outcome = self.send_run(&mut write, &mut run, &mut sent);
        }
        sent.rings = self.descriptors.tell();
        outcome.map_err(SendFault::Socket)?;
        sent.blocked = self.blocked != Blocked::No;
        // Releases may have come meanwhile.
        sent.writable =
            self.blocked == Blocked::Release && self.settle().map_err(SendFault::Release)?;
        Ok(sent)
    }

    /// Sends what is to go by the socket, and says so by a descriptor.
    fn send_run(
        &mut self,
        write: &mut impl FnMut(&[IoSlice<'_>]) -> io::Result<Option<usize>>,
        run: &mut Run<'_>,
        sent: &mut Sent,
    ) -> io::Result<()> {
        if run.count == 0 {
            return Ok(());
        }
        sent.syscalls += 1;
        let bytes = write(&run.list[..run.count])?.unwrap_or(0);
        if bytes > 0 {
            self.descriptors.push(Descriptor::Socket { bytes: bytes as u32 });
            self.in_flight.push_back(None);
            sent.bytes += bytes;
        }
        if bytes < run.bytes {
            self.blocked = Blocked::Socket;
        }
        (run.count, run.bytes) = (0, 0);
        Ok(())
    }

    /// Asks for the bell when so many more descriptors are released. False if they are.
    pub(super) fn ask_for(&mut self, count: usize) -> bool {
        let released = self.descriptors.written() - self.descriptors.unreleased() as u64;
        self.descriptors.want_release(released + count as u64)
    }

    /// Whether there is room again for who waits for releases.
    fn has_room(&self) -> bool {
        self.in_flight_bytes <= MAX_IN_FLIGHT_BYTES / 2
            && self.pinned_bytes <= MAX_PINNED_BYTES / 2
            && self.descriptors.room() >= layout::DESCRIPTORS / 2
    }

    /// Takes note of releases. Returns whether a `Writable` that was owed for them is due;
    /// else, if one is owed, the bell rings for it.
    pub(super) fn settle(&mut self) -> Result<bool, ReleaseFault> {
        if self.is_over {
            return Ok(false);
        }
        loop {
            self.look()?;
            let is_due = match self.blocked {
                Blocked::Release => self.has_room(),
                _ => self.awaits_reading && self.descriptors.unreleased() == 0,
            };
            if is_due {
                self.awaits_reading = false;
                if self.blocked == Blocked::Release {
                    self.blocked = Blocked::No;
                }
                return Ok(true);
            }
            let unreleased = self.descriptors.unreleased();
            let wanted = match self.blocked {
                Blocked::Release => unreleased.div_ceil(2),
                _ if self.awaits_reading => unreleased,
                _ => return Ok(false),
            };
            if self.ask_for(wanted) {
                return Ok(false);
            }
        }
    }

    /// Whether all that was sent is released; if not, `Writable` is owed for it.
    pub(super) fn is_read(&mut self) -> Result<bool, ReleaseFault> {
        if self.is_over {
            return Ok(true);
        }
        self.awaits_reading = true;
        self.settle()
    }
}

impl Outbound {
    /// Notes that the client is gone: it reads and releases nothing any more. Returns whether
    /// a `Writable` that was owed for releases is due.
    pub(super) fn end(&mut self) -> bool {
        self.is_over = true;
        self.let_go();
        let is_owed = self.blocked == Blocked::Release || self.awaits_reading;
        self.awaits_reading = false;
        if self.blocked == Blocked::Release {
            self.blocked = Blocked::No;
        }
        is_owed
    }

    fn let_go(&mut self) {
        for (buffer, _) in self.pins.drain(..) {
            self.section.give_back(buffer);
        }
        self.in_flight.clear();
        (self.in_flight_bytes, self.pinned_bytes) = (0, 0);
    }
}

/// Return of what the client has not released.
impl Drop for Outbound {
    fn drop(&mut self) {
        self.let_go();
    }
}

/// Slices that go by the socket in one go.
struct Run<'a> {
    list: [IoSlice<'a>; MAX_SLICES_PER_SEND],
    count: usize,
    bytes: usize,
}

impl<'a> Run<'a> {
    fn add(&mut self, slice: &'a Slice) {
        self.list[self.count] = IoSlice::new(slice.as_bytes());
        self.count += 1;
        self.bytes += slice.len();
    }
}
