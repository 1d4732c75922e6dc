//! The link's part of `status`.

use std::collections::BTreeMap;
use std::fmt::Write;

use netcluster_platform::Instant;

use crate::Link;
use crate::interest::local_channels::LocalChannels;
use crate::membership::neighbours::missing_pairs;
use crate::membership::peer::Peer;
use crate::membership::unlinked::Unlinked;
use crate::receive::inbound_stream::InboundStream;
use crate::send::flow_control::Path;
use crate::send::outbound_stream::OutboundStream;
use crate::status::{
    InboundStreamStatus, LinkCounters, LinkStatus, OutboundStreamStatus, PeerStatus,
    StreamChannels, UnlinkedStatus,
};
use crate::stream::StreamId;

const MS_NS: u64 = 1_000_000;

/// Channels of a stream that are named; more are counted.
pub const MAX_CHANNELS_NAMED: usize = 8;

impl Link {
    /// Counters since the start.
    pub fn counters(&self) -> LinkCounters {
        let mut counters = self.counters;
        counters.control_dropped = self.control.queue.dropped;
        counters.handshakes_evicted = self.membership.handshakes.evicted;
        counters.handshakes_expired = self.membership.handshakes.expired;
        counters.warnings_suppressed = self.output.warnings.suppressed;
        counters
    }

    /// Event frames of the present peers that were lost for good.
    pub fn events_lost(&self) -> u64 {
        self.peers.iter().map(|peer| peer.counters.events_lost).sum()
    }

    /// Status of the link: all that is worth knowing.
    pub fn status(&self, now: Instant) -> LinkStatus {
        let streams =
            self.outbound.streams.iter().filter(|outbound| outbound.egress.next().number > 0);
        let (missing_pairs, missing_pairs_total) = missing_pairs(now, &self.peers, &self.local);
        let unanswered =
            self.membership.unreachable.addresses(now, &self.local.config, &self.peers);
        LinkStatus {
            name: self.local.config.name.clone(),
            cluster: self.local.config.cluster.clone(),
            session: hexadecimal(&self.local.session),
            group: self.local.config.control_address().to_string(),
            groups: self.local.stream_map.groups,
            datagram_bytes: self.local.datagram_bytes,
            is_sealed: !self.local.config.keys.is_open(),
            is_looped: self.peers.is_looped,
            is_discovering: !self.membership.discovery.is_over(),
            handshakes: self.membership.handshakes.len(),
            rate: self.scheduler.congestion.rate(),
            counters: self.counters(),
            streams: streams.map(outbound_stream_status).collect(),
            channels: channels_by_stream(&self.interest.channels),
            peers_total: self.peers.iter().count(),
            peers: self.peers.iter().map(|peer| self.peer_status(now, peer)).collect(),
            missing_pairs,
            missing_pairs_total,
            unanswered_peers: unanswered.map(|address| address.to_string()).collect(),
            unlinked: self.membership.unlinked.heard(now).map(unlinked_status).collect(),
            expected_peers: self.membership.expected.names(),
            missing_peers: self.membership.expected.missing(&self.peers, &self.local),
        }
    }

    fn peer_status(&self, now: Instant, peer: &Peer) -> PeerStatus {
        let receivers =
            self.outbound.streams.iter().filter_map(|outbound| outbound.flow.receiver(peer.id));
        let since_ms = |at: Instant| now.since(at) / MS_NS;
        let path = match peer.wants.path() {
            Path::Multicast => "multicast",
            Path::Unicast => "unicast",
        };
        PeerStatus {
            node: format!("{:08x}", peer.identity.node),
            name: peer.identity.name.to_string(),
            address: peer.address.to_string(),
            session: hexadecimal(&peer.session),
            path: path.to_owned(),
            is_multicast_heard: peer.liveness.is_multicast_heard(now),
            deaf_groups: (0..self.local.config.groups)
                .filter(|group| peer.liveness.deaf_groups & (1 << group) != 0)
                .map(|group| self.local.config.group_address(group).ip().to_string())
                .collect(),
            datagram_bytes: usize::from(peer.identity.datagram_bytes),
            path_bytes: peer.path.mtu.bytes(),
            is_path_narrow: peer.path.mtu.is_narrow(),
            is_path_unanswered: peer.path.mtu.is_unanswered(),
            since_ms: since_ms(peer.since),
            heard_ms: since_ms(peer.liveness.heard_at),
            round_trip_us: (peer.round_trip.round_trip_ns > 0)
                .then_some(peer.round_trip.round_trip_ns / 1000),
            groups_wanted: peer.wants.groups,
            is_joined: peer.told.confirmed_version >= self.interest_version(),
            demoted: receivers.filter(|receiver| !receiver.is_healthy()).count(),
            counters: peer.counters,
            streams: peer.inbound.iter().map(inbound_stream_status).collect(),
            summary: peer.summary.status(now),
        }
    }
}

fn unlinked_status(unlinked: &Unlinked) -> UnlinkedStatus {
    UnlinkedStatus {
        node: format!("{:08x}", unlinked.identity.node),
        name: unlinked.identity.name.to_string(),
        address: unlinked.address.to_string(),
    }
}

fn channels_by_stream(channels: &LocalChannels) -> Vec<StreamChannels> {
    let mut streams: BTreeMap<StreamId, Vec<&str>> = BTreeMap::new();
    for channel in channels.channels() {
        streams.entry(channel.stream).or_default().push(&channel.name);
    }
    let of = |(stream, mut names): (StreamId, Vec<&str>)| {
        names.sort_unstable();
        let named = names.iter().take(MAX_CHANNELS_NAMED);
        StreamChannels {
            group: stream.group(),
            index: stream.index(),
            names: named.map(|name| (*name).to_owned()).collect(),
            total: names.len(),
        }
    };
    streams.into_iter().map(of).collect()
}

fn outbound_stream_status(outbound: &OutboundStream) -> OutboundStreamStatus {
    OutboundStreamStatus {
        group: outbound.id.group(),
        index: outbound.id.index(),
        next: outbound.egress.next().number,
        tail: outbound.egress.tail(),
        limit: Some(outbound.flow.limit()).filter(|limit| *limit < u64::MAX),
        queued_bytes: outbound.egress.queued_bytes(),
        receivers: outbound.flow.receivers().len(),
        naks_received: outbound.naks_received,
        repaired: outbound.repaired,
    }
}

fn inbound_stream_status(inbound: &InboundStream) -> InboundStreamStatus {
    let counters = inbound.ingress.counters();
    InboundStreamStatus {
        group: inbound.stream.group(),
        index: inbound.stream.index(),
        position: inbound.ingress.position(),
        missing: inbound.ingress.missing(),
        seen_lost: inbound.ingress.seen_lost(),
        naks_sent: inbound.naks_sent,
        repaired: counters.repaired,
        events_lost: counters.lost,
        losses_unknown: counters.lost_unknown,
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
