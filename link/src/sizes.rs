//! How large the own datagrams are: what the interface takes, and for each stream
//! what the ways to all of its receivers take.
//!
//! ```text
//!   interface ──▶ limit ──▶ path size of each peer ──▶ size of each stream
//!                                ▲    (probes)           the least of its receivers
//!   doubts: asked for again and again, or refused by the socket
//! ```
//! What is laid out already stays as it is. Where it cannot pass, it is not sent
//! again, nobody waits for that receiver, and there it is told as lost.

use netcluster_wire::link::limits::{CONTROL_HEADER_BYTES, NONCE_BYTES, SESSION_BYTES};
use netcluster_wire::link::{ControlKind, Nak, Probe, ProbeReply};

use crate::Link;
use crate::event::LinkEvent;
use crate::flow::Reason;
use crate::ingress::MAX_RETRY_NS;
use crate::options::header_bytes;
use crate::path_size::{BASE_BYTES, News, PathSize};
use crate::peer::Peer;
use crate::stream::StreamId;
use crate::transmit::To;
use crate::warnings::Kind;

/// After so many requests for the same number, which is large, its size is in doubt.
const DOUBTS: u32 = 4;

/// What was not asked for for so long has arrived: twice the longest wait between two
/// requests, and some time on the way.
const SETTLED_NS: u64 = 4 * MAX_RETRY_NS;

/// So many numbers of a request are looked at.
const LOOKED_AT: usize = 256;

/// The large datagram that a peer asks for again and again: the first of those that it
/// misses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Doubts {
    number: Option<(StreamId, u64)>,
    requests: u32,
    asked_ns: u64,
}

impl Doubts {
    /// It is asked for; whether its size is in doubt now.
    fn note(&mut self, now_ns: u64, number: (StreamId, u64)) -> bool {
        let is_settled = now_ns >= self.asked_ns.saturating_add(SETTLED_NS);
        match self.number {
            Some(same) if same == number => {}
            // One request is for what is due, and not for all that is missing.
            Some(first) if first < number && !is_settled => return false,
            _ => (self.number, self.requests) = (Some(number), 0),
        }
        self.asked_ns = now_ns;
        self.requests = self.requests.saturating_add(1);
        self.requests == DOUBTS
    }
}

impl Link {
    /// The largest datagram that the interface takes, `None` if that is not known.
    /// Sizes follow at once; what was laid out before does not change.
    pub fn set_interface_limit(&mut self, now_ns: u64, bytes: Option<usize>) {
        let wanted = self.config.datagram_bytes;
        let possible = bytes.map_or(wanted, |bytes| bytes.min(wanted));
        if possible == self.interface_bytes {
            return;
        }
        let before = std::mem::replace(&mut self.interface_bytes, possible);
        self.datagram_bytes = possible.max(BASE_BYTES);
        for index in 0..self.peers.len() {
            let slot = self.peers.slot_at(index);
            if let Some(peer) = slot.and_then(|slot| self.peers.at_mut(slot)) {
                peer.path_size.set_limit(now_ns, self.datagram_bytes);
                let next_ns = peer.path_size.next_ns();
                self.due(next_ns);
            }
        }
        self.fit_streams();
        let headers = header_bytes(&self.config.group);
        let packet_bytes = possible + headers;
        self.events.push_back(match (possible < BASE_BYTES, possible < before) {
            (true, _) => LinkEvent::Warn(Kind::SmallInterface, format!(
                "the interface takes packets of {packet_bytes} bytes only, and the link needs {}: \
                 what is longer is lost; give it a larger MTU or choose another --interface",
                BASE_BYTES + headers
            )),
            (false, true) => LinkEvent::Warn(Kind::SmallInterface, format!(
                "packets are made smaller, as the interface takes no more than {packet_bytes} \
                 bytes: set --mtu"
            )),
            (false, false) => LinkEvent::Note(format!(
                "the interface takes packets of {packet_bytes} bytes by now: they are sent again"
            )),
        });
    }

    /// The system refuses to send there what is so long: what the way takes is put to
    /// the test.
    pub fn doubt_way(&mut self, now_ns: u64, to: To) {
        for index in 0..self.peers.len() {
            let slot = self.peers.slot_at(index);
            let Some(peer) = slot.and_then(|slot| self.peers.at_mut(slot)) else { continue };
            let is_its = match to {
                To::Group(_) => peer.wants.hears_us,
                To::Addr(address) => peer.address == address,
            };
            if is_its {
                peer.path_size.doubt(now_ns);
                let next_ns = peer.path_size.next_ns();
                self.due(next_ns);
            }
        }
    }

    /// What is known of the way to a new peer: nothing.
    pub(super) fn unknown_path(&mut self) -> PathSize {
        let mut nonce = [0; NONCE_BYTES];
        self.entropy.fill(&mut nonce);
        PathSize::new(self.datagram_bytes, nonce)
    }

    /// Sends a peer the probes that are due, by the way that data takes to it.
    pub(super) fn run_path_size(&mut self, now_ns: u64, slot: usize) {
        let is_ending = self.is_ending();
        let control = To::Group(self.config.control_address());
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.wants.version == 0 || is_ending {
            // It has not told which way that is; or there is no time left.
            return;
        }
        let way = if peer.wants.hears_us { control } else { To::Addr(peer.address) };
        if peer.probed != Some(way) {
            peer.probed = Some(way);
            peer.path_size.begin(now_ns);
        }
        let (to, nonce) = (peer.session, peer.path_size.nonce());
        let tag_bytes = self.config.keys.tag_bytes();
        let head_bytes = CONTROL_HEADER_BYTES + NONCE_BYTES + SESSION_BYTES + tag_bytes;
        for bytes in peer.path_size.poll(now_ns).into_iter().flatten() {
            let probe = Probe { nonce, to, padding_bytes: bytes - head_bytes };
            self.mail.post(ControlKind::Probe, &[way], |out| probe.encode(out));
        }
        let next_ns = peer.path_size.next_ns();
        self.due(next_ns);
    }

    /// A probe has arrived at a peer, it says.
    pub(super) fn on_probe_reply(&mut self, now_ns: u64, slot: usize, reply: &ProbeReply<'_>) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if reply.to != self.session || reply.nonce != peer.path_size.nonce() {
            self.counters.drops.other_receiver += 1;
            return;
        }
        let before = peer.path_size.bytes();
        let news = peer.path_size.answered(now_ns, reply.received as usize);
        let after = peer.path_size.bytes();
        let next_ns = peer.path_size.next_ns();
        self.due(next_ns);
        if after != before {
            self.fit_streams();
        }
        if after < before {
            self.wait_no_longer(now_ns, slot, after);
        }
        if let Some(news) = news {
            self.tell_size(now_ns, slot, news);
        }
    }

    /// A peer asks for repairs. If it asks for the same large datagram again and again,
    /// that may be too large for the way.
    pub(super) fn note_request(&mut self, now_ns: u64, at: usize, slot: usize, nak: &Nak<'_>) {
        let own = &self.own[at];
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let is_large =
            |number: &u64| own.egress.datagram(*number).is_some_and(|it| it.len() > BASE_BYTES);
        let ranges = nak.ranges.iter();
        let numbers = ranges.flat_map(|it| it.first..it.first.saturating_add(it.count.into()));
        let Some(first) = numbers.take(LOOKED_AT).find(is_large) else { return };
        if peer.doubts.note(now_ns, (own.id, first)) {
            peer.path_size.doubt(now_ns);
            let next_ns = peer.path_size.next_ns();
            self.due(next_ns);
        }
    }

    /// The requested numbers that can pass on the way to a peer.
    pub(super) fn passing(&self, at: usize, peer: &Peer, nak: &Nak<'_>) -> Vec<(u64, u32)> {
        let ranges = nak.ranges.iter().map(|range| (range.first, range.count));
        let (own, most) = (&self.own[at], peer.path_size.bytes());
        if most >= self.config.datagram_bytes {
            return ranges.collect();
        }
        let held = own.held();
        let mut passing: Vec<(u64, u32)> = Vec::new();
        for (first, count) in ranges {
            let end = first.saturating_add(count.into()).min(held.end);
            for number in first.max(held.start)..end {
                if own.egress.datagram(number).is_some_and(|it| it.len() > most) {
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

    /// Gives all own streams the size that all of their receivers can be sent.
    pub(super) fn fit_streams(&mut self) {
        (0..self.own.len()).for_each(|at| self.fit_stream(at));
    }

    pub(super) fn fit_stream(&mut self, at: usize) {
        let own = &mut self.own[at];
        let peers = own.flow.receivers().iter().filter_map(|it| self.peers.get(it.peer));
        let least = peers.map(|peer| peer.path_size.bytes()).min();
        // Nobody receives yet: whoever comes first can be sent that.
        own.egress.set_datagram_bytes(least.unwrap_or(BASE_BYTES));
    }

    /// What a peer misses may be too large to reach it: nobody waits for that.
    fn wait_no_longer(&mut self, now_ns: u64, slot: usize, most: usize) {
        let Some(peer) = self.peers.at(slot) else { return };
        let id = peer.id;
        for own in &mut self.own {
            let Some(receiver) = own.flow.receiver(id) else { continue };
            let mut missed = receiver.position..own.egress.next().number;
            let is_large = |number| own.egress.datagram(number).is_some_and(|it| it.len() > most);
            let reason = Reason::Size(most);
            if missed.any(is_large) && own.flow.demote(now_ns, id) {
                own.receivers_changed();
                self.counters.demoted += 1;
                self.sending.pace.forget(now_ns, id);
                let stream = own.id;
                self.events.push_back(LinkEvent::Demoted { peer: id, stream, reason });
            }
        }
    }

    fn tell_size(&mut self, now_ns: u64, slot: usize, news: News) {
        let Some(peer) = self.peers.at(slot) else { return };
        let (name, from) = (peer.identity.name.clone(), peer.address);
        let (whole, headers) = (self.datagram_bytes, header_bytes(&self.config.group));
        match news {
            News::Narrow(bytes) => self.warn(now_ns, Kind::NarrowPath, from, || {
                format!(
                    "datagrams of more than {bytes} bytes do not reach broker {name} at {from}, \
                     and those here have up to {whole}: it is sent smaller ones; look at the MTU on \
                     the way, or set --mtu {}",
                    bytes + headers
                )
            }),
            News::Whole => self.events.push_back(LinkEvent::Note(format!(
                "datagrams of {whole} bytes reach broker {name} at {from} by now: they are sent \
                 again"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS_NS: u64 = 1_000_000;
    const STREAM: StreamId = StreamId::new(1, 0);

    #[test]
    fn the_first_that_is_missed_is_in_doubt_whatever_else_is_asked_for() {
        let mut doubts = Doubts::default();
        let asked: Vec<bool> =
            (0..16).map(|at| doubts.note(at * 20 * MS_NS, (STREAM, 7 + at % 4))).collect();
        assert_eq!(asked.iter().position(|is_doubted| *is_doubted), Some(12));
        assert_eq!(asked.iter().filter(|is_doubted| **is_doubted).count(), 1);
    }

    #[test]
    fn what_has_arrived_makes_room_for_the_next() {
        let mut doubts = Doubts::default();
        assert!(!(0..3).any(|at| doubts.note(at * MS_NS, (STREAM, 7))));
        assert!(!doubts.note(50 * MS_NS, (STREAM, 9)));
        let later_ns = 50 * MS_NS + SETTLED_NS;
        let asked = (0..4).map(|at| doubts.note(later_ns + at * MS_NS, (STREAM, 9)));
        assert_eq!(asked.collect::<Vec<_>>(), [false, false, false, true]);
    }
}
