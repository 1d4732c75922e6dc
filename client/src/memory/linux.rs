//! Shared memory on Linux: mapping what a broker offers, and waiting for its bells.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netcluster_shm::{
    ArenaView, Bells, ClientRegion, Descriptor, DescriptorReader, ForkGuard, RingWriter,
};
use netcluster_wire::shared::OFFERED_DESCRIPTORS;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use super::{BATCHES_PER_RING, MIN_BATCH_BYTES, RELEASE_AT_BYTES, Taken};

/// Looks for a descriptor between two looks at the clock.
const LOOKS: u32 = 32;

/// Descriptors that came with an offer, until it is answered.
#[derive(Debug, Default)]
pub(crate) struct Descriptors(Vec<OwnedFd>);

impl Descriptors {
    /// Takes in what came beside bytes of the socket.
    pub(crate) fn push(&mut self, descriptor: OwnedFd) {
        // More than an offer has are noticed, and not kept.
        if self.0.len() <= OFFERED_DESCRIPTORS {
            self.0.push(descriptor);
        }
    }

    /// Forgets them.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Maps what they are of. They are closed if that fails.
    ///
    /// # Errors
    /// The reason, in words for the broker's log.
    pub(crate) fn map(&mut self, arena_bytes: u64) -> Result<Memory, String> {
        let descriptors = std::mem::take(&mut self.0);
        let count = descriptors.len();
        let Ok(descriptors) = <[OwnedFd; OFFERED_DESCRIPTORS]>::try_from(descriptors) else {
            let text = "(is the client at its limit of open files?)";
            return Err(format!("{count} of {OFFERED_DESCRIPTORS} descriptors came {text}"));
        };
        Memory::map(descriptors, arena_bytes).map_err(|error| error.to_string())
    }
}

/// Receives what is there without waiting, and the descriptors that come with it.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    space: &mut [u8],
    descriptors: &mut Descriptors,
) -> Result<usize, Errno> {
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(OFFERED_DESCRIPTORS))];
    let mut beside = RecvAncillaryBuffer::new(&mut room);
    let parts = &mut [IoSliceMut::new(space)];
    let received = retry_on_intr(|| rustix::net::recvmsg(socket, parts, &mut beside, flags))?;
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            rights.for_each(|descriptor| descriptors.push(descriptor));
        }
    }
    Ok(received.bytes)
}

/// Both halves of a connection's memory.
#[derive(Debug)]
pub(crate) struct Memory {
    ring: Ring,
    incoming: Incoming,
}

impl Memory {
    fn map(
        [arena, region, broker, client, room]: [OwnedFd; OFFERED_DESCRIPTORS],
        arena_bytes: u64,
    ) -> io::Result<Memory> {
        let bytes = usize::try_from(arena_bytes).map_err(io::Error::other)?;
        let view = ArenaView::new(arena, bytes)?;
        for bell in [&broker, &client, &room] {
            check_bell(bell)?;
        }
        let region = ClientRegion::new([region, broker, client, room])?;
        let bells = Arc::clone(region.bells());
        let guard = Arc::new(ForkGuard::new()?);
        let reader = DescriptorReader::new(Arc::clone(region.region()));
        let writer = RingWriter::new(region)?;
        Ok(Memory::of(writer, reader, view, guard, bells))
    }

    fn of(
        writer: RingWriter,
        reader: DescriptorReader,
        view: ArenaView,
        guard: Arc<ForkGuard>,
        bells: Arc<Bells>,
    ) -> Memory {
        let ring = Ring {
            writer,
            batch_bytes: MIN_BATCH_BYTES,
            cut: None,
            guard: Arc::clone(&guard),
            bells: Arc::clone(&bells),
        };
        Memory { ring, incoming: Incoming { reader, view, done_bytes: 0, guard, bells } }
    }

    /// Memory of a broker in the same process.
    #[cfg(test)]
    pub(crate) fn in_memory(
        arena: Arc<netcluster_shm::Arena>,
        region: Arc<netcluster_shm::Region>,
        bells: Arc<Bells>,
    ) -> Memory {
        let guard = Arc::new(ForkGuard::new().expect("a page"));
        let reader = DescriptorReader::new(Arc::clone(&region));
        let writer = RingWriter::in_memory(region);
        Memory::of(writer, reader, ArenaView::in_memory(arena), guard, bells)
    }

    /// Gives both halves.
    pub(crate) fn split(self) -> (Ring, Incoming) {
        (self.ring, self.incoming)
    }
}

/// Refuses what cannot be a bell: reading there might wait.
fn check_bell(descriptor: &OwnedFd) -> io::Result<()> {
    if rustix::fs::fcntl_getfl(descriptor)?.contains(OFlags::NONBLOCK) {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "one of the broker's bells is none"))
}

/// A bell of the broker's, to be rung without a lock.
#[derive(Debug)]
#[must_use = "the broker sleeps"]
pub(crate) struct Bell(Arc<Bells>);

impl Bell {
    #[inline]
    pub(crate) fn ring(self) {
        self.0.broker.ring();
    }
}

/// A frame that is put in pieces.
#[derive(Clone, Copy, Debug)]
struct Cut {
    /// Positions in the ring, of its first byte and behind its last.
    start: u64,
    end: u64,
    /// Somebody else has all of it, too.
    is_held: bool,
}

impl Cut {
    /// Whether a position lies between two of its bytes.
    fn is_split_at(&self, position: u64) -> bool {
        (self.start + 1..self.end).contains(&position)
    }
}

/// The outgoing half.
#[derive(Debug)]
pub(crate) struct Ring {
    writer: RingWriter,
    /// Bytes that are put without waiting for more.
    batch_bytes: usize,
    /// The last frame that was larger than the ring.
    cut: Option<Cut>,
    guard: Arc<ForkGuard>,
    bells: Arc<Bells>,
}

impl Ring {
    /// Whether this process is a child that was forked since: it must not touch the ring.
    #[inline(always)]
    pub(crate) fn is_forked(&self) -> bool {
        self.guard.is_forked()
    }

    /// Bytes that are appended and not put.
    #[inline(always)]
    pub(crate) fn appended(&self) -> usize {
        self.writer.appended()
    }

    /// Whether a batch is appended: it is to be put.
    #[inline(always)]
    pub(crate) fn has_batch(&self) -> bool {
        self.writer.appended() >= self.batch_bytes
    }

    /// Whether the broker allows a larger ring, which is used once this one is empty.
    pub(crate) fn may_grow(&self) -> bool {
        self.writer.may_grow()
    }

    /// The place of the next bytes, if there is room for so many.
    #[inline(always)]
    pub(crate) fn space(&mut self, bytes: usize) -> Option<&mut [u8]> {
        self.writer.space(bytes)
    }

    /// Appends the first bytes of the last [`Ring::space`].
    #[inline(always)]
    pub(crate) fn append(&mut self, bytes: usize) {
        self.writer.append(bytes);
    }

    /// Appends a copy of as much as there is room for; how much.
    pub(crate) fn copy(&mut self, bytes: &[u8]) -> usize {
        self.writer.copy(bytes)
    }

    /// Lets the broker have what is appended; gives the bell to be rung, if it sleeps.
    #[inline]
    pub(crate) fn put(&mut self) -> Option<Bell> {
        let rings = !self.is_forked() && self.writer.put();
        rings.then(|| Bell(Arc::clone(&self.bells)))
    }

    /// Whether the broker, which ends, takes nothing more.
    #[inline]
    pub(crate) fn is_ended(&self) -> bool {
        self.writer.is_ended()
    }

    /// Notes that a frame of so many bytes, larger than the ring, begins behind what is
    /// appended. Who appends it has it as a whole until [`Ring::end_cut`].
    pub(crate) fn begin_cut(&mut self, bytes: usize) {
        let start = self.writer.position();
        self.cut = Some(Cut { start, end: start + bytes as u64, is_held: true });
    }

    /// Notes that all of that frame is appended.
    pub(crate) fn end_cut(&mut self) {
        if let Some(cut) = &mut self.cut {
            cut.is_held = false;
        }
    }

    /// Whether the broker has ended within the last frame that was cut, all of which is put.
    pub(crate) fn is_cut_by_end(&self) -> bool {
        let is_cut = |cut: Cut| !cut.is_held && cut.is_split_at(self.writer.untaken_from());
        self.writer.is_ended() && self.cut.is_some_and(is_cut)
    }

    /// Whether the broker takes all that is appended.
    pub(crate) fn is_taken(&self) -> bool {
        self.writer.untaken_from() == self.writer.position()
    }

    /// Takes back what the broker does not take: whole frames.
    pub(crate) fn take_back(&mut self) -> Vec<u8> {
        if self.is_forked() {
            return Vec::new();
        }
        let from = self.writer.untaken_from();
        let mut taken = self.writer.take_back();
        match self.cut {
            Some(cut) if cut.is_held => {
                taken.truncate(usize::try_from(cut.start.saturating_sub(from)).unwrap_or(0));
            }
            // It began before: the rest of it is of no use.
            Some(cut) if cut.is_split_at(from) => {
                taken.drain(..(cut.end - from) as usize);
            }
            _ => {}
        }
        taken
    }

    /// Bytes that there is room for.
    pub(crate) fn room(&mut self) -> usize {
        self.writer.room()
    }

    /// Size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.writer.size()
    }

    /// Asks for the bell for room for so many bytes, for which there is none; `false`: now
    /// there is. Everything must be put. If the broker allows a larger ring this one is to be
    /// empty first, and then the larger one is used.
    pub(crate) fn want_room(&mut self, bytes: usize) -> bool {
        let bytes = if self.writer.may_grow() { self.writer.size() } else { bytes };
        if self.writer.want_room(bytes) {
            return true;
        }
        if self.writer.grow() {
            self.batch_bytes = MIN_BATCH_BYTES.max(self.writer.size() / BATCHES_PER_RING);
        }
        false
    }

    /// Waits until there is room for so many bytes, or those of the whole ring.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn wait_for_room(&mut self, bytes: usize, socket: BorrowedFd<'_>) -> io::Result<()> {
        while self.want_room(bytes) {
            if wait(self.bells.room.as_fd(), socket)? {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            self.bells.room.silence();
        }
        Ok(())
    }
}

/// Accessors for those who wait by other means than `poll`.
#[cfg(feature = "tokio")]
impl Ring {
    /// The bells.
    pub(crate) fn bells(&self) -> &Bells {
        &self.bells
    }
}

#[cfg(feature = "tokio")]
impl Incoming {
    /// The bells.
    pub(crate) fn bells(&self) -> &Bells {
        &self.bells
    }

    /// Whether there is a descriptor.
    pub(crate) fn is_there(&mut self) -> bool {
        self.reader.is_there()
    }
}

#[cfg(any(feature = "tokio", test))]
impl Incoming {
    /// Asks for the client's bell when there is something; `false`: there is.
    pub(crate) fn want(&mut self) -> bool {
        self.reader.wait()
    }
}

/// The incoming half.
#[derive(Debug)]
pub(crate) struct Incoming {
    reader: DescriptorReader,
    view: ArenaView,
    /// Bytes of ranges that were taken and not released.
    done_bytes: usize,
    guard: Arc<ForkGuard>,
    bells: Arc<Bells>,
}

impl Incoming {
    /// Takes the next descriptor; what was taken before is done with.
    pub(crate) fn take(&mut self) -> Taken {
        if self.guard.is_forked() || self.reader.region().is_revoked() {
            return Taken::Revoked;
        }
        if self.done_bytes >= RELEASE_AT_BYTES {
            self.release();
        }
        let taken = match self.reader.take() {
            None => Taken::Nothing,
            Some(Descriptor::Arena { offset, bytes }) => {
                self.done_bytes += bytes as usize;
                Taken::Range { offset, bytes }
            }
            Some(Descriptor::Socket { bytes }) => Taken::Socket(bytes as usize),
            Some(Descriptor::Unknown) => Taken::Fault,
        };
        if taken == Taken::Nothing {
            self.release();
        }
        taken
    }

    /// The bytes of a range that was taken; `None`: it is not in the broker's memory.
    pub(crate) fn range(&self, offset: u64, bytes: u32) -> Option<&[u8]> {
        self.view.range(offset, bytes)
    }

    /// Whether the broker has ended the connection, and uses its memory again.
    pub(crate) fn is_revoked(&self) -> bool {
        self.reader.region().is_revoked()
    }

    /// Releases what was taken: nothing refers to it any more.
    pub(crate) fn release(&mut self) {
        self.done_bytes = 0;
        if !self.guard.is_forked() && self.reader.release() {
            self.bells.broker.ring();
        }
    }

    /// Waits until there is something, at first by looking for it, so long; whether the
    /// connection is gone.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn wait(&mut self, socket: BorrowedFd<'_>, spin: Duration) -> io::Result<bool> {
        if self.is_there_within(spin) || !self.reader.wait() {
            return Ok(false);
        }
        let is_gone = wait(self.bells.client.as_fd(), socket)?;
        self.bells.client.silence();
        Ok(is_gone)
    }

    /// Looks for something for so long, and lets others have the core between: the broker
    /// may need it.
    fn is_there_within(&mut self, spin: Duration) -> bool {
        if spin.is_zero() {
            return false;
        }
        let start = Instant::now();
        loop {
            for _ in 0..LOOKS {
                if self.reader.is_there() {
                    return true;
                }
                std::hint::spin_loop();
            }
            std::thread::yield_now();
            if self.is_revoked() || start.elapsed() >= spin {
                return false;
            }
        }
    }
}

/// Release of what was read in place: whoever ends a connection in order waits for it.
impl Drop for Incoming {
    fn drop(&mut self) {
        self.release();
    }
}

/// Waits until a bell was rung, or the broker is gone; whether it is.
fn wait(bell: BorrowedFd<'_>, socket: BorrowedFd<'_>) -> io::Result<bool> {
    let mut both = [
        PollFd::from_borrowed_fd(bell, PollFlags::IN),
        PollFd::from_borrowed_fd(socket, PollFlags::RDHUP),
    ];
    retry_on_intr(|| poll(&mut both, None))?;
    // A bell whose other end is closed is never rung again.
    let is_closed = both[0].revents().intersects(PollFlags::HUP | PollFlags::ERR);
    Ok(is_closed || !both[1].revents().is_empty())
}
