//! Hearing: what the datagrams that come in say of their senders.
//!
//! ```text
//!   datagram ─▶ own session?  ─▶ it came back: by multicast, or a name of ourselves
//!           ├─▶ not readable  ─▶ strangers: other version, other key, forged
//!           └─▶ hello, answer ─▶ peers: which ways work, how they are set up
//! ```
//! It knows no socket and no clock.
//!
//! Invariant: a peer is a session whose hello or answer could be opened; the
//! memory is bounded, whatever comes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netcluster_link::keys::{ControlOpener, Keys, Unsealed};
use netcluster_link::peer_id::Session;
use netcluster_wire::link::{
    Control, ControlHeader, ControlKind, Datagram, DatagramError, Hello, ProbeReply, parse,
};

use super::prober::Nonce;

/// Peers and strangers remembered; the others are counted.
const MAX_REMEMBERED: usize = 1024;

/// Way on which a probe was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The probe went to the group.
    Group,
    /// The probe went to this address.
    Address(SocketAddr),
}

/// A probe on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    way: Way,
    is_large: bool,
    at: Duration,
}

/// Sizes of probes that came through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// Small ones.
    pub small: bool,
    /// Whether probes of the size that the link is set to came through.
    pub large: bool,
}

/// Settings of a broker, by its own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    pub cluster: String,
    pub name: String,
    pub node: u32,
    pub groups: u16,
    pub datagram_bytes: u16,
    pub settings: u64,
}

/// Broker that was seen.
#[derive(Clone, Debug)]
pub struct SeenPeer {
    pub about: About,
    /// Address that it sends from.
    pub address: SocketAddr,
    /// Our multicast reached it.
    pub by_multicast: Reached,
    /// Our unicast reached it.
    pub by_unicast: Reached,
    /// Whether its multicast reached us.
    pub is_multicast_heard: bool,
    /// The best of several.
    pub round_trip: Option<Duration>,
}

impl SeenPeer {
    /// Whether it answered anything.
    pub fn answers(&self) -> bool {
        let (one, other) = (self.by_multicast, self.by_unicast);
        one.small || one.large || other.small || other.large
    }
}

/// Kind of datagrams that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Oddity {
    /// Sealed by this key, which is not ours; 0: not sealed.
    Key(u32),
    /// The datagram is of this version of the protocol.
    Version(u8),
    /// The datagram names our key, which did not seal it.
    Forged,
    /// The datagram is not of this protocol at all, or broken.
    Unreadable,
}

/// Brokers and strangers that were heard.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Own probes that came back by multicast.
    pub own: Reached,
    /// Addresses at which we met ourselves.
    pub ourselves: BTreeSet<SocketAddr>,
    /// Addresses that answered what was sent there.
    pub answered: BTreeSet<SocketAddr>,
    pub peers: BTreeMap<Session, SeenPeer>,
    /// Number of unreadable datagrams of each kind, by source.
    pub strangers: BTreeMap<(IpAddr, Oddity), u64>,
    /// Datagrams of senders beyond those remembered.
    pub omitted: u64,
}

/// Takes the datagrams.
pub struct Hearing {
    keys: Keys,
    session: Session,
    sent: BTreeMap<Nonce, Sent>,
    openers: BTreeMap<Session, ControlOpener>,
    pub heard: Heard,
}

impl Hearing {
    /// Makes a hearing for the probes of this session.
    pub fn new(keys: &Keys, session: Session) -> Hearing {
        Hearing {
            keys: keys.clone(),
            session,
            sent: BTreeMap::new(),
            openers: BTreeMap::new(),
            heard: Heard::default(),
        }
    }

    /// A probe goes out.
    pub fn sent(&mut self, nonce: Nonce, way: Way, is_large: bool, at: Duration) {
        self.sent.insert(nonce, Sent { way, is_large, at });
    }

    /// A datagram came in.
    pub fn datagram(&mut self, now: Duration, bytes: &[u8], from: SocketAddr, multicast: bool) {
        match parse(bytes) {
            Ok(Datagram::Control { kind, header, body, tag }) => {
                if header.session == self.session {
                    self.came_back(header, body, tag, multicast);
                } else {
                    self.control(now, (kind, header), (body, tag), from, multicast);
                }
            }
            // What channels carry is not looked into; but whose it is not, it says.
            Ok(Datagram::Data { header, .. }) => {
                let key_id = header.key_id.get();
                if !self.keys.knows(key_id) {
                    self.stranger(from, Oddity::Key(key_id));
                }
            }
            Err(DatagramError::Version(version)) => self.stranger(from, Oddity::Version(version)),
            Err(_) => self.stranger(from, Oddity::Unreadable),
        }
    }

    fn came_back(&mut self, header: &ControlHeader, body: &[u8], tag: &[u8], multicast: bool) {
        let mut body = body.to_vec();
        let session = self.session;
        if self.open(&session, header, &mut body, tag).is_err() {
            return;
        }
        let Ok(Control::Probe(probe)) = Control::decode(ControlKind::Probe, &body) else { return };
        let Some(sent) = self.sent.get(&probe.nonce) else { return };
        match sent.way {
            Way::Group if multicast && sent.is_large => self.heard.own.large = true,
            Way::Group if multicast => self.heard.own.small = true,
            Way::Group => {}
            Way::Address(address) => {
                self.heard.ourselves.insert(address);
            }
        }
    }

    fn control(
        &mut self,
        now: Duration,
        (kind, header): (ControlKind, &ControlHeader),
        (body, tag): (&[u8], &[u8]),
        from: SocketAddr,
        multicast: bool,
    ) {
        if !self.keys.knows(header.key_id.get()) {
            return self.stranger(from, Oddity::Key(header.key_id.get()));
        }
        let session = header.session;
        let is_known = self.heard.peers.contains_key(&session);
        // Others ask as we do: a probe makes nobody a broker.
        let tells = matches!(kind, ControlKind::Hello | ControlKind::ProbeReply);
        if kind == ControlKind::Probe || !(is_known || tells) {
            return;
        }
        let has_room = self.openers.len() < MAX_REMEMBERED;
        if !has_room && !self.openers.contains_key(&session) {
            self.heard.omitted += 1;
            return;
        }
        let mut body = body.to_vec();
        match self.open(&session, header, &mut body, tag) {
            Ok(()) => {}
            // The network copies datagrams now and then.
            Err(Unsealed::Replayed) => return,
            Err(Unsealed::WrongKey(id)) => return self.stranger(from, Oddity::Key(id)),
            Err(Unsealed::Forged) => {
                if !is_known {
                    self.openers.remove(&session);
                }
                return self.stranger(from, Oddity::Forged);
            }
        }
        match Control::decode(kind, &body) {
            Ok(Control::Hello(hello)) => {
                self.peer(session, from, About::from(&hello)).is_multicast_heard |= multicast;
            }
            Ok(Control::ProbeReply(reply)) => self.reply(now, session, &reply, from),
            Ok(_) => {
                if let Some(peer) = self.heard.peers.get_mut(&session) {
                    peer.is_multicast_heard |= multicast;
                }
            }
            Err(_) => self.stranger(from, Oddity::Unreadable),
        }
    }

    fn reply(&mut self, now: Duration, session: Session, reply: &ProbeReply<'_>, from: SocketAddr) {
        // On an open link anybody can answer; but only who was asked knows what.
        let Some(sent) = self.sent.get(&reply.nonce).copied() else { return };
        if reply.to != self.session {
            return;
        }
        if let Way::Address(address) = sent.way {
            self.heard.answered.insert(address);
        }
        let peer = self.peer(session, from, About::from(reply));
        peer.address = from;
        let reached = match sent.way {
            Way::Group => &mut peer.by_multicast,
            Way::Address(_) => &mut peer.by_unicast,
        };
        if sent.is_large {
            reached.large = true;
            return;
        }
        reached.small = true;
        let round_trip = now.saturating_sub(sent.at);
        peer.round_trip = Some(peer.round_trip.map_or(round_trip, |best| best.min(round_trip)));
    }

    /// The entry of a session that could be opened.
    fn peer(&mut self, session: Session, from: SocketAddr, about: About) -> &mut SeenPeer {
        self.heard.peers.entry(session).or_insert_with(|| SeenPeer {
            about,
            address: from,
            by_multicast: Reached::default(),
            by_unicast: Reached::default(),
            is_multicast_heard: false,
            round_trip: None,
        })
    }

    fn open(
        &mut self,
        session: &Session,
        header: &ControlHeader,
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Unsealed> {
        let keys = &self.keys;
        let opener =
            self.openers.entry(*session).or_insert_with(|| ControlOpener::new(keys, session));
        opener.open(header.key_id.get(), header.counter.get(), header.bytes(), body, tag)
    }

    fn stranger(&mut self, from: SocketAddr, oddity: Oddity) {
        let key = (from.ip(), oddity);
        let has_room = self.heard.strangers.len() < MAX_REMEMBERED;
        if has_room || self.heard.strangers.contains_key(&key) {
            *self.heard.strangers.entry(key).or_default() += 1;
        } else {
            self.heard.omitted += 1;
        }
    }
}

impl From<&Hello<'_>> for About {
    fn from(hello: &Hello<'_>) -> About {
        About {
            cluster: hello.cluster.to_owned(),
            name: hello.name.to_owned(),
            node: hello.node,
            groups: hello.groups,
            datagram_bytes: hello.datagram_bytes,
            settings: hello.settings,
        }
    }
}

impl From<&ProbeReply<'_>> for About {
    fn from(reply: &ProbeReply<'_>) -> About {
        About {
            cluster: reply.cluster.to_owned(),
            name: reply.name.to_owned(),
            node: reply.node,
            groups: reply.groups,
            datagram_bytes: reply.datagram_bytes,
            settings: reply.settings,
        }
    }
}
