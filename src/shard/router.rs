//! Router of one shard: finds the routes of events by name, as far as a turn's effort
//! reaches.

use netcluster_wire::NameError;

use crate::budget::Budget;
use crate::channels::{ChannelId, Channels};
use crate::routes::{Effort, RouteId, Unfound};

use super::Shared;

/// Part of the memory budget that the route caches of all shards together may take,
/// within the bounds below for each shard.
const CACHE_PART: usize = 16;
const MIN_CACHE_BYTES: usize = 256 << 10;
const MAX_CACHE_BYTES: usize = 64 << 20;

/// Channels of one shard, and the effort that looking for routes in them may cost.
pub(super) struct Router {
    pub channels: Channels,
    /// Effort that look-ups may yet cost in this turn.
    pub effort: Effort,
}

impl Router {
    /// Returns a router without channels.
    pub fn new(shared: &Shared, shards: u16) -> Router {
        let config = &shared.config;
        let cache_bytes = cache_bytes(&shared.budget, shards);
        let budget = shared.budget.clone();
        let mut channels = Channels::new(config.seed, config.link.clone(), budget, cache_bytes);
        channels.set_rules(&config.channels);
        Router { channels, effort: Effort::default() }
    }

    /// Empties a channel's cache that has outgrown its bounds: between chunks, or when a
    /// route was not found for want of room there. Returns whether it had. Routes found
    /// before are then no longer named by their ids.
    #[inline]
    pub fn make_room(&mut self, channel: ChannelId) -> bool {
        let is_overgrown = self.channels.get(channel).routes.is_overgrown();
        if is_overgrown {
            self.channels.relieve(channel);
        }
        is_overgrown
    }

    /// Finds the route of a name, if that is possible in this turn; see
    /// [`Routes::find`].
    ///
    /// # Errors
    /// The name is not allowed, or the route is not found, perhaps for want of room.
    ///
    /// [`Routes::find`]: crate::routes::Routes::find
    #[inline]
    pub fn find_now(&mut self, channel: ChannelId, name: &[u8]) -> Result<RouteId, Unfound> {
        self.channels.get_mut(channel).routes.find(name, &mut self.effort)
    }

    /// Finds the route of a name, if that is possible in this turn. Makes room for it.
    ///
    /// # Errors
    /// The name is not allowed.
    #[inline]
    pub fn find(&mut self, channel: ChannelId, name: &[u8]) -> Result<Option<RouteId>, NameError> {
        loop {
            match self.find_now(channel, name) {
                Ok(route) => return Ok(Some(route)),
                Err(Unfound::Name(error)) => return Err(error),
                Err(Unfound::NotYet) if self.make_room(channel) => {}
                Err(Unfound::NotYet) => return Ok(None),
            }
        }
    }
}

fn cache_bytes(budget: &Budget, shards: u16) -> usize {
    let part = budget.limit_bytes() / CACHE_PART / usize::from(shards);
    part.clamp(MIN_CACHE_BYTES, MAX_CACHE_BYTES)
}
