//! Answers about a broker, put together from what each shard counted.

use std::collections::BTreeMap;

use netcluster_wire::limits::MAX_STATS_BYTES;
use serde::Serialize;

use crate::request::{ChannelsWanted, ClientsWanted, Order};

use super::{ChannelStatus, ClientStatus, SCHEMA, ShardStatus, Status};

/// Clients and channels that one answer lists: at about 300 bytes each, written within a
/// millisecond. Further ones are in the next pages.
pub const MAX_LISTED: usize = 1_000;

/// A page of clients.
#[derive(Serialize)]
struct ClientsPage {
    schema: u32,
    /// One entry per client, in the order that was asked for.
    clients: Vec<ClientStatus>,
    /// Clients that match and are not listed.
    omitted: u64,
    /// Number of the last client, behind which the next page begins; none if this is the
    /// last one.
    next: Option<u32>,
}

/// Channels, those with the most clients first.
#[derive(Serialize)]
struct ChannelsPage {
    schema: u32,
    channels: Vec<ChannelStatus>,
    /// Channels that are not listed.
    omitted: u64,
}

/// Merges the shards' reports into `status`, which has everything else.
pub(crate) fn merge(mut status: Status, reports: Vec<ShardStatus>) -> Status {
    status.schema = SCHEMA;
    let mut channels = BTreeMap::new();
    for report in reports {
        status.totals.add(&report.totals);
        status.fan_out.add(&report.fan_out);
        status.queueing_delay.add(&report.queueing_delay);
        add_channels(&mut channels, report.channels);
        status.channels_omitted += report.channels_omitted;
        status.clients.extend(report.clients);
        status.clients_omitted += report.clients_omitted;
        status.shards.push(report.summary);
        if let Some((link, io)) = report.link {
            status.link = Some(link);
            status.link_io = Some(io);
        }
        status.closed_by_broker.extend(report.closed_by_broker);
    }
    status.channels = channels.into_values().collect();
    status.list_at_most(MAX_LISTED);
    status.clients.sort_by_key(|client| client.client);
    status.shards.sort_by_key(|shard| shard.shard);
    status
}

fn add_channels(channels: &mut BTreeMap<String, ChannelStatus>, more: Vec<ChannelStatus>) {
    for part in more {
        let channel = channels.entry(part.name.clone()).or_default();
        channel.name = part.name;
        channel.clients += part.clients;
        channel.listeners += part.listeners;
        channel.queued_bytes += part.queued_bytes;
        channel.events_in += part.events_in;
        channel.events_out += part.events_out;
    }
}

/// Returns a page of clients, as JSON.
pub(crate) fn clients_page(wanted: &ClientsWanted, reports: Vec<ShardStatus>) -> Vec<u8> {
    let mut omitted: u64 = reports.iter().map(|report| report.clients_omitted).sum();
    let mut clients: Vec<_> = reports.into_iter().flat_map(|report| report.clients).collect();
    clients.sort_by_key(|client| client.client);
    let value = |client: &ClientStatus| match wanted.by {
        Order::Client => u64::MAX - u64::from(client.client),
        Order::QueuedBytes => client.queued_bytes,
        Order::EventsIn => client.events_in,
        Order::EventsOut => client.events_out,
        Order::Dropped => client.dropped,
    };
    omitted += least_wanted_last(&mut clients, wanted.limit, value);
    let is_paged = wanted.by == Order::Client && omitted > 0;
    let next = clients.last().filter(|_| is_paged).map(|client| client.client);
    let page = ClientsPage { schema: SCHEMA, clients, omitted, next };
    serde_json::to_vec(&page).expect("a page is plain data")
}

/// Returns the channels with the most clients, as JSON.
pub(crate) fn channels_page(wanted: &ChannelsWanted, reports: Vec<ShardStatus>) -> Vec<u8> {
    let mut omitted: u64 = reports.iter().map(|report| report.channels_omitted).sum();
    let mut channels = BTreeMap::new();
    reports.into_iter().for_each(|report| add_channels(&mut channels, report.channels));
    let mut channels: Vec<_> = channels.into_values().collect();
    omitted += least_wanted_last(&mut channels, wanted.limit, |channel| channel.clients);
    let page = ChannelsPage { schema: SCHEMA, channels, omitted };
    serde_json::to_vec(&page).expect("a page is plain data")
}

/// Sorts a list by what is wanted most, and takes off what is over the limit. Returns how
/// much that was.
pub(crate) fn least_wanted_last<T>(
    list: &mut Vec<T>,
    limit: usize,
    value: impl Fn(&T) -> u64,
) -> u64 {
    list.sort_by_key(|it| std::cmp::Reverse(value(it)));
    let omitted = list.len().saturating_sub(limit);
    list.truncate(limit);
    omitted as u64
}

impl Status {
    /// Returns JSON that clients take: with fewer entries if names are long.
    pub(crate) fn into_json(mut self) -> Vec<u8> {
        loop {
            let json = serde_json::to_vec(&self).expect("a status is plain data");
            let listed = self.clients.len().max(self.channels.len());
            if json.len() <= MAX_STATS_BYTES || listed == 0 {
                return json;
            }
            self.list_at_most(listed / 2);
        }
    }

    /// Returns all but the lists of clients, channels and peers, as JSON.
    pub(crate) fn into_totals(mut self) -> Vec<u8> {
        if let Some(link) = &mut self.link {
            (link.peers, link.streams, link.channels) = Default::default();
        }
        let mut json = serde_json::to_value(&self).expect("a status is plain data");
        if let Some(keys) = json.as_object_mut() {
            for lists in ["channels", "channels_omitted", "clients", "clients_omitted"] {
                keys.remove(lists);
            }
        }
        json.to_string().into_bytes()
    }

    /// Returns what is about the link, as JSON.
    pub(crate) fn into_peers(self) -> Vec<u8> {
        let Status { schema, link, link_io, .. } = self;
        let peers = serde_json::json!({ "schema": schema, "link": link, "link_io": link_io });
        peers.to_string().into_bytes()
    }

    /// Omits the entries of each list that say least, and counts them.
    fn list_at_most(&mut self, entries: usize) {
        self.clients_omitted +=
            least_wanted_last(&mut self.clients, entries, |client| client.queued_bytes);
        self.clients.sort_by_key(|client| client.client);
        self.channels_omitted +=
            least_wanted_last(&mut self.channels, entries, |channel| channel.clients);
        self.channels.sort_by(|one, other| one.name.cmp(&other.name));
    }
}
