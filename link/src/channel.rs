//! A channel as the link sees it: a name, its hash, the stream it travels in.
//!
//! Decision: `docs/decisions/011-channel-hash.md`.

use crate::stream::StreamId;

/// One channel of this broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChannel {
    /// Name of the channel.
    pub name: Box<str>,
    /// Hash of the name.
    pub hash: ChannelHash,
    /// Stream that carries its events.
    pub stream: StreamId,
}

/// Hash by which datagrams name a channel: the first 8 bytes of the SHA-256 of its name,
/// little endian; 0 means none and is replaced by 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct ChannelHash(pub u64);

impl ChannelHash {
    /// No channel.
    pub const NONE: ChannelHash = ChannelHash(0);

    /// Hash of the channel of this name.
    pub fn of(name: &str) -> ChannelHash {
        let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
        let head = digest.as_ref()[..8].try_into().expect("a digest has 32 bytes");
        ChannelHash(u64::from_le_bytes(head).max(1))
    }

    /// Whether it is no channel's.
    #[inline]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// The group of the channel, where there are so many.
    pub fn group(self, groups: u8) -> u8 {
        (self.0 % u64::from(groups.max(1))) as u8
    }
}
