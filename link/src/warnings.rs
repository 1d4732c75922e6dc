//! What people are told, and not too often.

use core::net::IpAddr;

use netcluster_platform::Instant;

/// One of a kind and source is told, then none for this long.
pub const WARNING_PAUSE_NS: u64 = 10_000_000_000;

/// Sources remembered of one kind. Beyond it nothing of this kind is told.
const MAX_REMEMBERED: usize = 32;

/// What may be wrong with a broker out there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Its datagrams are sealed with a key that this broker does not have, or with none.
    OtherKey,
    /// It speaks another version of the link.
    OtherVersion,
    /// It is of this cluster, but set up otherwise.
    OtherSettings,
    /// It has the node id of another one.
    SameNode,
    /// There are as many peers as there may be.
    TooManyPeers,
    /// Two other brokers do not hear each other.
    MissingPair,
    /// It sends events that are larger than this broker takes.
    LargeEvent,
    /// Its multicast arrives, but not in one of the groups.
    DeafGroup,
    /// Datagrams of it do not arrive, however often it sends them, and others do.
    InVain,
    /// The way to it takes smaller datagrams only than what is sent elsewhere.
    NarrowPath,
    /// The own interface takes smaller packets than what was asked for.
    SmallInterface,
    /// It is heard, and does not answer.
    Unlinked,
}

#[derive(Default)]
pub(crate) struct Warnings {
    told: Vec<(Kind, IpAddr, Instant)>,
    /// Not told, since the same had just been.
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
    fn a_flood_of_sources_fills_no_memory() {
        let mut warnings = Warnings::default();
        let from = |index: u32| IpAddr::from(index.to_be_bytes());
        let told =
            (0..10_000).filter(|&at| warnings.allow(ns(1), Kind::OtherKey, from(at))).count();
        assert_eq!(told, MAX_REMEMBERED);
        assert!(warnings.allow(ns(1), Kind::SameNode, from(0)), "other kinds are told");
    }
}
