//! Whole links in virtual time, joined by a network without faults of its own.
//!
//! ```text
//!   link ─▶ poll_transmit ─▶ wire (50 µs) ─▶ handle_datagrams ─▶ link
//!                             │  └─▶ record, to be replayed and changed
//!                             └─▶ strayed: sent to where no link is
//! ```
//! Used by the fuzz target `link` and by `tests/link_hostile.rs`. What is put on
//! the wire, or kept from it, is up to them.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use netcluster_link::channel::ChannelHash;
use netcluster_link::config::Entropy;
use netcluster_link::crypto::Keys;
use netcluster_link::{Datagrams, Link, LinkConfig, LinkEvent, Session, To};
use netcluster_platform::{Instant, Slice};
use netcluster_wire::link::Summary;
use netcluster_wire::{Frame, Kind, Source, frame};

/// Latency from one machine to another.
pub const LATENCY_NS: u64 = 50_000;

/// UDP port of the links.
pub const PORT: u16 = 4454;

/// Calls of `handle_timeout` that a link may need in a virtual second, whatever
/// comes in: less than one per 20 µs.
const MAX_TIMEOUTS_PER_S: u64 = 50_000;

/// Most events that one call into a link may bring about.
const MAX_EVENTS_PER_CALL: usize = 20_000;
const MAX_DATAGRAMS_PER_CALL: usize = 60_000;

/// Returns the control group.
pub fn group() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(239, 255, 44, 54).into(), PORT)
}

/// Returns the address of the link with this index.
pub fn address(at: usize) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(10, 0, 0, at as u8 + 1).into(), PORT)
}

/// Datagram on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Address of the sender.
    pub from: SocketAddr,
    /// Address that it was sent to, perhaps a group.
    pub to: SocketAddr,
    /// Bytes of the datagram.
    pub bytes: Vec<u8>,
}

/// Link and what it reported.
pub struct Node {
    /// The link.
    pub link: Link,
    /// Address of the link.
    pub address: SocketAddr,
    /// Groups that the link receives.
    pub groups: BTreeSet<IpAddr>,
    /// Events that the link delivered: channel, source, sequence.
    pub got: Vec<(ChannelHash, Source, u64)>,
    /// Peers that came and went.
    pub ups: usize,
    /// Peers that went.
    pub downs: usize,
    /// Holes that the link reported.
    pub lost: usize,
    /// Events of any kind that the link reported, but warnings.
    pub events: usize,
    /// Sequence of the link's last own event.
    pub sequence: u64,
    /// Calls of `handle_timeout`.
    pub timeouts: u64,
    node: u32,
}

/// Links that are joined by one network.
pub struct Links {
    /// Links in the order of their addresses.
    pub nodes: Vec<Node>,
    /// Virtual time.
    pub now: Instant,
    /// Datagrams that were sent, if they are recorded.
    pub record: Option<Vec<Sent>>,
    /// Datagrams that were sent to where no link is.
    pub strayed: Vec<Sent>,
    /// Bytes that were handed to links, by the address that the bytes came from.
    pub handed: BTreeMap<SocketAddr, usize>,
    /// Number of the next datagrams that do not arrive.
    pub drop_next: usize,
    /// Number of links started so far, from which sessions and nonces are made.
    pub started: u64,
    wire: VecDeque<(Instant, Sent)>,
}

/// Settings of a link: eight groups, and a channel with pressure.
pub fn config(at: usize, keys: &Keys) -> LinkConfig {
    LinkConfig {
        cluster: "fuzz".into(),
        name: format!("node-{at}"),
        node: at as u32 + 1,
        group: group(),
        groups: 8,
        datagram_bytes: 1372,
        history_bytes: 256 << 10,
        rate: None,
        receive_buffer_bytes: 1 << 20,
        keys: keys.clone(),
        peers: Vec::new(),
        unresolved: 0,
        pressured: vec!["slow".into()],
        max_payload_bytes: 1 << 20,
        stall_timeout: Duration::from_secs(1),
        reassembly_bytes: 4 << 20,
        local_addresses: Vec::new(),
        discovery: Duration::from_millis(150),
    }
}

/// Source of bytes that never repeat and are the same in each run.
struct Counted(u64);

impl Entropy for Counted {
    fn fill(&mut self, out: &mut [u8; 16]) {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        out[..8].copy_from_slice(&self.0.to_le_bytes());
        out[8..].copy_from_slice(&(self.0 ^ 0xa5a5_a5a5_a5a5_a5a5).rotate_left(29).to_le_bytes());
    }
}

impl Default for Links {
    fn default() -> Links {
        Links::new()
    }
}

impl Links {
    /// Makes a network without links.
    pub fn new() -> Links {
        Links {
            nodes: Vec::new(),
            now: Instant::from_nanos(1_000_000_000),
            record: None,
            strayed: Vec::new(),
            handed: BTreeMap::new(),
            drop_next: 0,
            started: 0,
            wire: VecDeque::new(),
        }
    }

    /// Starts one more link, with a session that never was before; returns the link's
    /// index.
    pub fn start(&mut self, config: LinkConfig) -> usize {
        let at = self.nodes.len();
        self.started += 1;
        let mut entropy = Counted(self.started << 32);
        let mut session: Session = [0; 16];
        entropy.fill(&mut session);
        let node = config.node;
        let link = Link::new(config, session, Box::new(entropy), self.now);
        self.nodes.push(Node {
            link,
            address: address(at),
            groups: BTreeSet::new(),
            got: Vec::new(),
            ups: 0,
            downs: 0,
            lost: 0,
            events: 0,
            sequence: 0,
            timeouts: 0,
            node,
        });
        self.drain(at);
        at
    }

    /// Lets a link emit so many events of this size.
    pub fn emit(&mut self, at: usize, channel: &str, events: usize, payload: &[u8]) {
        let node = &mut self.nodes[at];
        let hash = node.link.open_channel(self.now, channel);
        let source = Source { node: node.node, client: 1 };
        let mut bytes = Vec::new();
        for _ in 0..events {
            node.sequence += 1;
            frame::append(&mut bytes, Kind::Event, source, node.sequence, b"tick", payload);
        }
        let length = bytes.len();
        node.link.emit(hash, &[Slice::new(Bytes::from(bytes), 0, length)], events);
        self.drain(at);
    }

    /// Lets a link listen to a channel, or no more.
    pub fn listen(&mut self, at: usize, channel: &str, is_wanted: bool) {
        let link = &mut self.nodes[at].link;
        let hash = link.open_channel(self.now, channel);
        link.set_interest(self.now, hash, is_wanted);
        self.drain(at);
    }

    /// Hands a datagram to a link, or several of one size, as if they had come now.
    pub fn inject(&mut self, at: usize, from: SocketAddr, multicast: bool, bytes: &[u8]) {
        let segment = bytes.len();
        self.inject_train(at, Datagrams { bytes, segment, from, multicast });
    }

    /// Hands a train to a link, as if it had come now.
    pub fn inject_train(&mut self, at: usize, datagrams: Datagrams<'_>) {
        *self.handed.entry(datagrams.from).or_default() += datagrams.bytes.len();
        self.nodes[at].link.handle_datagrams(self.now, &datagrams);
        self.drain(at);
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end_at = self.now + duration.as_nanos() as u64;
        let before: Vec<u64> = self.nodes.iter().map(|node| node.timeouts).collect();
        loop {
            let timeouts = self.nodes.iter().filter_map(|node| node.link.poll_timeout());
            let wire = self.wire.front().map(|(at, _)| *at);
            let next_at = timeouts.chain(wire).min().unwrap_or(Instant::NEVER).max(self.now);
            if next_at > end_at {
                break;
            }
            self.now = next_at;
            while self.wire.front().is_some_and(|(at, _)| *at <= next_at) {
                let Some((_, sent)) = self.wire.pop_front() else { break };
                self.arrive(&sent);
            }
            for at in 0..self.nodes.len() {
                let node = &mut self.nodes[at];
                if node.link.poll_timeout().is_some_and(|due_at| due_at <= next_at) {
                    node.timeouts += 1;
                    node.link.handle_timeout(next_at);
                    self.drain(at);
                }
            }
        }
        self.now = end_at;
        let most = 1000 + MAX_TIMEOUTS_PER_S * duration.as_micros() as u64 / 1_000_000;
        for (node, before) in self.nodes.iter().zip(before) {
            let timeouts = node.timeouts - before;
            assert!(timeouts <= most, "{timeouts} timeouts in {duration:?}: a busy loop");
        }
    }

    /// Takes everything that a link wants to send, and that it reports.
    fn drain(&mut self, at: usize) {
        let mut datagrams = 0;
        loop {
            let node = &mut self.nodes[at];
            let Some(transmit) = node.link.poll_transmit(self.now) else { break };
            assert!(!transmit.bytes.is_empty());
            let to = match transmit.to {
                To::Group(to) | To::Addr(to) => to,
            };
            for bytes in transmit.bytes.chunks(transmit.segment) {
                datagrams += 1;
                let sent = Sent { from: node.address, to, bytes: bytes.to_vec() };
                if let Some(record) = &mut self.record {
                    record.push(sent.clone());
                }
                self.wire.push_back((self.now + LATENCY_NS, sent));
            }
        }
        assert!(datagrams <= MAX_DATAGRAMS_PER_CALL, "{datagrams} datagrams from one call");
        let mut events = 0;
        while let Some(event) = self.nodes[at].link.poll_event() {
            events += 1;
            self.nodes[at].note(event);
        }
        assert!(events <= MAX_EVENTS_PER_CALL, "{events} events from one call");
    }

    fn arrive(&mut self, sent: &Sent) {
        if self.drop_next > 0 {
            self.drop_next -= 1;
            return;
        }
        let is_group = sent.to.ip().is_multicast();
        let mut has_arrived = is_group;
        for at in 0..self.nodes.len() {
            let node = &self.nodes[at];
            let is_for_it = if is_group {
                node.groups.contains(&sent.to.ip()) && node.address != sent.from
            } else {
                node.address == sent.to
            };
            if is_for_it {
                has_arrived = true;
                self.inject(at, sent.from, is_group, &sent.bytes);
            }
        }
        if !has_arrived {
            self.strayed.push(sent.clone());
        }
    }

    /// Checks what every link must hold to, whatever came in.
    pub fn check(&self) {
        for node in &self.nodes {
            let status = node.link.status(self.now);
            assert!(status.handshakes <= 64);
            assert!(status.peers.len() <= 1024);
            for peer in &status.peers {
                // One for each group, and the one with pressure.
                assert!(peer.streams.len() <= 9);
                assert!(peer.streams.iter().all(|stream| stream.missing <= 4096));
            }
        }
    }
}

impl Node {
    fn note(&mut self, event: LinkEvent) {
        self.events += 1;
        match event {
            LinkEvent::Run(run) => {
                let mut bytes = run.slice.as_bytes();
                let mut frames = 0;
                while !bytes.is_empty() {
                    let frame = Frame::read(bytes, 1 << 20).expect("good").expect("whole");
                    assert_eq!(frame.source(), run.source);
                    assert_eq!(frame.name().len(), run.name_len);
                    self.got.push((run.channel, run.source, frame.sequence()));
                    bytes = &bytes[frame.as_bytes().len()..];
                    frames += 1;
                }
                assert_eq!(frames, run.frames);
            }
            LinkEvent::Lost(_) => self.lost += 1,
            LinkEvent::PeerUp { .. } => self.ups += 1,
            LinkEvent::PeerDown { .. } => self.downs += 1,
            LinkEvent::JoinGroup(group) => drop(self.groups.insert(group)),
            LinkEvent::LeaveGroup(group) => drop(self.groups.remove(&group)),
            LinkEvent::Warn(_, text) | LinkEvent::Note(text) => {
                // It tells of what came in; nothing changed by it.
                self.events -= 1;
                assert!(!text.contains(char::is_control), "{text:?}");
            }
            LinkEvent::SummaryWanted => {
                // Time brings it, not what came in.
                self.events -= 1;
                self.link.tell_summary(&Summary {
                    uptime_ms: 1,
                    in_per_s: 2,
                    out_per_s: 3,
                    lost: 4,
                    queued_bytes: 5,
                    clients: 6,
                    is_draining: false,
                    version: "0.1.0",
                });
            }
            LinkEvent::Joined(_) | LinkEvent::Demoted { .. } | LinkEvent::Restored { .. } => {}
        }
    }

    /// Counts how often each event was delivered, if more than once.
    pub fn twice(&self) -> BTreeMap<(ChannelHash, u32, u64), usize> {
        let mut times = BTreeMap::new();
        for &(channel, source, sequence) in &self.got {
            *times.entry((channel, source.client, sequence)).or_insert(0) += 1;
        }
        times.retain(|_, times| *times > 1);
        times
    }
}
