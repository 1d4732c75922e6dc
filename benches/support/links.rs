//! Two links in memory, one of which emits and one of which listens, in a virtual time of
//! their own: the datagrams that one hands out the other takes at once, as one train.
//!
//! ```text
//!   Chunk ──emit──▶ [ emitter ] ──trains──▶ [ listener ] ──▶ runs, counted
//!                        ▲                       │
//!                        └── statuses, requests ─┘
//! ```

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;

use netcluster_link::channel::ChannelHash;
use netcluster_link::crypto::Keys;
use netcluster_link::{Datagrams, Entropy, Link, LinkConfig, LinkEvent, To};
use netcluster_platform::{Instant, Slice};
use netcluster_wire::{Kind, Source, frame};

const CHANNEL: &str = "bench";
const CHUNK_BYTES: usize = 64 << 10;
const GROUP: ([u8; 4], u16) = ([239, 255, 44, 54], 4454);
/// Time from one pass to the next: about what a chunk takes at 1 GB/s.
const STEP_NS: u64 = 65_000;
/// Longest time that a pass waits for repairs.
const PATIENCE_NS: u64 = 2_000_000_000;
/// Time within which the links have found each other.
const SETTLE_NS: u64 = 1_000_000_000;

/// Whole frames of the emitter, as a receive brings them.
pub struct Chunk {
    slice: Slice,
    pub frames: usize,
}

impl Chunk {
    /// Makes a chunk of as many frames as fit.
    pub fn new(payload_bytes: usize) -> Chunk {
        let source = Source { node: End::node(0), client: 7 };
        let one = frame::encode(Kind::Event, source, 1, b"tick", &vec![7; payload_bytes]);
        let frames = (CHUNK_BYTES / one.len()).max(1);
        Chunk { slice: Slice::from(Bytes::from(one.repeat(frames))), frames }
    }

    pub fn bytes(&self) -> usize {
        self.slice.len()
    }
}

/// One of the two links.
struct End {
    link: Link,
    address: SocketAddr,
    groups: BTreeSet<IpAddr>,
    received: usize,
}

impl End {
    fn node(index: u8) -> u32 {
        u32::from(index) + 1
    }

    fn new(index: u8, now: Instant, keys: &Keys) -> End {
        let address = SocketAddr::from(([10, 0, 0, index + 1], 5000));
        let config = LinkConfig {
            cluster: "bench".into(),
            name: format!("end-{index}"),
            node: End::node(index),
            group: SocketAddr::from(GROUP),
            groups: 4,
            datagram_bytes: 1372,
            history_bytes: 8 << 20,
            rate: None,
            receive_buffer_bytes: 8 << 20,
            keys: keys.clone(),
            peers: Vec::new(),
            unresolved: 0,
            pressured: Vec::new(),
            stall_timeout: Duration::from_secs(5),
            max_payload_bytes: 1 << 20,
            reassembly_bytes: 64 << 20,
            local_addresses: vec![address.ip()],
            discovery: Duration::from_millis(150),
        };
        let entropy = Box::new(Counting(u128::from(index) << 64));
        let link = Link::new(config, [index + 1; 16], entropy, now);
        End { link, address, groups: BTreeSet::new(), received: 0 }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.link.poll_event() {
            match event {
                LinkEvent::Run(run) => self.received += run.frames,
                LinkEvent::JoinGroup(group) => assert!(self.groups.insert(group)),
                LinkEvent::LeaveGroup(group) => assert!(self.groups.remove(&group)),
                LinkEvent::Joined(_) | LinkEvent::PeerUp { .. } => {}
                other => panic!("everything is well: {other:?}"),
            }
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.link.poll_timeout().is_some_and(|due_at| due_at <= now) {
            self.link.handle_timeout(now);
            self.take_events();
        }
    }

    /// Hands all datagrams over to the other link; returns whether there were any.
    fn carry(&mut self, other: &mut End, now: Instant, losses: &mut Losses) -> bool {
        let mut sent = false;
        while let Some(transmit) = self.link.poll_transmit(now) {
            sent = true;
            let (gets, multicast) = match transmit.to {
                To::Group(group) => (other.groups.contains(&group.ip()), true),
                To::Addr(address) => (other.address == address, false),
            };
            if !gets {
                continue;
            }
            let (segment, from) = (transmit.segment, self.address);
            for bytes in losses.split(transmit.bytes, segment) {
                let train = Datagrams { bytes, segment, from, multicast };
                other.link.handle_datagrams(now, &train);
            }
            other.take_events();
        }
        sent
    }
}

/// Datagrams that do not arrive: every so-many-th of those to the listener, once the
/// listener is ready.
struct Losses {
    every: Option<u64>,
    sent: u64,
}

impl Losses {
    fn none() -> Losses {
        Losses { every: None, sent: 0 }
    }

    /// Returns what arrives of a train, in parts.
    fn split<'a>(&mut self, train: &'a [u8], segment: usize) -> impl Iterator<Item = &'a [u8]> {
        let count = train.len().div_ceil(segment) as u64;
        // The first datagram of the train that is lost, if the train has it.
        let (before, every) = (self.sent, self.every);
        self.sent += count;
        let mut at = 0;
        std::iter::from_fn(move || {
            while at < count {
                let left = match every {
                    Some(every) => every - 1 - (before + at) % every,
                    None => count,
                };
                let end = (at + left).min(count);
                let part = &train[at as usize * segment..(end as usize * segment).min(train.len())];
                at = end + 1;
                if !part.is_empty() {
                    return Some(part);
                }
            }
            None
        })
    }
}

/// Link of an emitter and one of a listener.
pub struct LinkPair {
    emitter: End,
    listener: End,
    channel: ChannelHash,
    now: Instant,
    losses: Losses,
}

impl LinkPair {
    /// Makes two ends of an open link, which know each other.
    pub fn new(lose_every: Option<u64>) -> LinkPair {
        LinkPair::with_keys(&Keys::open_link(), lose_every)
    }

    /// Makes two ends of a link with keys, which know each other.
    pub fn with_keys(keys: &Keys, lose_every: Option<u64>) -> LinkPair {
        let now = Instant::from_nanos(1_000_000_000);
        let (mut emitter, mut listener) = (End::new(0, now, keys), End::new(1, now, keys));
        let channel = emitter.link.open_channel(now, CHANNEL);
        listener.link.open_channel(now, CHANNEL);
        listener.link.set_interest(now, channel, true);
        emitter.take_events();
        listener.take_events();
        let mut pair = LinkPair { emitter, listener, channel, now, losses: Losses::none() };
        while pair.now < now + SETTLE_NS {
            pair.turn();
            pair.wait();
        }
        assert_eq!(pair.emitter.link.peer_count(), 1, "they have found each other");
        pair.losses.every = lose_every;
        pair
    }

    /// Emits a chunk, until all of it has arrived.
    pub fn pass(&mut self, chunk: &Chunk) {
        self.listener.received = 0;
        let pieces = std::slice::from_ref(&chunk.slice);
        self.emitter.link.emit(self.channel, pieces, chunk.frames);
        let end_at = self.now + PATIENCE_NS;
        self.turn();
        while self.listener.received < chunk.frames {
            assert!(self.now < end_at, "{} frames arrived", self.listener.received);
            self.wait();
            self.turn();
        }
        assert_eq!(self.listener.received, chunk.frames);
        self.now += STEP_NS;
    }

    /// Moves datagrams until both links have nothing more to say now.
    fn turn(&mut self) {
        let now = self.now;
        self.emitter.handle_timeout(now);
        self.listener.handle_timeout(now);
        loop {
            let there = self.emitter.carry(&mut self.listener, now, &mut self.losses);
            let back = self.listener.carry(&mut self.emitter, now, &mut Losses::none());
            if !there && !back {
                return;
            }
        }
    }

    /// Moves the time on to what is due next.
    fn wait(&mut self) {
        let due = [&self.emitter, &self.listener].map(|end| end.link.poll_timeout());
        let due_at = due.into_iter().flatten().min().unwrap_or(Instant::NEVER);
        self.now = due_at.clamp(self.now + 1_000, self.now + 1_000_000);
    }
}

/// Entropy of which no two outputs are alike; nobody has to be kept from guessing here.
struct Counting(u128);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8; 16]) {
        self.0 += 1;
        *out = self.0.to_le_bytes();
    }
}
