//! Brokers that are greeted by unicast and do not answer.
//!
//! A configured address is answered while a peer sends from it. The groups' port
//! belongs to no broker alone: who is greeted there answers from its own port, so
//! that any peer of that machine will do. Addresses of this machine may be this
//! broker's own, as one list may be given to all machines: nothing is said of
//! them.

use core::net::SocketAddr;

use crate::config::LinkConfig;
use crate::peer::Peer;
use crate::peers::Peers;

/// So long an address may be without a peer before it is told.
pub const ANSWER_NS: u64 = 5_000_000_000;

pub(super) struct Unanswered {
    /// The configured addresses, and since when they may be without an answer.
    since: Vec<(SocketAddr, u64)>,
}

impl Unanswered {
    pub fn new(now_ns: u64, addresses: &[SocketAddr]) -> Unanswered {
        Unanswered { since: addresses.iter().map(|&address| (address, now_ns)).collect() }
    }

    /// These are configured now. Those that were keep their time.
    pub fn set(&mut self, now_ns: u64, addresses: &[SocketAddr]) {
        let before = std::mem::replace(self, Unanswered::new(now_ns, addresses)).since;
        for (address, since_ns) in &mut self.since {
            if let Some(known) = before.iter().find(|(other, _)| other == address) {
                *since_ns = known.1;
            }
        }
    }

    /// A peer with this address is none any more.
    pub fn gone(&mut self, now_ns: u64, config: &LinkConfig, peer: SocketAddr) {
        for (address, since_ns) in &mut self.since {
            if is_answer(config, *address, peer) {
                *since_ns = now_ns;
            }
        }
    }

    /// Whether every address that is not this machine's has a peer that told what
    /// it wants.
    pub fn is_nobody_missing(&self, config: &LinkConfig, peers: &Peers) -> bool {
        self.since.iter().all(|(address, _)| {
            let is_there = |peer: &Peer| is_answer(config, *address, peer.address);
            config.is_local(address.ip())
                || peers.iter().any(|peer| peer.wants.version != 0 && is_there(peer))
        })
    }

    /// The addresses without a peer for too long.
    pub fn addresses<'a>(
        &'a self,
        now_ns: u64,
        config: &'a LinkConfig,
        peers: &'a Peers,
    ) -> impl Iterator<Item = SocketAddr> + 'a {
        let late = self.since.iter().filter(move |(_, since_ns)| now_ns >= since_ns + ANSWER_NS);
        late.map(|(address, _)| *address).filter(move |address| {
            !config.is_local(address.ip())
                && !peers.iter().any(|peer| is_answer(config, *address, peer.address))
        })
    }
}

/// Whether a peer that sends from there is the one that is greeted at `address`.
pub(super) fn is_answer(config: &LinkConfig, address: SocketAddr, peer: SocketAddr) -> bool {
    let is_shared = address.port() == config.group.port();
    address.ip() == peer.ip() && (is_shared || address.port() == peer.port())
}
