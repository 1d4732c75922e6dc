//! A client's end of a connection with shared memory: plain calls, no thread.

use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use netcluster_platform::{ClientMemory, Conn};
use netcluster_shm::{
    ArenaView, Bells, ClientRegion, Descriptor, DescriptorReader, Region, RingWriter,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};

use crate::bench::{Bench, LocalIo};
use crate::client::PATIENCE;

/// Frames that stand for an offer and its end: the back end does not look at them.
const OFFER: &[u8] = b"an offer";
const BEGIN: &[u8] = b"begin";

/// A client that shares memory with the shard.
pub struct SharedClient {
    pub stream: UnixStream,
    pub ring: RingWriter,
    pub descriptors: DescriptorReader,
    pub region: Arc<Region>,
    pub bells: Arc<Bells>,
    pub view: ArenaView,
}

impl SharedClient {
    /// A client, its connection, and what they share. The connection receives if `receives`.
    pub fn connect<I: LocalIo>(
        bench: &mut Bench<I>,
        receives: bool,
    ) -> (SharedClient, Conn, Arc<ClientMemory>) {
        let stream = UnixStream::connect(bench.path()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let conn = bench.accepted();
        if receives {
            bench.io.receive(conn);
            assert!(bench.during(Duration::ZERO).is_empty());
        }
        let memory = ClientMemory::new().unwrap();
        assert!(bench.io.offer_memory(conn, OFFER, &memory).unwrap());
        let client = SharedClient::accept(stream, bench.io.arena_bytes());
        assert!(bench.io.share_memory(conn, BEGIN, &memory).unwrap());
        let mut client = client;
        let mut text = [0; BEGIN.len()];
        client.stream.read_exact(&mut text).unwrap();
        assert_eq!(text, BEGIN);
        (client, conn, memory)
    }

    fn accept(stream: UnixStream, arena_bytes: usize) -> SharedClient {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(5))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut text = [0; OFFER.len()];
        let mut list = [IoSliceMut::new(&mut text)];
        rustix::net::recvmsg(&stream, &mut list, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
        assert_eq!(text, OFFER);
        let mut descriptors: Vec<OwnedFd> = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        let [arena, region, broker, client, room]: [OwnedFd; 5] = descriptors.try_into().unwrap();
        let region = ClientRegion::new([region, broker, client, room]).unwrap();
        SharedClient {
            stream,
            descriptors: DescriptorReader::new(Arc::clone(region.region())),
            region: Arc::clone(region.region()),
            bells: Arc::clone(region.bells()),
            ring: RingWriter::new(region).unwrap(),
            view: ArenaView::new(arena, arena_bytes).unwrap(),
        }
    }

    /// Puts as much as there is room for; returns how much.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        let taken = self.ring.copy(bytes);
        if self.ring.put() {
            self.bells.broker.ring();
        }
        taken
    }

    /// Puts all, and waits for room where it must.
    pub fn put_all(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = &bytes[self.put(bytes)..];
            if !bytes.is_empty() && self.ring.want_room(1) {
                wait_for(&self.bells.room);
                self.bells.room.silence();
            }
        }
    }

    /// Reads one descriptor's bytes, waiting for it. `None` at the end of the socket.
    pub fn read(&mut self) -> Option<(Descriptor, Vec<u8>)> {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "no descriptor came");
            if let Some(descriptor) = self.descriptors.take() {
                return Some((descriptor, self.bytes_of(descriptor)));
            }
            if self.descriptors.wait() {
                let mut watched = [
                    PollFd::new(&self.bells.client, PollFlags::IN),
                    PollFd::new(&self.stream, PollFlags::RDHUP),
                ];
                rustix::event::poll(&mut watched, Some(&patience())).unwrap();
                let is_over = !watched[1].revents().is_empty();
                self.bells.client.silence();
                if is_over && !self.descriptors.is_there() {
                    return None;
                }
            }
        }
    }

    fn bytes_of(&mut self, descriptor: Descriptor) -> Vec<u8> {
        match descriptor {
            Descriptor::Arena { offset, bytes } => self.view.range(offset, bytes).unwrap().to_vec(),
            Descriptor::Socket { bytes } => {
                let mut read = vec![0; bytes as usize];
                self.stream.read_exact(&mut read).unwrap();
                read
            }
            Descriptor::Unknown => panic!("a descriptor of no kind"),
        }
    }

    /// Lets the broker have all that was read.
    pub fn release(&mut self) {
        if self.descriptors.release() {
            self.bells.broker.ring();
        }
    }

    /// Reads and releases until it has so many bytes.
    pub fn read_bytes(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            bytes.extend(self.read().expect("more was sent").1);
            self.release();
        }
        assert_eq!(bytes.len(), length);
        bytes
    }
}

fn patience() -> Timespec {
    Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 }
}

/// Waits until a descriptor is readable.
pub fn wait_for(fd: &impl AsFd) {
    let mut watched = [PollFd::new(fd, PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut watched, Some(&patience())), Ok(1), "nobody rang");
}

/// A chunk in the arena, received from another client's ring.
pub fn arena_chunk<I: LocalIo>(bench: &mut Bench<I>, bytes: &[u8]) -> Bytes {
    let (mut emitter, conn, _memory) = SharedClient::connect(bench, true);
    emitter.put_all(bytes);
    let chunk = bench.receive_chunk(conn);
    assert_eq!(chunk, bytes);
    bench.close(conn);
    chunk
}
