//! Retransmissions that are on their way, so that who asks twice is served once.
//!
//! Bounded: the oldest is forgotten, and a duplicate of it is then sent once more.

use std::collections::{BTreeMap, VecDeque};

use netcluster_platform::Instant;

use super::{Requester, To};
use crate::peer_id::PeerId;

/// Most retransmissions that are remembered, in datagrams.
pub const MAX_RECENT: usize = 16_384;

/// Times at which datagrams were retransmitted last, and for whom.
#[derive(Debug, Default)]
pub struct Recent {
    sent_at: BTreeMap<(u64, To), Instant>,
    /// Retransmissions in the order of sending. An entry whose time differs from the one in
    /// `sent_at` was sent again later.
    order: VecDeque<(Instant, u64, To)>,
    again: u64,
}

impl Recent {
    /// Number of retransmissions that turned out to be in vain, ever.
    pub fn again(&self) -> u64 {
        self.again
    }

    /// Notes that a retransmission goes out.
    pub fn sent(&mut self, now: Instant, number: u64, to: To) {
        while self.order.len() >= MAX_RECENT {
            let Some((sent_at, number, to)) = self.order.pop_front() else { break };
            if self.sent_at.get(&(number, to)) == Some(&sent_at) {
                self.sent_at.remove(&(number, to));
            }
        }
        self.sent_at.insert((number, to), now);
        self.order.push_back((now, number, to));
    }

    /// Forgets a retransmission that did not go out after all.
    pub fn forget(&mut self, number: u64, to: To) {
        self.sent_at.remove(&(number, to));
    }

    /// Whether what is asked for was sent so lately that it may still arrive:
    /// within half a retransmission time. If it was sent before that, it was in vain.
    pub fn is_on_its_way(
        &mut self,
        now: Instant,
        number: u64,
        from: Requester,
        retransmit_ns: u64,
    ) -> bool {
        let alone = self.sent_at.get(&(number, To::Peer(from.peer))).copied();
        let group =
            if from.hears_group { self.sent_at.get(&(number, To::Group)).copied() } else { None };
        let Some(sent_at) = alone.max(group) else { return false };
        let is_fresh = now.since(sent_at) < retransmit_ns / 2;
        if !is_fresh {
            self.again += 1;
        }
        is_fresh
    }

    /// Whether another who hears the group was sent it within a retransmission time.
    pub fn was_sent_to_another(
        &self,
        now: Instant,
        number: u64,
        peer: PeerId,
        retransmit_ns: u64,
        hears_group: &impl Fn(PeerId) -> bool,
    ) -> bool {
        let all = (number, To::Group)..=(number, To::Peer(PeerId(u32::MAX)));
        self.sent_at.range(all).any(|((_, to), sent_at)| {
            let is_other = match *to {
                To::Group => true,
                To::Peer(other) => other != peer && hears_group(other),
            };
            is_other && now.since(*sent_at) < retransmit_ns
        })
    }
}
