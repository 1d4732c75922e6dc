//! Memory shared on Linux. What is sent is cut, without regard to frames, into pieces of
//! all sizes, by turns in the arena and on the socket.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use netcluster_shm::{Descriptor, DescriptorWriter, RegionFiles, RingReader};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};

use super::super::transport::Stream;

/// Small, so that it is full soon.
const ARENA_BYTES: usize = 512 << 10;

/// Sizes of pieces: some cut headers, some hold many frames.
const PIECES: [usize; 7] = [40_000, 13, 4096, 7, 64 << 10, 1000, 24];

/// Events after which the largest ring is allowed.
const LARGEST_RING_AFTER_BYTES: usize = 4 << 20;

/// Time after which it is looked again what was released.
const LOOK_AFTER: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

pub struct Memory {
    pub files: RegionFiles,
    /// Written by the file, so that no unsafe code is needed here.
    pub arena: OwnedFd,
}

impl Memory {
    pub fn new() -> Option<Arc<Memory>> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let arena = rustix::fs::memfd_create("arena", flags).unwrap();
        rustix::fs::ftruncate(&arena, ARENA_BYTES as u64).unwrap();
        rustix::fs::fcntl_add_seals(&arena, SealFlags::SHRINK).unwrap();
        let files = RegionFiles::new().unwrap();
        files.reserve_ring().unwrap();
        Some(Arc::new(Memory { files, arena }))
    }

    pub fn arena_bytes(&self) -> u64 {
        ARENA_BYTES as u64
    }

    /// Sends the offer, and with it the descriptors.
    pub fn offer(&self, stream: &Stream, frame: &[u8]) {
        let [region, broker, client, room] = self.files.descriptors();
        send_with(stream, frame, &[self.arena.as_fd(), region, broker, client, room]);
    }

    pub fn reader(self: &Arc<Memory>) -> Reader {
        let ring = RingReader::new(Arc::clone(self.files.region()));
        Reader { memory: Arc::clone(self), ring, read: 0 }
    }

    pub fn writer(self: &Arc<Memory>) -> Writer {
        let descriptors = DescriptorWriter::new(Arc::clone(self.files.region()));
        Writer { memory: Arc::clone(self), descriptors, at: 0, turn: 0 }
    }
}

/// Sends bytes, and descriptors with the first of them.
pub fn send_with(stream: &Stream, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) {
    let mut room = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut beside = SendAncillaryBuffer::new(&mut room);
    assert!(descriptors.is_empty() || beside.push(SendAncillaryMessage::ScmRights(descriptors)));
    let sent =
        rustix::net::sendmsg(stream, &[IoSlice::new(bytes)], &mut beside, SendFlags::NOSIGNAL);
    // The client may be gone.
    assert!(sent.is_err() || sent == Ok(bytes.len()));
}

/// Bytes that come by the ring.
pub struct Reader {
    memory: Arc<Memory>,
    ring: RingReader,
    read: usize,
}

impl Reader {
    /// Size of the ring in bytes.
    pub fn size(&self) -> usize {
        self.ring.size()
    }

    /// Whether the client waits for room.
    pub fn is_room_wanted(&self) -> bool {
        self.ring.is_room_wanted()
    }

    /// Reads what is there, waiting for it; 0: the end.
    pub fn read(&mut self, stream: &Stream, space: &mut [u8]) -> io::Result<usize> {
        loop {
            let there = self.ring.look().map_err(io::Error::other)?.min(space.len());
            if there > 0 {
                self.ring.take(&mut space[..there]);
                if self.ring.tell() {
                    self.memory.files.bells().room.ring();
                }
                self.read += there;
                if self.read > LARGEST_RING_AFTER_BYTES {
                    self.ring.allow_largest();
                }
                return Ok(there);
            }
            let bell = &self.memory.files.bells().broker;
            if !self.ring.wait().map_err(io::Error::other)? {
                continue;
            }
            let is_gone = wait(bell.as_fd(), stream, None)?;
            bell.silence();
            if is_gone && self.ring.look().map_err(io::Error::other)? == 0 {
                return Ok(0);
            }
        }
    }
}

/// Waits for a bell, or the end of a stream, or what comes there against the rules; whether
/// it ended.
fn wait(bell: BorrowedFd<'_>, stream: &Stream, time: Option<&Timespec>) -> io::Result<bool> {
    let mut both = [
        PollFd::from_borrowed_fd(bell, PollFlags::IN),
        PollFd::new(stream, PollFlags::RDHUP | PollFlags::IN),
    ];
    rustix::io::retry_on_intr(|| poll(&mut both, time))?;
    let of_stream = both[1].revents();
    let is_gone = of_stream.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR);
    assert!(is_gone || of_stream.is_empty(), "bytes on the socket behind the accept");
    Ok(is_gone)
}

/// Bytes that go by descriptors.
pub struct Writer {
    memory: Arc<Memory>,
    pub descriptors: DescriptorWriter,
    /// Offset from which the arena is free.
    at: usize,
    turn: usize,
}

impl Writer {
    /// Sends bytes; whether the client is there.
    pub fn send(&mut self, stream: &Stream, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            self.turn += 1;
            let piece = PIECES[self.turn % PIECES.len()].min(bytes.len());
            let (piece, rest) = bytes.split_at(piece);
            bytes = rest;
            let sent = match self.turn % 3 {
                0 => self.send_by_socket(stream, piece),
                _ => self.send_in_arena(stream, piece),
            };
            if !sent {
                return false;
            }
            if self.descriptors.tell() {
                self.memory.files.bells().client.ring();
            }
        }
        true
    }

    fn send_by_socket(&mut self, stream: &Stream, piece: &[u8]) -> bool {
        let bytes = piece.len() as u32;
        self.has_room(stream, 1) && stream.write_all(piece).is_ok() && {
            self.descriptors.push(Descriptor::Socket { bytes });
            true
        }
    }

    fn send_in_arena(&mut self, stream: &Stream, piece: &[u8]) -> bool {
        if self.at + piece.len() > ARENA_BYTES {
            // From the front again, once nobody reads there.
            if !self.has_room(stream, usize::MAX) {
                return false;
            }
            self.at = 0;
        }
        if !self.has_room(stream, 1) {
            return false;
        }
        let (offset, bytes) = (self.at as u64, piece.len() as u32);
        assert_eq!(rustix::io::pwrite(&self.memory.arena, piece, offset), Ok(piece.len()));
        self.descriptors.push(Descriptor::Arena { offset, bytes });
        self.at += piece.len();
        true
    }

    /// Waits until so many descriptors fit, or none is in flight.
    fn has_room(&mut self, stream: &Stream, wanted: usize) -> bool {
        loop {
            self.descriptors.look().expect("a client releases what it was given");
            if self.descriptors.room() >= wanted || self.descriptors.unreleased() == 0 {
                return true;
            }
            let mut end = [PollFd::new(stream, PollFlags::RDHUP)];
            if rustix::io::retry_on_intr(|| poll(&mut end, Some(&LOOK_AFTER))) != Ok(0) {
                return false;
            }
        }
    }
}
