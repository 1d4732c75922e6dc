//! What people are told, and not too often.

use core::net::IpAddr;

/// One of a kind and source is told, then none for this long.
pub const WARNING_PAUSE_NS: u64 = 10_000_000_000;

/// Kinds and sources remembered. Beyond it nothing is told.
const MAX_REMEMBERED: usize = 256;

/// What may be wrong with a broker out there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    OtherKey,
    OtherVersion,
    OtherSettings,
    SameNode,
    TooManyPeers,
    MissingPair,
    DeafGroup,
    InVain,
    NarrowPath,
}

#[derive(Default)]
pub(super) struct Warnings {
    told: Vec<(Kind, IpAddr, u64)>,
    /// Not told, since the same had just been.
    pub suppressed: u64,
}

impl Warnings {
    /// Whether to tell this one.
    pub fn allow(&mut self, now_ns: u64, kind: Kind, from: IpAddr) -> bool {
        self.told.retain(|&(_, _, told_ns)| now_ns < told_ns + WARNING_PAUSE_NS);
        if self.told.iter().any(|&(other, source, _)| (other, source) == (kind, from)) {
            self.suppressed += 1;
            return false;
        }
        if self.told.len() == MAX_REMEMBERED {
            self.suppressed += 1;
            return false;
        }
        self.told.push((kind, from, now_ns));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_told_once_in_ten_seconds() {
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut warnings = Warnings::default();
        assert!(warnings.allow(0, Kind::OtherKey, one));
        assert!(!warnings.allow(9, Kind::OtherKey, one));
        assert!(warnings.allow(9, Kind::OtherKey, other));
        assert!(warnings.allow(9, Kind::SameNode, one));
        assert!(warnings.allow(WARNING_PAUSE_NS, Kind::OtherKey, one));
        assert_eq!(warnings.suppressed, 1);
    }

    #[test]
    fn a_flood_of_sources_fills_no_memory() {
        let mut warnings = Warnings::default();
        let from = |index: u32| IpAddr::from(index.to_be_bytes());
        let told = (0..10_000).filter(|&at| warnings.allow(1, Kind::OtherKey, from(at))).count();
        assert_eq!(told, MAX_REMEMBERED);
    }
}
