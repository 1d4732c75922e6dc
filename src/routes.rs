//! Routes of one channel, from an event's name to its targets: a bounded cache before
//! the trie.
//!
//! ```text
//!   name ─▶ cache ─▶ route            as a rule
//!             └─▶ search of the trie ─▶ cache      once per name, in slices
//! ```
//! Names with the same targets share one [`Route`], so that their frames still
//! join one run. Any change of subscriptions empties the cache; the trie is the
//! truth.
//!
//! A look-up in the trie may cost much, as clients choose the patterns. What one turn
//! may spend on it is bounded ([`Effort`]); who asked comes back in a later turn. While
//! a search is under way the trie stands still and changes wait; the search's result
//! has them in it. So neither can hold up the other for ever.

mod cache;

use std::collections::VecDeque;
use std::sync::Arc;

use netcluster_wire::pattern::Pattern;
use netcluster_wire::{NameError, check_event};

use crate::budget::{Budget, Charge, Purpose};
use crate::target::{ShardId, Target};
use crate::trie::Trie;
use crate::trie::search::Search;
use netcluster_link::channel::ChannelHash;

use self::cache::Cache;
pub use self::cache::CacheShare;

/// Places in the tries that the look-ups of one turn come to, all channels together.
const STEPS_PER_TURN: usize = 16 * 1024;

/// Places that each channel may come to besides: where patterns are few nobody waits
/// for those of other channels.
const STEPS_OF_CHANNEL: usize = 512;

/// Cost of a change that had to wait for a search, in places.
const STEPS_PER_CHANGE: usize = 8;

/// Bytes that a channel takes with nobody in it, on one shard.
pub const CHANNEL_BYTES: usize = 1024;

/// Changes that may have waited for a search before their list is given back.
const KEEP_CHANGES: usize = 64;

/// Targets of an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Route {
    /// The clients of this broker that listen, sorted, so that those of one shard lie
    /// together.
    clients: Box<[Target]>,
    /// The channel's hash, if its events also go to the other brokers.
    link: Option<ChannelHash>,
}

impl Route {
    /// Returns the clients of this broker that listen.
    #[inline]
    pub fn clients(&self) -> &[Target] {
        &self.clients
    }

    /// Returns the channel's hash, if its events also go to the other brokers.
    #[inline]
    pub fn link(&self) -> Option<ChannelHash> {
        self.link
    }

    /// Returns the clients that one shard owns.
    #[inline]
    pub fn of_shard(&self, shard: ShardId) -> &[Target] {
        if self.is_within(shard) {
            return &self.clients;
        }
        let start = self.clients.partition_point(|target| target.shard < shard);
        let end = self.clients.partition_point(|target| target.shard <= shard);
        &self.clients[start..end]
    }

    /// Returns whether no other shard owns any of the clients.
    #[inline]
    pub fn is_within(&self, shard: ShardId) -> bool {
        match (self.clients.first(), self.clients.last()) {
            (Some(first), Some(last)) => first.shard == shard && last.shard == shard,
            _ => true,
        }
    }

    /// Returns the shards that own clients, each once, without the shard `but`.
    pub fn other_shards(&self, but: ShardId) -> impl Iterator<Item = ShardId> {
        let mut last = but;
        self.clients.iter().map(|target| target.shard).filter(move |&shard| {
            let is_news = shard != last && shard != but;
            last = shard;
            is_news
        })
    }
}

/// Id of a route, valid until the next [`Routes::forget`] or change of subscriptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteId(u32);

/// Reason why there is no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfound {
    /// The name is not allowed.
    Name(NameError),
    /// This turn's effort is spent, or the cache is full.
    NotYet,
}

/// Effort that the look-ups of one turn of a shard may still cost.
#[derive(Debug)]
pub struct Effort {
    turn: u64,
    steps: usize,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { turn: 1, steps: STEPS_PER_TURN }
    }
}

impl Effort {
    /// Begins a new turn.
    #[inline]
    pub fn renew(&mut self) {
        self.turn += 1;
        self.steps = STEPS_PER_TURN;
    }
}

/// A subscription or its end that waits for a search.
enum Change {
    Insert(Pattern, Target),
    Remove(Pattern, Target),
}

/// The routes of one channel, as one shard sees them.
pub struct Routes {
    trie: Trie,
    cache: Cache,
    search: Search,
    /// A search is under way: the trie stands still.
    searching: bool,
    changes: VecDeque<Change>,
    /// Pairs of pattern and target, those that wait among them.
    listeners: usize,
    /// Turn in which the channel last spent effort, and the steps it has left of its
    /// own.
    turn: u64,
    steps: usize,
    charge: Charge,
    /// Looks at the trie, for `status`.
    pub misses: u64,
}

impl Routes {
    /// Returns an empty table; its maps hash with `seed`. With `link`, the channel's
    /// hash, every event also goes to the other brokers. Memory is charged to `budget`,
    /// that of the cache to `share`, too.
    pub fn new(
        seed: u64,
        link: Option<ChannelHash>,
        budget: &Budget,
        share: &CacheShare,
    ) -> Routes {
        Routes {
            trie: Trie::new(seed),
            cache: Cache::new(seed, link, budget, share),
            search: Search::default(),
            searching: false,
            changes: VecDeque::new(),
            listeners: 0,
            turn: 0,
            steps: 0,
            charge: budget.charge_for(Purpose::Patterns, CHANNEL_BYTES),
            misses: 0,
        }
    }

    /// Adds a listener, who does not listen to this pattern yet.
    pub fn insert(&mut self, pattern: &Pattern, target: Target) {
        self.listeners += 1;
        self.change(Change::Insert(pattern.clone(), target));
    }

    /// Removes a listener, who listens to this pattern.
    pub fn remove(&mut self, pattern: &Pattern, target: Target) {
        self.listeners -= 1;
        self.change(Change::Remove(pattern.clone(), target));
    }

    /// Returns the number of listeners: pairs of pattern and target.
    pub fn len(&self) -> usize {
        self.listeners
    }

    /// Returns whether nobody listens.
    pub fn is_empty(&self) -> bool {
        self.listeners == 0
    }

    /// Finds the route of an event. A name is checked when it is first seen.
    ///
    /// # Errors
    /// The name is not allowed, or the route cannot be found in this turn.
    #[inline]
    pub fn find(&mut self, name: &[u8], effort: &mut Effort) -> Result<RouteId, Unfound> {
        match self.cache.find(name) {
            Some(id) => Ok(id),
            None => self.find_in_trie(name, effort),
        }
    }

    /// Returns the route behind an id.
    #[inline]
    pub fn get(&self, id: RouteId) -> &Arc<Route> {
        self.cache.get(id)
    }

    /// Returns whether the cache has outgrown its bounds and is to be emptied: between
    /// chunks or when a route was not found, so that ids hold while one is walked.
    #[inline]
    pub fn is_overgrown(&self) -> bool {
        self.cache.is_overgrown()
    }

    /// Has the channel's events also go to the other brokers, by its hash, or no longer.
    pub fn set_link(&mut self, hash: Option<ChannelHash>) {
        self.forget();
        self.cache.set_link(hash);
    }

    /// Empties the cache.
    pub fn forget(&mut self) {
        self.cache.clear();
    }

    /// Empties the cache and gives back the memory of searches.
    pub fn shrink(&mut self) {
        self.forget();
        if !self.searching {
            self.search.shrink();
        }
    }

    #[cold]
    fn find_in_trie(&mut self, name: &[u8], effort: &mut Effort) -> Result<RouteId, Unfound> {
        check_event(name).map_err(Unfound::Name)?;
        if self.cache.is_overgrown() {
            return Err(Unfound::NotYet);
        }
        if self.turn != effort.turn {
            self.turn = effort.turn;
            self.steps = STEPS_OF_CHANNEL;
        }
        let mut steps = self.steps + effort.steps;
        let found = self.look_up(name, &mut steps);
        effort.steps = steps.min(effort.steps);
        self.steps = steps - effort.steps;
        found.ok_or(Unfound::NotYet)
    }

    /// Goes on with the search that is under way, whoever began it, then with that of
    /// this name.
    fn look_up(&mut self, name: &[u8], steps: &mut usize) -> Option<RouteId> {
        if self.searching {
            self.go_on(steps)?;
        }
        while !self.changes.is_empty() {
            *steps = steps.checked_sub(STEPS_PER_CHANGE)?;
            self.apply_next_change();
        }
        if let Some(id) = self.cache.find(name) {
            return Some(id);
        }
        self.misses += 1;
        self.search.start(&mut self.trie, name);
        self.searching = true;
        self.go_on(steps)
    }

    /// Returns the route of the name that is looked up, if it is found now.
    fn go_on(&mut self, steps: &mut usize) -> Option<RouteId> {
        if !self.search.advance(&mut self.trie, steps) {
            return None;
        }
        self.searching = false;
        let id = self.cache.route_of(self.search.found());
        self.cache.remember(self.search.name(), id);
        Some(id)
    }

    fn change(&mut self, change: Change) {
        self.forget();
        if !self.searching && self.changes.is_empty() {
            return self.apply(change);
        }
        if self.searching {
            let (pattern, target, patterns) = match &change {
                Change::Insert(pattern, target) => (pattern, *target, 1),
                Change::Remove(pattern, target) => (pattern, *target, -1),
            };
            if pattern.matches(self.search.name()) {
                self.search.count(target, patterns);
            }
        }
        self.changes.push_back(change);
    }

    fn apply_next_change(&mut self) {
        if let Some(change) = self.changes.pop_front() {
            self.apply(change);
        }
        if self.changes.is_empty() && self.changes.capacity() > KEEP_CHANGES {
            self.changes = VecDeque::new();
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Insert(pattern, target) => self.trie.insert(&pattern, target),
            Change::Remove(pattern, target) => self.trie.remove(&pattern, target),
        };
        self.charge.set(CHANNEL_BYTES + self.trie.bytes());
    }
}

#[cfg(test)]
mod tests;
