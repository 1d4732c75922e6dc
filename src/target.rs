//! A target: one client's outbound queue, wherever in the broker it is, or the
//! link to the other brokers.
//!
//! Decision: `docs/decisions/002-route-copy-per-shard.md`.

use std::fmt;

use netcluster_link::peer_id::PeerId;
use netcluster_link::stream::StreamId;

/// The shard that drives the link.
pub const LINK_HOME: u16 = 0;

/// The `shard` of targets on the link. Above all real ones, so that in a sorted
/// route it stands last.
const LINK: u16 = u16::MAX;

/// The `shard` of streams of other brokers, where they stand for emitters.
const STREAM: u16 = u16::MAX - 1;

/// Names a connection of one shard. `client` is used again only after four thousand
/// million others, and never by two at a time, so a target that outlives its connection
/// names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The shard that owns the connection.
    pub shard: u16,
    /// The connection's place in that shard's table.
    pub conn: u32,
    /// The client's number, which is also the place's generation.
    pub client: u32,
}

impl Target {
    /// The link, as a target of the channel with this hash.
    #[inline]
    pub const fn link(channel: u64) -> Target {
        Target { shard: LINK, conn: (channel >> 32) as u32, client: channel as u32 }
    }

    /// The channel's hash, if this is a target on the link.
    #[inline]
    pub const fn link_channel(self) -> Option<u64> {
        match self.shard {
            LINK => Some((self.conn as u64) << 32 | self.client as u64),
            _ => None,
        }
    }

    /// A stream of another broker, as an emitter.
    #[inline]
    pub const fn stream(peer: PeerId, stream: StreamId) -> Target {
        Target { shard: STREAM, conn: peer.0, client: stream.0 as u32 }
    }

    /// The stream, if this is one.
    #[inline]
    pub const fn as_stream(self) -> Option<(PeerId, StreamId)> {
        match self.shard {
            STREAM => Some((PeerId(self.conn), StreamId(self.client as u16))),
            _ => None,
        }
    }

    /// The shard that answers for it.
    #[inline]
    pub const fn home(self) -> u16 {
        if self.shard >= STREAM { LINK_HOME } else { self.shard }
    }
}

const _: () = assert!(crate::broker::MAX_SHARDS < STREAM);

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "client {} (shard {})", self.client, self.shard)
    }
}
