//! Size of the own datagrams: what the interface takes, and for each stream what the ways
//! to all of its receivers take.
//!
//! ```text
//!   interface ──▶ limit ──▶ path size of each peer ──▶ size of each stream
//!                                ▲    (probes)           the least of its receivers
//!   doubts: asked for again and again, or refused by the socket
//! ```
//! What is laid out already stays as it is. Where it cannot pass, it is not sent
//! again, nobody waits for that receiver, and there it is told as lost.

use netcluster_platform::Instant;
use netcluster_wire::link::limits::NONCE_BYTES;
use netcluster_wire::link::{Nak, ProbeReply};

use crate::Link;
use crate::event::LinkEvent;
use crate::options::header_bytes;
use crate::receive::ingress::MAX_RETRY_NS;
use crate::send::flow_control::Reason;
use crate::send::outbound_stream::OutboundStream;
use crate::send::path_mtu::{BASE_BYTES, News, PathMtu};
use crate::stream::StreamId;
use crate::transmit::To;
use crate::warnings::WarningKind;

/// Requests for the same number, which is large, that put its size in doubt.
const DOUBTS: u32 = 4;

/// Time after which what was not asked for has arrived: twice the longest wait between two
/// requests, and some time on the way.
const SETTLED_NS: u64 = 4 * MAX_RETRY_NS;

/// Numbers of a request that are looked at.
const LOOKED_AT: usize = 256;

/// The large datagram that a peer asks for again and again: the first of those that it
/// misses.
#[derive(Clone, Copy, Debug, Default)]
struct Doubts {
    number: Option<(StreamId, u64)>,
    requests: u32,
    asked_at: Instant,
}

impl Doubts {
    /// Notes that the number is asked for; whether its size is in doubt now.
    fn note(&mut self, now: Instant, number: (StreamId, u64)) -> bool {
        let is_settled = now >= self.asked_at.saturating_add(SETTLED_NS);
        match self.number {
            Some(same) if same == number => {}
            // One request is for what is due, and not for all that is missing.
            Some(first) if first < number && !is_settled => return false,
            _ => (self.number, self.requests) = (Some(number), 0),
        }
        self.asked_at = now;
        self.requests = self.requests.saturating_add(1);
        self.requests == DOUBTS
    }

    /// Takes in a request for retransmissions. Whether the size of what is asked for again
    /// and again is in doubt now: that may be too large for the way.
    fn requested(&mut self, now: Instant, outbound: &OutboundStream, nak: &Nak<'_>) -> bool {
        let is_large = |number: &u64| {
            outbound.egress.datagram(*number).is_some_and(|it| it.len() > BASE_BYTES)
        };
        let ranges = nak.ranges.iter();
        let numbers = ranges.flat_map(|it| it.first..it.first.saturating_add(it.count.into()));
        let first = numbers.take(LOOKED_AT).find(is_large);
        first.is_some_and(|first| self.note(now, (outbound.id, first)))
    }
}

/// Path to a peer: which way data takes, and the size that passes there.
pub(crate) struct PeerPath {
    /// Size that the way takes, …
    pub mtu: PathMtu,
    /// … which way that is, …
    probed: Option<To>,
    /// … and why it may be less.
    doubts: Doubts,
}

impl PeerPath {
    pub fn new(mtu: PathMtu) -> PeerPath {
        PeerPath { mtu, probed: None, doubts: Doubts::default() }
    }

    /// Path size of a way, which is looked for anew if that is another way than before.
    pub fn by(&mut self, now: Instant, way: To) -> &mut PathMtu {
        if self.probed != Some(way) {
            self.probed = Some(way);
            self.mtu.begin(now);
        }
        &mut self.mtu
    }

    /// Takes in a request for retransmissions. If what is asked for again and again may be
    /// too large for the way, the way is put to the test.
    pub fn requested(&mut self, now: Instant, outbound: &OutboundStream, nak: &Nak<'_>) {
        if self.doubts.requested(now, outbound, nak) {
            self.mtu.doubt(now);
        }
    }
}

impl Link {
    /// Sets the largest datagram that the interface takes, `None` if that is not known.
    /// Sizes follow at once; what was laid out before does not change.
    pub fn set_interface_limit(&mut self, now: Instant, bytes: Option<usize>) {
        let wanted = self.local.config.datagram_bytes;
        let possible = bytes.map_or(wanted, |bytes| bytes.min(wanted));
        if possible == self.local.interface_bytes {
            return;
        }
        let before = std::mem::replace(&mut self.local.interface_bytes, possible);
        self.local.datagram_bytes = possible.max(BASE_BYTES);
        for peer in self.peers.iter_mut() {
            peer.path.mtu.set_limit(now, self.local.datagram_bytes);
            self.timer.due(peer.path.mtu.next_at());
        }
        self.outbound.fit(&self.peers);
        let headers = header_bytes(&self.local.config.group);
        let packet_bytes = possible + headers;
        self.output.push(match (possible < BASE_BYTES, possible < before) {
            (true, _) => LinkEvent::Warn(WarningKind::SmallInterface, format!(
                "the interface takes packets of {packet_bytes} bytes only, and the link needs {}: \
                 what is longer is lost; give it a larger MTU or choose another --interface",
                BASE_BYTES + headers
            )),
            (false, true) => LinkEvent::Warn(WarningKind::SmallInterface, format!(
                "packets are made smaller, as the interface takes no more than {packet_bytes} \
                 bytes: set --mtu {packet_bytes}, or give the interface a larger MTU"
            )),
            (false, false) => LinkEvent::Note(format!(
                "the interface takes packets of {packet_bytes} bytes by now: they are sent again"
            )),
        });
    }

    /// Puts the way to an address to the test, as the system refuses to send there what is
    /// so long.
    pub fn doubt_way(&mut self, now: Instant, to: To) {
        for peer in self.peers.iter_mut() {
            let is_its = match to {
                To::Group(_) => peer.wants.hears_us,
                To::Addr(address) => peer.address == address,
            };
            if is_its {
                peer.path.mtu.doubt(now);
                self.timer.due(peer.path.mtu.next_at());
            }
        }
    }

    /// Path size of a new peer, of which nothing is known.
    pub(crate) fn unknown_path(&mut self) -> PathMtu {
        let mut nonce = [0; NONCE_BYTES];
        self.local.entropy.fill(&mut nonce);
        PathMtu::new(self.local.datagram_bytes, nonce)
    }

    /// Sends a peer the probes that are due, by the way that data takes to it.
    pub(crate) fn run_path_mtu(&mut self, now: Instant, slot: usize) {
        if self.membership.leave.is_leaving() {
            return;
        }
        let group = To::Group(self.local.config.control_address());
        let tag_bytes = self.local.config.keys.tag_bytes();
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.send_probes(now, group, tag_bytes, &mut self.control);
        self.timer.due(peer.path.mtu.next_at());
    }

    /// Takes in that a probe has arrived at a peer, as it says.
    pub(crate) fn on_probe_reply(&mut self, now: Instant, slot: usize, reply: &ProbeReply<'_>) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if reply.to != self.local.session || reply.nonce != peer.path.mtu.nonce() {
            self.counters.drops.other_receiver += 1;
            return;
        }
        let before = peer.path.mtu.bytes();
        let news = peer.path.mtu.answered(now, reply.received as usize);
        let after = peer.path.mtu.bytes();
        self.timer.due(peer.path.mtu.next_at());
        if after != before {
            self.outbound.fit(&self.peers);
        }
        if after < before {
            self.wait_no_longer(now, slot, after);
        }
        if let Some(news) = news {
            self.tell_size(now, slot, news);
        }
    }

    /// Waits no longer for what a peer misses that may be too large to reach it.
    fn wait_no_longer(&mut self, now: Instant, slot: usize, most: usize) {
        let Some(peer) = self.peers.at(slot) else { return };
        let id = peer.id;
        for stream in self.outbound.demote_where_larger(now, id, most) {
            self.counters.demoted += 1;
            self.scheduler.congestion.forget(now, id);
            let reason = Reason::Size(most);
            self.output.push(LinkEvent::Demoted { peer: id, stream, reason });
        }
    }

    fn tell_size(&mut self, now: Instant, slot: usize, news: News) {
        let Some(peer) = self.peers.at(slot) else { return };
        let (name, from) = (peer.identity.name.clone(), peer.address);
        let (whole, headers) = (self.local.datagram_bytes, header_bytes(&self.local.config.group));
        match news {
            News::Narrow(bytes) => self.output.warn(now, WarningKind::NarrowPath, from, || {
                format!(
                    "datagrams of more than {bytes} bytes do not reach broker {name} at {from}, \
                     and those here have up to {whole}: it is sent smaller ones; look at the MTU on \
                     the way, or set --mtu {}",
                    bytes + headers
                )
            }),
            News::Whole => self.output.push(LinkEvent::Note(format!(
                "datagrams of {whole} bytes reach broker {name} at {from} by now: they are sent \
                 again"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::{millis, ns};

    const MS_NS: u64 = 1_000_000;
    const STREAM: StreamId = StreamId::new(1, 0);

    #[test]
    fn the_first_that_is_missed_is_in_doubt_whatever_else_is_asked_for() {
        let mut doubts = Doubts::default();
        let asked: Vec<bool> =
            (0..16).map(|at| doubts.note(ns(at * 20 * MS_NS), (STREAM, 7 + at % 4))).collect();
        assert_eq!(asked.iter().position(|is_doubted| *is_doubted), Some(12));
        assert_eq!(asked.iter().filter(|is_doubted| **is_doubted).count(), 1);
    }

    #[test]
    fn what_has_arrived_makes_room_for_the_next() {
        let mut doubts = Doubts::default();
        assert!(!(0..3).any(|at| doubts.note(millis(at), (STREAM, 7))));
        assert!(!doubts.note(millis(50), (STREAM, 9)));
        let later = 50 * MS_NS + SETTLED_NS;
        let asked = (0..4).map(|at| doubts.note(ns(later + at * MS_NS), (STREAM, 9)));
        assert_eq!(asked.collect::<Vec<_>>(), [false, false, false, true]);
    }
}
