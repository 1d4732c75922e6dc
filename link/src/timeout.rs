//! Timeouts: only what is due is done.

use netcluster_platform::Instant;

use crate::Link;
use crate::event::LinkEvent;
use crate::membership::announce::HELLO_INTERVAL_NS;
use crate::send::flow_control::FlowEvent;

/// Time without a call that counts as a pause, see [`Link::note_pause`].
const PAUSE_NS: u64 = HELLO_INTERVAL_NS * 3 / 2;

impl Link {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.note_pause(now);
        if !self.timer.is_due(now) {
            return;
        }
        if self.is_paused {
            self.run_flows(now);
            self.run_heartbeats(now);
            let next_at = self.outbound.next_at().max(now + 1);
            return self.timer.restart(next_at);
        }
        self.run_announce(now);
        self.run_handshakes(now);
        // From the last one on, as any may be gone afterwards.
        for index in (0..self.peers.len()).rev() {
            if let Some(slot) = self.peers.slot_at(index) {
                self.run_peer(now, slot);
            }
        }
        if self.membership.neighbours.is_due(now) && !self.membership.leave.is_leaving() {
            let (peers, local) = (&self.peers, &self.local);
            let (control, output) = (&mut self.control, &mut self.output);
            self.membership.neighbours.run(now, peers, local, control, output);
        }
        self.run_summaries(now);
        self.run_discovery(now);
        self.run_flows(now);
        self.run_heartbeats(now);
        self.run_leave(now);
        self.pay_statuses(now);
        self.timer.restart(self.earliest(now));
    }

    /// Gives peers their time to be heard again after a pause. Something is said every
    /// second: after a longer time without a call this machine slept, or this broker was
    /// stopped, and no peer is to blame for the silence.
    pub(crate) fn note_pause(&mut self, now: Instant) {
        let before = self.timer.seen(now);
        if now < before + PAUSE_NS {
            return;
        }
        for peer in self.peers.iter_mut() {
            peer.liveness.forgive(now);
            peer.inbound.iter_mut().for_each(|inbound| inbound.ingress.forgive(now));
        }
    }

    /// The first deadline. What congestion control holds back is not among them: sending
    /// adds that.
    fn earliest(&self, now: Instant) -> Instant {
        let announce_at =
            self.membership.announce.next_at().min(self.membership.neighbours.next_at());
        let announce_at = announce_at.min(self.membership.summaries.next_at());
        let peers = self.peers.iter().map(|peer| peer.next_at());
        let first = peers.min().unwrap_or(Instant::NEVER).min(self.outbound.next_at());
        let handshakes_at = self.membership.handshakes.next_at();
        let discovery_at = self.membership.discovery.next_at(self.is_somebody_near());
        let next_at = first.min(announce_at).min(handshakes_at).min(discovery_at);
        // Whatever was just done and is due again at once would be a loop.
        next_at.min(self.membership.leave.next_at()).max(now + 1)
    }

    /// Whether somebody is nearly found: challenged, or a peer that has not told
    /// what it wants.
    fn is_somebody_near(&self) -> bool {
        self.membership.handshakes.is_busy()
            || self.peers.iter().any(|peer| peer.wants.version == 0)
    }

    fn run_discovery(&mut self, now: Instant) {
        if self.membership.discovery.poll(now, self.is_somebody_near()) {
            self.outbound.forget_unwanted(&self.membership.discovery, &mut self.scheduler);
            self.report_joined();
        }
        let is_complete = self.local.config.unresolved == 0
            && self.membership.unreachable.is_nobody_missing(&self.local.config, &self.peers);
        if self.membership.discovery.poll_keeping(now, is_complete) {
            self.outbound.forget_unwanted(&self.membership.discovery, &mut self.scheduler);
        }
    }

    /// Judges which receivers are waited for.
    fn run_flows(&mut self, now: Instant) {
        let is_floored = self.scheduler.congestion.is_floored(now);
        for at in 0..self.outbound.streams.len() {
            loop {
                let outbound = &mut self.outbound.streams[at];
                let next = outbound.egress.next().number;
                let Some(event) = outbound.flow.poll(now, next, is_floored) else { break };
                outbound.receivers_changed();
                let stream = outbound.id;
                match event {
                    FlowEvent::Poll => {
                        self.send_heartbeats(now, &[(at, true)]);
                    }
                    FlowEvent::Demoted(id, reason) => {
                        self.counters.demoted += 1;
                        self.scheduler.congestion.forget(now, id);
                        self.output.push(LinkEvent::Demoted { peer: id, stream, reason });
                    }
                    FlowEvent::Restored(id) => {
                        self.output.push(LinkEvent::Restored { peer: id, stream });
                    }
                }
            }
        }
    }

    fn run_heartbeats(&mut self, now: Instant) {
        let due = self.outbound.due_heartbeats(now);
        self.send_heartbeats(now, &due);
    }

    pub(crate) fn send_heartbeats(&mut self, now: Instant, streams: &[(usize, bool)]) {
        let (peers, config) = (&self.peers, &self.local.config);
        self.outbound.send_heartbeats(now, streams, peers, config, &mut self.control);
    }

    /// Sends the statuses that peers are owed.
    pub(crate) fn pay_statuses(&mut self, now: Instant) {
        self.inbound.pay_statuses(now, &mut self.peers, &mut self.control);
    }
}
