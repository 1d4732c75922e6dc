//! Brokers that are heard and never answer: their hellos come by multicast, what is sent
//! to them alone, or their answers, do not come through.
//!
//! Invariant: at most [`MAX_UNLINKED`] are remembered, each while it is heard.

use core::net::SocketAddr;

use netcluster_platform::Instant;

use crate::membership::handshake::Identity;

/// Brokers that are named at most.
const MAX_UNLINKED: usize = 64;

/// Time without another handshake in vain after which a broker is forgotten: hellos come
/// each second.
const FORGET_NS: u64 = 10_000_000_000;

/// Handshakes in vain before it is told: a single one may have been bad luck.
const TELL_AFTER: u32 = 2;

/// One broker that is heard and never answers.
#[derive(Clone, Debug)]
pub(crate) struct Unlinked {
    pub identity: Identity,
    pub address: SocketAddr,
    last_at: Instant,
    in_vain: u32,
}

/// All brokers that are heard and never answer.
#[derive(Debug, Default)]
pub(crate) struct AllUnlinked(Vec<Unlinked>);

impl AllUnlinked {
    /// Notes that a handshake ended without an answer. Whether that is to be told.
    pub fn note(&mut self, now: Instant, identity: &Identity, address: SocketAddr) -> bool {
        self.0.retain(|other| now < other.last_at + FORGET_NS);
        let node = identity.node;
        let is_it = |other: &&mut Unlinked| (other.identity.node, other.address) == (node, address);
        if let Some(known) = self.0.iter_mut().find(is_it) {
            known.last_at = now;
            known.in_vain += 1;
            return known.in_vain >= TELL_AFTER;
        }
        if self.0.len() < MAX_UNLINKED {
            let identity = identity.clone();
            self.0.push(Unlinked { identity, address, last_at: now, in_vain: 1 });
        }
        false
    }

    /// Forgets the broker with this node id, as it is a peer now.
    pub fn linked(&mut self, node: u32) {
        self.0.retain(|other| other.identity.node != node);
    }

    /// Brokers that are heard now.
    pub fn heard(&self, now: Instant) -> impl Iterator<Item = &Unlinked> {
        let is_heard = move |it: &&Unlinked| now < it.last_at + FORGET_NS;
        self.0.iter().filter(is_heard).filter(|it| it.in_vain >= TELL_AFTER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::ns;

    fn identity(node: u32) -> Identity {
        Identity { node, name: "a".into(), datagram_bytes: 1372 }
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    #[test]
    fn it_is_told_from_the_second_time_on_until_it_is_linked_or_silent() {
        let mut all = AllUnlinked::default();
        assert!(!all.note(ns(0), &identity(1), address(1)));
        assert_eq!(all.heard(ns(0)).count(), 0);
        assert!(all.note(ns(3), &identity(1), address(1)));
        assert_eq!(all.heard(ns(FORGET_NS + 2)).count(), 1);
        assert_eq!(all.heard(ns(FORGET_NS + 3)).count(), 0);
        all.linked(1);
        assert_eq!(all.heard(ns(3)).count(), 0);
    }

    #[test]
    fn a_flood_of_them_fills_no_memory() {
        let mut all = AllUnlinked::default();
        for port in 0..1000 {
            all.note(ns(0), &identity(port.into()), address(port));
        }
        assert_eq!(all.0.len(), MAX_UNLINKED);
        all.note(ns(FORGET_NS), &identity(2000), address(1));
        assert_eq!(all.0.len(), 1);
    }
}
