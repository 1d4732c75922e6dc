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

use netcluster_platform::Instant;
use netcluster_wire::link::limits::{ASKING_HELLO_BYTES, CONTROL_HEADER_BYTES, TAG_BYTES};
use netcluster_wire::link::{Answer, Challenge, ControlKind};

use crate::Link;
use crate::membership::address_proof::AddressProof;
use crate::peer_id::Session;
use crate::transmit::To;

/// Bytes of a challenge and of an answer, without a tag.
pub(crate) const CHALLENGE_BYTES: usize = CONTROL_HEADER_BYTES + 32;

impl Link {
    /// Says hello to all brokers there may be.
    pub(crate) fn say_hello_to_anybody(&mut self) {
        self.say_hello(&self.peers.anybody(&self.local.config), false, ASKING_HELLO_BYTES);
    }

    /// Says hello to a peer, and asks for its hello.
    pub(crate) fn ask_for_hello(&mut self, to: SocketAddr) {
        self.say_hello(&[To::Addr(to)], true, 0);
    }

    /// Says hello to a peer that asked for it.
    pub(crate) fn answer_hello(&mut self, to: SocketAddr) {
        self.say_hello(&[To::Addr(to)], false, 0);
    }

    /// Answers a hello of a session that is no peer, of so many bytes: with our hello
    /// and a challenge, as far as they are not larger.
    pub(crate) fn greet(
        &mut self,
        now: Instant,
        session: &Session,
        from: SocketAddr,
        bytes: usize,
    ) {
        let is_configured = self.local.is_configured(from);
        let (hello_bytes, challenge_bytes) =
            (self.local.answer_bytes(), self.local.challenge_bytes());
        let Some(pending) = self.membership.handshakes.find(session) else { return };
        pending.heard_from(from, bytes, is_configured);
        if !pending.may_greet(now, from) {
            return;
        }
        // A challenge is worth more, if there is room for one of them only.
        let is_open = pending.answered.is_none();
        let (first_bytes, rest_bytes) = if is_open {
            (challenge_bytes, challenge_bytes + hello_bytes)
        } else {
            (0, hello_bytes)
        };
        let says_hello = pending.may_send(rest_bytes);
        let asks = is_open && (says_hello || pending.may_send(first_bytes));
        pending.greeted(now);
        let nonce = pending.proof.nonce(from);
        if says_hello {
            self.say_hello(&[To::Addr(from)], false, 0);
        }
        if asks {
            self.control.send_challenge(nonce, session, from);
        }
    }

    /// Challenges a pending session again: it has not answered.
    pub(crate) fn challenge_again(&mut self, session: &Session) {
        let challenge_bytes = self.local.challenge_bytes();
        let Some(pending) = self.membership.handshakes.find(session) else { return };
        let (address, nonce) = (pending.address, pending.proof.nonce(pending.address));
        if pending.may_send(challenge_bytes) {
            self.control.send_challenge(nonce, session, address);
        }
    }

    /// Answers a challenge, if it is for us: it has as many bytes.
    pub(crate) fn answer_challenge(
        &mut self,
        challenge: &Challenge,
        session: &Session,
        from: SocketAddr,
    ) -> bool {
        if challenge.to != self.local.session {
            self.counters.drops.other_receiver += 1;
            return false;
        }
        if !self.membership.leave.is_leaving() {
            let answer = Answer { nonce: challenge.nonce, to: *session };
            self.control.send_to(ControlKind::Answer, from, |out| answer.encode(out));
        }
        true
    }

    /// Challenges a peer at another address than it answered from, from which something of
    /// it came in so many bytes.
    #[cold]
    pub(crate) fn heard_elsewhere(
        &mut self,
        now: Instant,
        slot: usize,
        from: SocketAddr,
        bytes: usize,
    ) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if bytes >= CHALLENGE_BYTES + self.local.config.keys.tag_bytes() && peer.may_challenge(now)
        {
            let (nonce, session) = (peer.proof.nonce(from), peer.session);
            self.control.send_challenge(nonce, &session, from);
        }
    }

    /// Takes in a peer's answer to a challenge: the peer is where it answers from.
    pub(crate) fn on_moved(&mut self, slot: usize, answer: &Answer, from: SocketAddr) {
        let Some(peer) = self.peers.at_mut(slot) else { return };
        if peer.address == from || answer.to != self.local.session {
            return;
        }
        if answer.nonce != peer.proof.nonce(from) {
            self.counters.drops.unproved += 1;
            return;
        }
        let secret = self.local.secret();
        // Nobody comes back to an address by an answer of before.
        peer.proof = AddressProof::new(secret);
        peer.address = from;
        self.counters.moved += 1;
        self.membership.hello_rate.know(from.ip());
        self.peers.note_addresses(&self.local.config);
    }

    fn say_hello(&mut self, to: &[To], answer: bool, bytes: usize) {
        if self.membership.leave.is_leaving() {
            // Or who forgot us already would find us anew.
            return;
        }
        let hello = self.local.hello(answer, bytes);
        self.control.send(ControlKind::Hello, to, |out| hello.encode(out));
    }
}

const _: () = assert!(ASKING_HELLO_BYTES >= CHALLENGE_BYTES + TAG_BYTES);
