//! Giving back what a flood took, once it is over.
//!
//! Caches, tables and the allocator keep memory for the next time, which after a flood
//! is most of what it took. A shard that sees it gone gives it back when it has a
//! moment, and asks the other shards to do the same. Without a flood there is no timer.

use std::time::Duration;

use netcluster_platform::Io;

use crate::mesh::Message;
use crate::timers::Timer;

use super::Shard;

/// What must have been held and be gone, charged to the memory budget, to be a flood.
const FLOOD_BYTES: usize = 16 << 20;

/// How long it must be gone, and how long a busy shard is given to rest.
const REST_AFTER: Duration = Duration::from_secs(1);

/// A shard that did nothing for so long has a moment.
const IDLE_NS: u64 = 50_000_000;

/// A shard that never rests gives back nevertheless, when it was looked at so often.
const MAX_LOOKS: u32 = 10;

/// What one shard knows of floods.
#[derive(Debug, Default)]
pub(super) struct Flood {
    /// The most that was held since memory was last given back.
    most_bytes: usize,
    /// A timer is set, and how often it fired in vain.
    looks: Option<u32>,
}

impl<I: Io> Shard<I> {
    /// Looks at what is held, once each turn.
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

    /// A flood was over a while ago; is it still, and is there a moment?
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

    /// Gives back what this shard keeps for the next time.
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

/// Whether most of what was held is gone.
fn is_over(most_bytes: usize, used_bytes: usize) -> bool {
    most_bytes >= used_bytes.saturating_mul(2).saturating_add(FLOOD_BYTES)
}
