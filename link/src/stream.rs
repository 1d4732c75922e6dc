//! Names of streams and places in them.

use serde::{Deserialize, Serialize};

/// One ordered stream of a sender: the group it goes to, and which of the
/// group's streams it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamId(pub u16);

impl StreamId {
    /// The stream with this index in this group: 0 is the group's ordinary one,
    /// others belong to one channel with `pressure = "cluster"` each.
    #[inline]
    pub const fn new(group: u8, index: u8) -> StreamId {
        StreamId(u16::from_le_bytes([group, index]))
    }

    /// Group whose address the stream is sent to.
    #[inline]
    pub const fn group(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    /// Index of the stream in its group.
    #[inline]
    pub const fn index(self) -> u8 {
        self.0.to_le_bytes()[1]
    }

    /// Whether listeners on other machines may slow it down.
    #[inline]
    pub const fn is_pressured(self) -> bool {
        self.index() != 0
    }
}

/// A place in a stream, between two datagrams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of the next datagram.
    pub number: u64,
    /// The ordinal of the next event frame, counting those that nobody wanted.
    pub ordinal: u64,
}
