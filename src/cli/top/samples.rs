//! The last look at a broker, and what has grown since the one before.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Instant;

use netcluster::status::{ChannelStatus, ClientStatus, LinkStatus, Status};
use serde::Deserialize;
use serde_json::Value;

use super::views::View;

/// Counters of one of a kind.
type Counters = [u64; 3];

/// Part of a broker that a view shows; the lists that were not asked for are empty.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Page {
    /// Clients.
    pub clients: Vec<ClientStatus>,
    /// Channels.
    pub channels: Vec<ChannelStatus>,
    /// Clients or channels that are not listed.
    pub omitted: u64,
    /// Link, with its peers.
    pub link: Option<LinkStatus>,
}

/// A look at a broker.
#[derive(Debug)]
pub struct Look {
    /// Time of the look.
    pub at: Instant,
    /// View that it was for.
    pub view: View,
    /// Totals of the broker.
    pub status: Status,
    /// Part that the view shows.
    pub page: Page,
}

impl Look {
    /// Reads the answers of a broker.
    pub fn read(
        at: Instant,
        view: View,
        totals: Value,
        page: Value,
    ) -> Result<Look, serde_json::Error> {
        let status = serde_json::from_value(totals)?;
        Ok(Look { at, view, status, page: serde_json::from_value(page)? })
    }
}

/// Rates of the counters that each of a kind has, between the last two looks at it.
#[derive(Debug)]
pub struct Meter<K> {
    counted: HashMap<K, (Instant, Counters)>,
    rates: HashMap<K, [f64; 3]>,
}

impl<K: Clone + Eq + Hash> Meter<K> {
    /// Adds what was counted of all that are there now; of others nothing is known any more.
    fn add(&mut self, at: Instant, counted: impl Iterator<Item = (K, Counters)>) {
        let mut latest = HashMap::new();
        let mut rates = HashMap::new();
        for (key, counters) in counted {
            if let Some((then, before)) = self.counted.get(&key) {
                let seconds = seconds(*then, at);
                let rate =
                    |place: usize| counters[place].saturating_sub(before[place]) as f64 / seconds;
                rates.insert(key.clone(), [rate(0), rate(1), rate(2)]);
            }
            latest.insert(key, (at, counters));
        }
        (self.counted, self.rates) = (latest, rates);
    }

    /// Returns how much one of a counter grew per second; none if it is new.
    pub fn rate(&self, key: &K, place: usize) -> Option<f64> {
        self.rates.get(key).map(|rates| rates[place])
    }
}

impl<K> Default for Meter<K> {
    fn default() -> Meter<K> {
        Meter { counted: HashMap::new(), rates: HashMap::new() }
    }
}

/// The last look and what is known of those before.
#[derive(Debug, Default)]
pub struct Samples {
    /// Last look.
    pub last: Option<Look>,
    before: Option<(Instant, Status)>,
    /// Clients: events in, events out, events lost.
    pub clients: Meter<u32>,
    /// Channels: events in, events out.
    pub channels: Meter<String>,
    /// Peers by session: datagrams received, datagrams sent again, events lost.
    pub peers: Meter<String>,
    /// Shards: system calls, receives, sends.
    pub shards: Meter<u16>,
    /// Reason why there is no newer look, and since when.
    pub trouble: Option<(Instant, String)>,
}

impl Samples {
    /// Adds a look.
    pub fn add(&mut self, look: Look) {
        let Look { at, view, status, page } = &look;
        let is_same = |last: &Look| {
            last.status.pid == status.pid && last.status.uptime_ms <= status.uptime_ms
        };
        self.before = match self.last.take() {
            Some(last) if is_same(&last) => Some((last.at, last.status)),
            // Another broker counts from zero.
            _ => {
                *self = Samples::default();
                None
            }
        };
        self.trouble = None;
        match view {
            View::Clients | View::Slow => {
                let counters =
                    |it: &ClientStatus| (it.client, [it.events_in, it.events_out, it.dropped]);
                self.clients.add(*at, page.clients.iter().map(counters));
            }
            View::Channels => {
                let counters =
                    |it: &ChannelStatus| (it.name.clone(), [it.events_in, it.events_out, 0]);
                self.channels.add(*at, page.channels.iter().map(counters));
            }
            View::Peers => {
                let peers = page.link.iter().flat_map(|link| &link.peers);
                let counted = peers.map(|it| {
                    let counters = &it.counters;
                    let counted = [counters.received, counters.repaired, counters.events_lost];
                    (it.session.clone(), counted)
                });
                self.peers.add(*at, counted);
            }
            View::Losses | View::Shards => {}
        }
        let shards = status.shards.iter();
        self.shards
            .add(*at, shards.map(|it| (it.shard, [it.io.syscalls, it.io.receives, it.io.sends])));
        self.last = Some(look);
    }

    /// Notes that there is no newer look, if that is new.
    pub fn failed(&mut self, now: Instant, reason: String) {
        let since = self.trouble.take().map_or(now, |(since, _)| since);
        self.trouble = Some((since, reason));
    }

    /// Returns how much a counter grew per second; none before there are two looks.
    pub fn rate(&self, take: impl Fn(&Status) -> u64) -> Option<f64> {
        let (at, before) = self.before.as_ref()?;
        let last = self.last.as_ref()?;
        let grown = take(&last.status).saturating_sub(take(before));
        Some(grown as f64 / seconds(*at, last.at))
    }
}

fn seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64().max(1e-3)
}
