//! The own control datagrams: sealed once, sent in order.

use core::net::SocketAddr;

use netcluster_wire::link::limits::CONTROL_HEADER_BYTES;
use netcluster_wire::link::{Challenge, ControlHeader, ControlKind};

use crate::crypto::{ControlSealer, Keys};
use crate::peer_id::Session;
use crate::transmit::{ControlQueue, To};

pub(crate) struct ControlSender {
    session: Session,
    sealer: ControlSealer,
    pub queue: ControlQueue,
}

impl ControlSender {
    pub fn new(keys: &Keys, session: &Session) -> ControlSender {
        let sealer = ControlSealer::new(keys, session);
        ControlSender { session: *session, sealer, queue: ControlQueue::default() }
    }

    /// Goes on where the sender of the same session before this one was.
    pub fn resumed(keys: &Keys, session: &Session, counter: u64) -> ControlSender {
        let sealer = ControlSealer::resumed(keys, session, counter);
        ControlSender { session: *session, sealer, queue: ControlQueue::default() }
    }

    /// Counter of the next datagram.
    pub fn counter(&self) -> u64 {
        self.sealer.counter()
    }

    /// Seals by the first of these keys from now on.
    pub fn set_keys(&mut self, keys: &Keys) {
        self.sealer.set_keys(keys, &self.session);
    }

    /// Seals a datagram of this kind, with what `encode` appends as its body, for
    /// all of these receivers.
    pub fn send(&mut self, kind: ControlKind, to: &[To], encode: impl FnOnce(&mut Vec<u8>)) {
        if to.is_empty() {
            return;
        }
        let mut post = self.queue.take_spare();
        post.to.extend_from_slice(to);
        let bytes = &mut post.bytes;
        let counter = self.sealer.counter();
        ControlHeader::new(kind, self.sealer.key_id(), &self.session, counter).write(bytes);
        encode(bytes);
        let end = bytes.len();
        bytes.resize(end + self.sealer.tag_bytes(), 0);
        let (header, rest) = bytes.split_at_mut(CONTROL_HEADER_BYTES);
        let (body, tag) = rest.split_at_mut(end - CONTROL_HEADER_BYTES);
        self.sealer.seal(header, body, tag);
        self.queue.push(post);
    }

    /// Seals a datagram of this kind for one receiver, and sends it.
    pub fn send_to(
        &mut self,
        kind: ControlKind,
        to: SocketAddr,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        self.send(kind, &[To::Addr(to)], encode);
    }

    /// Challenges a session at an address: whoever answers with this nonce is there.
    pub fn send_challenge(&mut self, nonce: [u8; 16], to: &Session, at: SocketAddr) {
        let challenge = Challenge { nonce, to: *to };
        self.send_to(ControlKind::Challenge, at, |out| challenge.encode(out));
    }
}
