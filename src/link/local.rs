//! The channels of this broker, and which of their groups it wants.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_wire::link::limits::MAX_GROUPS;

use crate::link::channel::LinkChannel;
use crate::link::stream::StreamId;

pub(super) struct Local {
    pub channel: Arc<LinkChannel>,
    /// Where the own stream is that carries it.
    pub own: usize,
    /// Somebody here listens.
    pub is_wanted: bool,
}

/// What a change of one channel means for its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    /// Its group got its first listener.
    Joins(u8),
    /// Its group lost its last.
    Leaves(u8),
}

pub(super) struct Locals {
    channels: HashMap<u64, Local, FixedState>,
    /// Wanted channels in each group.
    wanted: [u32; MAX_GROUPS],
    /// A bit for each group that has one.
    pub groups: u64,
}

impl Locals {
    pub fn new() -> Locals {
        Locals { channels: HashMap::default(), wanted: [0; MAX_GROUPS], groups: 0 }
    }

    #[inline]
    pub fn get(&self, hash: u64) -> Option<&Local> {
        self.channels.get(&hash)
    }

    pub fn insert(&mut self, channel: LinkChannel, own: usize) {
        let hash = channel.hash;
        self.channels.insert(hash, Local { channel: Arc::new(channel), own, is_wanted: false });
    }

    pub fn remove(&mut self, hash: u64) -> Change {
        let change = self.set_wanted(hash, false);
        self.channels.remove(&hash);
        change
    }

    /// Whether somebody here listens to a channel.
    #[inline]
    pub fn is_wanted(&self, hash: u64) -> bool {
        self.channels.get(&hash).is_some_and(|local| local.is_wanted)
    }

    pub fn set_wanted(&mut self, hash: u64, is_wanted: bool) -> Change {
        let Some(local) = self.channels.get_mut(&hash) else { return Change::None };
        if std::mem::replace(&mut local.is_wanted, is_wanted) == is_wanted {
            return Change::None;
        }
        let group = local.channel.stream.group();
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

    /// All of them, in no order.
    pub fn channels(&self) -> impl Iterator<Item = &LinkChannel> {
        self.channels.values().map(|local| &*local.channel)
    }

    /// Channels that somebody here listens to, of those in one stream.
    pub fn wanted_in(&self, stream: StreamId) -> impl Iterator<Item = u64> + '_ {
        let wanted = self
            .channels
            .values()
            .filter(move |local| local.is_wanted && local.channel.stream == stream);
        wanted.map(|local| local.channel.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_wanted_while_any_of_its_channels_is() {
        let mut locals = Locals::new();
        for hash in 1..=3 {
            let stream = StreamId::new(if hash == 3 { 7 } else { 5 }, 0);
            locals.insert(LinkChannel { name: "x".into(), hash, stream }, 0);
        }
        assert_eq!(locals.set_wanted(1, true), Change::Joins(5));
        assert_eq!(locals.set_wanted(1, true), Change::None);
        assert_eq!(locals.set_wanted(2, true), Change::None);
        assert_eq!(locals.set_wanted(3, true), Change::Joins(7));
        assert_eq!(locals.groups, 1 << 5 | 1 << 7);
        assert_eq!(locals.set_wanted(1, false), Change::None);
        assert_eq!(locals.remove(2), Change::Leaves(5));
        assert_eq!(locals.set_wanted(9, true), Change::None);
        assert_eq!(locals.groups, 1 << 7);
        assert_eq!(locals.wanted_in(StreamId::new(7, 0)).collect::<Vec<_>>(), [3]);
    }
}
