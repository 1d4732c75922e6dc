//! Interest of a peer in the streams here, and where it joined them.

use netcluster_platform::Instant;
use netcluster_wire::link::Interest;

use crate::interest::versions::is_newer;
use crate::send::flow_control::Path;
use crate::stream::{Position, StreamId};

/// Shortest time between two reminders of a peer.
const REMIND_NS: u64 = 20_000_000;

/// Groups that a peer wants of our streams, and how they reach it.
#[derive(Default)]
pub(crate) struct Wants {
    /// Version of the peer's newest interest; 0 if none came yet.
    pub version: u32,
    /// A bit for each group.
    pub groups: u64,
    /// The peer receives our multicast: data need not be sent to it alone.
    pub hears_us: bool,
    /// The newest interest said that the peer stands nowhere.
    pub is_fresh: bool,
    /// Positions at which the peer joined, for the same answer to the same question.
    pub joined: Vec<(StreamId, Position)>,
    /// Time from which on the peer may be reminded of where it joined.
    pub remind_at: Instant,
}

impl Wants {
    /// Takes in an interest of the peer if it is newer; whether it was. Of two that differ
    /// under one version, one is not the peer's own: the answer is about a newer one then, which
    /// it outbids.
    pub fn renew(&mut self, interest: &Interest) -> bool {
        let is_new = is_newer(interest.version, self.version);
        let said = (interest.groups, interest.hears_multicast, interest.fresh);
        if is_new {
            self.version = interest.version;
            (self.groups, self.hears_us, self.is_fresh) = said;
        } else if interest.version == self.version
            && said != (self.groups, self.hears_us, self.is_fresh)
        {
            self.version = self.version.wrapping_add(1).max(1);
        }
        is_new
    }

    /// Whether the peer may be reminded now of where it joined; then it counts as reminded.
    pub fn may_remind(&mut self, now: Instant) -> bool {
        let may = now >= self.remind_at;
        if may {
            self.remind_at = now + REMIND_NS;
        }
        may
    }

    /// Position at which the peer joined a stream.
    pub fn joined(&self, stream: StreamId) -> Option<Position> {
        self.joined.iter().find(|(other, _)| *other == stream).map(|(_, position)| *position)
    }

    /// Path by which data reaches the peer.
    pub fn path(&self) -> Path {
        if self.hears_us { Path::Multicast } else { Path::Unicast }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What broke: one that was forged with the version of the peer's next, which said that it
    /// stood nowhere, took its place, and the peer got events twice.
    #[test]
    fn of_two_interests_of_one_version_neither_is_confirmed() {
        let said = |version, fresh| Interest {
            to: Default::default(),
            version,
            hears_multicast: true,
            fresh,
            groups: 1,
            time_ns: 1,
        };
        let mut wants = Wants::default();
        assert!(wants.renew(&said(7, false)));
        assert!(!wants.renew(&said(7, false)), "once more");
        assert_eq!(wants.version, 7);
        assert!(!wants.renew(&said(7, true)));
        assert_eq!(wants.version, 8, "which it outbids");
        assert!(wants.renew(&said(9, true)));
    }
}
