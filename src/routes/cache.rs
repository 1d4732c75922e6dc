//! Cache of the routes of names that were looked up, emptied when they become too many.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::budget::{Budget, Charge, Purpose};
use crate::target::Target;
use netcluster_link::channel::ChannelHash;

use super::{Route, RouteId};

/// Names that one channel's cache holds before it starts anew.
pub const MAX_CACHED_NAMES: usize = 16 * 1024;

/// Bytes that one channel's cache may take where others want room, too.
const MAX_CACHED_BYTES: usize = 4 << 20;

/// Bytes that a channel's cache may take however little room there is: enough for a few
/// names.
const MIN_CACHED_BYTES: usize = 1024;

/// Bytes that a name takes besides its own, and that a route takes besides its clients.
const NAME_BYTES: usize = 64;
const ROUTE_BYTES: usize = 128;

/// Number of names and routes that an empty cache keeps the room for.
const KEEP_ENTRIES: usize = 64;

/// Bytes that the caches of one shard take and may take together.
#[derive(Clone, Debug)]
pub struct CacheShare(Arc<(AtomicUsize, usize)>);

impl CacheShare {
    /// Returns a share of so many bytes.
    pub fn new(limit_bytes: usize) -> CacheShare {
        CacheShare(Arc::new((AtomicUsize::new(0), limit_bytes)))
    }

    /// Returns whether the caches are near their limit, so that others are to be
    /// emptied.
    pub fn is_tight(&self) -> bool {
        self.used_bytes() > self.0.1 / 4 * 3
    }

    fn used_bytes(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    fn is_exceeded(&self) -> bool {
        self.used_bytes() > self.0.1
    }
}

/// A route, found by its clients.
struct ByClients(Arc<Route>);

impl Borrow<[Target]> for ByClients {
    fn borrow(&self) -> &[Target] {
        self.0.clients()
    }
}

impl Hash for ByClients {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.clients().hash(state);
    }
}

impl PartialEq for ByClients {
    fn eq(&self, other: &ByClients) -> bool {
        self.0.clients() == other.0.clients()
    }
}

impl Eq for ByClients {}

/// Routes that one channel remembers, by name and by clients.
pub(super) struct Cache {
    by_name: HashMap<Box<[u8]>, RouteId, FixedState>,
    by_clients: HashMap<ByClients, RouteId, FixedState>,
    routes: Vec<Arc<Route>>,
    /// The channel's hash, if its events also go to the other brokers.
    link: Option<ChannelHash>,
    hasher: FixedState,
    overgrown: bool,
    share: CacheShare,
    charge: Charge,
}

impl Cache {
    pub fn new(seed: u64, link: Option<ChannelHash>, budget: &Budget, share: &CacheShare) -> Cache {
        let hasher = FixedState::with_seed(seed);
        Cache {
            by_name: HashMap::with_hasher(hasher.clone()),
            by_clients: HashMap::with_hasher(hasher.clone()),
            routes: Vec::new(),
            link,
            hasher,
            overgrown: false,
            share: share.clone(),
            charge: budget.charge_for(Purpose::Routes, 0),
        }
    }

    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<RouteId> {
        self.by_name.get(name).copied()
    }

    /// Has the routes that are found from now on lead to the link, or not.
    pub fn set_link(&mut self, hash: Option<ChannelHash>) {
        self.link = hash;
    }

    #[cfg(test)]
    pub fn names(&self) -> usize {
        self.by_name.len()
    }

    #[inline]
    pub fn get(&self, id: RouteId) -> &Arc<Route> {
        &self.routes[id.0 as usize]
    }

    #[inline]
    pub fn is_overgrown(&self) -> bool {
        self.overgrown
    }

    /// Returns the route to these clients.
    pub fn route_of(&mut self, clients: &[Target]) -> RouteId {
        if let Some(&id) = self.by_clients.get(clients) {
            return id;
        }
        let id = RouteId(self.routes.len() as u32);
        let route = Arc::new(Route { clients: clients.into(), link: self.link });
        self.routes.push(Arc::clone(&route));
        self.by_clients.insert(ByClients(route), id);
        self.grow(ROUTE_BYTES + size_of_val(clients));
        id
    }

    /// Remembers a name's route.
    pub fn remember(&mut self, name: &[u8], id: RouteId) {
        self.by_name.insert(name.into(), id);
        self.grow(NAME_BYTES + name.len());
    }

    fn grow(&mut self, bytes: usize) {
        self.charge.set(self.charge.bytes() + bytes);
        self.share.0.0.fetch_add(bytes, Ordering::Relaxed);
        let bytes = self.charge.bytes();
        self.overgrown = self.by_name.len() > MAX_CACHED_NAMES
            || bytes > MAX_CACHED_BYTES
            || bytes > MIN_CACHED_BYTES && self.share.is_exceeded();
    }

    pub fn clear(&mut self) {
        if self.by_name.capacity().max(self.by_clients.capacity()) > KEEP_ENTRIES {
            self.by_name = HashMap::with_hasher(self.hasher.clone());
            self.by_clients = HashMap::with_hasher(self.hasher.clone());
            self.routes = Vec::new();
        } else {
            self.by_name.clear();
            self.by_clients.clear();
            self.routes.clear();
        }
        self.give_back();
        self.overgrown = false;
    }

    fn give_back(&mut self) {
        if self.charge.bytes() == 0 {
            return;
        }
        self.share.0.0.fetch_sub(self.charge.bytes(), Ordering::Relaxed);
        self.charge.set(0);
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.give_back();
    }
}
