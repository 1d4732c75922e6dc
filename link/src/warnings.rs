//! Warnings for people, and not too often.

use core::fmt;
use core::net::IpAddr;

use netcluster_platform::Instant;

/// Time for which no other warning of the same kind and source is told.
pub const WARNING_PAUSE_NS: u64 = 10_000_000_000;

/// Sources that are remembered of one kind. Beyond it nothing of this kind is told.
const MAX_REMEMBERED: usize = 32;

/// Kind of trouble with a broker out there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The broker seals its datagrams with a key that this one does not have, or with none.
    OtherKey,
    /// The broker speaks another version of the link.
    OtherVersion,
    /// The broker is of this cluster, but set up otherwise.
    OtherSettings,
    /// The broker has the node id of another one.
    SameNode,
    /// There are as many peers as there may be.
    TooManyPeers,
    /// Two other brokers do not hear each other.
    MissingPair,
    /// The broker sends events that are larger than this one takes.
    LargeEvent,
    /// Multicast of the broker arrives, but not in one of the groups.
    DeafGroup,
    /// Datagrams of the broker do not arrive, however often it sends them, and others do.
    InVain,
    /// The way to the broker takes smaller datagrams only than what is sent elsewhere.
    NarrowPath,
    /// The own interface takes smaller packets than what was asked for.
    SmallInterface,
    /// The broker is heard, and does not answer.
    Unlinked,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::OtherKey => "other-key",
            Kind::OtherVersion => "other-version",
            Kind::OtherSettings => "other-settings",
            Kind::SameNode => "same-node-id",
            Kind::TooManyPeers => "too-many-peers",
            Kind::MissingPair => "missing-pair",
            Kind::LargeEvent => "large-event",
            Kind::DeafGroup => "group-not-heard",
            Kind::InVain => "retransmitted-in-vain",
            Kind::NarrowPath => "narrow-path",
            Kind::SmallInterface => "small-interface",
            Kind::Unlinked => "no-answer",
        })
    }
}

#[derive(Default)]
pub(crate) struct Warnings {
    told: Vec<(Kind, IpAddr, Instant)>,
    /// Warnings that were not told, since the same had just been.
    pub suppressed: u64,
}

impl Warnings {
    /// Whether to tell this one.
    pub fn allow(&mut self, now: Instant, kind: Kind, from: IpAddr) -> bool {
        self.told.retain(|&(_, _, told_at)| now < told_at + WARNING_PAUSE_NS);
        if self.told.iter().any(|&(other, source, _)| (other, source) == (kind, from)) {
            self.suppressed += 1;
            return false;
        }
        if self.told.iter().filter(|&&(other, ..)| other == kind).count() == MAX_REMEMBERED {
            self.suppressed += 1;
            return false;
        }
        self.told.push((kind, from, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::ns;

    #[test]
    fn the_same_is_told_once_in_ten_seconds() {
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut warnings = Warnings::default();
        assert!(warnings.allow(ns(0), Kind::OtherKey, one));
        assert!(!warnings.allow(ns(9), Kind::OtherKey, one));
        assert!(warnings.allow(ns(9), Kind::OtherKey, other));
        assert!(warnings.allow(ns(9), Kind::SameNode, one));
        assert!(warnings.allow(ns(WARNING_PAUSE_NS), Kind::OtherKey, one));
        assert_eq!(warnings.suppressed, 1);
    }

    #[test]
    fn a_kind_is_told_in_words_that_no_other_has() {
        use std::collections::BTreeSet;
        let kinds = [
            Kind::OtherKey,
            Kind::OtherVersion,
            Kind::OtherSettings,
            Kind::SameNode,
            Kind::TooManyPeers,
            Kind::MissingPair,
            Kind::LargeEvent,
            Kind::DeafGroup,
            Kind::InVain,
            Kind::NarrowPath,
            Kind::SmallInterface,
            Kind::Unlinked,
        ];
        let words: BTreeSet<String> = kinds.iter().map(Kind::to_string).collect();
        assert_eq!(words.len(), kinds.len());
        let is_word = |letter: char| letter.is_ascii_lowercase() || letter == '-';
        assert!(words.iter().all(|word| word.chars().all(is_word)), "{words:?}");
    }

    #[test]
    fn a_flood_of_sources_fills_no_memory() {
        let mut warnings = Warnings::default();
        let from = |index: u32| IpAddr::from(index.to_be_bytes());
        let told =
            (0..10_000).filter(|&at| warnings.allow(ns(1), Kind::OtherKey, from(at))).count();
        assert_eq!(told, MAX_REMEMBERED);
        assert!(warnings.allow(ns(1), Kind::SameNode, from(0)), "other kinds are told");
    }
}
