//! Hellos, challenges and answers out: to those who are to hear us, and to those
//! who may not be where they say.
//!
//! ```text
//!   the group, configured peers ◀── hello, padded     as often as it takes
//!   a peer, where it answered ◀──── hello, and all else
//!   any other address ◀──────────── hello, challenge   no more than came from there
//! ```
//! A peer that is heard from another address may have moved, or somebody says so:
//! the new one gets a challenge and nothing else until it was answered from there.
//!
//! Invariant: nothing else is sent to an address that answered no challenge, but the
//! answers to probes.

use core::net::SocketAddr;

use netcluster_wire::link::limits::{ASKING_HELLO_BYTES, CONTROL_HEADER_BYTES, TAG_BYTES};
use netcluster_wire::link::{Answer, Challenge, ControlKind, Hello};

use crate::Link;
use crate::peer_id::Session;
use crate::proof::Proof;
use crate::transmit::To;
use crate::unanswered::is_answer;

/// Bytes of a challenge and of an answer, without a tag.
const CHALLENGE_BYTES: usize = CONTROL_HEADER_BYTES + 32;

impl Link {
    /// Where control datagrams go that are for all brokers there may be.
    pub(super) fn anybody(&self) -> Vec<To> {
        let mut to = vec![To::Group(self.config.control_address())];
        to.extend(self.config.peers.iter().map(|&address| To::Addr(address)));
        for peer in self.peers.iter().filter(|peer| !peer.wants.hears_us) {
            if !self.config.peers.contains(&peer.address) {
                to.push(To::Addr(peer.address));
            }
        }
        to
    }

    /// Says hello to all brokers there may be.
    pub(super) fn say_hello_to_anybody(&mut self) {
        self.say_hello(&self.anybody(), false, ASKING_HELLO_BYTES);
    }

    /// Says hello to a peer, and asks for its hello.
    pub(super) fn ask_for_hello(&mut self, to: SocketAddr) {
        self.say_hello(&[To::Addr(to)], true, 0);
    }

    /// Says hello to a peer that asked for it.
    pub(super) fn answer_hello(&mut self, to: SocketAddr) {
        self.say_hello(&[To::Addr(to)], false, 0);
    }

    /// Answers a hello of a session that is no peer, of so many bytes: with our hello
    /// and a challenge, as far as they are not larger.
    pub(super) fn greet(&mut self, now_ns: u64, session: &Session, from: SocketAddr, bytes: usize) {
        let is_configured = self.is_configured(from);
        let (hello_bytes, challenge_bytes) = (self.answer_bytes(), self.challenge_bytes());
        let Some(pending) = self.handshakes.find(session) else { return };
        pending.heard_from(from, bytes, is_configured);
        if !pending.may_greet(now_ns, from) {
            return;
        }
        // A challenge is worth more, if there is room for one of them only.
        let is_open = pending.answered.is_none();
        let (first_bytes, rest_bytes) = match is_open {
            true => (challenge_bytes, challenge_bytes + hello_bytes),
            false => (0, hello_bytes),
        };
        let says_hello = pending.may_send(rest_bytes);
        let asks = is_open && (says_hello || pending.may_send(first_bytes));
        pending.greeted(now_ns);
        let nonce = pending.proof.nonce(from);
        if says_hello {
            self.say_hello(&[To::Addr(from)], false, 0);
        }
        if asks {
            self.post_challenge(nonce, session, from);
        }
    }

    /// Challenges a pending session again: it has not answered.
    pub(super) fn challenge_again(&mut self, session: &Session) {
        let challenge_bytes = self.challenge_bytes();
        let Some(pending) = self.handshakes.find(session) else { return };
        let (address, nonce) = (pending.address, pending.proof.nonce(pending.address));
        if pending.may_send(challenge_bytes) {
            self.post_challenge(nonce, session, address);
        }
    }

    /// Bytes of a challenge or an answer.
    pub(super) fn challenge_bytes(&self) -> usize {
        CHALLENGE_BYTES + self.config.keys.tag_bytes()
    }

    pub(super) fn post_challenge(&mut self, nonce: [u8; 16], to: &Session, at: SocketAddr) {
        let challenge = Challenge { nonce, to: *to };
        self.mail.post_to(ControlKind::Challenge, at, |out| challenge.encode(out));
    }

    /// Whether somebody was told that a broker is at this address.
    fn is_configured(&self, address: SocketAddr) -> bool {
        self.config.peers.iter().any(|&peer| is_answer(&self.config, peer, address))
    }

    /// Answers a challenge, if it is for us: it has as many bytes.
    pub(super) fn answer_challenge(
        &mut self,
        challenge: &Challenge,
        session: &Session,
        from: SocketAddr,
    ) -> bool {
        if challenge.to != self.session {
            self.counters.drops.other_receiver += 1;
            return false;
        }
        if !self.is_ending() {
            let answer = Answer { nonce: challenge.nonce, to: *session };
            self.mail.post_to(ControlKind::Answer, from, |out| answer.encode(out));
        }
        true
    }

    /// Something of a peer, in so many bytes, came from another address than it
    /// answered from.
    #[cold]
    pub(super) fn heard_elsewhere(
        &mut self,
        now_ns: u64,
        slot: usize,
        from: SocketAddr,
        bytes: usize,
    ) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if bytes >= CHALLENGE_BYTES + self.config.keys.tag_bytes() && peer.may_challenge(now_ns) {
            let (nonce, session) = (peer.proof.nonce(from), peer.session);
            self.post_challenge(nonce, &session, from);
        }
    }

    /// A peer answers a challenge: it is where it answers from.
    pub(super) fn on_moved(&mut self, slot: usize, answer: &Answer, from: SocketAddr) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.address == from || answer.to != self.session {
            return;
        }
        if answer.nonce != peer.proof.nonce(from) {
            self.counters.drops.unproved += 1;
            return;
        }
        let mut secret = [0; 16];
        self.entropy.fill(&mut secret);
        // Nobody comes back to an address by an answer of before.
        peer.proof = Proof::new(secret);
        peer.address = from;
        self.counters.moved += 1;
        self.hello_rate.know(from.ip());
        self.neighbours_changed();
    }

    /// Bytes of a hello that answers: at least those of a challenge, which may be
    /// the answer to it.
    fn answer_bytes(&self) -> usize {
        let names_bytes = self.config.cluster.len() + self.config.name.len();
        let bytes = CONTROL_HEADER_BYTES + Hello::body_bytes(names_bytes);
        bytes.max(CHALLENGE_BYTES) + self.config.keys.tag_bytes()
    }

    fn say_hello(&mut self, to: &[To], answer: bool, bytes: usize) {
        if self.is_ending() {
            // Or who forgot us already would find us anew.
            return;
        }
        let names_bytes = self.config.cluster.len() + self.config.name.len();
        let body_bytes = Hello::body_bytes(names_bytes);
        let bytes = bytes.max(self.answer_bytes());
        let padded_bytes = bytes - CONTROL_HEADER_BYTES - self.config.keys.tag_bytes();
        let hello = Hello {
            node: self.config.node,
            groups: u16::from(self.settings.groups),
            datagram_bytes: self.datagram_bytes as u16,
            settings: self.settings.hash,
            answer,
            cluster: &self.config.cluster,
            name: &self.config.name,
            padding_bytes: padded_bytes - body_bytes,
        };
        self.mail.post(ControlKind::Hello, to, |out| hello.encode(out));
    }
}

const _: () = assert!(ASKING_HELLO_BYTES >= CHALLENGE_BYTES + TAG_BYTES);
