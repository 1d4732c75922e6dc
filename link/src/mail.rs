//! The own control datagrams: sealed once, sent in order.

use core::net::SocketAddr;

use netcluster_wire::link::limits::CONTROL_HEADER_BYTES;
use netcluster_wire::link::{ControlHeader, ControlKind};

use crate::keys::{ControlSealer, Keys};
use crate::peer_id::Session;
use crate::transmit::{Posts, To};

pub(super) struct Mail {
    session: Session,
    sealer: ControlSealer,
    pub posts: Posts,
}

impl Mail {
    pub fn new(keys: &Keys, session: &Session) -> Mail {
        let sealer = ControlSealer::new(keys, session);
        Mail { session: *session, sealer, posts: Posts::default() }
    }

    /// Seals a datagram of this kind, with what `encode` appends as its body, for
    /// all of these receivers.
    pub fn post(&mut self, kind: ControlKind, to: &[To], encode: impl FnOnce(&mut Vec<u8>)) {
        if to.is_empty() {
            return;
        }
        let mut post = self.posts.take_spare();
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
        self.posts.push(post);
    }

    /// The same for one receiver.
    pub fn post_to(
        &mut self,
        kind: ControlKind,
        to: SocketAddr,
        encode: impl FnOnce(&mut Vec<u8>),
    ) {
        self.post(kind, &[To::Addr(to)], encode);
    }
}
