//! What time brings: only what is due is done.

use crate::Link;
use crate::event::LinkEvent;
use crate::membership::announce::HELLO_INTERVAL_NS;
use crate::send::flow_control::FlowEvent;

/// See [`Link::note_pause`].
const PAUSE_NS: u64 = HELLO_INTERVAL_NS * 3 / 2;

impl Link {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ns: u64) {
        self.note_pause(now_ns);
        if !self.timer.is_due(now_ns) {
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
        if self.membership.neighbours.is_due(now_ns) && !self.membership.leave.is_leaving() {
            let (peers, local) = (&self.peers, &self.local);
            let (control, output) = (&mut self.control, &mut self.output);
            self.membership.neighbours.run(now_ns, peers, local, control, output);
        }
        self.run_discovery(now_ns);
        self.run_flows(now_ns);
        self.run_heartbeats(now_ns);
        self.run_leave(now_ns);
        self.pay_statuses(now_ns);
        self.timer.restart(self.earliest(now_ns));
    }

    /// Something is said every second: after a longer time without a call this
    /// machine slept, or this broker was stopped, and no peer is to blame for the
    /// silence. They get their time to be heard again.
    pub(crate) fn note_pause(&mut self, now_ns: u64) {
        let before_ns = self.timer.seen(now_ns);
        if now_ns < before_ns + PAUSE_NS {
            return;
        }
        for peer in self.peers.iter_mut() {
            peer.liveness.forgive(now_ns);
            peer.inbound.iter_mut().for_each(|inbound| inbound.ingress.forgive(now_ns));
        }
    }

    /// The first deadline. What congestion control holds back is not among them: sending
    /// adds that.
    fn earliest(&self, now_ns: u64) -> u64 {
        let announce_ns =
            self.membership.announce.next_ns().min(self.membership.neighbours.next_ns());
        let peers = self.peers.iter().map(|peer| peer.next_ns());
        let first = peers.min().unwrap_or(u64::MAX).min(self.outbound.next_ns());
        let handshakes_ns = self.membership.handshakes.next_ns();
        let discovery_ns = self.membership.discovery.next_ns(self.is_somebody_near());
        let next_ns = first.min(announce_ns).min(handshakes_ns).min(discovery_ns);
        // Whatever was just done and is due again at once would be a loop.
        next_ns.min(self.membership.leave.next_ns()).max(now_ns + 1)
    }

    /// Whether somebody is nearly found: challenged, or a peer that has not told
    /// what it wants.
    fn is_somebody_near(&self) -> bool {
        self.membership.handshakes.is_busy()
            || self.peers.iter().any(|peer| peer.wants.version == 0)
    }

    fn run_discovery(&mut self, now_ns: u64) {
        if self.membership.discovery.poll(now_ns, self.is_somebody_near()) {
            self.outbound.forget_unwanted(&self.membership.discovery, &mut self.scheduler);
            self.report_joined();
        }
        let is_complete = self.local.config.unresolved == 0
            && self.membership.unreachable.is_nobody_missing(&self.local.config, &self.peers);
        if self.membership.discovery.poll_keeping(now_ns, is_complete) {
            self.outbound.forget_unwanted(&self.membership.discovery, &mut self.scheduler);
        }
    }

    /// Judges who is waited for.
    fn run_flows(&mut self, now_ns: u64) {
        let is_floored = self.scheduler.congestion.is_floored(now_ns);
        for at in 0..self.outbound.streams.len() {
            loop {
                let outbound = &mut self.outbound.streams[at];
                let next = outbound.egress.next().number;
                let Some(event) = outbound.flow.poll(now_ns, next, is_floored) else { break };
                outbound.receivers_changed();
                let stream = outbound.id;
                match event {
                    FlowEvent::Poll => {
                        self.send_heartbeats(now_ns, &[(at, true)]);
                    }
                    FlowEvent::Demoted(id, reason) => {
                        self.counters.demoted += 1;
                        self.scheduler.congestion.forget(now_ns, id);
                        self.output.push(LinkEvent::Demoted { peer: id, stream, reason });
                    }
                    FlowEvent::Restored(id) => {
                        self.output.push(LinkEvent::Restored { peer: id, stream });
                    }
                }
            }
        }
    }

    fn run_heartbeats(&mut self, now_ns: u64) {
        let due = self.outbound.due_heartbeats(now_ns);
        self.send_heartbeats(now_ns, &due);
    }

    /// Asks a peer for all that is missing of its streams.
    pub(crate) fn send_naks(&mut self, now_ns: u64, slot: usize) {
        let count = self.peers.at(slot).map_or(0, |peer| peer.inbound.len());
        for at in 0..count {
            self.send_nak(now_ns, slot, at);
        }
    }

    /// Asks a peer for what is missing of one of its streams.
    pub(crate) fn send_nak(&mut self, now_ns: u64, slot: usize, at: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let inbound = &peer.inbound[at];
        if inbound.next_nak_ns() > now_ns {
            return;
        }
        let stream = inbound.stream;
        let asked = peer.send_nak(now_ns, at, &mut self.control);
        self.counters.naks_sent += asked.naks;
        if let Some(vain) = asked.vain {
            self.given_up(now_ns, slot, &vain);
            self.look_through(now_ns, slot, stream);
        }
        if asked.is_deaf {
            self.group_unheard(now_ns, slot, stream.group());
        }
    }

    fn send_heartbeats(&mut self, now_ns: u64, streams: &[(usize, bool)]) {
        let (peers, config) = (&self.peers, &self.local.config);
        self.outbound.send_heartbeats(now_ns, streams, peers, config, &mut self.control);
    }

    /// Sends the statuses that peers are owed.
    pub(crate) fn pay_statuses(&mut self, now_ns: u64) {
        self.inbound.pay_statuses(now_ns, &mut self.peers, &mut self.control);
    }
}
