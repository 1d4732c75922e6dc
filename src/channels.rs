//! The channels that one shard knows: isolated namespaces, each with its routes.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_wire::Pattern;

use crate::budget::Budget;
use crate::channel_rules::ChannelRules;
use crate::routes::{CacheShare, Routes};
use crate::target::Target;
use netcluster_link::channel::ChannelHash;
use netcluster_link::config::StreamMap;
use netcluster_link::stream::StreamId;

/// Channels whose caches are looked at when room is wanted for another's.
const EVICT_CHANNELS: usize = 64;

/// A channel's place in the table, valid while it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelId(u32);

/// One channel, as one shard sees it.
pub struct Channel {
    /// Name that clients join the channel by.
    pub name: Arc<str>,
    /// Hash that datagrams name the channel by; none without a link, or if its events stay.
    pub hash: ChannelHash,
    /// The streams of brokers that its events travel in.
    pub stream: StreamId,
    /// Largest payload of an event from another machine, in bytes, if that is limited.
    pub max_payload_bytes: usize,
    /// Listeners of the channel on all shards, by pattern.
    pub routes: Routes,
    /// Connections of this shard that are on the channel.
    members: usize,
    /// Events in and out of connections of this shard that have left the channel.
    pub events_of_gone: (u64, u64),
}

impl Channel {
    /// Has its events also go to the other brokers.
    fn cross(&mut self, streams: &StreamMap) {
        self.hash = ChannelHash::of(&self.name);
        self.stream = streams.stream_of(&self.name);
        self.routes.set_link(Some(self.hash));
    }

    /// Has its events go to clients of this broker alone.
    fn stay(&mut self) {
        self.hash = ChannelHash::NONE;
        self.stream = StreamId::new(0, 0);
        self.routes.set_link(None);
    }
}

/// All channels with a member here or a listener anywhere.
pub struct Channels {
    by_name: HashMap<Arc<str>, ChannelId, FixedState>,
    /// Channels by the hash that datagrams carry; empty without a link.
    by_hash: HashMap<ChannelHash, ChannelId, FixedState>,
    link: Option<Arc<StreamMap>>,
    rules: Arc<ChannelRules>,
    table: Vec<Option<Channel>>,
    /// Free places of `table`.
    free: Vec<ChannelId>,
    /// Place in `table` where the search for the next cache to empty goes on.
    evict_at: usize,
    share: CacheShare,
    budget: Budget,
    seed: u64,
}

impl Channels {
    /// Returns an empty table; its maps hash with `seed`. With a `link` every event
    /// also goes to the other brokers. Memory is charged to `budget`; the route caches
    /// take at most `cache_bytes`.
    pub fn new(
        seed: u64,
        link: Option<Arc<StreamMap>>,
        budget: Budget,
        cache_bytes: usize,
    ) -> Channels {
        let hasher = FixedState::with_seed(seed);
        Channels {
            by_name: HashMap::with_hasher(hasher.clone()),
            by_hash: HashMap::with_hasher(hasher),
            link,
            rules: Arc::default(),
            table: Vec::new(),
            free: Vec::new(),
            evict_at: 0,
            share: CacheShare::new(cache_bytes),
            budget,
            seed,
        }
    }

    /// Returns whether events also go to the other brokers.
    pub fn is_linked(&self) -> bool {
        self.link.is_some()
    }

    /// Has every event also go to the other brokers from now on. Returns the channels, and
    /// how many connections of this shard are on each. Routes found before are then no
    /// longer named by their ids.
    pub fn open_link(&mut self, streams: Arc<StreamMap>) -> Vec<(Arc<str>, usize)> {
        let mut channels = Vec::new();
        for (name, &id) in &self.by_name {
            let Some(channel) = &mut self.table[id.0 as usize] else { continue };
            if self.rules.crosses(name) {
                channel.cross(&streams);
                self.by_hash.insert(channel.hash, id);
            }
            channels.push((Arc::clone(name), channel.members));
        }
        self.link = Some(streams);
        channels
    }

    /// Has the events of channels cross the link, or not, by these rules. Returns the channels
    /// for which that is another way than before. Routes found before are then no longer named
    /// by their ids.
    pub fn set_rules(&mut self, rules: &Arc<ChannelRules>) -> Vec<Arc<str>> {
        let before = std::mem::replace(&mut self.rules, Arc::clone(rules));
        for channel in self.table.iter_mut().flatten() {
            channel.max_payload_bytes = rules.max_payload_bytes(&channel.name, usize::MAX);
        }
        let Some(streams) = &self.link else { return Vec::new() };
        let mut changed = Vec::new();
        for (name, &id) in &self.by_name {
            let crosses = rules.crosses(name);
            let Some(channel) = &mut self.table[id.0 as usize] else { continue };
            if crosses == before.crosses(name) {
                continue;
            }
            if crosses {
                channel.cross(streams);
                self.by_hash.insert(channel.hash, id);
            } else {
                self.by_hash.remove(&channel.hash);
                channel.stay();
            }
            changed.push(Arc::clone(name));
        }
        changed
    }

    /// Counts a connection of this shard in on a channel.
    pub fn join(&mut self, name: &Arc<str>) -> ChannelId {
        let id = self.id_of(name);
        self.get_mut(id).members += 1;
        id
    }

    /// Counts a connection of this shard, with so many events in and out, out of a channel.
    /// Its listeners are removed before.
    pub fn leave(&mut self, id: ChannelId, events: (u64, u64)) {
        let channel = self.get_mut(id);
        channel.members -= 1;
        channel.events_of_gone.0 += events.0;
        channel.events_of_gone.1 += events.1;
        self.forget_if_unused(id);
    }

    /// Returns the channel behind an id.
    #[inline]
    pub fn get(&self, id: ChannelId) -> &Channel {
        self.table[id.0 as usize].as_ref().expect("a channel with members exists")
    }

    /// Returns the channel behind an id, to be changed.
    #[inline]
    pub fn get_mut(&mut self, id: ChannelId) -> &mut Channel {
        self.table[id.0 as usize].as_mut().expect("a channel with members exists")
    }

    /// Adds a pattern that a client of any shard listens to.
    pub fn subscribe(&mut self, name: &Arc<str>, pattern: &Pattern, target: Target) {
        let id = self.id_of(name);
        self.get_mut(id).routes.insert(pattern, target);
    }

    /// Removes a pattern that a client of any shard listened to.
    pub fn unsubscribe(&mut self, name: &str, pattern: &Pattern, target: Target) {
        if let Some(&id) = self.by_name.get(name) {
            self.get_mut(id).routes.remove(pattern, target);
            self.forget_if_unused(id);
        }
    }

    /// Returns the channel with this name, if anybody is on it.
    pub fn find(&self, name: &str) -> Option<ChannelId> {
        self.by_name.get(name).copied()
    }

    /// Returns the channel with this hash, if anybody here is on it.
    #[inline]
    pub fn find_by_hash(&self, hash: ChannelHash) -> Option<ChannelId> {
        self.by_hash.get(&hash).copied()
    }

    fn id_of(&mut self, name: &Arc<str>) -> ChannelId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let id = self.free.pop().unwrap_or_else(|| {
            self.table.push(None);
            ChannelId((self.table.len() - 1) as u32)
        });
        self.by_name.insert(Arc::clone(name), id);
        let mut hash = ChannelHash::NONE;
        let mut stream = StreamId::new(0, 0);
        let link = self.link.as_ref().filter(|_| self.rules.crosses(name));
        if let Some(stream_map) = link {
            hash = ChannelHash::of(name);
            stream = stream_map.stream_of(name);
            self.by_hash.insert(hash, id);
        }
        let link = link.is_some().then_some(hash);
        let routes = Routes::new(self.seed, link, &self.budget, &self.share);
        let name = Arc::clone(name);
        let max_payload_bytes = self.rules.max_payload_bytes(&name, usize::MAX);
        self.table[id.0 as usize] = Some(Channel {
            name,
            hash,
            stream,
            max_payload_bytes,
            routes,
            members: 0,
            events_of_gone: (0, 0),
        });
        id
    }

    fn forget_if_unused(&mut self, id: ChannelId) {
        let channel = self.get(id);
        if channel.members == 0 && channel.routes.is_empty() {
            let name = Arc::clone(&channel.name);
            let hash = channel.hash;
            self.by_name.remove(&name);
            self.by_hash.remove(&hash);
            self.table[id.0 as usize] = None;
            self.free.push(id);
            if self.by_name.is_empty() {
                self.table = Vec::new();
                self.free = Vec::new();
            }
        }
    }

    /// Starts the full cache of a channel anew, and if all caches together take nearly
    /// what they may, some of the others in their turn.
    #[cold]
    pub fn relieve(&mut self, id: ChannelId) {
        self.get_mut(id).routes.forget();
        for _ in 0..self.table.len().min(EVICT_CHANNELS) {
            if !self.share.is_tight() {
                break;
            }
            self.evict_at = (self.evict_at + 1) % self.table.len();
            if let Some(channel) = &mut self.table[self.evict_at] {
                channel.routes.forget();
            }
        }
    }

    /// Gives back memory that only caches results.
    pub fn shrink(&mut self) {
        self.table.iter_mut().flatten().for_each(|channel| channel.routes.shrink());
    }

    /// Returns the number of channels.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Returns whether there are no channels.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Returns the number of trie look-ups of all channels, for `status`.
    pub fn route_misses(&self) -> u64 {
        self.table.iter().flatten().map(|channel| channel.routes.misses).sum()
    }
}

#[cfg(test)]
mod tests {
    use netcluster_platform::Conn;

    use super::*;
    use crate::budget::Purpose;
    use crate::routes::Effort;
    use crate::target::ShardId;

    #[test]
    fn a_channel_lives_while_it_has_a_member_or_a_listener() {
        let budget = Budget::new(1 << 20);
        let mut channels = Channels::new(1, None, budget.clone(), 1 << 16);
        let name: Arc<str> = "a".into();
        let pattern = Pattern::new(b"x").unwrap();
        let target = Target { shard: ShardId(1), conn: Conn(0), client: 1 };
        let id = channels.join(&name);
        channels.subscribe(&name, &pattern, target);
        assert!(budget.used_bytes() > 0);
        channels.leave(id, (0, 0));
        assert_eq!(channels.len(), 1);
        channels.unsubscribe("a", &pattern, target);
        assert!(channels.is_empty());
        assert_eq!(budget.used_bytes(), 0);
        channels.unsubscribe("a", &pattern, target);
    }

    /// What broke: every channel kept the names that it was ever asked for.
    #[test]
    fn the_caches_of_all_channels_share_one_bound() {
        const CACHES: usize = 64 << 10;
        let budget = Budget::new(1 << 30);
        let mut channels = Channels::new(1, None, budget.clone(), CACHES);
        let names: Vec<Arc<str>> = (0..200).map(|number| format!("c{number}").into()).collect();
        let mut effort = Effort::default();
        for name in &names {
            let id = channels.join(name);
            for number in 0..100 {
                effort.renew();
                if channels.get(id).routes.is_overgrown() {
                    channels.relieve(id);
                }
                let routes = &mut channels.get_mut(id).routes;
                assert!(routes.find(format!("event.{number}").as_bytes(), &mut effort).is_ok());
            }
            let cached = budget.used_for(Purpose::Routes);
            assert!(cached < CACHES + (8 << 10), "{cached} bytes are remembered");
        }
    }
}
