//! Joining of streams: who wants which groups, and from where on.
//!
//! ```text
//!   receiver                          sender
//!     interest(version, groups) ────────▶ owes everything from P on
//!     ◀──────────────────── joined(version, P of each stream)
//!     (repeated until it is answered)
//! ```
//! The sender remembers what it answered: the same question gets the same answer,
//! so that nothing between the two is given up. A group that a receiver no longer
//! wants, it keeps until the sender knows; so both always mean the same P. There is
//! one interest under way to each sender: what changes meanwhile is told once that
//! is answered, however often it changes.
//!
//! A receiver that forgot the sender, or never knew it, says so (`fresh`): then
//! it joins all streams anew. A sender that forgot the receiver challenges it, by
//! which the receiver notices and tells its interest again.
//!
//! Decisions, in `docs/decisions`:
//! `038-history-for-named-peers.md`, `039-loss-before-a-wish.md`.

use netcluster_platform::Instant;
use netcluster_wire::link::{Interest, Joined};

use crate::Link;
use crate::channel::ChannelHash;
use crate::event::LinkEvent;
use crate::interest::told::BadAnswer;
use crate::interest::versions::is_newer;
use crate::receive::inbound_stream::InboundStream;
use crate::stream::StreamId;

/// Times that an interest is answered which no longer wants what the one before it wanted.
const WITHDRAWAL_ANSWERS: usize = 3;

impl Link {
    /// Version of the newest own interest.
    pub fn interest_version(&self) -> u64 {
        self.interest.versions.version()
    }

    /// Version of the interest that a question asked now is about. Peers that may have
    /// forgotten us since they confirmed the newest one are asked once more, and it
    /// is the one that they have to confirm.
    pub fn ask_interest(&mut self, now: Instant) -> u64 {
        if !self.peers.iter().all(|peer| peer.told.is_fresh(now)) {
            self.interest.versions.changed();
            self.tell_all(now);
        }
        self.interest.versions.version()
    }

    /// Whether every live peer knows of the interest of this version. Not before
    /// the time is over in which peers are looked for.
    pub fn joined(&self, version: u64) -> bool {
        self.membership.discovery.is_over() && self.peers.have_confirmed(version)
    }

    /// Names of the peers that have not confirmed the interest of this version.
    pub fn waiting_for(&self, version: u64) -> Vec<String> {
        let waiting = self.peers.iter().filter(|peer| peer.told.confirmed_version < version);
        waiting.map(|peer| peer.identity.name.to_string()).collect()
    }

    /// Number of peers that take what is emitted in this channel: those that want its
    /// group.
    pub fn takers(&self, channel: ChannelHash) -> usize {
        let Some(local) = self.interest.channels.get(channel) else { return 0 };
        let group = 1 << local.channel.stream.group();
        self.peers.iter().filter(|peer| peer.wants.groups & group != 0).count()
    }

    /// Reports the newest interest as known to all, once it is.
    pub(crate) fn report_joined(&mut self) {
        if self.membership.discovery.is_over()
            && let Some(version) = self.interest.versions.newly_known(&self.peers)
        {
            self.output.push(LinkEvent::Joined(version));
        }
    }

    /// Tells all peers anew what is wanted of them, as the own interest changed.
    pub(crate) fn tell_all(&mut self, now: Instant) {
        for index in 0..self.peers.len() {
            if let Some(slot) = self.peers.slot_at(index) {
                self.renew_interest(now, slot);
            }
        }
        self.report_joined();
    }

    /// Tells one peer anew what is wanted of it: at once, or when it has answered
    /// the interest that is under way.
    pub(crate) fn renew_interest(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.told.note_change(now);
        peer.set_unwanted_aside(self.interest.channels.groups);
        self.send_interest(now, slot);
    }

    /// Sends a peer the interest if it is time.
    pub(crate) fn send_interest(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        self.interest.send_to(now, peer, &mut self.control);
        self.timer.due(peer.next_at());
    }

    /// Takes in what a peer tells that it wants.
    pub(crate) fn on_interest(&mut self, now: Instant, slot: usize, interest: &Interest) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let mut answers = 1;
        // An older one is answered as well: so its sender learns what was said in its name.
        if peer.wants.renew(interest) {
            let is_withdrawn =
                |(stream, _): &(StreamId, _)| interest.groups & (1 << stream.group()) == 0;
            if peer.wants.joined.iter().any(is_withdrawn) {
                // Perhaps nothing else tells it, should that not be its own.
                answers = WITHDRAWAL_ANSWERS;
            }
            let (stream_map, discovery) = (&self.local.stream_map, &self.membership.discovery);
            let next_at = self.outbound.join(now, peer, interest, stream_map, discovery);
            self.timer.due(next_at);
            self.membership.discovery.met(peer.identity.node);
            // Perhaps nobody is missing any more.
            self.timer.due(now);
            self.outbound.forget_unwanted(&self.membership.discovery, &mut self.scheduler);
            self.outbound.fit(&self.peers);
        }
        if let Some(peer) = self.peers.at(slot) {
            let age_ns = self.local.age_ns(now);
            for _ in 0..answers {
                peer.answer_interest((interest.time_ns, age_ns), &mut self.control);
            }
        }
        self.run_path_mtu(now, slot);
    }

    /// Tells a peer that speaks as a receiver of a stream what it is known to have joined, if
    /// that stream is not among it: somebody may have told otherwise in its name.
    pub(crate) fn check_receiver(&mut self, now: Instant, slot: usize, stream: u16) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.wants.version != 0 && peer.wants.joined(StreamId(stream)).is_none() {
            let age_ns = self.local.age_ns(now);
            if peer.wants.may_remind(now) {
                peer.answer_interest((0, age_ns), &mut self.control);
            }
        }
    }

    /// Takes in from where on a peer says that it owes us its streams.
    pub(crate) fn on_joined(&mut self, now: Instant, slot: usize, joined: &Joined<'_>) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let (told, answered) = (peer.told.version, joined.version);
        if answered != told && !is_newer(told, answered) {
            return self.outbid(now, slot, answered);
        }
        let places = match peer.told.answered(joined, &self.local.stream_map) {
            Ok(Some(places)) => places,
            Ok(None) => return,
            Err(BadAnswer::Incomplete) => return self.outbid(now, slot, answered),
            Err(BadAnswer::UnknownStream) => {
                self.counters.drops.malformed += 1;
                return;
            }
        };
        // What came so far came as the peer was told before.
        peer.inbound.iter_mut().for_each(InboundStream::forget_ways);
        // It said how old it is after that interest was sent, so it is not older; and
        // not later than now, whatever it says.
        let born_at = Instant::from_nanos(joined.echo_ns).min(now).saturating_sub(joined.age_ns);
        let departed = &self.membership.departed;
        self.interest.report_missed(peer, &places, born_at, departed, &mut self.output);
        self.inbound.join(now, peer, &places, &self.local.config.keys);
        for &(stream, _) in &places {
            self.look_through(now, slot, stream);
        }
        self.pay_statuses(now);
        if let Some(peer) = self.peers.at_mut(slot) {
            peer.set_unwanted_aside(self.interest.channels.groups);
        }
        self.send_interest(now, slot);
        self.report_joined();
    }

    /// Tells a peer anew what is wanted of it, since it answers another interest, which it
    /// was told in our name: it listens to newer ones alone.
    #[cold]
    fn outbid(&mut self, now: Instant, slot: usize, heard: u32) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        self.interest.versions.outbid(heard);
        self.interest.versions.unconfirmed();
        peer.told.overtaken();
        self.send_interest(now, slot);
    }
}
