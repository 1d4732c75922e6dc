//! One outbound stream with all that belongs to it.

use std::ops::Range;

use netcluster_platform::Instant;
use netcluster_wire::link::Nak;

use crate::membership::peer::Peer;
use crate::send::egress::{Egress, EgressConfig};
use crate::send::flow_control::{FlowControl, Path};
use crate::send::heartbeat::HeartbeatTimer;
use crate::send::retransmit::{Requester, Retransmits};
use crate::stream::StreamId;

/// Shortest time that a retransmission is taken to need: below it, no two requests are
/// duplicates.
pub(crate) const MIN_RETRANSMIT_NS: u64 = 1_000_000;

pub(crate) struct OutboundStream {
    pub id: StreamId,
    pub egress: Egress,
    pub flow: FlowControl,
    pub retransmits: Retransmits,
    pub heartbeat: HeartbeatTimer,
    /// Retransmission requests for the stream.
    pub naks_received: u64,
    /// Datagrams of the stream that were sent again.
    pub repaired: u64,
    /// More was kept for peers that were looked for than there was room for.
    pub has_spilt: bool,
}

impl OutboundStream {
    pub fn new(id: StreamId, config: &EgressConfig, stall_ns: u64) -> OutboundStream {
        let history = (config.history_bytes / config.datagram_bytes) as u64;
        OutboundStream {
            id,
            egress: Egress::new(id, config),
            flow: FlowControl::new(history, if id.is_pressured() { stall_ns } else { 0 }),
            retransmits: Retransmits::new(),
            heartbeat: HeartbeatTimer::new(),
            naks_received: 0,
            repaired: 0,
            has_spilt: false,
        }
    }

    /// Whether all that are waited for have everything that was sent.
    pub fn is_confirmed(&self) -> bool {
        self.flow.needed() >= self.egress.next().number
    }

    /// Takes in which datagrams a peer asks for again. Datagrams of more bytes than pass on
    /// the way to it are not sent again; none has more than `most_bytes`.
    pub fn request(&mut self, now: Instant, peer: &Peer, nak: &Nak<'_>, most_bytes: usize) {
        let ranges = nak.ranges.iter().map(|range| (range.first, range.count));
        let passing_bytes = peer.path.mtu.bytes();
        let ranges: Vec<(u64, u32)> = if passing_bytes >= most_bytes {
            ranges.collect()
        } else {
            self.passing(ranges, passing_bytes)
        };
        let receiver = self.flow.receiver(peer.id);
        let from = Requester {
            peer: peer.id,
            hears_group: peer.wants.hears_us,
            is_healthy: receiver.is_some_and(|receiver| receiver.is_healthy()),
        };
        // Below its position a receiver misses nothing, whoever says so in its name.
        let position = receiver.map_or(0, |receiver| receiver.position);
        let held = self.held().start.max(position)..self.held().end;
        let flow = &self.flow;
        let hears = |id| flow.receiver(id).is_some_and(|it| it.path == Path::Multicast);
        let retransmit_ns = peer.round_trip.round_trip_ns.max(MIN_RETRANSMIT_NS);
        self.retransmits.request(now, from, ranges, held, retransmit_ns, hears);
    }

    /// The numbers of these ranges whose datagrams have no more bytes than that.
    fn passing(
        &self,
        ranges: impl Iterator<Item = (u64, u32)>,
        most_bytes: usize,
    ) -> Vec<(u64, u32)> {
        let held = self.held();
        let mut passing: Vec<(u64, u32)> = Vec::new();
        for (first, count) in ranges {
            let end = first.saturating_add(count.into()).min(held.end);
            for number in first.max(held.start)..end {
                if self.egress.datagram(number).is_some_and(|it| it.len() > most_bytes) {
                    continue;
                }
                match passing.last_mut() {
                    Some((first, count)) if *first + u64::from(*count) == number => *count += 1,
                    _ => passing.push((number, 1)),
                }
            }
        }
        passing
    }

    /// Numbers that can be sent again.
    pub fn held(&self) -> Range<u64> {
        self.egress.tail()..self.egress.next().number
    }

    /// Counts anew who needs what: receivers came, went or stated how far they are.
    pub fn receivers_changed(&mut self) {
        self.egress.set_needed(self.flow.needed());
        if !self.flow.is_wanted() {
            self.heartbeat.stop();
        }
    }

    /// Forgets what is not sent: the last receiver is gone.
    pub fn forget_unsent(&mut self) {
        self.egress.discard_unsent();
        self.flow.unblocked();
    }

    /// Gives the history up, which is full of what nobody wants yet: it is told lost to who
    /// comes later.
    pub fn spill(&mut self) {
        self.forget_unsent();
        self.has_spilt = true;
    }
}
