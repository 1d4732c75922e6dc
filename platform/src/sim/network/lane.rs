//! A machine's bandwidth in one direction: a queue in front of a slow wire.
//!
//! The queue itself is not kept, only the moment at which it will be empty: what
//! waits is that moment's distance times the rate.

use crate::Instant;

use super::counters::{Cause, NetworkCounters};
use super::train::Train;

const NS_PER_S: u128 = 1_000_000_000;

/// Datagrams that take longer than this together do not arrive as one train: no
/// receiver holds the first back for so long.
const MAX_TRAIN_NS: u64 = 100_000;

/// Rate and room of a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct LaneLimits {
    pub(super) bytes_per_s: u64,
    pub(super) queue_bytes: u64,
}

/// Lane of a machine in one direction.
#[derive(Debug, Default)]
pub(super) struct Lane {
    free_at: Instant,
}

impl Lane {
    /// Number of bytes that wait.
    pub(super) fn backlog_bytes(&self, bytes_per_s: u64, now: Instant) -> u64 {
        let wait_ns = u128::from(self.free_at.since(now));
        (wait_ns * u128::from(bytes_per_s) / NS_PER_S) as u64
    }

    /// Time at which no more than `bytes` will wait.
    pub(super) fn drained_at(&self, bytes_per_s: u64, bytes: u64) -> Instant {
        self.free_at.saturating_sub(duration_ns(bytes_per_s, bytes))
    }

    /// Puts the datagrams of `train` on the wire one behind the other, as far as
    /// the queue has room. Appends the trains that come out and when.
    pub(super) fn carry(
        &mut self,
        limits: LaneLimits,
        now: Instant,
        train: &Train,
        counters: &mut NetworkCounters,
        out: &mut Vec<(Instant, Train)>,
    ) {
        let mut first = 0;
        let mut started_at = now;
        for (index, datagram) in train.datagrams().enumerate() {
            let bytes = datagram.len() as u64;
            let backlog = self.backlog_bytes(limits.bytes_per_s, now);
            let has_room = backlog == 0 || backlog.saturating_add(bytes) <= limits.queue_bytes;
            let begins_at = self.free_at.max(now);
            let is_long = index > first && begins_at.since(started_at) > MAX_TRAIN_NS;
            if !has_room || is_long {
                if first < index {
                    out.push((self.free_at, train.part(first..index)));
                }
                first = index;
            }
            if !has_room {
                counters.count_dropped(Cause::Queue, datagram);
                first += 1;
                continue;
            }
            if first == index {
                started_at = begins_at;
            }
            self.free_at = begins_at + duration_ns(limits.bytes_per_s, bytes);
        }
        if first < train.count() {
            out.push((self.free_at, train.part(first..train.count())));
        }
    }
}

fn duration_ns(bytes_per_s: u64, bytes: u64) -> u64 {
    (u128::from(bytes) * NS_PER_S / u128::from(bytes_per_s.max(1))) as u64
}
