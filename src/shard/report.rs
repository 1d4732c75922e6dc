//! Reports: what one shard says of itself and of a client, for `status`, and what one says
//! of the broker as a whole.

use std::time::Duration;

use netcluster_platform::{Conn, Instant, Io};

use crate::budget::Purpose;
use crate::connection::{Blocker, State};
use crate::status::{ClientStatus, ClosedClient, Memory, SharedUse, Status, Totals};
use crate::target::Queue;

use super::Shard;

/// Shortest time that rates are taken over. No timer: a busy shard samples as it turns,
/// an idle one is asked late and then averages over its idleness.
const SAMPLE_NS: u64 = Duration::from_secs(1).as_nanos() as u64;

/// Disconnected clients that `status` still shows.
const MAX_CLOSED_SHOWN: usize = 16;

/// State of one shard's reports.
pub(super) struct Reports {
    closed_by_broker: Vec<ClosedClient>,
    rates: Rates,
}

impl Reports {
    /// Returns the state of a shard that has just started.
    pub fn new(now: Instant) -> Reports {
        Reports { closed_by_broker: Vec::new(), rates: Rates::new(now) }
    }

    /// Ends a turn.
    #[inline]
    pub fn end_turn(&mut self, now: Instant, totals: &Totals) {
        self.rates.sample(now, totals);
    }

    /// Returns the clients that were disconnected lately.
    pub fn closed_by_broker(&self) -> Vec<ClosedClient> {
        self.closed_by_broker.clone()
    }

    /// Notes that the broker has disconnected a client, and why.
    pub fn note_closed(&mut self, client: u32, reason: &str) {
        if self.closed_by_broker.len() == MAX_CLOSED_SHOWN {
            self.closed_by_broker.remove(0);
        }
        self.closed_by_broker.push(ClosedClient { client, reason: reason.to_owned() });
    }
}

/// Events in and out at two moments.
struct Rates {
    before: (Instant, u64, u64),
    latest: (Instant, u64, u64),
}

impl Rates {
    fn new(now: Instant) -> Rates {
        Rates { before: (now, 0, 0), latest: (now, 0, 0) }
    }

    #[inline]
    fn sample(&mut self, now: Instant, totals: &Totals) {
        if now >= self.latest.0 + SAMPLE_NS {
            self.before = self.latest;
            self.latest = (now, totals.events_in, totals.events_out);
        }
    }

    /// Returns events in and out per second.
    fn per_second(&self, now: Instant, totals: &Totals) -> (f64, f64) {
        // Since the sample before the latest: at least a second, unless the
        // shard is younger.
        let (then, events_in, events_out) = self.before;
        let seconds = now.since(then).max(1) as f64 / 1e9;
        let rate = |now: u64, then: u64| (now - then) as f64 / seconds;
        (rate(totals.events_in, events_in), rate(totals.events_out, events_out))
    }
}

impl<I: Io> Shard<I> {
    /// Returns this shard's counters, but for those that are sums over its connections.
    pub(super) fn totals_now(&self) -> Totals {
        let mut totals = self.totals;
        let rates = self.reports.rates.per_second(self.now, &totals);
        (totals.events_in_per_s, totals.events_out_per_s) = rates;
        totals.route_misses = self.router.channels.route_misses();
        totals
    }

    /// Returns what is to be said of the client in this place.
    pub(super) fn report_client(&mut self, conn: Conn) -> ClientStatus {
        let connection = &*self.connections.at(conn);
        let channel =
            connection.channel.map(|channel| self.router.channels.get(channel).name.to_string());
        let state = match connection.state {
            State::Hello | State::Moving(_) => "hello",
            State::Closing | State::Draining { .. } | State::Closed => "closing",
            State::Open if connection.outbound.is_full() => "full",
            State::Open if !connection.blocked_by.is_empty() => "paused",
            State::Open if connection.is_slow() => "slow",
            State::Open => "open",
        };
        let paused_by = connection.blocked_by.iter().filter_map(|blocker| match blocker {
            Blocker::Queue(Queue::Client(target)) => Some(target.client),
            _ => None,
        });
        let mut blockers = connection.blocked_by.iter();
        let paused_by_link = blockers.any(|it| matches!(it, Blocker::Queue(Queue::Link(_))));
        let is_closed = matches!(connection.state, State::Closed);
        let is_sharing = connection.sharing.is_on() && !is_closed;
        let shared = is_sharing.then(|| self.io.memory_use(conn)).flatten();
        ClientStatus {
            client: connection.target.client,
            name: connection.name.to_string(),
            channel: channel.unwrap_or_default(),
            shard: self.id.0,
            pid: connection.peer.pid,
            uid: connection.peer.uid,
            gid: connection.peer.gid,
            user: connection.peer.user.as_deref().cloned(),
            listeners: connection.patterns.len() as u64,
            events_in: connection.events_in,
            forbidden: connection.forbidden,
            events_out: connection.events_out,
            queued_bytes: connection.outbound.queued_bytes() as u64,
            max_queue: connection.outbound.limit_bytes() as u64,
            latest: connection.latest,
            dropped: connection.outbound.dropped,
            paused_by: paused_by.collect(),
            paused_by_link,
            shared: shared.map(SharedUse::of),
            shared_note: connection.guard.is_some().then(|| "access rules".to_owned()),
            state: state.into(),
        }
    }

    /// Returns what is to be said of the broker as a whole.
    pub(super) fn about_now(&self) -> Status {
        let mut status = (*self.shared.about).clone();
        status.uptime_ms = self.now.since(self.started) / 1_000_000;
        status.backend = self.io.name().to_owned();
        status.log = self.shared.log.status();
        let budget = &self.shared.budget;
        status.memory = Memory {
            used_bytes: budget.used_bytes() as u64,
            queues_bytes: budget.used_for(Purpose::Queues) as u64,
            connections_bytes: (budget.used_for(Purpose::Connections)
                + budget.used_for(Purpose::Incoming)) as u64,
            patterns_bytes: budget.used_for(Purpose::Patterns) as u64,
            routes_bytes: budget.used_for(Purpose::Routes) as u64,
            shared_bytes: budget.used_for(Purpose::Shared) as u64,
            limit_bytes: budget.limit_bytes() as u64,
        };
        status
    }
}
