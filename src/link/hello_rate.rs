//! How many hellos of strangers are looked at: opening one costs a key
//! derivation, and whoever reaches the port can send as many as he likes.
//!
//! ```text
//!   hello ──▶ its source's bucket: 50 a second ──▶ all together: 1000 a second
//!             (one of 256, by a hash of the address)
//! ```
//! Invariant: the memory is fixed. Sources that share a bucket share its rate.

use core::net::IpAddr;
use std::hash::BuildHasher;

/// Hellos of strangers looked at in a second.
pub const MAX_HELLOS_PER_S: u64 = 1000;

/// Of these, from one address.
pub const MAX_HELLOS_PER_SOURCE_PER_S: u64 = 50;

const SOURCES: usize = 256;

const SECOND_NS: u64 = 1_000_000_000;

/// A token bucket that holds what one second brings.
#[derive(Clone, Copy)]
struct Bucket {
    /// When it will be full again; a full one has a time that has passed.
    full_ns: u64,
}

impl Bucket {
    /// Takes one token out, if there is one.
    fn take(&mut self, now_ns: u64, per_s: u64) -> bool {
        let full_ns = self.full_ns.max(now_ns) + SECOND_NS / per_s;
        let is_open = full_ns <= now_ns + SECOND_NS;
        if is_open {
            self.full_ns = full_ns;
        }
        is_open
    }
}

pub(super) struct HelloRate {
    all: Bucket,
    sources: Box<[Bucket; SOURCES]>,
    hasher: foldhash::fast::FixedState,
}

impl HelloRate {
    /// The seed keeps outsiders from choosing whom they share a bucket with.
    pub fn new(seed: u64) -> HelloRate {
        HelloRate {
            all: Bucket { full_ns: 0 },
            sources: Box::new([Bucket { full_ns: 0 }; SOURCES]),
            hasher: foldhash::fast::FixedState::with_seed(seed),
        }
    }

    /// Whether one more from this source may be looked at now.
    pub fn allow(&mut self, now_ns: u64, from: IpAddr) -> bool {
        let at = self.hasher.hash_one(from) as usize % SOURCES;
        // The source first, so that one that floods does not use up what all
        // others share.
        self.sources[at].take(now_ns, MAX_HELLOS_PER_SOURCE_PER_S)
            && self.all.take(now_ns, MAX_HELLOS_PER_S)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn one_source_cannot_use_up_what_all_share() {
        let mut rate = HelloRate::new(1);
        let taken = (0..10_000).filter(|_| rate.allow(5, address(1))).count();
        assert_eq!(taken as u64, MAX_HELLOS_PER_SOURCE_PER_S);
        assert!((2..20).any(|last| rate.allow(5, address(last))));
        assert!(rate.allow(5 + SECOND_NS, address(1)));
    }

    #[test]
    fn all_together_have_a_limit() {
        let mut rate = HelloRate::new(1);
        let from = |index: usize| IpAddr::from((index as u32).to_be_bytes());
        let taken = (0..100_000).filter(|&index| rate.allow(5, from(index))).count();
        assert_eq!(taken as u64, MAX_HELLOS_PER_S);
    }
}
