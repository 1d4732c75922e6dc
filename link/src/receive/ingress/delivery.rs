//! Results of a stream: verdicts on datagrams, deliveries, counters.

use crate::channel::ChannelHash;
use netcluster_platform::Slice;
use netcluster_wire::Source;

/// Verdict on a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The datagram is kept.
    Taken,
    /// The datagram was here before, or belongs to what came before the join.
    Duplicate,
    /// The datagram is too far ahead of what is missing, or of what is delivered. It will
    /// be asked for later.
    TooFar,
    /// A large frame must first get the memory it needs. It will be asked for
    /// later.
    NoMemory,
    /// The seal of the datagram is broken.
    Forged,
    /// The datagram names a key that is not ours.
    WrongKey(u32),
    /// The datagram has a length or a header that this stream cannot have.
    Malformed,
    /// The session is over.
    Ended,
}

impl Verdict {
    /// Whether the way here let the datagram through, whatever became of it. Nothing but
    /// [`Verdict::Taken`] says whether its seal is right.
    pub fn has_arrived(self) -> bool {
        matches!(self, Verdict::Taken | Verdict::Duplicate | Verdict::TooFar | Verdict::NoMemory)
    }
}

/// Delivery of a stream, in order.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// Whole event frames.
    Run {
        /// Hash of their channel.
        channel: ChannelHash,
        /// The frames.
        slice: Slice,
        /// Number of frames.
        frames: usize,
        /// Client that emitted them.
        source: Source,
        /// Bytes of the name that all of them carry.
        name_len: usize,
    },
    /// Events are missing at this place.
    Lost {
        /// Number of events, at most; `None` if nobody knows.
        count: Option<u64>,
    },
    /// Events are missing, since one of them is larger than this broker takes.
    Large {
        /// Number of events, at most; `None` if nobody knows.
        count: Option<u64>,
        /// Bytes of its payload.
        bytes: usize,
    },
}

/// Counters of a stream, since it was joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams kept.
    pub taken: u64,
    /// Datagrams of these that had been asked for.
    pub repaired: u64,
    /// Datagrams that were here before.
    pub duplicates: u64,
    /// Datagrams refused because they were too far ahead.
    pub too_far: u64,
    /// Datagrams refused while a large frame waited for memory.
    pub no_memory: u64,
    /// Datagrams whose seal was broken.
    pub forged: u64,
    /// Datagrams sealed with another key.
    pub wrong_key: u64,
    /// Datagrams, frames and heartbeats that no peer should send.
    pub malformed: u64,
    /// Datagrams given up, asked for in vain while others came.
    pub given_up: u64,
    /// Events reported lost, as far as they can be counted.
    pub lost: u64,
    /// Times that events were lost which nobody can count.
    pub lost_unknown: u64,
}
