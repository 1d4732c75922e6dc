//! What time brings: only what is due is done.

use netcluster_wire::link::limits::{MAX_ENTRIES, MAX_NAK_RANGES, SHARE_UNIT_BYTES_PER_S};
use netcluster_wire::link::{Beat, ControlKind, Heartbeat, Nak, Range, Report, Status};

use crate::Link;
use crate::announce::HELLO_INTERVAL_NS;
use crate::event::LinkEvent;
use crate::flow::FlowEvent;
use crate::peer::{PING_AFTER_NS, Peer};

/// See [`Link::note_pause`].
const PAUSE_NS: u64 = HELLO_INTERVAL_NS * 3 / 2;

impl Link {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        self.note_pause(now_ns);
        if now_ns < self.next_ns {
            return;
        }
        self.run_announce(now_ns);
        self.run_handshakes(now_ns);
        // From the last one on, as any may be gone afterwards.
        for index in (0..self.peers.len()).rev() {
            if let Some(slot) = self.peers.slot_at(index) {
                self.run_peer(now_ns, slot);
            }
        }
        self.run_neighbours(now_ns);
        self.run_discovery(now_ns);
        self.run_flows(now_ns);
        self.run_beats(now_ns);
        self.run_ending(now_ns);
        self.pay_statuses(now_ns);
        self.next_ns = self.earliest(now_ns);
    }

    /// Something is said every second: after a longer time without a call this
    /// machine slept, or this broker was stopped, and no peer is to blame for the
    /// silence. They get their time to be heard again.
    pub(super) fn note_pause(&mut self, now_ns: u64) {
        let before_ns = std::mem::replace(&mut self.seen_ns, now_ns);
        if now_ns < before_ns + PAUSE_NS {
            return;
        }
        for index in 0..self.peers.len() {
            let slot = self.peers.slot_at(index);
            if let Some(peer) = slot.and_then(|slot| self.peers.at_mut(slot)) {
                peer.heard_ns = peer.heard_ns.max(now_ns.saturating_sub(PING_AFTER_NS));
                peer.incoming.iter_mut().for_each(|incoming| incoming.ingress.forgive(now_ns));
            }
        }
    }

    /// The first deadline. What the pace holds back is not among them: sending
    /// adds that.
    fn earliest(&self, now_ns: u64) -> u64 {
        let announce_ns = self.announce.next_ns().min(self.neighbours.next_ns());
        let peers = self.peers.iter().map(|peer| peer.next_ns());
        let flows = self.own.iter().map(|own| own.flow.next_deadline_ns().unwrap_or(u64::MAX));
        let beats = self.own.iter().map(|own| own.beat.next_ns);
        let first = peers.chain(flows).chain(beats).min().unwrap_or(u64::MAX);
        let handshakes_ns = self.handshakes.next_ns();
        let discovery_ns = self.discovery.next_ns(self.is_somebody_near());
        let next_ns = first.min(announce_ns).min(handshakes_ns).min(discovery_ns);
        // Whatever was just done and is due again at once would be a loop.
        next_ns.min(self.ending.next_ns()).max(now_ns + 1)
    }

    /// Whether somebody is nearly found: challenged, or a peer that has not told
    /// what it wants.
    fn is_somebody_near(&self) -> bool {
        self.handshakes.is_busy() || self.peers.iter().any(|peer| peer.wants.version == 0)
    }

    fn run_discovery(&mut self, now_ns: u64) {
        if self.discovery.poll(now_ns, self.is_somebody_near()) {
            self.forget_unwanted();
            self.report_joined();
        }
        let is_complete = self.config.unresolved == 0
            && self.unanswered.is_nobody_missing(&self.config, &self.peers);
        if self.discovery.poll_keeping(now_ns, is_complete) {
            self.forget_unwanted();
        }
    }

    /// Judges who is waited for.
    fn run_flows(&mut self, now_ns: u64) {
        let is_floored = self.sending.pace.is_floored(now_ns);
        for at in 0..self.own.len() {
            loop {
                let own = &mut self.own[at];
                let next = own.egress.next().number;
                let Some(event) = own.flow.poll(now_ns, next, is_floored) else { break };
                own.receivers_changed();
                let stream = own.id;
                match event {
                    FlowEvent::Poll => {
                        self.send_beats(now_ns, &[(at, true)]);
                    }
                    FlowEvent::Demoted(id, reason) => {
                        self.counters.demoted += 1;
                        self.sending.pace.forget(now_ns, id);
                        self.events.push_back(LinkEvent::Demoted { peer: id, stream, reason });
                    }
                    FlowEvent::Restored(id) => {
                        self.events.push_back(LinkEvent::Restored { peer: id, stream });
                    }
                }
            }
        }
    }

    fn run_beats(&mut self, now_ns: u64) {
        let mut due = Vec::new();
        for (at, own) in self.own.iter_mut().enumerate() {
            if own.beat.next_ns <= now_ns {
                let is_confirmed = own.is_confirmed();
                due.push((at, own.beat.sent(now_ns, is_confirmed)));
            }
        }
        self.send_beats(now_ns, &due);
    }

    /// Says how far own streams are; and whether receivers are to answer.
    pub(super) fn send_beats(&mut self, now_ns: u64, streams: &[(usize, bool)]) {
        if streams.is_empty() || self.peers.len() == 0 {
            return;
        }
        let to = self.everybody();
        let own = &self.own;
        let beats: Vec<Beat> = streams
            .iter()
            .map(|&(at, poll)| {
                let next = own[at].egress.next();
                Beat {
                    stream: own[at].id.0,
                    poll,
                    next: next.number,
                    tail: own[at].egress.tail(),
                    ordinal: next.ordinal,
                }
            })
            .collect();
        for chunk in beats.chunks(MAX_ENTRIES) {
            // 0 would say that there was none.
            let time_ns = now_ns.max(1);
            self.mail.post(ControlKind::Heartbeat, &to, |out| {
                Heartbeat::encode(time_ns, chunk, out);
            });
        }
    }

    /// Sends the statuses that peers are owed.
    pub(super) fn pay_statuses(&mut self, now_ns: u64) {
        if !std::mem::take(&mut self.owes_status) {
            return;
        }
        if self.shares.is_due(now_ns) {
            self.shares.count(now_ns, self.peers.iter().map(Peer::brought));
        }
        let senders = self.window.senders(now_ns);
        for index in 0..self.peers.len() {
            let Some(slot) = self.peers.slot_at(index) else { continue };
            let Some(peer) = self.peers.at_mut(slot) else { continue };
            if !std::mem::take(&mut peer.owes_status) {
                continue;
            }
            let shares = self.window.shares(&senders, peer.id);
            let mut reports: Vec<Report> = Vec::with_capacity(peer.incoming.len());
            for incoming in &peer.incoming {
                let position = incoming.ingress.position();
                reports.push(Report {
                    stream: incoming.stream.0,
                    held: incoming.is_held,
                    missing: incoming.ingress.missing(),
                    position,
                    limit: self.window.grant(&shares, incoming.stream, position),
                    seen_lost: incoming.ingress.seen_lost(),
                });
            }
            let (echo_ns, came_ns) = peer.echo.unwrap_or((0, now_ns));
            let held_ns = u32::try_from(now_ns.saturating_sub(came_ns));
            // An echo too old to say how old it is, is none.
            let (echo_ns, held_ns) = held_ns.map_or((0, 0), |held_ns| (echo_ns, held_ns));
            let share = self.shares.of(peer.id) / SHARE_UNIT_BYTES_PER_S;
            let share = u32::try_from(share).unwrap_or(u32::MAX);
            for chunk in reports.chunks(MAX_ENTRIES) {
                self.mail.post_to(ControlKind::Status, peer.address, |out| {
                    Status::encode(&peer.session, echo_ns, held_ns, share, chunk, out);
                });
            }
        }
    }

    /// Asks a peer for all that is missing of its streams.
    pub(super) fn send_naks(&mut self, now_ns: u64, slot: usize) {
        let count = self.peers.at(slot).map_or(0, |peer| peer.incoming.len());
        for at in 0..count {
            self.send_nak(now_ns, slot, at);
        }
    }

    /// Asks a peer for what is missing of one of its streams.
    pub(super) fn send_nak(&mut self, now_ns: u64, slot: usize, at: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let incoming = &mut peer.incoming[at];
        if incoming.next_nak_ns() > now_ns {
            return;
        }
        let repair_ns = peer.repair_ns.max(peer.round_trip_ns);
        let is_deaf =
            peer.told.hears && peer.told.is_confirmed && incoming.is_group_unheard(now_ns);
        let mut found = Vec::new();
        while incoming.ingress.poll_nak(now_ns, repair_ns, &mut found) {
            let seen_lost = incoming.ingress.seen_lost();
            for chunk in found.chunks(MAX_NAK_RANGES) {
                let ranges: Vec<Range> = chunk
                    .iter()
                    .map(|range| Range { first: range.first, count: range.count })
                    .collect();
                self.mail.post_to(ControlKind::Nak, peer.address, |out| {
                    Nak::encode(&peer.session, incoming.stream.0, seen_lost, &ranges, out);
                });
                incoming.naks_sent += 1;
                peer.counters.naks_sent += 1;
                self.counters.naks_sent += 1;
            }
            found.clear();
        }
        let stream = incoming.stream;
        // Else nothing comes at all.
        let is_heard = now_ns < peer.heard_ns + PING_AFTER_NS;
        if is_heard && let Some(vain) = incoming.ingress.give_up_in_vain(now_ns, repair_ns) {
            self.given_up(now_ns, slot, &vain);
            self.look_through(now_ns, slot, stream);
        }
        if is_deaf {
            self.group_unheard(now_ns, slot, stream.group());
        }
    }
}
