//! Life of a session: how it becomes a peer, and ceases to be one.
//!
//! Decision: `docs/decisions/026-second-session-of-a-node.md`.

use core::net::SocketAddr;

use netcluster_platform::Instant;
use netcluster_wire::link::{Control, Hello};

use crate::Link;
use crate::crypto::ControlOpener;
use crate::event::{Gone, LinkEvent};
use crate::membership::address_proof::AddressProof;
use crate::membership::handshake::{Due, Identity, Pending, Verdict};
use crate::membership::peer::Peer;
use crate::membership::peers::MAX_PEERS_PER_ADDRESS;
use crate::peer_id::Session;
use crate::receive::ingress::Vain;
use crate::warnings::WarningKind;

use crate::control::dispatch::Origin;

impl Link {
    /// Takes in a hello of a session that is neither a peer nor pending.
    pub(crate) fn on_stranger(
        &mut self,
        now: Instant,
        session: &Session,
        hello: &Hello<'_>,
        opener: ControlOpener,
        bytes: usize,
        Origin { address: from, multicast }: Origin,
    ) {
        let name = hello.name;
        if hello.cluster != self.local.config.cluster {
            self.counters.drops.other_cluster += 1;
            return;
        }
        if let Some(what) = self.local.settings_differ(hello) {
            self.counters.drops.other_settings += 1;
            return self.output.warn(now, WarningKind::OtherSettings, from, || {
                format!("broker {name} at {from} is of this cluster, but set up otherwise: {what}")
            });
        }
        if hello.node == self.local.config.node {
            self.counters.drops.same_node += 1;
            let node = hello.node;
            return self.output.warn(now, WarningKind::SameNode, from, || {
                format!("broker {name} at {from} has the node id of this one: {node:08x}")
            });
        }
        if self.membership.leave.is_leaving() || self.peers.has_tag(session) {
            return;
        }
        if self.peers.is_full() {
            self.counters.drops.too_many_peers += 1;
            let count = self.peers.len();
            return self.output.warn(now, WarningKind::TooManyPeers, from, || {
                format!("broker {name} at {from} is one too many: there are {count} peers")
            });
        }
        if self.local.config.keys.is_open() && self.peers.is_crowded(from.ip()) {
            return self.crowded(now, name, from);
        }
        let secret = self.local.secret();
        let (node, datagram_bytes) = (hello.node, hello.datagram_bytes);
        let identity = Identity { node, name: name.into(), datagram_bytes };
        let mut pending =
            Pending::new(now, session, identity, opener, from, AddressProof::new(secret));
        pending.multicast_at = multicast.then_some(now);
        let rival = self.peers.of_node(node).map(|peer| (peer.id, peer.address));
        pending.rival = rival.map(|(id, _)| (id, now));
        self.membership.handshakes.push(pending);
        if let Some((_, address)) = rival {
            self.ask_for_hello(address);
        }
        self.greet(now, session, from, bytes);
        if multicast {
            // So that it hears our multicast at once, and we need not wait for
            // a second to know.
            self.membership.announce.hurry(now);
        }
        self.timer
            .due(self.membership.announce.next_at().min(self.membership.handshakes.next_at()));
    }

    /// Takes in a control datagram of a pending session.
    pub(crate) fn on_pending(
        &mut self,
        now: Instant,
        session: &Session,
        control: &Control<'_>,
        bytes: usize,
        from: SocketAddr,
    ) {
        match control {
            // The last one may have been somebody else's recording.
            Control::Hello(_)
                if self.membership.may_answer(now, &self.local.config.keys, from.ip()) =>
            {
                self.greet(now, session, from, bytes);
            }
            Control::Challenge(challenge) => {
                self.answer_challenge(challenge, session, from);
            }
            Control::Answer(answer) => {
                let Some(pending) = self.membership.handshakes.find(session) else { return };
                if answer.to != self.local.session {
                    self.counters.drops.other_receiver += 1;
                    return;
                }
                if answer.nonce != pending.proof.nonce(from) {
                    self.counters.drops.unproved += 1;
                    // It may be reached elsewhere than where it sends from.
                    if answer.nonce == pending.proof.nonce(pending.address)
                        && pending.may_greet(now, from)
                    {
                        let nonce = pending.proof.nonce(from);
                        self.control.send_challenge(nonce, session, from);
                    }
                    return;
                }
                if pending.is_refused {
                    return;
                }
                pending.answered = Some(from);
                if pending.rival.is_none() {
                    self.establish(now, session);
                }
                self.timer.due(self.membership.handshakes.next_at());
            }
            _ => {}
        }
    }

    /// Does what is due for pending sessions.
    pub(crate) fn run_handshakes(&mut self, now: Instant) {
        while let Some((session, due)) = self.membership.handshakes.poll(now) {
            match due {
                Due::Challenge => {
                    self.ping_rival(&session);
                    self.challenge_again(&session);
                }
                Due::AskRival => self.ping_rival(&session),
                Due::Establish => self.establish(now, &session),
            }
        }
        for (identity, address) in std::mem::take(&mut self.membership.handshakes.silent) {
            self.note_unlinked(now, &identity, address);
        }
    }

    /// Notes that a broker that is heard did not answer.
    fn note_unlinked(&mut self, now: Instant, identity: &Identity, address: SocketAddr) {
        if self.membership.unlinked.note(now, identity, address) {
            let name = &identity.name;
            self.output.warn(now, WarningKind::Unlinked, address, || {
                format!(
                    "broker {name} at {address} is heard, but does not answer, so it is no peer: \
                     what is sent to it alone, or its answer, is dropped on the way; let UDP to \
                     both brokers' own ports pass (--unicast-port sets them)"
                )
            });
        }
    }

    fn ping_rival(&mut self, session: &Session) {
        let rival = self.membership.handshakes.find(session).and_then(|pending| pending.rival);
        if let Some(peer) = rival.and_then(|(rival, _)| self.peers.get(rival)) {
            let address = peer.address;
            self.ask_for_hello(address);
        }
    }

    /// Makes a pending session that answered a peer, unless its node id is another's.
    fn establish(&mut self, now: Instant, session: &Session) {
        let Some(pending) = self.membership.handshakes.find(session) else { return };
        let node = pending.identity.node;
        let rival = self.peers.of_node(node);
        match pending.judge(now, rival) {
            Verdict::Later => return self.ping_rival(session),
            Verdict::Refused => return self.refuse_same_node(now, session),
            Verdict::Peer => {}
        }
        let rival = rival.map(|rival| rival.id);
        let Some(pending) = self.membership.handshakes.take(session) else { return };
        let address = pending.answered.unwrap_or(pending.address);
        if let Some(slot) = rival.and_then(|rival| self.peers.slot_of(rival)) {
            self.counters.restarted += 1;
            self.bury(now, slot, Gone::Restarted);
        }
        if self.peers.is_full() || self.peers.has_tag(session) {
            self.counters.drops.too_many_peers += 1;
            return;
        }
        if self.local.config.keys.is_open() && self.peers.is_crowded(address.ip()) {
            return self.crowded(now, &pending.identity.name, address);
        }
        self.membership.hello_rate.know(address.ip());
        let id = self.peers.next_id();
        let path_mtu = self.unknown_path();
        let peer = Peer::new(now, id, pending, address, path_mtu);
        let name = peer.identity.name.clone();
        let slot = self.peers.insert(peer);
        self.counters.established += 1;
        self.membership.unlinked.linked(node);
        self.output.push(LinkEvent::PeerUp { peer: id, node, name, address });
        self.peers.note_addresses(&self.local.config);
        self.membership.neighbours.changed(now);
        self.timer.due(self.membership.neighbours.next_at());
        self.renew_interest(now, slot);
    }

    /// Warns that another broker has the node id of a pending session.
    fn refuse_same_node(&mut self, now: Instant, session: &Session) {
        let Some(pending) = self.membership.handshakes.find(session) else { return };
        self.counters.drops.same_node += 1;
        let (node, name, address) =
            (pending.identity.node, &pending.identity.name, pending.address);
        let Some(rival) = self.peers.of_node(node) else { return };
        let (other_name, other) = (&rival.identity.name, rival.address);
        self.output.warn(now, WarningKind::SameNode, address, || {
            format!(
                "brokers {name} at {address} and {other_name} at {other} have the same \
                 node id: {node:08x}"
            )
        });
    }

    /// Warns of one more broker at an address of an open link where there are enough.
    fn crowded(&mut self, now: Instant, name: &str, address: SocketAddr) {
        self.counters.drops.too_many_peers += 1;
        self.output.warn(now, WarningKind::TooManyPeers, address, || {
            format!(
                "broker {name} at {address} is one too many: without a key at most \
                 {MAX_PEERS_PER_ADDRESS} brokers of one address are peers"
            )
        });
    }

    /// Tells a peer anew what is wanted if its multicast is heard now and was not before: a
    /// hello or heartbeat of it came that way, or none for long.
    pub(crate) fn multicast_heard(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.at(slot) else { return };
        if peer.told.hears != peer.liveness.is_multicast_heard(now) {
            self.renew_interest(now, slot);
        }
    }

    /// Asks a peer for copies, until something of this group is heard: the peer is heard by
    /// multicast, but not what it sends to the group.
    pub(crate) fn group_unheard(&mut self, now: Instant, slot: usize, group: u8) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.liveness.deaf_groups |= 1 << group;
        let (name, from) = (peer.identity.name.clone(), peer.address);
        let address = self.local.config.group_address(group).ip();
        self.output.warn(now, WarningKind::DeafGroup, from, || {
            format!(
                "multicast of broker {name} at {from} arrives, but not in the group {address}: its events come by unicast; look at what switches filter"
            )
        });
        self.renew_interest(now, slot);
    }

    /// Counts and tells that datagrams of a peer were given up: they do not pass, however
    /// often they are sent.
    pub(crate) fn given_up(&mut self, now: Instant, slot: usize, vain: &Vain) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        peer.counters.given_up += vain.numbers;
        self.counters.given_up += vain.numbers;
        let (name, from) = (peer.identity.name.clone(), peer.address);
        let bytes = peer.identity.datagram_bytes;
        let Vain { numbers, requests, .. } = *vain;
        self.output.warn(now, WarningKind::InVain, from, || {
            format!(
                "datagrams of broker {name} at {from} do not arrive although others do: {numbers} \
                 given up, asked for up to {requests} times; their events are lost. It sends up to \
                 {bytes} bytes in one: look at what drops packets by their size, or set a smaller \
                 --mtu there"
            )
        });
    }

    /// Does what is due for one peer. It may be gone afterwards.
    pub(crate) fn run_peer(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.liveness.is_silent(now) {
            self.counters.silent += 1;
            self.membership.announce.miss(now);
            self.timer.due(self.membership.announce.next_at());
            return self.bury(now, slot, Gone::Silent);
        }
        self.run_path_mtu(now, slot);
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.next_at() > now {
            return;
        }
        if peer.liveness.is_ping_due(now) {
            let address = peer.address;
            self.ask_for_hello(address);
        }
        self.multicast_heard(now, slot);
        self.send_interest(now, slot);
        self.send_naks(now, slot);
    }

    /// Takes in that a peer said goodbye: once all its streams are ended it is gone.
    pub(crate) fn left(&mut self, now: Instant, slot: usize) {
        let Some(peer) = self.peers.at(slot) else { return };
        if peer.is_through() {
            self.counters.left += 1;
            self.bury(now, slot, Gone::Left);
        }
    }

    /// Forgets a peer that is not as far as its streams are here, and asks it to meet anew:
    /// so the streams go on where the peer really is.
    #[cold]
    pub(crate) fn contradicted(&mut self, now: Instant, slot: usize) {
        let Some(address) = self.peers.at(slot).map(|peer| peer.address) else { return };
        self.counters.contradicted += 1;
        self.bury(now, slot, Gone::Contradicted);
        self.ask_for_hello(address);
    }

    /// Forgets a peer, and tells the listeners of its streams if it did not say
    /// how they end.
    pub(crate) fn bury(&mut self, now: Instant, slot: usize, why: Gone) {
        let Some(mut peer) = self.peers.remove(slot) else { return };
        let node = peer.identity.node;
        let streams = peer.inbound.iter().map(|inbound| inbound.stream);
        // Those of streams that it has ended are not.
        let is_told = !peer.inbound.iter().any(|inbound| inbound.has_left);
        self.membership.departed.push(&peer.session, &peer.opener, streams, is_told);
        peer.end_streams(&self.interest.channels, &mut self.output, &mut self.counters);
        self.inbound.window.close_peer(peer.id);
        for (stream, _) in &peer.wants.joined {
            self.outbound.remove_receiver(now, *stream, peer.id);
        }
        self.scheduler.congestion.forget(now, peer.id);
        self.membership.unreachable.gone(now, &self.local.config, peer.address);
        self.outbound.forget_unwanted(&self.membership.discovery, &mut self.scheduler);
        self.outbound.fit(&self.peers);
        let name = peer.identity.name;
        self.output.push(LinkEvent::PeerDown { peer: peer.id, node, name, why });
        self.peers.note_addresses(&self.local.config);
        self.membership.neighbours.changed(now);
        self.timer.due(self.membership.neighbours.next_at());
        self.report_joined();
    }

    /// Says hello to all, if it is time.
    pub(crate) fn run_announce(&mut self, now: Instant) {
        if !self.membership.announce.is_due(now) {
            return;
        }
        self.say_hello_to_anybody();
        self.look_at_large_frames(now);
    }

    /// Has streams that wait for reassembly memory try again, as others may have given some
    /// back; those that receive do so by themselves. Gives up large frames that do not go
    /// on.
    fn look_at_large_frames(&mut self, now: Instant) {
        for (slot, stream) in self.peers.streams_with_large_frames() {
            self.look_through(now, slot, stream);
            // A pressured channel may wait for somebody's listeners that long.
            let patience_ns = if stream.is_pressured() {
                self.local.config.stall_timeout.as_nanos() as u64
            } else {
                0
            };
            let Some(peer) = self.peers.at_mut(slot) else { continue };
            let Some(inbound) = peer.inbound_mut(stream) else { continue };
            if inbound.ingress.give_up_stalled(now, patience_ns) {
                self.counters.stalled_frames += 1;
                self.look_through(now, slot, stream);
            }
        }
    }
}
