//! Clients that were here before the broker was restarted, and what waits for them.
//!
//! A broker that ends in order leaves a [`Record`] of who listened. Its successor
//! holds what is emitted in a channel until those clients are back with all their
//! patterns, or for [`MAX_HOLD`]. After a crash there is no record: then a channel is
//! held for as long once a client comes that was here before. Both only soon after the
//! start, and once for each channel.
//!
//! Held events are not queued: an emitter is read from up to its first event, and
//! paused.
//!
//! Invariant: no event is held for longer than [`MAX_HOLD`], and nothing at all on a
//! machine where no broker ran before.
//!
//! Decision: `docs/decisions/043-restart-holds-by-not-reading.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use netcluster_wire::Source;

use netcluster_platform::Instant;

use crate::target::Target;

/// Longest time for which an event waits for clients to come back.
pub const MAX_HOLD: Duration = Duration::from_millis(500);

/// Time after a broker's start in which a channel may begin to be held: the client
/// crate tries to come back every 250 ms while no broker is there, and every 2 s at the
/// least.
pub const HOLD_WINDOW: Duration = Duration::from_millis(2500);

/// Clients that a record holds; further ones are not waited for.
const MAX_RECORDED: usize = 65_536;

/// Clients that listened when a broker ended, by channel: client number and number of
/// patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Node id of that broker; 0: there is no record.
    pub node: u32,
    /// Listeners of each channel.
    pub channels: BTreeMap<String, BTreeMap<u32, u32>>,
}

impl Record {
    /// Reads what [`Record::encode`] wrote; no record if it is something else.
    pub fn decode(bytes: &[u8]) -> Record {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// Returns the record as bytes.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Adds listeners.
    pub fn add(&mut self, listeners: &[Listening]) {
        let mut room = MAX_RECORDED.saturating_sub(self.len());
        for Listening { channel, client, patterns } in listeners {
            if room == 0 {
                return;
            }
            room -= 1;
            self.channels.entry(channel.to_string()).or_default().insert(*client, *patterns);
        }
    }

    /// Returns the number of clients in the record.
    pub fn len(&self) -> usize {
        self.channels.values().map(BTreeMap::len).sum()
    }

    /// Returns whether no client is in the record.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty()
    }

    /// Returns the number of patterns that a returning client had; 0 if the client is
    /// not waited for.
    pub fn patterns_of(&self, channel: &str, previous: Source) -> u32 {
        let known = previous.node == self.node && previous != Source::NONE;
        let listeners = self.channels.get(channel).filter(|_| known);
        listeners.and_then(|clients| clients.get(&previous.client)).copied().unwrap_or(0)
    }
}

/// A client that listens when its broker ends.
#[derive(Clone, Debug)]
pub struct Listening {
    /// Channel that the client is on.
    pub channel: Arc<str>,
    /// Number of the client.
    pub client: u32,
    /// Number of patterns that the client listens to.
    pub patterns: u32,
}

/// Function that a record is handed to when a broker ends.
type Leave = Box<dyn FnOnce(Vec<u8>) + Send>;

/// Handle by which a broker leaves its record, once.
#[derive(Clone, Default)]
pub struct Successor(Arc<Mutex<Option<Leave>>>);

impl Successor {
    /// Returns a handle that leaves the record by calling `leave`.
    pub fn new(leave: impl FnOnce(Vec<u8>) + Send + 'static) -> Successor {
        Successor(Arc::new(Mutex::new(Some(Box::new(leave)))))
    }

    /// Leaves the record; a second call does nothing.
    pub fn leave(&self, record: &Record) {
        let leave = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(leave) = leave {
            leave(record.encode());
        }
    }
}

impl fmt::Debug for Successor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Successor")
    }
}

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
    window_end: Instant,
    /// Longest time for which an event waits.
    hold: Duration,
    held: BTreeMap<Arc<str>, Hold>,
    /// Channels that were held without a record, which is done once.
    was_held: BTreeSet<Arc<str>>,
    /// Clients of each channel that are not back yet; kept by the shard that counts.
    missing: BTreeMap<String, BTreeSet<u32>>,
}

impl Returning {
    /// Holds the channels of a record, from the broker's start on.
    pub fn new(record: &Record, now: Instant, hold: Duration) -> Returning {
        let held = record.channels.keys().map(|name| (name.as_str().into(), Hold::default()));
        let missing = |(name, clients): (&String, &BTreeMap<u32, u32>)| {
            (name.clone(), clients.keys().copied().collect())
        };
        Returning {
            window_end: now + HOLD_WINDOW.max(hold).as_nanos() as u64,
            hold,
            held: held.collect(),
            was_held: BTreeSet::new(),
            missing: record.channels.iter().map(missing).collect(),
        }
    }

    /// Returns whether any channel may be held.
    #[inline]
    pub fn holds_any(&self) -> bool {
        !self.held.is_empty()
    }

    /// Returns whether events of a channel wait.
    pub fn holds(&mut self, channel: &str, now: Instant) -> bool {
        if now >= self.window_end {
            self.held.retain(|_, hold| hold.until.is_some());
        }
        self.held.contains_key(channel)
    }

    /// Begins a hold, as a client of a channel came back after a crash. Returns when it
    /// ends, if one begins.
    pub fn begin(&mut self, channel: &Arc<str>, now: Instant) -> Option<Instant> {
        if now >= self.window_end || !self.was_held.insert(Arc::clone(channel)) {
            return None;
        }
        let until = now + MAX_HOLD.as_nanos() as u64;
        let hold = Hold { until: Some(until), waiting: Vec::new() };
        self.held.insert(Arc::clone(channel), hold);
        Some(until)
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

    /// Notes that a client is back with all its patterns. Returns whether it was the
    /// last of its channel.
    pub fn is_back(&mut self, channel: &str, client: u32) -> bool {
        let Some(missing) = self.missing.get_mut(channel) else { return false };
        missing.remove(&client);
        let all = missing.is_empty();
        if all {
            self.missing.remove(channel);
        }
        all
    }

    /// Holds a channel no longer; returns the emitters that wait in it.
    pub fn release(&mut self, channel: &str) -> Vec<Target> {
        self.held.remove(channel).map_or_else(Vec::new, |hold| hold.waiting)
    }

    /// Returns the channels whose time is over; all with `Instant::NEVER`.
    pub fn overdue(&self, now: Instant) -> Vec<Arc<str>> {
        let is_over = |hold: &Hold| hold.until.map_or(now == Instant::NEVER, |it| it <= now);
        let overdue = self.held.iter().filter(|(_, hold)| is_over(hold));
        overdue.map(|(channel, _)| Arc::clone(channel)).collect()
    }
}

#[cfg(test)]
mod tests {
    use netcluster_platform::Conn;

    use super::*;
    use crate::target::ShardId;

    fn ns(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    fn record() -> Record {
        let mut record = Record { node: 7, ..Record::default() };
        let listening = |client| Listening { channel: "a".into(), client, patterns: 2 };
        record.add(&[listening(1), listening(2)]);
        record
    }

    #[test]
    fn a_record_survives_its_bytes_and_anything_else_is_none() {
        assert_eq!(Record::decode(&record().encode()), record());
        assert_eq!(Record::decode(b""), Record::default());
        assert_eq!(Record::decode(b"{\"node\":1}"), Record::default());
        let previous = |node, client| Source { node, client };
        assert_eq!(record().patterns_of("a", previous(7, 2)), 2);
        assert_eq!(record().patterns_of("a", previous(8, 2)), 0, "of another broker");
        assert_eq!(record().patterns_of("b", previous(7, 2)), 0, "of another channel");
    }

    #[test]
    fn a_channel_is_held_until_all_are_back() {
        let mut returning = Returning::new(&record(), ns(0), MAX_HOLD);
        assert!(returning.holds("a", ns(0)) && !returning.holds("b", ns(0)));
        assert!(!returning.is_back("a", 1));
        assert!(!returning.is_back("a", 1), "the same one again");
        assert!(returning.is_back("a", 2));
        returning.release("a");
        assert!(!returning.holds_any());
    }

    #[test]
    fn an_event_waits_for_its_longest_time_and_the_window_ends() {
        let emitter = Target { shard: ShardId(0), conn: Conn(0), client: 9 };
        let mut returning = Returning::new(&record(), ns(0), MAX_HOLD);
        let late = ns(HOLD_WINDOW.as_nanos() as u64 - 1);
        let until = returning.wait("a", emitter, late).unwrap();
        assert_eq!(until, late + MAX_HOLD.as_nanos() as u64);
        assert_eq!(returning.wait("a", emitter, late + 1), None);
        assert!(returning.holds("a", until.saturating_sub(1)), "what waits is not let go early");
        assert_eq!(returning.overdue(until), [Arc::from("a")]);
        assert_eq!(returning.release("a"), [emitter]);
        let mut idle = Returning::new(&record(), ns(0), MAX_HOLD);
        assert!(!idle.holds("a", late + 1), "nobody emitted in time");
        assert!(!idle.holds_any());
    }

    #[test]
    fn without_a_record_a_channel_is_held_once_and_only_soon_after_the_start() {
        let mut returning = Returning::new(&Record::default(), ns(0), MAX_HOLD);
        let channel: Arc<str> = "a".into();
        assert_eq!(returning.begin(&channel, ns(5)), Some(ns(5) + MAX_HOLD.as_nanos() as u64));
        assert!(returning.holds("a", ns(6)));
        returning.release("a");
        assert_eq!(returning.begin(&channel, ns(7)), None);
        let late = ns(HOLD_WINDOW.as_nanos() as u64);
        assert_eq!(Returning::new(&Record::default(), ns(0), MAX_HOLD).begin(&channel, late), None);
    }
}
