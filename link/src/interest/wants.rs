//! What a peer wants of the streams here, and where it joined them.

use crate::send::flow_control::Path;
use crate::stream::{Position, StreamId};

/// What the peer wants of our streams.
#[derive(Default)]
pub(crate) struct Wants {
    /// Of its newest interest; 0 if none came yet.
    pub version: u32,
    /// A bit for each group.
    pub groups: u64,
    /// It receives our multicast: data need not be sent to it alone.
    pub hears_us: bool,
    /// Where it joined, for the same answer to the same question.
    pub joined: Vec<(StreamId, Position)>,
}

impl Wants {
    /// Where the peer joined a stream.
    pub fn joined(&self, stream: StreamId) -> Option<Position> {
        self.joined.iter().find(|(other, _)| *other == stream).map(|(_, position)| *position)
    }

    /// How data reaches the peer.
    pub fn path(&self) -> Path {
        if self.hears_us { Path::Multicast } else { Path::Unicast }
    }
}
