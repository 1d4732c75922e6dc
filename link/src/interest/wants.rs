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
    /// Positions at which the peer joined, for the same answer to the same question.
    pub joined: Vec<(StreamId, Position)>,
    /// Time from which on the peer may be reminded of where it joined.
    remind_at: Instant,
}

impl Wants {
    /// Takes in an interest of the peer if it is newer; whether it was.
    pub fn renew(&mut self, interest: &Interest) -> bool {
        let is_new = is_newer(interest.version, self.version);
        if is_new {
            self.version = interest.version;
            self.groups = interest.groups;
            self.hears_us = interest.hears_multicast;
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
