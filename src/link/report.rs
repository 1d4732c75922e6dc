//! The link's part of `status`.

use std::fmt::Write;

use crate::link::Link;
use crate::link::flow::Path;
use crate::link::peer::Peer;
use crate::link::status::{
    LinkCounters, LinkStatus, OwnStreamStatus, PeerStatus, PeerStreamStatus,
};

const MS_NS: u64 = 1_000_000;

impl Link {
    /// Counters since the start.
    pub fn counters(&self) -> LinkCounters {
        let mut counters = self.counters;
        counters.control_dropped = self.mail.posts.dropped;
        counters.handshakes_evicted = self.handshakes.evicted;
        counters.handshakes_expired = self.handshakes.expired;
        counters.warnings_suppressed = self.warnings.suppressed;
        counters
    }

    /// All that is worth knowing.
    pub fn status(&self, now_ns: u64) -> LinkStatus {
        let streams = self.own.iter().filter(|own| own.egress.next().number > 0);
        LinkStatus {
            cluster: self.config.cluster.clone(),
            session: hexadecimal(&self.session),
            group: self.config.control_address().to_string(),
            groups: self.settings.groups,
            datagram_bytes: self.config.datagram_bytes,
            is_sealed: !self.config.keys.is_open(),
            is_looped: self.is_looped,
            is_discovering: !self.discovery.is_over(),
            handshakes: self.handshakes.len(),
            rate: self.sending.pace.rate(),
            counters: self.counters(),
            streams: streams
                .map(|own| OwnStreamStatus {
                    group: own.id.group(),
                    index: own.id.index(),
                    next: own.egress.next().number,
                    tail: own.egress.tail(),
                    limit: Some(own.flow.limit()).filter(|limit| *limit < u64::MAX),
                    queued_bytes: own.egress.queued_bytes(),
                    receivers: own.flow.receivers().len(),
                })
                .collect(),
            peers: self.peers.iter().map(|peer| self.peer_status(now_ns, peer)).collect(),
        }
    }

    fn peer_status(&self, now_ns: u64, peer: &Peer) -> PeerStatus {
        let receivers = self.own.iter().filter_map(|own| own.flow.receiver(peer.id));
        let since_ms = |at_ns: u64| now_ns.saturating_sub(at_ns) / MS_NS;
        let path = match peer.path() {
            Path::Multicast => "multicast",
            Path::Unicast => "unicast",
        };
        PeerStatus {
            node: format!("{:08x}", peer.identity.node),
            name: peer.identity.name.to_string(),
            address: peer.address.to_string(),
            session: hexadecimal(&peer.session),
            path: path.to_owned(),
            is_multicast_heard: peer.is_multicast_heard(now_ns),
            datagram_bytes: usize::from(peer.identity.datagram_bytes),
            since_ms: since_ms(peer.since_ns),
            heard_ms: since_ms(peer.heard_ns),
            round_trip_us: (peer.round_trip_ns > 0).then_some(peer.round_trip_ns / 1000),
            groups_wanted: peer.wants.groups,
            is_joined: peer.told.confirmed_version >= self.interest_version(),
            demoted: receivers.filter(|receiver| !receiver.is_healthy()).count(),
            counters: peer.counters,
            streams: peer
                .incoming
                .iter()
                .map(|incoming| PeerStreamStatus {
                    group: incoming.stream.group(),
                    index: incoming.stream.index(),
                    position: incoming.ingress.position(),
                    missing: incoming.ingress.missing(),
                    seen_lost: incoming.ingress.seen_lost(),
                })
                .collect(),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
