//! Control datagrams in: opened with what their session allows, then acted on.
//!
//! ```text
//!   of a peer ─────────────▶ opened, all kinds
//!   of a pending session ──▶ opened: hello, challenge, answer
//!   of a stranger ─────────▶ hello and probe only, at a limited rate
//! ```

use core::net::SocketAddr;

use netcluster_platform::Instant;
use netcluster_wire::link::limits::CONTROL_HEADER_BYTES;
use netcluster_wire::link::{
    BodyError, Control, ControlHeader, ControlKind, Heartbeat, Leave, Nak, Status,
};

use crate::Link;
use crate::crypto::Unsealed;
use crate::stream::{Position, StreamId};
use crate::warnings::WarningKind;

/// Origin of a datagram.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// Address of the sender.
    pub address: SocketAddr,
    /// Whether it was sent to a group.
    pub multicast: bool,
}

impl Link {
    pub(crate) fn receive_control(
        &mut self,
        now: Instant,
        kind: ControlKind,
        header: &ControlHeader,
        (body, tag): (&[u8], &[u8]),
        from: Origin,
    ) {
        if header.session == self.local.session {
            self.counters.drops.own += 1;
            return;
        }
        let mut opened = std::mem::take(&mut self.scratch);
        opened.clear();
        opened.extend_from_slice(body);
        self.open_control(now, kind, header, &mut opened, tag, from);
        self.scratch = opened;
    }

    fn open_control(
        &mut self,
        now: Instant,
        kind: ControlKind,
        header: &ControlHeader,
        body: &mut [u8],
        tag: &[u8],
        from: Origin,
    ) {
        let (key_id, counter) = (header.key_id.get(), header.counter.get());
        let bytes = (CONTROL_HEADER_BYTES + body.len() + tag.len()) as u64;
        if let Some(slot) = self.peers.slot_of_session(&header.session) {
            let Some(peer) = self.peers.at_mut(slot) else { return };
            if let Err(error) = peer.opener.open(key_id, counter, header.bytes(), body, tag) {
                return self.not_opened(now, error, kind, from.address);
            }
            peer.heard(now, from.multicast);
            peer.counters.received += 1;
            peer.counters.received_bytes += bytes;
            let is_elsewhere = peer.address != from.address;
            // What it sends to us alone comes from where it can be reached; and so
            // does its multicast, unless the way to us is another one.
            let says_where = !from.multicast || kind == ControlKind::Hello;
            // These prove where they come from, or are answered by as much as they have:
            // a challenge besides would be more.
            let is_settled =
                matches!(kind, ControlKind::Challenge | ControlKind::Answer | ControlKind::Probe);
            if is_elsewhere && says_where && !is_settled {
                self.heard_elsewhere(now, slot, from.address, bytes as usize);
            }
            self.counters.received += 1;
            self.counters.received_bytes += bytes;
            match Control::decode(kind, body) {
                Ok(control) => self.on_peer(now, slot, &control, bytes, from),
                Err(error) => self.malformed(error),
            }
        } else if let Some(pending) = self.membership.handshakes.find(&header.session) {
            if !matches!(kind, ControlKind::Hello | ControlKind::Challenge | ControlKind::Answer) {
                self.counters.drops.unknown_session += 1;
                return;
            }
            if let Err(error) = pending.opener.open(key_id, counter, header.bytes(), body, tag) {
                return self.not_opened(now, error, kind, from.address);
            }
            if from.multicast {
                pending.multicast_at = Some(now);
            }
            self.counters.received += 1;
            self.counters.received_bytes += bytes;
            match Control::decode(kind, body) {
                Ok(control) => {
                    self.on_pending(now, &header.session, &control, bytes as usize, from.address);
                }
                Err(error) => self.malformed(error),
            }
        } else if !matches!(kind, ControlKind::Hello | ControlKind::Probe) {
            self.counters.drops.unknown_session += 1;
        } else if !self.local.config.keys.knows(key_id) {
            // Told without looking closer: it costs nothing.
            self.not_opened(now, Unsealed::WrongKey(key_id), kind, from.address);
        } else if !self.membership.may_look(now, &self.local.config.keys, from.address.ip()) {
            self.counters.drops.hello_rate += 1;
        } else {
            let mut opener =
                self.membership.departed.opener(&self.local.config.keys, &header.session);
            if let Err(error) = opener.open(key_id, counter, header.bytes(), body, tag) {
                return self.not_opened(now, error, kind, from.address);
            }
            if !self.local.config.keys.is_open()
                && !self.membership.hello_rate.allow(now, from.address.ip())
            {
                self.counters.drops.hello_rate += 1;
                return;
            }
            match Control::decode(kind, body) {
                Ok(Control::Hello(hello)) => {
                    self.counters.received += 1;
                    self.counters.received_bytes += bytes;
                    let session = &header.session;
                    self.on_stranger(now, session, &hello, opener, bytes as usize, from);
                }
                Ok(Control::Probe(probe)) => self.on_probe(&header.session, &probe, bytes, from),
                Ok(_) => {}
                Err(error) => self.malformed(error),
            }
        }
    }

    fn on_peer(
        &mut self,
        now: Instant,
        slot: usize,
        control: &Control<'_>,
        bytes: u64,
        from: Origin,
    ) {
        let is_leaving = self.membership.leave.is_leaving();
        let Some(peer) = self.peers.at_mut(slot) else { return };
        let session = peer.session;
        let to = match control {
            Control::Interest(interest) => Some(interest.to),
            Control::Joined(joined) => Some(joined.to),
            Control::Status(status) => Some(status.to),
            Control::Nak(nak) => Some(nak.to),
            _ => None,
        };
        if to.is_some_and(|to| to != self.local.session) {
            self.counters.drops.other_receiver += 1;
            return;
        }
        let changes_wishes = matches!(control, Control::Interest(_) | Control::Joined(_));
        if changes_wishes && peer.address != from.address {
            // Both are for one alone and come again, once it has answered from there.
            self.counters.drops.unproved += 1;
            return;
        }
        match control {
            Control::Hello(hello) => {
                // Where it is known to be it gets what it asks for. Elsewhere the
                // challenge tells it where we are, and its answer where it is.
                let keys = &self.local.config.keys;
                if hello.answer
                    && peer.address == from.address
                    && self.membership.may_answer(now, keys, from.address.ip())
                {
                    self.answer_hello(from.address);
                }
                if let Some(peer) = self.peers.at_mut(slot) {
                    peer.identity.datagram_bytes = hello.datagram_bytes;
                }
                self.multicast_heard(now, slot);
            }
            Control::Challenge(challenge) => {
                let is_for_us = self.answer_challenge(challenge, &session, from.address);
                // Perhaps it does not know us (any more), nor what we want.
                let Some(peer) = self.peers.at_mut(slot) else { return };
                if is_for_us && !is_leaving && peer.told.is_confirmed {
                    peer.told.note_asked();
                    self.interest.versions.unconfirmed();
                    self.send_interest(now, slot);
                }
            }
            Control::Answer(answer) if !from.multicast => self.on_moved(slot, answer, from.address),
            Control::Interest(interest) => self.on_interest(now, slot, interest),
            Control::Joined(joined) => self.on_joined(now, slot, joined),
            Control::Heartbeat(heartbeat) => {
                self.on_heartbeat(now, slot, heartbeat);
                self.multicast_heard(now, slot);
            }
            Control::Status(status) => self.on_status(now, slot, status),
            Control::Nak(nak) => self.on_nak(now, slot, nak),
            Control::Leave(leave) => self.on_leave(now, slot, leave),
            Control::Probe(probe) => {
                // On an open link anybody can ask in the name of a peer.
                if self.membership.hello_rate.allow(now, from.address.ip()) {
                    self.on_probe(&session, probe, bytes, from);
                }
            }
            Control::Neighbours(list) => {
                self.peers.note_neighbours(now, slot, list, self.local.config.node);
            }
            Control::Summary(summary) => peer.summary.take(now, summary),
            Control::ProbeReply(reply) => self.on_probe_reply(now, slot, reply),
            Control::Answer(_) => {}
        }
    }

    fn on_heartbeat(&mut self, now: Instant, slot: usize, heartbeat: &Heartbeat<'_>) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.round_trip.echo = Some((heartbeat.time_ns, now));
        if self.is_paused {
            // That it stands still is no reason to take it for gone.
            return self.inbound.owe_status(peer);
        }
        for beat in heartbeat.beats.iter() {
            let stream = StreamId(beat.stream);
            let Some(peer) = self.peers.at_mut(slot) else { return };
            let Some(inbound) = peer.inbound_mut(stream) else { continue };
            inbound.ingress.heartbeat(now, beat.next, beat.tail, beat.ordinal);
            if inbound.ingress.is_contradicted(now) {
                return self.contradicted(now, slot);
            }
            if beat.poll {
                self.inbound.owe_status(peer);
            }
            self.look_through(now, slot, stream);
        }
    }

    fn on_status(&mut self, now: Instant, slot: usize, status: &Status<'_>) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.note_echo(now, status);
        let congestion = &mut self.scheduler.congestion;
        self.outbound.on_status(now, peer.id, status, congestion, &mut self.timer);
        for report in status.reports.iter() {
            self.check_receiver(now, slot, report.stream);
        }
    }

    fn on_nak(&mut self, now: Instant, slot: usize, nak: &Nak<'_>) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.counters.naks_received += 1;
        self.counters.naks_received += 1;
        let congestion = &mut self.scheduler.congestion;
        self.outbound.on_nak(now, peer, nak, congestion, &mut self.timer);
        self.check_receiver(now, slot, nak.stream);
    }

    /// Takes in a peer's goodbye: where its streams end.
    fn on_leave(&mut self, now: Instant, slot: usize, leave: &Leave<'_>) {
        for place in leave.places.iter() {
            let stream = StreamId(place.stream);
            let Some(peer) = self.peers.at_mut(slot) else { return };
            let Some(inbound) = peer.inbound_mut(stream) else { continue };
            inbound.has_left = true;
            let end = Position { number: place.number, ordinal: place.ordinal };
            inbound.ingress.left(now, end);
            self.look_through(now, slot, stream);
        }
        self.left(now, slot);
    }

    #[cold]
    fn not_opened(&mut self, now: Instant, error: Unsealed, kind: ControlKind, from: SocketAddr) {
        let drops = &mut self.counters.drops;
        match error {
            Unsealed::WrongKey(id) => {
                drops.wrong_key += 1;
                if kind == ControlKind::Hello {
                    let what = match id {
                        0 => "has no key, and this one has".to_owned(),
                        id if self.local.config.keys.is_open() => {
                            format!("has a key ({id:08x}), and this one has none")
                        }
                        id => format!("has another key ({id:08x}) than this one"),
                    };
                    self.output.warn(now, WarningKind::OtherKey, from, || {
                        format!(
                            "a broker at {from} is not heard, as it {what}: give all brokers of \
                             the cluster the same --key-file"
                        )
                    });
                }
            }
            Unsealed::Forged => drops.forged += 1,
            Unsealed::Replayed => drops.replayed += 1,
        }
    }

    #[cold]
    fn malformed(&mut self, _error: BodyError) {
        self.counters.drops.malformed += 1;
    }
}
