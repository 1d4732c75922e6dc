//! Links and the network between them, in virtual time, from one seed.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use netcluster_platform::{Instant, Slice};
use netcluster_wire::control::LossReason;
use netcluster_wire::frame::{self, Frame};
use netcluster_wire::header::{Kind, Source};

use crate::channel::ChannelHash;
use crate::crypto::Keys;
use crate::event::Gone;
use crate::receive::datagrams::Datagrams;
use crate::tests::summaries::summary_of;
use crate::tests::time::ns;
use crate::transmit::To;
use crate::{Entropy, Link, LinkConfig, LinkEvent, PeerId, StreamId};

pub const MS_NS: u64 = 1_000_000;
pub const GROUP: [u8; 4] = [239, 255, 44, 54];
pub const PORT: u16 = 44_540;
pub const CHANNEL: &str = "default";

/// Time that a broker that leaves may take to send the rest.
pub const LEAVING: Duration = Duration::from_millis(500);

/// Deterministic, and good enough to tell nonces and losses apart.
#[derive(Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn sixteen(&mut self) -> [u8; 16] {
        let (low, high) = (self.next(), self.next());
        (u128::from(low) | u128::from(high) << 64).to_le_bytes()
    }
}

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8; 16]) {
        *out = self.sixteen();
    }
}

/// Event that a listener saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Saw {
    Event { node: u32, sequence: u64 },
    Lost { node: u32, count: Option<u64>, reason: LossReason },
}

pub struct Node {
    pub link: Link,
    pub address: SocketAddr,
    pub groups: BTreeSet<IpAddr>,
    pub saw: BTreeMap<ChannelHash, Vec<Saw>>,
    pub warnings: Vec<String>,
    pub ups: usize,
    pub last_peer: Option<PeerId>,
    pub downs: Vec<Gone>,
    pub joined: u64,
    /// Datagrams it put on the network: data and control, one per address.
    pub data: u64,
    pub control: u64,
    pub is_alive: bool,
    node: u32,
    pub sequence: u64,
}

struct Packet {
    to: usize,
    from: SocketAddr,
    multicast: bool,
    bytes: Vec<u8>,
}

/// Whether a datagram from one node reaches another; the last says whether it
/// was sent to a group.
pub type Reaches = fn(usize, usize, bool) -> bool;

pub struct Mesh {
    pub nodes: Vec<Node>,
    pub now: Instant,
    pub random: Random,
    pub loss_permille: u64,
    pub duplicate_permille: u64,
    pub jitter_ns: u64,
    pub reaches: Reaches,
    /// Whether brokers tell their state when it is time.
    pub tells_summaries: bool,
    /// A socket takes so many bytes of a send at once, sometimes.
    pub is_stingy: bool,
    /// Every datagram that was sent, if it is to be kept.
    pub recorded: Option<Vec<(SocketAddr, bool, Vec<u8>)>>,
    /// Datagrams that were sent to addresses where nobody is.
    pub strayed: Vec<(SocketAddr, Vec<u8>)>,
    wire: BTreeMap<(Instant, u64), Packet>,
    packets: u64,
}

pub fn config(index: usize) -> LinkConfig {
    LinkConfig {
        cluster: "test".into(),
        name: format!("node-{index}"),
        node: index as u32 + 1,
        group: SocketAddr::from((GROUP, PORT)),
        groups: 4,
        datagram_bytes: 1372,
        history_bytes: 1 << 20,
        rate: None,
        receive_buffer_bytes: 4 << 20,
        keys: Keys::open_link(),
        peers: Vec::new(),
        unresolved: 0,
        pressured: Vec::new(),
        stall_timeout: Duration::from_secs(5),
        max_payload_bytes: 1 << 20,
        reassembly_bytes: 64 << 20,
        local_addresses: vec![address(index).ip()],
        discovery: Duration::from_millis(150),
    }
}

pub fn address(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, index as u8 + 1], 5000))
}

impl Mesh {
    pub fn new(seed: u64) -> Mesh {
        Mesh {
            nodes: Vec::new(),
            now: ns(1_000_000_000),
            random: Random(seed),
            loss_permille: 0,
            duplicate_permille: 0,
            jitter_ns: 0,
            reaches: |_, _, _| true,
            tells_summaries: false,
            is_stingy: false,
            recorded: None,
            strayed: Vec::new(),
            wire: BTreeMap::new(),
            packets: 0,
        }
    }

    /// A mesh of so many alike.
    pub fn of(seed: u64, count: usize) -> Mesh {
        let mut mesh = Mesh::new(seed);
        (0..count).for_each(|index| mesh.start(config(index)));
        mesh
    }

    /// A mesh of so many alike, all of which listen and have found each other.
    pub fn of_listeners(seed: u64, count: usize) -> Mesh {
        let mut mesh = Mesh::new(seed);
        (0..count).for_each(|index| mesh.start_listening(config(index)));
        mesh.run_ms(300);
        mesh
    }

    /// A mesh of so many alike that have found each other, of which the last listens.
    pub fn with_listener(seed: u64, count: usize) -> Mesh {
        let mut mesh = Mesh::of(seed, count);
        mesh.listen(count - 1, CHANNEL);
        mesh.run_ms(300);
        mesh
    }

    /// Two brokers of many groups, and names of 200 channels, of which the first so many
    /// have pressure, so that each has a stream of its own; the second broker listens to all.
    pub fn of_many_streams(pressured: usize) -> (Mesh, Vec<String>) {
        let mut mesh = Mesh::new(1);
        let names: Vec<String> = (0..200).map(|index| format!("channel-{index}")).collect();
        for index in 0..2 {
            let mut config = config(index);
            config.groups = 64;
            config.history_bytes = 20_000;
            config.pressured = names[..pressured].to_vec();
            mesh.start(config);
        }
        names.iter().for_each(|name| {
            mesh.listen(1, name);
        });
        (mesh, names)
    }

    /// Starts a broker that listens.
    pub fn start_listening(&mut self, config: LinkConfig) {
        self.start(config);
        self.listen(self.nodes.len() - 1, CHANNEL);
    }

    pub fn start(&mut self, config: LinkConfig) {
        let address = address(self.nodes.len());
        self.start_at(config, address);
    }

    pub fn start_at(&mut self, config: LinkConfig, address: SocketAddr) {
        // Sessions differ between tests of one thread too: keys are audited.
        static SESSIONS: AtomicU64 = AtomicU64::new(1);
        let mut session = self.random.sixteen();
        session[8..].copy_from_slice(&SESSIONS.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        let node = config.node;
        let entropy = Box::new(Random(self.random.next()));
        let link = Link::new(config, session, entropy, self.now);
        self.nodes.push(Node {
            link,
            address,
            groups: BTreeSet::new(),
            saw: BTreeMap::new(),
            warnings: Vec::new(),
            ups: 0,
            last_peer: None,
            downs: Vec::new(),
            joined: 0,
            data: 0,
            control: 0,
            is_alive: true,
            node,
            sequence: 0,
        });
    }

    pub fn listen(&mut self, index: usize, channel: &str) -> u64 {
        let now = self.now;
        let link = &mut self.nodes[index].link;
        let hash = link.open_channel(now, channel);
        link.set_interest(now, hash, true)
    }

    pub fn unlisten(&mut self, index: usize, channel: &str) {
        let now = self.now;
        let link = &mut self.nodes[index].link;
        let hash = link.open_channel(now, channel);
        link.set_interest(now, hash, false);
    }

    /// Emits so many events, with growing sequences.
    pub fn emit(&mut self, index: usize, channel: &str, count: u64) {
        self.emit_of(index, channel, count, 100);
    }

    pub fn emit_of(&mut self, index: usize, channel: &str, count: u64, payload_bytes: usize) {
        let now = self.now;
        let node = &mut self.nodes[index];
        let hash = node.link.open_channel(now, channel);
        let source = Source { node: node.node, client: 1 };
        let mut bytes = Vec::new();
        for _ in 0..count {
            node.sequence += 1;
            let payload = vec![node.sequence as u8; payload_bytes];
            frame::append(&mut bytes, Kind::Event, source, node.sequence, b"tick", &payload);
        }
        let end = bytes.len();
        let slice = Slice::new(Bytes::from(bytes), 0, end);
        node.link.emit(hash, &[slice], count as usize);
    }

    pub fn run_ms(&mut self, ms: u64) {
        self.run_until(self.now + ms * MS_NS);
    }

    pub fn run_us(&mut self, us: u64) {
        self.run_until(self.now + us * 1000);
    }

    pub fn run_until(&mut self, end_at: Instant) {
        loop {
            (0..self.nodes.len()).for_each(|index| self.pump(index));
            let alive = self.nodes.iter().filter(|node| node.is_alive);
            let timeout_at = alive.filter_map(|node| node.link.poll_timeout()).min();
            let packet_at = self.wire.keys().next().map(|(at, _)| *at);
            let next_at = timeout_at.into_iter().chain(packet_at).min().unwrap_or(Instant::NEVER);
            if next_at > end_at {
                self.now = end_at;
                return;
            }
            self.now = self.now.max(next_at);
            while let Some(entry) = self.wire.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let packet = entry.remove();
                self.deliver(&packet);
            }
            for node in self.nodes.iter_mut().filter(|node| node.is_alive) {
                if node.link.poll_timeout().is_some_and(|at| at <= self.now) {
                    node.link.handle_timeout(self.now);
                }
            }
        }
    }

    /// Hands a node a datagram, as if it came from the network.
    pub fn inject(&mut self, to: usize, from: SocketAddr, multicast: bool, bytes: &[u8]) {
        let datagrams = Datagrams { bytes, segment: bytes.len(), from, multicast };
        self.nodes[to].link.handle_datagrams(self.now, &datagrams);
    }

    fn deliver(&mut self, packet: &Packet) {
        if self.nodes[packet.to].is_alive {
            self.inject(packet.to, packet.from, packet.multicast, &packet.bytes);
        }
    }

    /// Takes from a link what it has to send and to tell.
    pub fn pump(&mut self, index: usize) {
        if !self.nodes[index].is_alive {
            return;
        }
        let mut sent = Vec::new();
        let node = &mut self.nodes[index];
        while let Some(event) = node.link.poll_event() {
            if matches!(event, LinkEvent::SummaryWanted) && self.tells_summaries {
                let uptime_ms = self.now.since(Instant::START) / MS_NS;
                node.link.tell_summary(&summary_of(uptime_ms, node.node - 1));
            }
            node.on_event(event);
        }
        while let Some(transmit) = node.link.poll_transmit(self.now) {
            assert!(!transmit.bytes.is_empty() && transmit.segment > 0);
            let mut taken = transmit.bytes.len();
            if self.is_stingy && self.random.below(3) == 0 {
                let most = taken.div_ceil(transmit.segment) as u64;
                taken = taken.min(self.random.below(most) as usize * transmit.segment);
            }
            let is_partial = taken < transmit.bytes.len();
            if taken > 0 {
                let (to, looped, segment) = (transmit.to, transmit.looped, transmit.segment);
                sent.push((to, looped, segment, transmit.bytes[..taken].to_vec()));
            }
            if is_partial {
                node.link.blocked_transmit(taken);
            }
        }
        for (to, looped, segment, bytes) in sent {
            for datagram in bytes.chunks(segment) {
                self.send(index, to, looped, datagram);
            }
        }
    }

    fn send(&mut self, from: usize, to: To, looped: bool, bytes: &[u8]) {
        let is_data = bytes[2] == 1;
        *if is_data { &mut self.nodes[from].data } else { &mut self.nodes[from].control } += 1;
        let address = self.nodes[from].address;
        let multicast = matches!(to, To::Group(_));
        if let Some(recorded) = &mut self.recorded {
            recorded.push((address, multicast, bytes.to_vec()));
        }
        if let To::Addr(to) = to
            && self.nodes.iter().all(|node| node.address != to)
        {
            self.strayed.push((to, bytes.to_vec()));
        }
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            let is_here = node.address.ip() == address.ip();
            let gets = match to {
                To::Group(group) => node.groups.contains(&group.ip()) && (looped || !is_here),
                To::Addr(to) => node.address == to,
            };
            if !gets || !node.is_alive || !(self.reaches)(from, at, multicast) {
                continue;
            }
            if self.random.below(1000) < self.loss_permille && at != from {
                continue;
            }
            let is_twice = self.random.below(1000) < self.duplicate_permille;
            for _ in 0..1 + u64::from(is_twice) {
                let jitter_ns = self.random.below(self.jitter_ns + 1);
                self.packets += 1;
                let key = (self.now + 50_000 + jitter_ns, self.packets);
                let bytes = bytes.to_vec();
                self.wire.insert(key, Packet { to: at, from: address, multicast, bytes });
            }
        }
    }

    /// The sequences of one node that another saw in a channel, and how often it
    /// was told of losses.
    pub fn seen(&self, at: usize, of: usize, channel: &str) -> (Vec<u64>, Vec<Option<u64>>) {
        let hash = ChannelHash::of(channel);
        let of = self.nodes[of].node;
        let (mut events, mut losses) = (Vec::new(), Vec::new());
        for saw in self.nodes[at].saw.get(&hash).into_iter().flatten() {
            match *saw {
                Saw::Event { node, sequence } if node == of => events.push(sequence),
                Saw::Lost { node, count, .. } if node == of => losses.push(count),
                _ => {}
            }
        }
        (events, losses)
    }

    /// Asserts that a node saw all of these events of another, once and in order.
    pub fn assert_seen(
        &self,
        at: usize,
        of: usize,
        channel: &str,
        sequences: impl Iterator<Item = u64>,
    ) {
        let (events, losses) = self.seen(at, of, channel);
        let expected: Vec<u64> = sequences.collect();
        assert!(losses.is_empty(), "losses {losses:?}, {} events", events.len());
        assert_eq!(events.len(), expected.len());
        assert_eq!(events, expected);
    }

    /// Kills a node: no goodbye.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].is_alive = false;
    }
}

impl Node {
    fn on_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Run(run) => {
                let saw = self.saw.entry(run.channel).or_default();
                let mut rest = run.slice.as_bytes();
                let mut frames = 0;
                while let Some(frame) = Frame::read(rest, 1 << 30).expect("whole frames") {
                    assert_eq!(frame.source(), run.source);
                    assert_eq!(frame.name().len(), run.name_len);
                    let sequence = frame.sequence();
                    assert!(frame.payload().iter().all(|byte| *byte == sequence as u8));
                    saw.push(Saw::Event { node: run.source.node, sequence });
                    rest = &rest[frame.as_bytes().len()..];
                    frames += 1;
                }
                assert!(rest.is_empty());
                assert_eq!(frames, run.frames);
            }
            LinkEvent::Lost(lost) => {
                let mut channels: Vec<ChannelHash> = self.link.channels_in(lost.stream).collect();
                channels.retain(|&channel| lost.channel.is_none_or(|only| only == channel));
                for channel in channels {
                    let (node, count, reason) = (lost.node, lost.count, lost.reason);
                    self.saw.entry(channel).or_default().push(Saw::Lost { node, count, reason });
                }
            }
            LinkEvent::Joined(version) => self.joined = version,
            LinkEvent::PeerUp { peer, .. } => {
                self.ups += 1;
                self.last_peer = Some(peer);
            }
            LinkEvent::PeerDown { why, .. } => self.downs.push(why),
            LinkEvent::JoinGroup(group) => assert!(self.groups.insert(group)),
            LinkEvent::LeaveGroup(group) => assert!(self.groups.remove(&group)),
            LinkEvent::Demoted { .. } | LinkEvent::Restored { .. } => {}
            LinkEvent::Warn(_, text) => self.warnings.push(text),
            LinkEvent::Note(_) | LinkEvent::SummaryWanted => {}
        }
    }

    /// Whether emitters of any channel would have to pause.
    pub fn is_full(&self) -> bool {
        let streams = (0..4).flat_map(|group| (0..2).map(move |index| (group, index)));
        let mut streams = streams.map(|(group, index)| StreamId::new(group, index));
        streams.any(|stream| self.link.is_blocked(stream))
    }

    pub fn drops(&self) -> crate::status::DropCounters {
        self.link.counters().drops
    }

    pub fn peers(&self) -> Vec<crate::status::PeerStatus> {
        self.link.status(ns(0)).peers
    }
}

/// Keys of a cluster, by their first byte.
pub fn key(byte: u8) -> Keys {
    Keys::new(vec![crate::crypto::Key::new([byte; 32])])
}
