//! A channel as the link sees it: a name, its hash, the stream it travels in.
//!
//! Decision: `docs/decisions/011-channel-hash.md`.

use crate::stream::StreamId;

/// One channel of this broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChannel {
    /// Name of the channel.
    pub name: Box<str>,
    /// Hash of the name, see [`channel_hash`].
    pub hash: u64,
    /// Stream that carries its events.
    pub stream: StreamId,
}

/// Hash by which datagrams name a channel: the first 8 bytes of the SHA-256 of its name,
/// little endian; 0 means none and is replaced by 1.
pub fn channel_hash(name: &str) -> u64 {
    let digest = ring::digest::digest(&ring::digest::SHA256, name.as_bytes());
    let head = digest.as_ref()[..8].try_into().expect("a digest has 32 bytes");
    u64::from_le_bytes(head).max(1)
}

/// The group of a channel.
pub fn group_of(hash: u64, groups: u8) -> u8 {
    (hash % u64::from(groups.max(1))) as u8
}
