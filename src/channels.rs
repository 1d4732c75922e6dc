//! The channels that one shard knows: isolated namespaces, each with its routes.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_wire::Pattern;

use crate::link::channel::channel_hash;
use crate::link::config::Settings;
use crate::link::stream::StreamId;
use crate::routes::Routes;
use crate::target::Target;

/// A channel's place in the table, valid while it has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelId(u32);

/// One channel, as one shard sees it.
pub struct Channel {
    /// Its name.
    pub name: Arc<str>,
    /// What datagrams name it by; 0 without a link.
    pub hash: u64,
    /// The streams of brokers that its events travel in.
    pub stream: StreamId,
    /// Who listens to what, on all shards.
    pub routes: Routes,
    /// Connections of this shard that are on it.
    members: usize,
}

/// All channels with a member here or a listener anywhere.
pub struct Channels {
    by_name: HashMap<Arc<str>, ChannelId, FixedState>,
    /// What datagrams name a channel by; only with a link.
    by_hash: HashMap<u64, ChannelId, FixedState>,
    link: Option<Arc<Settings>>,
    table: Vec<Option<Channel>>,
    seed: u64,
}

impl Channels {
    /// None yet; the maps hash with `seed`. With a `link` every event also
    /// goes there.
    pub fn new(seed: u64, link: Option<Arc<Settings>>) -> Channels {
        let hasher = FixedState::with_seed(seed);
        Channels {
            by_name: HashMap::with_hasher(hasher.clone()),
            by_hash: HashMap::with_hasher(hasher),
            link,
            table: Vec::new(),
            seed,
        }
    }

    /// A connection of this shard joins a channel.
    pub fn join(&mut self, name: &Arc<str>) -> ChannelId {
        let id = self.id_of(name);
        self.get_mut(id).members += 1;
        id
    }

    /// It leaves. Its listeners are removed before.
    pub fn leave(&mut self, id: ChannelId) {
        self.get_mut(id).members -= 1;
        self.forget_if_unused(id);
    }

    /// The channel behind an id.
    #[inline]
    pub fn get(&self, id: ChannelId) -> &Channel {
        self.table[id.0 as usize].as_ref().expect("a channel with members exists")
    }

    /// The channel behind an id.
    #[inline]
    pub fn get_mut(&mut self, id: ChannelId) -> &mut Channel {
        self.table[id.0 as usize].as_mut().expect("a channel with members exists")
    }

    /// A client of some shard listens. Returns whether that is new.
    pub fn subscribe(&mut self, name: &Arc<str>, pattern: &Pattern, target: Target) -> bool {
        let id = self.id_of(name);
        self.get_mut(id).routes.insert(pattern, target)
    }

    /// A client of some shard no longer listens.
    pub fn unsubscribe(&mut self, name: &str, pattern: &Pattern, target: Target) {
        if let Some(&id) = self.by_name.get(name) {
            self.get_mut(id).routes.remove(pattern, target);
            self.forget_if_unused(id);
        }
    }

    /// The channel with this name, if anybody is on it.
    pub fn find(&self, name: &str) -> Option<ChannelId> {
        self.by_name.get(name).copied()
    }

    /// The channel that datagrams name so, if anybody here is on it.
    #[inline]
    pub fn find_by_hash(&self, hash: u64) -> Option<ChannelId> {
        self.by_hash.get(&hash).copied()
    }

    fn id_of(&mut self, name: &Arc<str>) -> ChannelId {
        if let Some(&id) = self.by_name.get(name) {
            return id;
        }
        let at = match self.table.iter().position(Option::is_none) {
            Some(at) => at,
            None => {
                self.table.push(None);
                self.table.len() - 1
            }
        };
        let id = ChannelId(at as u32);
        self.by_name.insert(Arc::clone(name), id);
        let mut hash = 0;
        let mut stream = StreamId::new(0, 0);
        if let Some(settings) = &self.link {
            hash = channel_hash(name);
            stream = settings.stream_of(name);
            self.by_hash.insert(hash, id);
        }
        let routes = Routes::new(self.seed, self.link.is_some().then(|| Target::link(hash)));
        let name = Arc::clone(name);
        self.table[at] = Some(Channel { name, hash, stream, routes, members: 0 });
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
        }
    }

    /// How many channels there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// Trie look-ups of all channels, for `status`.
    pub fn route_misses(&self) -> u64 {
        self.table.iter().flatten().map(|channel| channel.routes.misses).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_lives_while_it_has_a_member_or_a_listener() {
        let mut channels = Channels::new(1, None);
        let name: Arc<str> = "a".into();
        let pattern = Pattern::new(b"x").unwrap();
        let target = Target { shard: 1, conn: 0, client: 1 };
        let id = channels.join(&name);
        assert!(channels.subscribe(&name, &pattern, target));
        channels.leave(id);
        assert_eq!(channels.len(), 1);
        channels.unsubscribe("a", &pattern, target);
        assert!(channels.is_empty());
        channels.unsubscribe("a", &pattern, target);
    }
}
