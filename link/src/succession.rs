//! The session of a link in the hands of the broker's successor on the same machine.
//!
//! ```text
//!   old    pause ──▶ all is confirmed ──▶ bequeath ─┐  nothing is sent any more
//!   new                                     inherit ◀┘  goes on with the same numbers
//! ```
//! To its peers it is one broker that says nothing for some milliseconds: what comes
//! meanwhile they send again. Of its own streams nothing is handed over but where they stand,
//! as the receivers that are waited for have everything; of theirs also the part of a frame
//! that has come.
//!
//! The successor listens to what its predecessor did, whoever is there yet, and delivers
//! nothing, until [`Link::settle`] says that its clients are back.
//!
//! Invariant: nothing is sealed by both. Whoever bequeaths sends nothing any more, and a
//! bequest is taken once.
//!
//! Decision: `docs/decisions/091-session-is-inherited.md`.

mod bequest;
mod hexadecimal;

use netcluster_platform::Instant;

pub use bequest::Bequest;

use crate::Link;
use crate::channel::ChannelHash;
use crate::config::{Entropy, LinkConfig, StreamMap};
use crate::control::control_sender::ControlSender;
use crate::crypto::{ControlOpener, Key, Keys, StreamOpener};
use crate::event::LinkEvent;
use crate::membership::address_proof::AddressProof;
use crate::membership::handshake::{Identity, Pending};
use crate::membership::peer::Peer;
use crate::peer_id::PeerId;
use crate::receive::inbound_stream::InboundStream;
use crate::receive::ingress::{Ingress, IngressConfig};
use crate::send::outbound_stream::OutboundStream;
use crate::stream::{Position, StreamId};

use self::bequest::{Inbound, Known, Outbound};

/// Form of a bequest, which changes with what it says.
const FORM: u32 = 1;

/// Bytes of frames that are not complete, all together, that are bequeathed: events whose
/// part is beyond them are told as lost.
const MAX_PARTIAL_BYTES: usize = 8 << 20;

/// Returns the terms on which a session can go on: those of two brokers must be the same. The
/// node id is not among them, as it is bequeathed.
pub fn terms(config: &LinkConfig) -> String {
    let LinkConfig { cluster, name, group, groups, datagram_bytes, keys, .. } = config;
    let settings = StreamMap::new(config).hash;
    let keys: Vec<String> = keys.iter().map(|key: &Key| format!("{:08x}", key.id())).collect();
    let keys = keys.join("+");
    format!(
        "{FORM} {cluster:?} {name:?} {group}/{groups} {settings:016x} {datagram_bytes} [{keys}]"
    )
}

impl Link {
    /// Returns the terms on which a successor can have this session; none while it cannot be
    /// handed over: peers are still looked for, for whom what was emitted is kept, or one is
    /// leaving.
    pub fn terms(&self) -> Option<String> {
        let discovery = &self.membership.discovery;
        let is_ready = discovery.is_over() && !discovery.is_keeping();
        let is_leaving = self.membership.leave.is_leaving()
            || self.peers.iter().any(|peer| peer.inbound.iter().any(|it| it.has_left));
        (is_ready && !is_leaving).then(|| terms(&self.local.config))
    }

    /// Delivers nothing of peers any more, so that a successor can go on with what comes from
    /// now on; nor takes it in. What was emitted is still sent and confirmed.
    pub fn pause(&mut self, now: Instant) {
        self.is_paused = true;
        for peer in self.peers.iter_mut() {
            peer.inbound.iter_mut().for_each(|inbound| inbound.ingress.set_held(true));
        }
        self.ask_for_statuses(now);
    }

    /// Whether all that was emitted is sent, and confirmed by those who are waited for.
    pub fn is_confirmed(&self) -> bool {
        self.outbound.is_drained()
    }

    /// Returns the session for a successor, after [`Link::pause`], once all
    /// [is confirmed](Link::is_confirmed). The link must not be used any more.
    pub fn bequeath(&mut self, now: Instant) -> Bequest {
        let mut partial_bytes = 0;
        Bequest {
            terms: terms(&self.local.config),
            node: self.local.config.node,
            session: self.local.session,
            age_ns: self.local.age_ns(now),
            counter: self.control.counter(),
            told: self.interest.versions.told,
            groups: self.interest.channels.groups,
            departed: self.membership.departed.clone(),
            outbound: self.outbound.streams.iter().map(outbound).collect(),
            peers: self.peers.iter().map(|peer| known(now, peer, &mut partial_bytes)).collect(),
        }
    }

    /// Makes the link of a successor, whose configuration has the same [`terms`].
    pub fn inherit(
        mut config: LinkConfig,
        bequest: Bequest,
        entropy: Box<dyn Entropy + Send>,
        now: Instant,
    ) -> Link {
        config.node = bequest.node;
        let mut link = Link::new(config, bequest.session, entropy, now);
        link.local.older_ns = bequest.age_ns;
        link.control =
            ControlSender::resumed(&link.local.config.keys, &bequest.session, bequest.counter);
        link.membership.discovery.skip();
        link.membership.departed = bequest.departed;
        link.interest.versions.told = bequest.told;
        for group in link.interest.channels.inherit(bequest.groups) {
            if link.local.config.groups > 1 {
                let group = link.local.config.group_address(group).ip();
                link.output.push(LinkEvent::JoinGroup(group));
            }
        }
        for &Outbound { stream, number, ordinal } in &bequest.outbound {
            let at = link.outbound.open(now, StreamId(stream), &link.peers);
            link.outbound.streams[at].egress.resume(Position { number, ordinal });
        }
        for known in bequest.peers {
            link.adopt(now, known);
        }
        link.peers.note_addresses(&link.local.config);
        link.outbound.fit(&link.peers);
        link
    }

    /// Streams of peers that an heir goes on with: nothing of them is delivered, until each of
    /// them is [let go](Link::set_held).
    pub fn inherited_streams(&self) -> Vec<(PeerId, StreamId)> {
        let streams = |peer: &Peer| -> Vec<_> {
            peer.inbound.iter().map(|inbound| (peer.id, inbound.stream)).collect()
        };
        self.peers.iter().flat_map(streams).collect()
    }

    /// Listens no longer to what the predecessor did, but to what is wanted here.
    pub fn settle(&mut self, now: Instant) {
        for change in self.interest.channels.disinherit() {
            self.interest_changed(now, change);
        }
    }

    /// Has every receiver say at once how far it is.
    fn ask_for_statuses(&mut self, now: Instant) {
        self.outbound.restart_heartbeats(now);
        let wanted = self.outbound.streams.iter().enumerate();
        let wanted: Vec<_> = wanted
            .filter(|(_, outbound)| outbound.flow.is_wanted() && !outbound.is_confirmed())
            .map(|(at, _)| (at, true))
            .collect();
        self.send_heartbeats(now, &wanted);
        self.timer.due(now);
    }

    /// Goes on with a peer of the predecessor.
    fn adopt(&mut self, now: Instant, known: Known) {
        let keys = self.local.config.keys.clone();
        let Known { session, node, datagram_bytes, address, .. } = known;
        if self.peers.is_full() || self.peers.has_tag(&session) {
            return;
        }
        let opener = ControlOpener::resumed(&keys, &session, known.window);
        let identity = Identity { node, name: known.name.into(), datagram_bytes };
        let proof = AddressProof::new(self.local.secret());
        let mut pending = Pending::new(now, &session, identity, opener, address, proof);
        pending.multicast_at = known.is_multicast_heard.then_some(now);
        let id = self.peers.next_id();
        let mut peer = Peer::new(now, id, pending, address, self.unknown_path());
        peer.liveness.deaf_groups = known.deaf_groups;
        peer.round_trip.round_trip_ns = known.round_trip_ns;
        peer.round_trip.retransmit_ns = known.retransmit_ns;
        peer.wants = known.wants.into();
        peer.told.inherit(now, known.told, known.is_fresh);
        for inbound in known.inbound {
            let inbound = self.inbound_of(now, &peer, inbound, &keys);
            self.inbound.window.open(id, inbound.stream, inbound.ingress.position());
            peer.inbound.push(inbound);
        }
        peer.inbound.sort_unstable_by_key(|inbound| inbound.stream);
        for &(stream, _) in &peer.wants.joined {
            if let Some(outbound) = self.outbound.get_mut(stream) {
                let number = outbound.egress.next().number;
                outbound.flow.join(now, id, number, peer.wants.path());
                outbound.receivers_changed();
            }
        }
        self.membership.hello_rate.know(address.ip());
        let (name, node) = (peer.identity.name.clone(), peer.identity.node);
        self.peers.insert(peer);
        self.output.push(LinkEvent::PeerUp { peer: id, node, name, address });
    }

    fn inbound_of(&self, now: Instant, peer: &Peer, from: Inbound, keys: &Keys) -> InboundStream {
        let stream = StreamId(from.stream);
        let shared = &self.inbound.config;
        let config = IngressConfig { reassembly: shared.reassembly.of(peer.id), ..shared.clone() };
        let opener = StreamOpener::new(keys, &peer.session, stream);
        let place = Position { number: from.number, ordinal: from.ordinal };
        let mut ingress = Ingress::new(stream, peer.identity.node, place, opener, &config);
        ingress.resume(now, from.seen_lost, ChannelHash(from.channel), &from.partial);
        let join = Position { number: from.join.0, ordinal: from.join.1 };
        let mut inbound = InboundStream::new(stream, ingress, join);
        inbound.is_held = true;
        inbound.is_stale = from.is_stale;
        inbound.ingress.set_held(true);
        inbound
    }
}

fn outbound(outbound: &OutboundStream) -> Outbound {
    let Position { number, ordinal } = outbound.egress.end();
    Outbound { stream: outbound.id.0, number, ordinal }
}

/// Describes a peer for a successor.
fn known(now: Instant, peer: &Peer, partial_bytes: &mut usize) -> Known {
    let inbound = peer.inbound.iter().map(|inbound| {
        let standing = inbound.ingress.standing();
        let mut partial = standing.partial.to_vec();
        *partial_bytes += partial.len();
        if *partial_bytes > MAX_PARTIAL_BYTES {
            *partial_bytes -= partial.len();
            partial = Vec::new();
        }
        let Position { number, ordinal } = standing.place;
        Inbound {
            stream: inbound.stream.0,
            join: (inbound.join.number, inbound.join.ordinal),
            number,
            ordinal,
            channel: standing.channel.0,
            seen_lost: inbound.ingress.seen_lost(),
            is_stale: inbound.is_stale,
            partial,
        }
    });
    Known {
        session: peer.session,
        node: peer.identity.node,
        name: peer.identity.name.to_string(),
        datagram_bytes: peer.identity.datagram_bytes,
        address: peer.address,
        window: peer.opener.window().clone(),
        is_multicast_heard: peer.liveness.is_multicast_heard(now),
        deaf_groups: peer.liveness.deaf_groups,
        round_trip_ns: peer.round_trip.round_trip_ns,
        retransmit_ns: peer.round_trip.retransmit_ns,
        wants: (&peer.wants).into(),
        told: peer.told.version,
        is_fresh: peer.told.fresh,
        inbound: inbound.collect(),
    }
}
