//! From an event's name to its targets: a bounded cache before the trie.
//!
//! Names with the same targets share one [`Route`], so that their frames still
//! join one run. Any change of subscriptions empties the cache; the trie is the
//! truth.

use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_wire::pattern::Pattern;
use netcluster_wire::{NameError, check_event};

use crate::target::Target;
use crate::trie::Trie;

/// Names that one channel's cache holds before it starts anew.
pub const MAX_CACHED_NAMES: usize = 16 * 1024;

/// The targets of an event, sorted, so that those of one shard lie together.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    targets: Box<[Target]>,
}

impl Route {
    /// All targets.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// The targets that are clients of this broker.
    #[inline]
    pub fn listeners(&self) -> &[Target] {
        let link = usize::from(self.link_channel().is_some());
        &self.targets[..self.targets.len() - link]
    }

    /// The channel's hash, if its events also go to the link.
    #[inline]
    pub fn link_channel(&self) -> Option<u64> {
        self.targets.last()?.link_channel()
    }

    /// The targets that one shard owns.
    #[inline]
    pub fn of_shard(&self, shard: u16) -> &[Target] {
        let (Some(first), Some(last)) = (self.targets.first(), self.targets.last()) else {
            return &[];
        };
        if first.shard == shard && last.shard == shard {
            return &self.targets;
        }
        let start = self.targets.partition_point(|target| target.shard < shard);
        let end = self.targets.partition_point(|target| target.shard <= shard);
        &self.targets[start..end]
    }
}

/// Names a route until the next [`Routes::trim`] or change of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId(u32);

/// The routes of one channel, as one shard sees them.
pub struct Routes {
    trie: Trie,
    routes: Vec<Arc<Route>>,
    by_name: HashMap<Box<[u8]>, RouteId, FixedState>,
    by_targets: HashMap<Box<[Target]>, RouteId, FixedState>,
    found: Vec<Target>,
    /// The link, if every event of the channel also goes there.
    link: Option<Target>,
    /// Looks at the trie, for `status`.
    pub misses: u64,
}

impl Routes {
    /// No routes; the maps hash with `seed`. Every event has `link` as a target.
    pub fn new(seed: u64, link: Option<Target>) -> Routes {
        let hasher = FixedState::with_seed(seed);
        Routes {
            trie: Trie::new(seed),
            routes: Vec::new(),
            by_name: HashMap::with_hasher(hasher.clone()),
            by_targets: HashMap::with_hasher(hasher),
            found: Vec::new(),
            link,
            misses: 0,
        }
    }

    /// Adds a listener; returns whether it is new.
    pub fn insert(&mut self, pattern: &Pattern, target: Target) -> bool {
        self.forget();
        self.trie.insert(pattern, target)
    }

    /// Removes a listener; returns whether it was there.
    pub fn remove(&mut self, pattern: &Pattern, target: Target) -> bool {
        self.forget();
        self.trie.remove(pattern, target)
    }

    /// Listeners: pairs of pattern and target.
    pub fn len(&self) -> usize {
        self.trie.len()
    }

    /// Whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.trie.is_empty()
    }

    /// The route of an event. A name is checked when it is first seen.
    ///
    /// # Errors
    /// The name is not allowed.
    #[inline]
    pub fn find(&mut self, name: &[u8]) -> Result<RouteId, NameError> {
        match self.by_name.get(name) {
            Some(&id) => Ok(id),
            None => self.find_in_trie(name),
        }
    }

    /// The route behind an id.
    #[inline]
    pub fn get(&self, id: RouteId) -> &Arc<Route> {
        &self.routes[id.0 as usize]
    }

    /// Starts the cache anew if it has outgrown its bound. Called between
    /// chunks, so that ids hold while one is walked; the overshoot is at most the
    /// frames of one chunk.
    #[inline]
    pub fn trim(&mut self) {
        if self.by_name.len() > MAX_CACHED_NAMES {
            self.forget();
        }
    }

    #[cold]
    fn find_in_trie(&mut self, name: &[u8]) -> Result<RouteId, NameError> {
        check_event(name)?;
        self.misses += 1;
        self.trie.matches(name, &mut self.found);
        self.found.extend(self.link);
        let id = match self.by_targets.get(&self.found[..]) {
            Some(&id) => id,
            None => {
                let id = RouteId(self.routes.len() as u32);
                let targets: Box<[Target]> = self.found.as_slice().into();
                self.routes.push(Arc::new(Route { targets: targets.clone() }));
                self.by_targets.insert(targets, id);
                id
            }
        };
        self.by_name.insert(name.into(), id);
        Ok(id)
    }

    fn forget(&mut self) {
        self.by_name.clear();
        self.by_targets.clear();
        self.routes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(shard: u16, client: u32) -> Target {
        Target { shard, conn: client, client }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text.as_bytes()).unwrap()
    }

    fn targets(routes: &mut Routes, name: &[u8]) -> Vec<Target> {
        let id = routes.find(name).unwrap();
        routes.get(id).targets().to_vec()
    }

    #[test]
    fn names_with_the_same_targets_share_a_route() {
        let mut routes = Routes::new(1, None);
        routes.insert(&pattern("a.*"), target(0, 1));
        assert_eq!(routes.find(b"a.x"), routes.find(b"a.y"));
        assert!(targets(&mut routes, b"b").is_empty());
    }

    #[test]
    fn a_change_of_subscriptions_is_seen_at_once() {
        let mut routes = Routes::new(1, None);
        assert!(targets(&mut routes, b"a").is_empty());
        routes.insert(&pattern("a"), target(0, 1));
        assert_eq!(targets(&mut routes, b"a"), [target(0, 1)]);
        routes.remove(&pattern("a"), target(0, 1));
        assert!(targets(&mut routes, b"a").is_empty());
    }

    #[test]
    fn the_cache_is_bounded_and_right_beyond_its_bound() {
        let mut routes = Routes::new(1, None);
        routes.insert(&pattern("*"), target(0, 1));
        for at in 0..MAX_CACHED_NAMES * 2 + 10 {
            let name = at.to_string();
            routes.trim();
            assert_eq!(targets(&mut routes, name.as_bytes()).len(), 1);
            assert!(routes.by_name.len() <= MAX_CACHED_NAMES + 1);
        }
    }

    #[test]
    fn the_link_is_the_last_target_of_every_event() {
        let mut routes = Routes::new(1, Some(Target::link(77)));
        routes.insert(&pattern("a"), target(1, 3));
        assert_eq!(targets(&mut routes, b"a"), [target(1, 3), Target::link(77)]);
        let id = routes.find(b"b").unwrap();
        assert_eq!(routes.get(id).link_channel(), Some(77));
        assert!(routes.get(id).of_shard(1).is_empty());
        assert_eq!(routes.len(), 1, "it is no listener");
    }

    #[test]
    fn a_bad_name_is_refused_and_not_cached() {
        let mut routes = Routes::new(1, None);
        assert_eq!(routes.find(b"").unwrap_err(), NameError::Empty);
        assert_eq!(routes.find(b"\xff").unwrap_err(), NameError::NotUtf8);
        assert!(routes.by_name.is_empty());
    }

    #[test]
    fn the_targets_of_a_shard_lie_together() {
        let mut routes = Routes::new(1, None);
        for (shard, client) in [(1, 4), (0, 1), (2, 9), (1, 3)] {
            routes.insert(&pattern("a"), target(shard, client));
        }
        let id = routes.find(b"a").unwrap();
        let route = routes.get(id);
        assert_eq!(route.of_shard(0), [target(0, 1)]);
        assert_eq!(route.of_shard(1), [target(1, 3), target(1, 4)]);
        assert_eq!(route.of_shard(2), [target(2, 9)]);
        assert!(route.of_shard(3).is_empty());
    }
}
