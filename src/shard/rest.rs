//! Return of the memory that a flood took, once it is over.
//!
//! Caches, tables and the allocator keep memory for the next time, which after a flood
//! is most of what it took. A shard that sees it gone gives it back when it has a
//! moment, and asks the other shards to do the same. Without a flood there is no timer.

use std::time::Duration;

use netcluster_platform::Io;

use crate::mesh::Message;
use crate::timers::Timer;

use super::Shard;

/// Bytes that must have been charged to the memory budget and be free again, for a
/// flood.
const FLOOD_BYTES: usize = 16 << 20;

/// Time for which the memory must be free, and for which a busy shard is given to rest.
const REST_AFTER: Duration = Duration::from_secs(1);

/// Time for which a shard must have done nothing to have a moment.
const IDLE_NS: u64 = 50_000_000;

/// Number of looks after which a shard that never rests gives back nevertheless.
const MAX_LOOKS: u32 = 10;

/// State of one shard's watch for floods.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// Most bytes that were held since memory was last given back.
    most_bytes: usize,
    /// Number of times that the timer fired in vain; `None`: none is set.
    looks: Option<u32>,
}

impl<I: Io> Shard<I> {
    /// Looks at the memory that is held, once each turn.
    #[inline]
    pub(super) fn watch_flood(&mut self) {
        let used_bytes = self.shared.budget.used_bytes();
        let flood = &mut self.flood;
        if used_bytes >= flood.most_bytes {
            flood.most_bytes = used_bytes;
        } else if flood.looks.is_none() && is_over(flood.most_bytes, used_bytes) {
            flood.looks = Some(0);
            self.timers.set(self.deadline(REST_AFTER), Timer::Rest);
        }
    }

    /// Gives memory back if the flood is still over and the shard has a moment.
    pub(super) fn rest_timed_out(&mut self) {
        let looks = self.flood.looks.take().unwrap_or_default();
        let used_bytes = self.shared.budget.used_bytes();
        if !is_over(self.flood.most_bytes, used_bytes) {
            return;
        }
        let is_busy = self.now < self.last_active + IDLE_NS || !self.slices.is_empty();
        if is_busy && looks < MAX_LOOKS {
            self.flood.looks = Some(looks + 1);
            self.timers.set(self.deadline(REST_AFTER), Timer::Rest);
            return;
        }
        for shard in self.mesh.others() {
            self.mesh.send(shard, Message::FloodOver);
        }
        self.give_back();
    }

    /// Gives back memory that this shard keeps for the next time.
    pub(super) fn give_back(&mut self) {
        self.flood.most_bytes = self.shared.budget.used_bytes();
        self.router.channels.shrink();
        self.timers.shrink();
        self.slices.shrink();
        self.connections.shrink();
        self.completions.shrink_to_fit();
        self.fan_out.shrink();
        (self.shared.give_back)();
    }
}

/// Returns whether most of the memory that was held is free again.
fn is_over(most_bytes: usize, used_bytes: usize) -> bool {
    most_bytes >= used_bytes.saturating_mul(2).saturating_add(FLOOD_BYTES)
}
