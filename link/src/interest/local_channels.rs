//! The channels of this broker, and which of their groups it wants.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_platform::Instant;
use netcluster_wire::link::limits::MAX_GROUPS;

use crate::channel::{ChannelHash, LinkChannel};
use crate::stream::StreamId;

pub(crate) struct LocalChannel {
    pub channel: Arc<LinkChannel>,
    /// Place of the outbound stream that carries the channel.
    pub outbound: usize,
    /// Time since which somebody here listens.
    pub wanted_since: Option<Instant>,
}

/// Effect that a change of one channel has on its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    /// The group got its first listener.
    Joins(u8),
    /// The group lost its last listener.
    Leaves(u8),
}

pub(crate) struct LocalChannels {
    channels: HashMap<ChannelHash, LocalChannel, FixedState>,
    /// Number of wanted channels in each group.
    wanted: [u32; MAX_GROUPS],
    /// A bit for each group that has one.
    pub groups: u64,
    /// A bit for each group that counts as wanted by one channel more: a predecessor wanted it.
    inherited: u64,
}

impl LocalChannels {
    pub fn new() -> LocalChannels {
        LocalChannels {
            channels: HashMap::default(),
            wanted: [0; MAX_GROUPS],
            groups: 0,
            inherited: 0,
        }
    }

    #[inline]
    pub fn get(&self, hash: ChannelHash) -> Option<&LocalChannel> {
        self.channels.get(&hash)
    }

    pub fn insert(&mut self, channel: LinkChannel, outbound: usize) {
        let hash = channel.hash;
        self.channels.insert(
            hash,
            LocalChannel { channel: Arc::new(channel), outbound, wanted_since: None },
        );
    }

    pub fn remove(&mut self, hash: ChannelHash) -> Change {
        let change = self.set_wanted(hash, None);
        self.channels.remove(&hash);
        change
    }

    /// Whether somebody here listens to a channel.
    #[inline]
    pub fn is_wanted(&self, hash: ChannelHash) -> bool {
        self.channels.get(&hash).is_some_and(|local| local.wanted_since.is_some())
    }

    /// Notes since when somebody here listens to a channel; none if nobody does.
    pub fn set_wanted(&mut self, hash: ChannelHash, since: Option<Instant>) -> Change {
        let Some(local) = self.channels.get_mut(&hash) else { return Change::None };
        let is_wanted = since.is_some();
        if local.wanted_since.is_some() == is_wanted {
            return Change::None;
        }
        local.wanted_since = since;
        let group = local.channel.stream.group();
        self.count(group, is_wanted)
    }

    /// Wants these groups, whoever listens, and returns them.
    pub fn inherit(&mut self, groups: u64) -> Vec<u8> {
        let new = groups_of(groups & !self.inherited);
        self.inherited |= groups;
        for &group in &new {
            self.count(group, true);
        }
        new
    }

    /// Wants only the groups that somebody listens to; what changes by that.
    pub fn disinherit(&mut self) -> Vec<Change> {
        let groups = std::mem::take(&mut self.inherited);
        groups_of(groups).into_iter().map(|group| self.count(group, false)).collect()
    }

    /// Counts one channel more or less that is wanted in a group.
    fn count(&mut self, group: u8, is_wanted: bool) -> Change {
        let wanted = &mut self.wanted[usize::from(group)];
        if is_wanted {
            *wanted += 1;
            if *wanted == 1 {
                self.groups |= 1 << group;
                return Change::Joins(group);
            }
        } else {
            *wanted -= 1;
            if *wanted == 0 {
                self.groups &= !(1 << group);
                return Change::Leaves(group);
            }
        }
        Change::None
    }

    /// All channels, in no order.
    pub fn channels(&self) -> impl Iterator<Item = &LinkChannel> {
        self.channels.values().map(|local| &*local.channel)
    }

    /// Channels that somebody here listens to, of those in one stream.
    pub fn wanted_in(&self, stream: StreamId) -> impl Iterator<Item = ChannelHash> + '_ {
        let wanted = self
            .channels
            .values()
            .filter(move |local| local.wanted_since.is_some() && local.channel.stream == stream);
        wanted.map(|local| local.channel.hash)
    }

    /// Channels of one stream that somebody here has listened to since before `then`, in
    /// order.
    pub fn wanted_before(&self, stream: StreamId, then: Instant) -> Vec<ChannelHash> {
        let before =
            |hash: &ChannelHash| self.channels[hash].wanted_since.is_some_and(|since| since < then);
        let mut channels: Vec<ChannelHash> = self.wanted_in(stream).filter(before).collect();
        channels.sort_unstable();
        channels
    }
}

/// The groups of these bits.
fn groups_of(bits: u64) -> Vec<u8> {
    (0..MAX_GROUPS as u8).filter(|group| bits & 1 << group != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::ns;

    #[test]
    fn a_group_is_wanted_while_any_of_its_channels_is() {
        let mut locals = LocalChannels::new();
        for hash in 1..=3 {
            let stream = StreamId::new(if hash == 3 { 7 } else { 5 }, 0);
            locals.insert(LinkChannel { name: "x".into(), hash: ChannelHash(hash), stream }, 0);
        }
        assert_eq!(locals.set_wanted(ChannelHash(1), Some(ns(0))), Change::Joins(5));
        assert_eq!(locals.set_wanted(ChannelHash(1), Some(ns(0))), Change::None);
        assert_eq!(locals.set_wanted(ChannelHash(2), Some(ns(0))), Change::None);
        assert_eq!(locals.set_wanted(ChannelHash(3), Some(ns(0))), Change::Joins(7));
        assert_eq!(locals.groups, 1 << 5 | 1 << 7);
        assert_eq!(locals.set_wanted(ChannelHash(1), None), Change::None);
        assert_eq!(locals.remove(ChannelHash(2)), Change::Leaves(5));
        assert_eq!(locals.set_wanted(ChannelHash(9), Some(ns(0))), Change::None);
        assert_eq!(locals.groups, 1 << 7);
        assert_eq!(locals.wanted_in(StreamId::new(7, 0)).collect::<Vec<_>>(), [ChannelHash(3)]);
    }
}
