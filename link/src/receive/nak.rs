//! Requests for retransmissions: what the loss detector misses of a stream, asked of the
//! peer whose stream it is.

use netcluster_platform::Instant;
use netcluster_wire::link::limits::MAX_NAK_RANGES;
use netcluster_wire::link::{ControlKind, Nak, Range};

use crate::Link;
use crate::control::control_sender::ControlSender;
use crate::membership::peer::Peer;
use crate::receive::ingress::Vain;

/// Result of asking for retransmissions of one stream.
struct Asked {
    /// Requests that were sent.
    naks: u64,
    /// Datagrams that were given up.
    vain: Option<Vain>,
    /// Whether the group's multicast seems not to reach this broker.
    is_deaf: bool,
}

impl Link {
    /// Asks a peer for all that is missing of its streams.
    pub(crate) fn send_naks(&mut self, now: Instant, slot: usize) {
        let count = self.peers.at(slot).map_or(0, |peer| peer.inbound.len());
        for at in 0..count {
            self.send_nak(now, slot, at);
        }
    }

    /// Asks a peer for what is missing of one of its streams.
    pub(crate) fn send_nak(&mut self, now: Instant, slot: usize, at: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let inbound = &peer.inbound[at];
        if inbound.next_nak_at() > now {
            return;
        }
        let stream = inbound.stream;
        let asked = peer.send_nak(now, at, &mut self.control);
        self.counters.naks_sent += asked.naks;
        if let Some(vain) = asked.vain {
            self.given_up(now, slot, &vain);
            self.look_through(now, slot, stream);
        }
        if asked.is_deaf {
            self.group_unheard(now, slot, stream.group());
        }
    }
}

impl Peer {
    /// Asks the peer for what is missing of one of its streams.
    fn send_nak(&mut self, now: Instant, at: usize, control: &mut ControlSender) -> Asked {
        let inbound = &mut self.inbound[at];
        let retransmit_ns = self.round_trip.retransmit_ns.max(self.round_trip.round_trip_ns);
        let is_deaf = self.told.hears && self.told.is_confirmed && inbound.is_group_unheard(now);
        let (mut found, mut naks) = (Vec::new(), 0);
        while inbound.ingress.poll_nak(now, retransmit_ns, &mut found) {
            let seen_lost = inbound.ingress.seen_lost();
            for chunk in found.chunks(MAX_NAK_RANGES) {
                let ranges: Vec<Range> = chunk
                    .iter()
                    .map(|range| Range { first: range.first, count: range.count })
                    .collect();
                control.send_to(ControlKind::Nak, self.address, |out| {
                    Nak::encode(&self.session, inbound.stream.0, seen_lost, &ranges, out);
                });
                naks += 1;
            }
            found.clear();
        }
        inbound.naks_sent += naks;
        self.counters.naks_sent += naks;
        // Else nothing comes at all.
        let is_heard = self.liveness.is_heard(now);
        let vain = is_heard.then(|| inbound.ingress.give_up_in_vain(now, retransmit_ns));
        Asked { naks, vain: vain.flatten(), is_deaf }
    }
}
