//! Emitters and targets of events, wherever in the broker they are.
//!
//! ```text
//!   Emitter ── run ──▶ Route: the Targets of clients, and the link
//!      ▲                        │
//!      └─ pauses because of a ──┘ full Queue, of a client or of a stream of the link
//! ```
//!
//! Decision: `docs/decisions/002-route-copy-per-shard.md`.

use std::fmt;

use netcluster_link::peer_id::PeerId;
use netcluster_link::stream::StreamId;
use netcluster_platform::Conn;

/// The shard that drives the link.
pub const LINK_HOME: ShardId = ShardId(0);

/// Place of a shard among those of its broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(pub u16);

impl ShardId {
    /// Returns the place in a table of all shards.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns the ids of so many shards.
    pub fn all(shards: u16) -> impl Iterator<Item = ShardId> + use<> {
        (0..shards).map(ShardId)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// One client, as somebody whom events are queued for. `client` is used again only after
/// four thousand million others, and never by two at a time, so a target that outlives its
/// connection names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The shard that owns the connection.
    pub shard: ShardId,
    /// The connection's place in that shard's table.
    pub conn: Conn,
    /// The client's number, which is also the place's generation.
    pub client: u32,
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "client {} (shard {})", self.client, self.shard)
    }
}

/// Emitter of events, which pauses while a queue that they go to is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emitter {
    /// A client of this broker.
    Client(Target),
    /// A stream of another broker.
    Stream(PeerId, StreamId),
}

impl Emitter {
    /// Returns the shard that pauses the emitter.
    #[inline]
    pub const fn home(self) -> ShardId {
        match self {
            Emitter::Client(target) => target.shard,
            Emitter::Stream(..) => LINK_HOME,
        }
    }

    /// Returns the stream, if the emitter is one of another broker.
    #[inline]
    pub const fn stream(self) -> Option<StreamId> {
        match self {
            Emitter::Client(_) => None,
            Emitter::Stream(_, stream) => Some(stream),
        }
    }

    /// Returns whether a full queue stops the emitter: of the streams of other brokers
    /// only pressured ones are stopped, by their own wish.
    #[inline]
    pub const fn yields(self) -> bool {
        match self {
            Emitter::Client(_) => true,
            Emitter::Stream(_, stream) => stream.is_pressured(),
        }
    }
}

/// A queue that may be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// Queue towards a client of this broker.
    Client(Target),
    /// Queue towards the other brokers: one stream of this broker.
    Link(StreamId),
}
