//! Counting: this shard's part of an answer about all connections, a bounded part of them
//! in each turn, so that nobody waits for ten thousand.
//!
//! Connections that come and go meanwhile are counted or not. None is counted twice, as
//! they are met by their places.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use netcluster_platform::Io;

use crate::channels::Channel;
use crate::connection::{Connection, State};
use crate::request::{ClientsWanted, Order};
use crate::status::{
    ChannelStatus, IoCounters, MAX_LISTED, ShardStatus, ShardSummary, Totals, least_wanted_last,
};
use crate::target::{ShardId, Target};

use super::Shard;
use super::survey::{Inquiry, Part};

/// Connections that a turn counts.
const CONNECTIONS_PER_TURN: usize = 256;

/// A count that is going on.
pub(super) struct Count {
    /// Shard that asked, and the number of its question.
    from: ShardId,
    number: u64,
    inquiry: Inquiry,
    /// Place of the next connection.
    at: usize,
    sums: Sums,
    /// Clients that may be listed: how much each is wanted, and which one it is.
    chosen: Vec<(u64, Target)>,
    /// Clients that might have been listed.
    matching: u64,
    channels: HashMap<Arc<str>, ChannelSums, FixedState>,
}

/// Sums over the connections.
#[derive(Clone, Copy, Default)]
struct Sums {
    shared_clients: u64,
    silent: u64,
    queued_bytes: u64,
    copied_head_bytes: u64,
    full: u64,
    slow: u64,
}

#[derive(Clone, Copy, Default)]
struct ChannelSums {
    clients: u64,
    listeners: u64,
    queued_bytes: u64,
    events_in: u64,
    events_out: u64,
}

impl Count {
    fn new(from: ShardId, number: u64, inquiry: Inquiry) -> Count {
        Count {
            from,
            number,
            inquiry,
            at: 0,
            sums: Sums::default(),
            chosen: Vec::new(),
            matching: 0,
            channels: HashMap::default(),
        }
    }

    /// Returns how clients are listed, if they are.
    fn clients(&self) -> Option<ClientsWanted> {
        match &self.inquiry {
            Inquiry::Clients(wanted) => Some(wanted.clone()),
            Inquiry::Status => {
                Some(ClientsWanted { after: 0, limit: MAX_LISTED, by: Order::QueuedBytes })
            }
            _ => None,
        }
    }

    fn lists_channels(&self) -> bool {
        matches!(self.inquiry, Inquiry::Status | Inquiry::Channels(_))
    }

    /// Counts a connection.
    fn add(&mut self, connection: &Connection, channel: Option<&Channel>) {
        let queued_bytes = connection.outbound.queued_bytes() as u64;
        let sums = &mut self.sums;
        sums.shared_clients += u64::from(connection.sharing.is_on());
        sums.silent += u64::from(matches!(connection.state, State::Hello));
        sums.queued_bytes += queued_bytes;
        sums.copied_head_bytes += connection.inbound.copied_bytes;
        if connection.is_open() {
            let is_full = connection.outbound.is_full();
            sums.full += u64::from(is_full);
            sums.slow += u64::from(!is_full && connection.is_slow());
        }
        if let Some(wanted) = self.clients() {
            self.choose(connection, queued_bytes, &wanted);
        }
        if let Some(channel) = channel.filter(|_| self.lists_channels()) {
            let sums = self.channels.entry(Arc::clone(&channel.name)).or_insert_with(|| {
                let (events_in, events_out) = channel.events_of_gone;
                ChannelSums { events_in, events_out, ..ChannelSums::default() }
            });
            sums.events_in += connection.events_in;
            sums.events_out += connection.events_out;
            sums.clients += 1;
            sums.listeners += connection.patterns.len() as u64;
            sums.queued_bytes += queued_bytes;
        }
    }

    fn choose(&mut self, connection: &Connection, queued_bytes: u64, wanted: &ClientsWanted) {
        let client = connection.target.client;
        if client <= wanted.after {
            return;
        }
        self.matching += 1;
        let value = match wanted.by {
            Order::Client => u64::MAX - u64::from(client),
            Order::QueuedBytes => queued_bytes,
            Order::EventsIn => connection.events_in,
            Order::EventsOut => connection.events_out,
            Order::Dropped => connection.outbound.dropped,
        };
        self.chosen.push((value, connection.target));
        if self.chosen.len() >= 2 * wanted.limit.max(CONNECTIONS_PER_TURN) {
            self.keep(wanted.limit);
        }
    }

    /// Keeps the clients that are wanted most.
    fn keep(&mut self, limit: usize) {
        if self.chosen.len() > limit {
            self.chosen.select_nth_unstable_by(limit, |one, other| other.0.cmp(&one.0));
            self.chosen.truncate(limit);
        }
    }

    fn channels(&mut self) -> (Vec<ChannelStatus>, u64) {
        let statuses = self.channels.drain().map(|(name, sums)| ChannelStatus {
            name: name.to_string(),
            clients: sums.clients,
            listeners: sums.listeners,
            queued_bytes: sums.queued_bytes,
            events_in: sums.events_in,
            events_out: sums.events_out,
        });
        let mut channels: Vec<_> = statuses.collect();
        let omitted = least_wanted_last(&mut channels, MAX_LISTED, |it| it.clients);
        (channels, omitted)
    }
}

impl<I: Io> Shard<I> {
    /// Begins to count for a shard that asked, and does this turn's part.
    pub(super) fn begin_count(&mut self, from: ShardId, number: u64, inquiry: Inquiry) {
        let mut count = Count::new(from, number, inquiry);
        if self.slices.counts.is_empty() && self.count_part(&mut count, CONNECTIONS_PER_TURN) {
            return self.end_count(count);
        }
        self.slices.counts.push_back(Box::new(count));
    }

    /// Goes on with counts that had to wait, as far as belongs to this turn.
    pub(super) fn count_some(&mut self) {
        let Some(mut count) = self.slices.counts.pop_front() else { return };
        if self.count_part(&mut count, CONNECTIONS_PER_TURN) {
            self.end_count(*count);
        } else {
            self.slices.counts.push_front(count);
        }
    }

    /// Counts so many places. Returns whether those were the last.
    fn count_part(&self, count: &mut Count, places: usize) -> bool {
        if matches!(count.inquiry, Inquiry::Peers) {
            return true;
        }
        for connection in self.connections.range(count.at, places) {
            let channel = connection.channel.map(|id| self.router.channels.get(id));
            count.add(connection, channel);
        }
        count.at += places;
        count.at >= self.connections.places_used()
    }

    fn end_count(&mut self, mut count: Count) {
        let report = self.report_counted(&mut count);
        self.give_part(count.from, count.number, Part::Counted(Box::new(report)));
    }

    fn report_counted(&mut self, count: &mut Count) -> ShardStatus {
        let sums = count.sums;
        let mut totals: Totals = self.totals_now();
        totals.shared_clients = sums.shared_clients;
        totals.silent = sums.silent;
        totals.queued_bytes = sums.queued_bytes;
        totals.copied_head_bytes = sums.copied_head_bytes;
        totals.full = sums.full;
        totals.slow = sums.slow;
        let mut clients = Vec::new();
        if let Some(wanted) = count.clients() {
            count.keep(wanted.limit);
            for &(_, target) in &count.chosen {
                // It may be gone.
                if self.connections.find(target).is_some() {
                    clients.push(self.report_client(target.conn));
                }
            }
        }
        let (channels, channels_omitted) = count.channels();
        let summary = ShardSummary {
            shard: self.id.0,
            clients: totals.clients,
            io: IoCounters::of(self.io.stats()),
        };
        let is_about_link =
            !matches!(count.inquiry, Inquiry::Clients(_) | Inquiry::Channels(_) | Inquiry::Summary);
        ShardStatus {
            totals,
            link: is_about_link.then(|| self.report_link()).flatten(),
            clients_omitted: count.matching.saturating_sub(clients.len() as u64),
            clients,
            channels,
            channels_omitted,
            summary,
            fan_out: self.fan_out.targets.status(),
            queueing_delay: self.delays.status(),
            closed_by_broker: self.reports.closed_by_broker(),
        }
    }

    /// Returns this shard's part of a status at once.
    #[cfg(feature = "sim")]
    pub fn report(&mut self) -> ShardStatus {
        let mut count = Count::new(self.id, 0, Inquiry::Status);
        self.count_part(&mut count, usize::MAX);
        self.report_counted(&mut count)
    }
}
