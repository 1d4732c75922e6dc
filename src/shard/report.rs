//! Reports: this shard's part of `status`, and the collection of the others'.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use netcluster_platform::{Instant, Io, Slice};
use netcluster_wire::{Kind, frame};

use crate::budget::Purpose;
use crate::connection::{Blocker, Connection, Lag, State};
use crate::mesh::Message;
use crate::status::{
    self, ClientStatus, ClosedClient, IoCounters, Memory, ShardStatus, ShardSummary, SharedUse,
    Totals,
};
use crate::target::{Queue, Target};

use super::Shard;

/// Shortest time that rates are taken over. No timer: a busy shard samples as it turns,
/// an idle one is asked late and then averages over its idleness.
const SAMPLE_NS: u64 = Duration::from_secs(1).as_nanos() as u64;

/// Disconnected clients that `status` still shows.
const MAX_CLOSED_SHOWN: usize = 16;

/// State of one shard's reports, and the status requests that it collects for.
pub(super) struct Reports {
    collecting: BTreeMap<u64, Collecting>,
    next: u64,
    /// Latest status and when it was made, for clients that ask in the same turn.
    latest: Option<(Instant, Answer)>,
    closed_by_broker: Vec<ClosedClient>,
    rates: Rates,
}

impl Reports {
    /// Returns the state of a shard that has just started.
    pub fn new(now: Instant) -> Reports {
        Reports {
            collecting: BTreeMap::new(),
            next: 0,
            latest: None,
            closed_by_broker: Vec::new(),
            rates: Rates::new(now),
        }
    }

    /// Ends a turn: its status is no longer the latest.
    #[inline]
    pub fn end_turn(&mut self, now: Instant, totals: &Totals) {
        self.latest = None;
        self.rates.sample(now, totals);
    }

    /// Notes that the broker has disconnected a client, and why.
    pub fn note_closed(&mut self, client: u32, reason: &str) {
        if self.closed_by_broker.len() == MAX_CLOSED_SHOWN {
            self.closed_by_broker.remove(0);
        }
        self.closed_by_broker.push(ClosedClient { client, reason: reason.to_owned() });
    }
}

/// Status reports that a shard has asked the others for.
struct Collecting {
    /// Clients that asked, and the numbers of their requests.
    askers: Vec<(Target, u64)>,
    waiting: usize,
    reports: Vec<ShardStatus>,
}

/// A status as JSON, padded as a payload is; shared by all who asked for it.
#[derive(Clone)]
struct Answer {
    json_bytes: usize,
    padded: Bytes,
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
    /// Returns this shard's part of `status`.
    pub fn report(&mut self) -> ShardStatus {
        let mut totals = self.totals;
        let rates = self.reports.rates.per_second(self.now, &totals);
        (totals.events_in_per_s, totals.events_out_per_s) = rates;
        totals.route_misses = self.router.channels.route_misses();
        let mut clients = Vec::new();
        for connection in self.connections.iter() {
            totals.shared_clients += u64::from(connection.sharing.is_on());
            totals.silent += u64::from(matches!(connection.state, State::Hello));
            totals.queued_bytes += connection.outbound.queued_bytes() as u64;
            totals.copied_head_bytes += connection.inbound.copied_bytes;
            clients.push(self.report_client(connection));
        }
        let summary = ShardSummary {
            shard: self.id.0,
            clients: totals.clients,
            io: IoCounters::of(self.io.stats()),
        };
        let link = self.report_link();
        ShardStatus {
            totals,
            link,
            clients,
            summary,
            closed_by_broker: self.reports.closed_by_broker.clone(),
        }
    }

    fn report_client(&self, connection: &Connection) -> ClientStatus {
        let channel =
            connection.channel.map(|channel| self.router.channels.get(channel).name.to_string());
        let state = match connection.state {
            State::Hello | State::Moving(_) => "hello",
            State::Closing | State::Draining { .. } | State::Closed => "closing",
            State::Open if connection.outbound.is_full() => "full",
            State::Open if !connection.blocked_by.is_empty() => "paused",
            State::Open if connection.lag == Lag::Slow => "slow",
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
        let conn = connection.target.conn;
        let shared = is_sharing.then(|| self.io.memory_use(conn)).flatten();
        ClientStatus {
            client: connection.target.client,
            name: connection.name.to_string(),
            channel: channel.unwrap_or_default(),
            shard: self.id.0,
            pid: connection.peer.pid,
            uid: connection.peer.uid,
            gid: connection.peer.gid,
            user: connection.peer.user.as_deref().map(str::to_owned),
            listeners: connection.patterns.len() as u64,
            events_in: connection.events_in,
            events_out: connection.events_out,
            queued_bytes: connection.outbound.queued_bytes() as u64,
            max_queue: connection.outbound.limit_bytes() as u64,
            latest: connection.latest,
            dropped: connection.outbound.dropped,
            paused_by: paused_by.collect(),
            paused_by_link,
            shared: shared.map(SharedUse::of),
            state: state.into(),
        }
    }

    /// Collects the status of the broker for a client. One that asks while it is being
    /// collected, or in the same turn, gets the same answer: asking often costs the
    /// broker no more than asking once.
    pub(super) fn collect_status(&mut self, asker: Target, request: u64) {
        if let Some((at_ns, json)) = &self.reports.latest
            && *at_ns == self.now
        {
            let json = json.clone();
            return self.answer_one(asker, request, &json);
        }
        if let Some(collecting) = self.reports.collecting.values_mut().next() {
            return collecting.askers.push((asker, request));
        }
        let number = self.reports.next;
        self.reports.next += 1;
        let mut waiting = 0;
        for shard in self.mesh.others() {
            self.tell(shard, asker, Message::StatusWanted(number));
            waiting += 1;
        }
        let reports = vec![self.report()];
        let askers = vec![(asker, request)];
        self.reports.collecting.insert(number, Collecting { askers, waiting, reports });
        self.answer_status(number);
    }

    /// Takes another shard's report.
    pub(super) fn status_arrived(&mut self, number: u64, report: ShardStatus) {
        if let Some(collecting) = self.reports.collecting.get_mut(&number) {
            collecting.waiting -= 1;
            collecting.reports.push(report);
            self.answer_status(number);
        }
    }

    fn answer_status(&mut self, number: u64) {
        if self.reports.collecting.get(&number).is_none_or(|collecting| collecting.waiting > 0) {
            return;
        }
        let Some(collecting) = self.reports.collecting.remove(&number) else { return };
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
        let json = status::merge(status, collecting.reports).into_json();
        let mut padded = BytesMut::from(&json[..]);
        padded.extend_from_slice(frame::padding_of(json.len()));
        let json = Answer { json_bytes: json.len(), padded: self.shared.budget.own(padded) };
        for (asker, request) in collecting.askers {
            self.answer_one(asker, request, &json);
        }
        self.reports.latest = Some((self.now, json));
    }

    fn answer_one(&mut self, asker: Target, request: u64, answer: &Answer) {
        let Some(connection) = self.connections.find_open(asker) else { return };
        let source = connection.source;
        let mut head = Vec::new();
        frame::append_head(&mut head, Kind::Stats, source, request, b"", answer.json_bytes);
        let pieces = [Slice::from(Bytes::from(head)), Slice::from(answer.padded.clone())];
        self.reply_pieces(asker.conn, &pieces);
    }
}
