//! Brokers that are greeted by unicast and do not answer.
//!
//! A configured address is answered while a peer sends from it. The groups' port
//! belongs to no broker alone: who is greeted there answers from its own port, so
//! that any peer of that machine will do. Addresses of this machine may be this
//! broker's own, as one list may be given to all machines: nothing is said of
//! them.

use core::net::SocketAddr;

use netcluster_platform::Instant;

use crate::config::LinkConfig;
use crate::membership::peer::Peer;
use crate::membership::peers::Peers;

/// Time that an address may be without a peer before it is told.
pub const ANSWER_NS: u64 = 5_000_000_000;

pub(crate) struct UnreachablePeers {
    /// The configured addresses, and since when they may be without an answer.
    since: Vec<(SocketAddr, Instant)>,
}

impl UnreachablePeers {
    pub fn new(now: Instant, addresses: &[SocketAddr]) -> UnreachablePeers {
        UnreachablePeers { since: addresses.iter().map(|&address| (address, now)).collect() }
    }

    /// Sets the addresses that are configured now. Addresses that were configured before
    /// keep their time.
    pub fn set(&mut self, now: Instant, addresses: &[SocketAddr]) {
        let before = std::mem::replace(self, UnreachablePeers::new(now, addresses)).since;
        for (address, since) in &mut self.since {
            if let Some(known) = before.iter().find(|(other, _)| other == address) {
                *since = known.1;
            }
        }
    }

    /// Notes that a peer with this address is none any more.
    pub fn gone(&mut self, now: Instant, config: &LinkConfig, peer: SocketAddr) {
        for (address, since) in &mut self.since {
            if is_answer(config, *address, peer) {
                *since = now;
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

    /// Addresses without a peer for too long.
    pub fn addresses<'a>(
        &'a self,
        now: Instant,
        config: &'a LinkConfig,
        peers: &'a Peers,
    ) -> impl Iterator<Item = SocketAddr> + 'a {
        let late = self.since.iter().filter(move |(_, since)| now >= *since + ANSWER_NS);
        late.map(|(address, _)| *address).filter(move |address| {
            !config.is_local(address.ip())
                && !peers.iter().any(|peer| is_answer(config, *address, peer.address))
        })
    }
}

/// Whether a peer that sends from there is the one that is greeted at `address`.
pub(crate) fn is_answer(config: &LinkConfig, address: SocketAddr, peer: SocketAddr) -> bool {
    let is_shared = address.port() == config.group.port();
    address.ip() == peer.ip() && (is_shared || address.port() == peer.port())
}
