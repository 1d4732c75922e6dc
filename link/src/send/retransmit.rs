//! Retransmissions of one outbound stream: what receivers miss and asked for.
//!
//! ```text
//!  request(peer, ranges) ──► sent again just now? ──yes──► dropped, counted
//!                                 │no
//!                                 ▼
//!                  wanted: (number, to) in order ──► next() ──► recent
//!                  two that ask within a retransmission time ──► to the group
//! ```
//!
//! Receivers that nobody waits for are served after all others. What does not fit
//! is counted and forgotten: who still misses it asks again.
//!
//! Retransmissions and new data take turns by bytes while both wait, so that neither
//! starves: retransmissions get [`SHARE_PERCENT`] of what is sent, and all of it when
//! no new data may be sent. Of these, receivers that nobody waits for get
//! [`LATER_PERCENT`], or one that loses nearly everything would take half of
//! what all others could have. Congestion control applies to all alike.
//!
//! It holds numbers only: the bytes are in the history, congestion control is
//! elsewhere.
//!
//! Invariant: a number is wanted at most once per destination, and both tables
//! are bounded.

mod recent;

use std::collections::BTreeSet;
use std::ops::Range;

use netcluster_platform::Instant;

use crate::peer_id::PeerId;
use recent::Recent;

/// Most retransmissions that may wait, in datagrams.
pub const MAX_WANTED: usize = 16_384;
/// The part of the traffic that retransmissions may have while new data waits.
pub const SHARE_PERCENT: u64 = 50;
/// The part of the traffic that retransmissions for receivers that nobody waits for may
/// have while new data waits.
pub const LATER_PERCENT: u64 = 4;
/// Bytes by which retransmissions may be ahead or behind of their share.
const MAX_CREDIT_BYTES: i64 = 128 * 1024;
/// Most bytes that retransmissions for receivers that nobody waits for may save up.
const MAX_LATER_CREDIT_BYTES: i64 = 16 * 1024;

const _: () = assert!(SHARE_PERCENT > 0 && SHARE_PERCENT < 100);
const _: () = assert!(LATER_PERCENT > 0 && LATER_PERCENT < SHARE_PERCENT);

/// Destination of a retransmission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum To {
    /// Everybody who hears the group.
    Group,
    /// This receiver alone.
    Peer(PeerId),
}

/// Receiver that asks.
#[derive(Clone, Copy, Debug)]
pub struct Requester {
    /// The peer.
    pub peer: PeerId,
    /// Whether a retransmission to the group reaches it.
    pub hears_group: bool,
    /// Whether it is waited for: who is not comes last.
    pub is_healthy: bool,
}

/// Consecutive numbers for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmit {
    /// The first number.
    pub first: u64,
    /// Number of datagrams, at least one.
    pub count: u32,
    /// Destination of these datagrams.
    pub to: To,
    /// Whether somebody who is waited for asked.
    is_urgent: bool,
}

/// Counters of retransmissions, in datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetransmitCounters {
    /// Datagrams that were asked for.
    pub requested: u64,
    /// Requests for what was on its way already, or waiting to be sent.
    pub duplicates: u64,
    /// Requests for what is no longer held, or was never sent.
    pub unknown: u64,
    /// Requests that were forgotten because too many waited.
    pub overflowed: u64,
    /// Datagrams that were sent to one receiver.
    pub unicast: u64,
    /// Datagrams that were sent to the group.
    pub multicast: u64,
}

/// The retransmissions of one outbound stream.
#[derive(Debug, Default)]
pub struct Retransmits {
    urgent: BTreeSet<(u64, To)>,
    later: BTreeSet<(u64, To)>,
    recent: Recent,
    /// Bytes that retransmissions may still send before it is the turn of new data.
    credit_bytes: i64,
    /// Bytes that retransmissions nobody waits for may still send before that.
    later_credit_bytes: i64,
    /// Whether the last retransmission was for those.
    is_later: bool,
    counters: RetransmitCounters,
}

impl Retransmits {
    /// Begins with nothing missed.
    pub fn new() -> Retransmits {
        Retransmits::default()
    }

    /// A request for these ranges (first number, count). `held` is what can be
    /// retransmitted: sent, and still in the history. `retransmit_ns` is the smoothed time
    /// from a request to its retransmission. `hears_group` tells of any peer whether a
    /// retransmission to the group reaches it.
    ///
    /// Answers how many of these were retransmitted for this requester before, in vain:
    /// they were lost again, which congestion control should know.
    pub fn request(
        &mut self,
        now: Instant,
        from: Requester,
        ranges: impl IntoIterator<Item = (u64, u32)>,
        held: Range<u64>,
        retransmit_ns: u64,
        hears_group: impl Fn(PeerId) -> bool,
    ) -> u64 {
        let before = self.recent.again();
        let mut room = MAX_WANTED as u64;
        for (first, count) in ranges {
            let end = first.saturating_add(u64::from(count));
            let known = first.max(held.start)..end.min(held.end);
            let known_count = known.end.saturating_sub(known.start);
            self.counters.requested += u64::from(count);
            self.counters.unknown += u64::from(count) - known_count;
            // Ranges may overlap: what one request costs is bounded nevertheless.
            let taken = known_count.min(room);
            room -= taken;
            self.counters.overflowed += known_count - taken;
            for number in known.start..known.start + taken {
                self.want(now, from, number, retransmit_ns, &hears_group);
            }
        }
        self.recent.again() - before
    }

    fn want(
        &mut self,
        now: Instant,
        from: Requester,
        number: u64,
        retransmit_ns: u64,
        hears_group: &impl Fn(PeerId) -> bool,
    ) {
        let alone = (number, To::Peer(from.peer));
        let group = (number, To::Group);
        let is_wanted = |key| self.urgent.contains(key) || self.later.contains(key);
        if is_wanted(&alone)
            || (from.hears_group && is_wanted(&group))
            || self.recent.is_on_its_way(now, number, from, retransmit_ns)
        {
            self.counters.duplicates += 1;
            return;
        }
        if from.hears_group {
            // Another asked as well: both are served by one, and likely more to come.
            let reaches = |to: To| match to {
                To::Group => false,
                To::Peer(peer) => peer != from.peer && hears_group(peer),
            };
            let others = (number, To::Peer(PeerId(0)))..=(number, To::Peer(PeerId(u32::MAX)));
            let waits = |set: &BTreeSet<(u64, To)>| {
                set.range(others.clone()).map(|(_, to)| *to).find(|to| reaches(*to))
            };
            if let Some(other) = waits(&self.urgent) {
                self.urgent.remove(&(number, other));
                self.urgent.insert(group);
                return;
            }
            if let Some(other) = waits(&self.later) {
                self.later.remove(&(number, other));
                self.insert(group, from.is_healthy);
                return;
            }
        }
        let is_shared = from.hears_group
            && self.recent.was_sent_to_another(now, number, from.peer, retransmit_ns, hears_group);
        self.insert(if is_shared { group } else { alone }, from.is_healthy);
    }

    fn insert(&mut self, key: (u64, To), is_urgent: bool) {
        if self.len() >= MAX_WANTED {
            self.counters.overflowed += 1;
            return;
        }
        if is_urgent {
            self.urgent.insert(key)
        } else {
            self.later.insert(key)
        };
    }

    /// The next retransmission, of at most `max_datagrams` (of at most 64 KiB together, or
    /// the turns get long): the oldest that somebody who is
    /// waited for misses. None if nothing is wanted, or while new data waits that
    /// may be sent and it is that one's turn.
    pub fn next(
        &mut self,
        now: Instant,
        max_datagrams: u32,
        new_waits: bool,
    ) -> Option<Retransmit> {
        if new_waits && self.credit_bytes <= 0 {
            return None;
        }
        let is_urgent = !self.urgent.is_empty();
        if new_waits && !is_urgent && self.later_credit_bytes <= 0 {
            return None;
        }
        self.is_later = !is_urgent;
        let wanted = if is_urgent { &mut self.urgent } else { &mut self.later };
        let (first, to) = wanted.pop_first()?;
        let mut count = 1;
        while count < max_datagrams && wanted.remove(&(first + u64::from(count), to)) {
            count += 1;
        }
        for number in first..first + u64::from(count) {
            self.recent.sent(now, number, to);
        }
        match to {
            To::Group => self.counters.multicast += u64::from(count),
            To::Peer(_) => self.counters.unicast += u64::from(count),
        }
        Some(Retransmit { first, count, to, is_urgent })
    }

    /// Puts back a retransmission that the socket did not take: it is wanted as before.
    pub fn unsend(&mut self, retransmit: Retransmit) {
        for number in retransmit.first..retransmit.first + u64::from(retransmit.count) {
            self.recent.forget(number, retransmit.to);
            if retransmit.is_urgent {
                self.urgent.insert((number, retransmit.to))
            } else {
                self.later.insert((number, retransmit.to))
            };
        }
        match retransmit.to {
            To::Group => self.counters.multicast -= u64::from(retransmit.count),
            To::Peer(_) => self.counters.unicast -= u64::from(retransmit.count),
        }
    }

    /// Counts bytes of retransmissions that went out.
    pub fn repaired(&mut self, bytes: usize) {
        let bytes = bytes.min(MAX_CREDIT_BYTES as usize) as i64;
        self.credit_bytes = (self.credit_bytes - bytes).max(-MAX_CREDIT_BYTES);
        if self.is_later {
            self.later_credit_bytes = (self.later_credit_bytes - bytes).max(-MAX_CREDIT_BYTES);
        }
    }

    /// Counts bytes of new data that went out.
    #[inline]
    pub fn sent_new(&mut self, bytes: usize) {
        let share = |percent: u64| {
            let share = bytes as u64 * percent / (100 - percent);
            share.min(MAX_CREDIT_BYTES as u64) as i64
        };
        self.credit_bytes = (self.credit_bytes + share(SHARE_PERCENT)).min(MAX_CREDIT_BYTES);
        let later = self.later_credit_bytes + share(LATER_PERCENT);
        self.later_credit_bytes = later.min(MAX_LATER_CREDIT_BYTES);
    }

    /// Forgets numbers that are no longer in the history.
    pub fn forget_below(&mut self, number: u64) {
        for wanted in [&mut self.urgent, &mut self.later] {
            if wanted.first().is_some_and(|(first, _)| *first < number) {
                *wanted = wanted.split_off(&(number, To::Group));
            }
        }
    }

    /// Forgets a receiver that is gone, or joined anew.
    pub fn forget_peer(&mut self, peer: PeerId) {
        self.urgent.retain(|(_, to)| *to != To::Peer(peer));
        self.later.retain(|(_, to)| *to != To::Peer(peer));
    }

    /// Number of datagrams that wait.
    pub fn len(&self) -> usize {
        self.urgent.len() + self.later.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.urgent.is_empty() && self.later.is_empty()
    }

    /// Counters so far.
    pub fn counters(&self) -> RetransmitCounters {
        self.counters
    }
}

#[cfg(test)]
mod tests;
