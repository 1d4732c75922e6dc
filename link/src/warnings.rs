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
pub enum WarningKind {
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
    /// The broker is expected, and is no peer.
    MissingPeer,
}

impl fmt::Display for WarningKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            WarningKind::OtherKey => "other-key",
            WarningKind::OtherVersion => "other-version",
            WarningKind::OtherSettings => "other-settings",
            WarningKind::SameNode => "same-node-id",
            WarningKind::TooManyPeers => "too-many-peers",
            WarningKind::MissingPair => "missing-pair",
            WarningKind::LargeEvent => "large-event",
            WarningKind::DeafGroup => "group-not-heard",
            WarningKind::InVain => "retransmitted-in-vain",
            WarningKind::NarrowPath => "narrow-path",
            WarningKind::SmallInterface => "small-interface",
            WarningKind::Unlinked => "no-answer",
            WarningKind::MissingPeer => "missing-peer",
        })
    }
}

#[derive(Default)]
pub(crate) struct Warnings {
    told: Vec<(WarningKind, IpAddr, Instant)>,
    /// Warnings that were not told, since the same had just been.
    pub suppressed: u64,
}

impl Warnings {
    /// Whether to tell this one.
    pub fn allow(&mut self, now: Instant, kind: WarningKind, from: IpAddr) -> bool {
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
        assert!(warnings.allow(ns(0), WarningKind::OtherKey, one));
        assert!(!warnings.allow(ns(9), WarningKind::OtherKey, one));
        assert!(warnings.allow(ns(9), WarningKind::OtherKey, other));
        assert!(warnings.allow(ns(9), WarningKind::SameNode, one));
        assert!(warnings.allow(ns(WARNING_PAUSE_NS), WarningKind::OtherKey, one));
        assert_eq!(warnings.suppressed, 1);
    }

    #[test]
    fn a_kind_is_told_in_words_that_no_other_has() {
        use std::collections::BTreeSet;
        let kinds = [
            WarningKind::OtherKey,
            WarningKind::OtherVersion,
            WarningKind::OtherSettings,
            WarningKind::SameNode,
            WarningKind::TooManyPeers,
            WarningKind::MissingPair,
            WarningKind::LargeEvent,
            WarningKind::DeafGroup,
            WarningKind::InVain,
            WarningKind::NarrowPath,
            WarningKind::SmallInterface,
            WarningKind::Unlinked,
        ];
        let words: BTreeSet<String> = kinds.iter().map(WarningKind::to_string).collect();
        assert_eq!(words.len(), kinds.len());
        let is_word = |letter: char| letter.is_ascii_lowercase() || letter == '-';
        assert!(words.iter().all(|word| word.chars().all(is_word)), "{words:?}");
    }

    #[test]
    fn a_flood_of_sources_fills_no_memory() {
        let mut warnings = Warnings::default();
        let from = |index: u32| IpAddr::from(index.to_be_bytes());
        let told = (0..10_000)
            .filter(|&at| warnings.allow(ns(1), WarningKind::OtherKey, from(at)))
            .count();
        assert_eq!(told, MAX_REMEMBERED);
        assert!(warnings.allow(ns(1), WarningKind::SameNode, from(0)), "other kinds are told");
    }
}
