//! Clients that were here before the broker was restarted, and what waits for them.
//!
//! A broker that ends in order leaves a [`Record`] of who listened. Its successor
//! holds what is emitted in a channel until those clients are back with all their
//! patterns, or for [`MAX_HOLD`]. After a crash there is no record: then a channel is
//! held for as long once a client comes that was here before. Both only soon after the
//! start, and once for each channel. While a channel is held no shutdown begins, and who
//! is not back when one does stands in the next record.
//!
//! Held events are not queued: an emitter is read from up to its first event, and
//! paused.
//!
//! Invariant: no event is held for longer than [`MAX_HOLD`], and nothing at all on a
//! machine where no broker ran before.
//!
//! Decision: `docs/decisions/043-restart-holds-by-not-reading.md`.

mod record;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use netcluster_platform::Instant;
use netcluster_wire::Source;

use crate::target::Target;

pub use record::{Listening, MAX_ABSENCE, Record, Successor};

/// Longest time for which an event waits for clients to come back.
pub const MAX_HOLD: Duration = Duration::from_millis(500);

/// Time after a broker's start in which a channel may begin to be held: the client
/// crate tries to come back every 250 ms while no broker is there, and every 2 s at the
/// least.
pub const HOLD_WINDOW: Duration = Duration::from_millis(2500);

/// A channel in which events wait.
#[derive(Debug, Default)]
struct Hold {
    /// Time at which the hold ends; `None`: nothing waits yet.
    until: Option<Instant>,
    waiting: Vec<Target>,
}

/// The channels of one shard in which events wait.
#[derive(Debug)]
pub struct Returning {
    start: Instant,
    window_end: Instant,
    /// Longest time for which an event waits.
    hold: Duration,
    held: BTreeMap<Arc<str>, Hold>,
    /// Channels that were held without a record, which is done once.
    was_held: BTreeSet<Arc<str>>,
    /// Clients of each channel that are not back yet; kept by the shard that counts.
    missing: BTreeMap<Arc<str>, BTreeMap<Source, Listening>>,
}

impl Returning {
    /// Holds the channels of a record, from the broker's start on.
    pub fn new(record: &Record, now: Instant, hold: Duration) -> Returning {
        let mut missing: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for client in record.clients() {
            let clients = missing.entry(Arc::clone(&client.channel)).or_default();
            clients.insert(client.source, client);
        }
        Returning {
            start: now,
            window_end: now + HOLD_WINDOW.max(hold).as_nanos() as u64,
            hold,
            held: missing.keys().map(|name| (Arc::clone(name), Hold::default())).collect(),
            was_held: BTreeSet::new(),
            missing,
        }
    }

    /// Returns whether any channel may be held.
    #[inline]
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns whether events of a channel wait.
    pub fn holds(&self, channel: &str, now: Instant) -> bool {
        self.held.get(channel).is_some_and(|hold| self.is_in_force(hold, now))
    }

    /// Returns the channels in which events wait, or may have to.
    pub fn held(&self) -> impl Iterator<Item = &Arc<str>> {
        self.held.keys()
    }

    /// Returns whether events of any channel wait, or would.
    pub fn is_awaiting(&self, now: Instant) -> bool {
        self.held.values().any(|hold| self.is_in_force(hold, now))
    }

    fn is_in_force(&self, hold: &Hold, now: Instant) -> bool {
        hold.until.is_some() || now < self.window_end
    }

    /// Returns when no channel is held any more in which nothing waits, if any is held.
    pub fn window_end(&self) -> Option<Instant> {
        self.holds_any().then_some(self.window_end)
    }

    /// Holds no channel for longer than an event waits, as if one waited in each. Returns when
    /// the holds end, if there are any.
    pub fn limit(&mut self, now: Instant) -> Option<Instant> {
        let until = now + self.hold.as_nanos() as u64;
        self.held.values_mut().for_each(|hold| hold.until = Some(until));
        self.holds_any().then_some(until)
    }

    /// Begins a hold, as a client of a channel came back of which no record says who was
    /// there with it. Returns when it ends, if one begins.
    pub fn begin(&mut self, channel: &Arc<str>, now: Instant) -> Option<Instant> {
        if now >= self.window_end || !self.was_held.insert(Arc::clone(channel)) {
            return None;
        }
        let hold = self.held.entry(Arc::clone(channel)).or_default();
        let is_new = hold.until.is_none();
        let until = *hold.until.get_or_insert(now + MAX_HOLD.as_nanos() as u64);
        is_new.then_some(until)
    }

    /// Notes that an emitter waits in a held channel. Returns when the hold ends, if
    /// that is news.
    pub fn wait(&mut self, channel: &str, emitter: Target, now: Instant) -> Option<Instant> {
        let hold = self.held.get_mut(channel)?;
        if !hold.waiting.contains(&emitter) {
            hold.waiting.push(emitter);
        }
        let is_new = hold.until.is_none();
        let until = *hold.until.get_or_insert(now + self.hold.as_nanos() as u64);
        is_new.then_some(until)
    }

    /// Notes that a client is back with all its patterns. Returns whether nobody else of
    /// its channel is waited for.
    pub fn is_back(&mut self, channel: &str, previous: Source) -> bool {
        let Some(missing) = self.missing.get_mut(channel) else { return false };
        missing.remove(&previous);
        let all = missing.is_empty();
        if all {
            self.missing.remove(channel);
        }
        all && !self.was_held.contains(channel)
    }

    /// Returns the clients that are still waited for, as the broker ends.
    pub fn absent(&self, now: Instant) -> Vec<Listening> {
        if now >= self.window_end {
            return Vec::new();
        }
        let more = Duration::from_nanos(now.since(self.start));
        let known = self.missing.values().flat_map(BTreeMap::values);
        let known = known.map(|it| Listening { absent: it.absent + more, ..it.clone() });
        let unknown = self.was_held.iter().map(|channel| Listening::unknown(channel, more));
        known.chain(unknown).filter(|it| it.absent <= MAX_ABSENCE).collect()
    }

    /// Holds a channel no longer; returns the emitters that wait in it. Whoever is not back
    /// is still waited for by the next broker, but misses what goes on now.
    pub fn release(&mut self, channel: &str) -> Vec<Target> {
        let missing = self.missing.get_mut(channel).into_iter().flat_map(BTreeMap::values_mut);
        missing.for_each(|it| it.has_missed = true);
        self.held.remove(channel).map_or_else(Vec::new, |hold| hold.waiting)
    }

    /// Returns the channels whose time is over; all with `Instant::NEVER`.
    pub fn overdue(&self, now: Instant) -> Vec<Arc<str>> {
        let is_over = |hold: &Hold| hold.until.unwrap_or(self.window_end) <= now;
        let overdue = self.held.iter().filter(|(_, hold)| is_over(hold));
        overdue.map(|(channel, _)| Arc::clone(channel)).collect()
    }
}
