//! Limits on the hellos of strangers that are looked at: checking a tag costs a key
//! derivation, an accepted hello an answer, and whoever reaches the port can send as many
//! as he likes.
//!
//! ```text
//!   hello ──▶ tag checked:  2,000 a second of one source, 20,000 of all
//!         ──▶ taken:           50 a second of one source,  1,000 of all
//! ```
//! Addresses that are configured, or were a peer's, have budgets of their own: so
//! forged hellos from anywhere keep no broker out that was here before, and those
//! from an address take nothing from others. On an open link there is no tag.
//!
//! Invariant: the memory is fixed. Sources that share a bucket share its rate.
//!
//! Decision: `docs/decisions/041-stranger-tags-checked-first.md`.

use core::net::IpAddr;
use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use netcluster_platform::Instant;

/// Hellos whose tags are checked in a second: some 3 µs each.
pub const MAX_CHECKS_PER_S: u64 = 20_000;

/// Hellos from one address whose tags are checked in a second.
pub const MAX_CHECKS_PER_SOURCE_PER_S: u64 = 2000;

/// Hellos of strangers taken in a second.
pub const MAX_HELLOS_PER_S: u64 = 1000;

/// Hellos from one address that are taken in a second.
pub const MAX_HELLOS_PER_SOURCE_PER_S: u64 = 50;

/// Addresses that are remembered. One more, and those of the past are forgotten.
pub const MAX_KNOWN: usize = 4096;

const SOURCES: usize = 256;

const SECOND_NS: u64 = 1_000_000_000;

/// A token bucket that holds what one second brings.
#[derive(Clone, Copy)]
struct Bucket {
    /// Time at which the bucket will be full again; that of a full one has passed.
    full_at: Instant,
}

impl Bucket {
    /// Takes one token out, if there is one.
    fn take(&mut self, now: Instant, per_s: u64) -> bool {
        let full_at = self.full_at.max(now) + SECOND_NS / per_s;
        let is_open = full_at <= now + SECOND_NS;
        if is_open {
            self.full_at = full_at;
        }
        is_open
    }
}

/// Rates for each source, and for all together.
struct Budget {
    per_source_per_s: u64,
    per_s: u64,
    sources: Box<[Bucket; SOURCES]>,
    all: Bucket,
}

impl Budget {
    fn new(per_source_per_s: u64, per_s: u64) -> Budget {
        let empty = Bucket { full_at: Instant::START };
        Budget { per_source_per_s, per_s, sources: Box::new([empty; SOURCES]), all: empty }
    }

    /// Takes a token of the source, then one of all: so one that floods does not use up
    /// what all others share.
    fn take(&mut self, now: Instant, source: usize) -> bool {
        self.sources[source].take(now, self.per_source_per_s) && self.all.take(now, self.per_s)
    }
}

/// Budgets of strangers, and of those who are known.
struct Budgets([Budget; 2]);

impl Budgets {
    fn new(per_source_per_s: u64, per_s: u64) -> Budgets {
        Budgets([Budget::new(per_source_per_s, per_s), Budget::new(per_source_per_s, per_s)])
    }
}

pub(crate) struct HelloRate {
    checks: Budgets,
    hellos: Budgets,
    known: HashSet<IpAddr, FixedState>,
}

impl HelloRate {
    /// Makes full budgets. The seed keeps outsiders from choosing whom they share a bucket
    /// with.
    pub fn new(seed: u64) -> HelloRate {
        HelloRate {
            checks: Budgets::new(MAX_CHECKS_PER_SOURCE_PER_S, MAX_CHECKS_PER_S),
            hellos: Budgets::new(MAX_HELLOS_PER_SOURCE_PER_S, MAX_HELLOS_PER_S),
            known: HashSet::with_hasher(FixedState::with_seed(seed)),
        }
    }

    /// Remembers an address where a broker of ours is, or is to be.
    pub fn know(&mut self, address: IpAddr) {
        if self.known.len() == MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(address);
    }

    /// Whether the tag of one more from this source may be checked now.
    pub fn may_check(&mut self, now: Instant, from: IpAddr) -> bool {
        let (is_known, source) = self.source(from);
        self.checks.0[is_known].take(now, source)
    }

    /// Whether one more from this source may be taken, or answered, now.
    pub fn allow(&mut self, now: Instant, from: IpAddr) -> bool {
        let (is_known, source) = self.source(from);
        self.hellos.0[is_known].take(now, source)
    }

    fn source(&self, from: IpAddr) -> (usize, usize) {
        let source = self.known.hasher().hash_one(from) as usize % SOURCES;
        (usize::from(self.known.contains(&from)), source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::ns;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_source_cannot_use_up_what_all_share() {
        let mut rate = HelloRate::new(1);
        let taken = (0..10_000).filter(|_| rate.allow(ns(5), address(1))).count();
        assert_eq!(taken as u64, MAX_HELLOS_PER_SOURCE_PER_S);
        assert!((2..20).any(|last| rate.allow(ns(5), address(last))));
        assert!(rate.allow(ns(5 + SECOND_NS), address(1)));
        let checked = (0..10_000).filter(|_| rate.may_check(ns(5), address(1))).count();
        assert_eq!(checked as u64, MAX_CHECKS_PER_SOURCE_PER_S);
    }

    #[test]
    fn all_together_have_a_limit() {
        let mut rate = HelloRate::new(1);
        let from = |index: usize| IpAddr::from((index as u32).to_be_bytes());
        let taken = (0..100_000).filter(|&index| rate.allow(ns(5), from(index))).count();
        assert_eq!(taken as u64, MAX_HELLOS_PER_S);
        let checked = (0..100_000).filter(|&index| rate.may_check(ns(5), from(index))).count();
        assert_eq!(checked as u64, MAX_CHECKS_PER_S);
    }

    #[test]
    fn who_is_known_is_looked_at_whatever_strangers_do() {
        let mut rate = HelloRate::new(1);
        rate.know(address(1));
        let from = |index: usize| IpAddr::from((index as u32).to_be_bytes());
        for index in 0..100_000 {
            rate.may_check(ns(5), from(index));
            rate.allow(ns(5), from(index));
        }
        assert!(rate.may_check(ns(5), address(1)) && rate.allow(ns(5), address(1)));
        assert!(!rate.may_check(ns(5), address(2)) && !rate.allow(ns(5), address(2)));
    }

    #[test]
    fn the_addresses_that_are_known_are_bounded() {
        let mut rate = HelloRate::new(1);
        for index in 0..3 * MAX_KNOWN as u32 + 1 {
            rate.know(IpAddr::from(index.to_be_bytes()));
        }
        assert_eq!(rate.known.len(), 1);
    }
}
