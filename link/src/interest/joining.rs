//! Who wants which groups, and from where on.
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

use netcluster_wire::control::LossReason;
use netcluster_wire::link::limits::MAX_ENTRIES;
use netcluster_wire::link::{ControlKind, Interest, Joined, Place};

use crate::Link;
use crate::crypto::StreamOpener;
use crate::event::{LinkEvent, Lost};
use crate::membership::peers::Peers;
use crate::receive::inbound_stream::{InboundStream, MAX_COUNTED};
use crate::receive::ingress::{Ingress, IngressConfig};
use crate::stream::{Position, StreamId};

/// The own interest, which all peers are told.
#[derive(Default)]
pub(crate) struct OwnInterest {
    version: u64,
    /// The last one that was reported as known to all.
    reported: u64,
    /// Counts what any peer was told, so that each has growing versions even if
    /// it was forgotten meanwhile. Behind the largest one comes 1.
    pub(crate) told: u32,
}

impl OwnInterest {
    pub fn version(&self) -> u64 {
        self.version
    }

    pub fn changed(&mut self) {
        self.version += 1;
    }

    /// Some peer may not know of it any more.
    pub fn unconfirmed(&mut self) {
        self.reported = self.reported.min(self.version.saturating_sub(1));
    }

    /// The newest version, if all peers know it by now and did not before.
    fn newly_known(&mut self, peers: &Peers) -> Option<u64> {
        let is_new = self.reported < self.version && peers.have_confirmed(self.version);
        is_new.then(|| {
            self.reported = self.version;
            self.version
        })
    }

    fn next_told(&mut self) -> u32 {
        self.told = self.told.wrapping_add(1).max(1);
        self.told
    }
}

/// Whether one version of an interest is newer than another, also where counting
/// begins anew: the shorter way there leads up. 0 is none.
fn is_newer(version: u32, than: u32) -> bool {
    let ahead = version.wrapping_sub(than);
    than == 0 && version != 0 || (1..1 << 31).contains(&ahead)
}

impl Link {
    /// Version of the newest own interest.
    pub fn interest_version(&self) -> u64 {
        self.interest.own.version
    }

    /// Version of the interest that a question asked now is about. Peers that may have
    /// forgotten us since they confirmed the newest one are asked once more, and it
    /// is the one that they have to confirm.
    pub fn ask_interest(&mut self, now_ns: u64) -> u64 {
        if !self.peers.iter().all(|peer| peer.told.is_fresh(now_ns)) {
            self.interest.own.changed();
            self.tell_all(now_ns);
        }
        self.interest.own.version
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

    /// How many peers take what is emitted in this channel: those that want its group.
    pub fn takers(&self, channel: u64) -> usize {
        let Some(local) = self.interest.channels.get(channel) else { return 0 };
        let group = 1 << local.channel.stream.group();
        self.peers.iter().filter(|peer| peer.wants.groups & group != 0).count()
    }

    /// Reports the newest interest as known to all, once it is.
    pub(crate) fn report_joined(&mut self) {
        if self.membership.discovery.is_over()
            && let Some(version) = self.interest.own.newly_known(&self.peers)
        {
            self.output.push(LinkEvent::Joined(version));
        }
    }

    /// The own interest changed.
    pub(crate) fn tell_all(&mut self, now_ns: u64) {
        for index in 0..self.peers.len() {
            if let Some(slot) = self.peers.slot_at(index) {
                self.renew_interest(now_ns, slot);
            }
        }
        self.report_joined();
    }

    /// Tells one peer anew what is wanted of it: at once, or when it has answered
    /// the interest that is under way.
    pub(crate) fn renew_interest(&mut self, now_ns: u64, slot: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.told.note_change(now_ns);
        self.note_unwanted(slot);
        self.send_interest(now_ns, slot);
    }

    /// Sets streams of a peer apart whose groups nobody here wants (any more).
    fn note_unwanted(&mut self, slot: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let groups = self.interest.channels.groups;
        for inbound in &mut peer.inbound {
            let is_wanted = groups & (1 << inbound.stream.group()) != 0;
            inbound.is_stale |= !is_wanted;
            if inbound.is_stale {
                // Wanted again, but does the peer know that it was not? If not, all
                // that comes is owed; if so, what comes behind its new P will be
                // retransmitted. Until it tells, nothing may be delivered.
                inbound.ingress.set_held(is_wanted);
            }
        }
    }

    /// Sends a peer the interest if it is time: the one that it has not answered,
    /// or a new one.
    pub(crate) fn send_interest(&mut self, now_ns: u64, slot: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.told.is_again_due(now_ns) {
            // Of those that are not wanted nothing would ever be heard.
            peer.liveness.deaf_groups &= self.interest.channels.groups;
            let hears = peer.liveness.is_multicast_heard(now_ns);
            let version = self.interest.own.next_told();
            let groups = self.interest.channels.groups;
            peer.told.renew(now_ns, version, self.interest.own.version, groups, hears);
        }
        if peer.told.is_due(now_ns) {
            let interest = Interest {
                to: peer.session,
                version: peer.told.version,
                hears_multicast: peer.told.hears,
                fresh: peer.told.fresh,
                groups: peer.told.groups,
                time_ns: now_ns,
            };
            self.control.send_to(ControlKind::Interest, peer.address, |out| interest.encode(out));
        }
        let next_ns = peer.next_ns();
        self.timer.due(next_ns);
    }

    /// A peer tells what it wants.
    pub(crate) fn on_interest(&mut self, now_ns: u64, slot: usize, interest: &Interest) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let wants = &mut peer.wants;
        if interest.version != wants.version {
            if !is_newer(interest.version, wants.version) {
                return;
            }
            wants.version = interest.version;
            wants.groups = interest.groups;
            wants.hears_us = interest.hears_multicast;
            let (id, path) = (peer.id, peer.wants.path());
            let is_kept =
                |stream: StreamId| !interest.fresh && interest.groups & (1 << stream.group()) != 0;
            peer.wants.joined.retain(|&(stream, _)| {
                if !is_kept(stream)
                    && let Some(&at) = self.outbound.by_id.get(&stream)
                {
                    let own = &mut self.outbound.streams[at];
                    own.flow.remove(now_ns, id);
                    own.retransmits.forget_peer(id);
                    own.receivers_changed();
                }
                is_kept(stream)
            });
            for stream in self.local.stream_map.streams_in(interest.groups) {
                let own =
                    self.outbound.by_id.get(&stream).map(|&at| &mut self.outbound.streams[at]);
                let Some(own) = own else {
                    if peer.wants.joined(stream).is_none() {
                        peer.wants.joined.push((stream, Position::default()));
                    }
                    continue;
                };
                if peer.wants.joined(stream).is_none() {
                    // What is held back or kept is for those who come now.
                    let position = if self.membership.discovery.meets(peer.identity.node) {
                        own.egress.oldest()
                    } else {
                        own.egress.join_point()
                    };
                    peer.wants.joined.push((stream, position));
                    own.flow.join(now_ns, id, position.number, path);
                    own.receivers_changed();
                    if position.number < own.egress.next().number {
                        // Nothing else may tell it of what was sent before it came.
                        own.heartbeat.restart(now_ns);
                        self.timer.due(own.heartbeat.next_ns);
                    }
                }
                own.flow.set_path(id, path);
            }
            self.membership.discovery.met(peer.identity.node);
            // Perhaps nobody is missing any more.
            self.timer.due(now_ns);
            self.outbound.forget_unwanted(&self.membership.discovery, &mut self.scheduler);
            self.outbound.fit(&self.peers);
        }
        self.answer_interest(now_ns, slot, interest.time_ns);
        self.run_path_mtu(now_ns, slot);
    }

    fn answer_interest(&mut self, now_ns: u64, slot: usize, echo_ns: u64) {
        let Some(peer) = self.peers.at(slot) else { return };
        let places: Vec<Place> =
            peer.wants.joined.iter().map(|&(stream, at)| place(stream, at)).collect();
        let total = places.len() as u16;
        let (session, version, address) = (peer.session, peer.wants.version, peer.address);
        let age_ns = now_ns.saturating_sub(self.local.started_ns);
        // An empty answer is one too.
        let chunks = places.chunks(MAX_ENTRIES).chain(places.is_empty().then_some(&places[..]));
        for chunk in chunks {
            self.control.send_to(ControlKind::Joined, address, |out| {
                Joined::encode(&session, version, total, (echo_ns, age_ns), chunk, out);
            });
        }
    }

    /// A peer says from where on it owes us its streams.
    pub(crate) fn on_joined(&mut self, now_ns: u64, slot: usize, joined: &Joined<'_>) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let told = &mut peer.told;
        if joined.version != told.version || told.is_confirmed {
            return;
        }
        for place in joined.places.iter() {
            if !self.local.stream_map.has(StreamId(place.stream)) {
                self.counters.drops.malformed += 1;
                return;
            }
            if !told.places.iter().any(|other| other.stream == place.stream) {
                told.places.push(place);
            }
        }
        if told.places.len() < usize::from(joined.total) {
            return;
        }
        // What came so far came as the peer was told before.
        peer.inbound.iter_mut().for_each(InboundStream::forget_ways);
        told.is_confirmed = true;
        told.fresh = false;
        told.confirmed_version = told.own_version;
        let (places, groups) = (std::mem::take(&mut told.places), told.groups);
        let expected = self.local.stream_map.streams_in(groups);
        let mut streams: Vec<_> = expected
            .filter_map(|stream| {
                let place = places.iter().find(|place| place.stream == stream.0)?;
                Some((stream, Position { number: place.number, ordinal: place.ordinal }))
            })
            .collect();
        streams.sort_unstable_by_key(|(stream, _)| *stream);
        // It said how old it is after that interest was sent, so it is not older; and
        // not later than now, whatever it says.
        let born_ns = joined.echo_ns.min(now_ns).saturating_sub(joined.age_ns);
        self.tell_missed(slot, &streams, born_ns);
        self.take_places(now_ns, slot, &streams);
        self.note_unwanted(slot);
        self.send_interest(now_ns, slot);
        self.report_joined();
    }

    /// A session that is younger than the wish of listeners here had them from its
    /// start on: what it emitted before it knew of them, which its ordinals say, is
    /// lost to them. It began at `born_ns` or later.
    fn tell_missed(&mut self, slot: usize, streams: &[(StreamId, Position)], born_ns: u64) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        for &(stream, join) in streams {
            let is_known = peer.inbound.iter().any(|inbound| inbound.stream == stream)
                || self.membership.departed.had_joined(&peer.session, stream);
            if join.ordinal == 0 || is_known {
                continue;
            }
            let count = Some(join.ordinal).filter(|count| *count <= MAX_COUNTED);
            let channels = self.interest.channels.wanted_before(stream, born_ns);
            if !channels.is_empty() {
                match count {
                    Some(count) => peer.counters.events_lost += count,
                    None => peer.counters.losses_unknown += 1,
                }
            }
            for channel in channels {
                self.output.push(LinkEvent::Lost(Lost {
                    node: peer.identity.node,
                    stream,
                    channel: Some(channel),
                    count,
                    reason: LossReason::Link,
                }));
            }
        }
    }

    /// Receives these streams of a peer, from these positions on, and no others.
    fn take_places(&mut self, now_ns: u64, slot: usize, streams: &[(StreamId, Position)]) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let mut before = std::mem::take(&mut peer.inbound);
        let config = IngressConfig {
            reassembly: self.inbound.config.reassembly.of(peer.id),
            ..self.inbound.config.clone()
        };
        for &(stream, join) in streams {
            let at = before.iter().position(|inbound| inbound.stream == stream);
            let mut is_held = false;
            match at.map(|at| before.swap_remove(at)) {
                Some(mut inbound) if inbound.join == join || !inbound.is_stale => {
                    if inbound.join != join {
                        // The peer had forgotten us. What it sent until it joined
                        // us anew, nobody will retransmit.
                        let Position { number, ordinal } = join;
                        inbound.ingress.heartbeat(now_ns, number, number, ordinal);
                        inbound.join = join;
                        // It waits to hear how far we are.
                        peer.owes_status = true;
                        self.inbound.owes_status = true;
                    }
                    if inbound.is_stale {
                        inbound.ingress.set_held(inbound.is_held);
                        inbound.is_stale = false;
                    }
                    peer.inbound.push(inbound);
                    continue;
                }
                // For a while nobody here wanted it, and the peer knew.
                Some(old) => {
                    is_held = old.is_held;
                    self.inbound.window.close(peer.id, stream);
                }
                None => {}
            }
            let opener = StreamOpener::new(&self.local.config.keys, &peer.session, stream);
            let node = peer.identity.node;
            let ingress = Ingress::new(stream, node, join, opener, &config);
            self.inbound.window.open(peer.id, stream, join.number);
            let mut inbound = InboundStream::new(stream, ingress, join);
            // The queue that holds it up may still be full.
            inbound.is_held = is_held;
            inbound.ingress.set_held(is_held);
            peer.inbound.push(inbound);
            peer.owes_status = true;
            self.inbound.owes_status = true;
        }
        for inbound in before {
            self.inbound.window.close(peer.id, inbound.stream);
        }
        for &(stream, _) in streams {
            self.look_through(now_ns, slot, stream);
        }
        self.pay_statuses(now_ns);
    }
}

fn place(stream: StreamId, at: Position) -> Place {
    Place { stream: stream.0, number: at.number, ordinal: at.ordinal }
}
