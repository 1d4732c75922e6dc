//! Views: the columns of each, and its rows.

use clap::ValueEnum;
use netcluster::status::{ChannelStatus, ClientStatus, ShardSummary, Status};
use netcluster_link::status::LinkCounters;

use crate::cli::clients::By;
use crate::cli::status::uptime;

use super::cells::{Cell, Column, Mood, Row, Rows};
use super::controls::Sort;
use super::samples::{Look, Samples};

const CLIENTS: [Column; 10] = [
    Column::new("CLIENT", 7, 0).by(By::Client),
    Column::new("NAME", 0, 0),
    Column::new("CHANNEL", 9, 6),
    Column::new("PID", 7, 5),
    Column::new("IN/s", 6, 1).by(By::EventsIn),
    Column::new("OUT/s", 6, 1).by(By::EventsOut),
    Column::new("QUEUED", 9, 2).by(By::QueuedBytes),
    Column::new("LOST", 5, 3).by(By::Dropped),
    Column::new("LISTENS", 8, 7),
    Column::new("STATE", 7, 4),
];

const SLOW: [Column; 8] = [
    Column::new("CLIENT", 7, 0),
    Column::new("NAME", 0, 0),
    Column::new("PID", 7, 3),
    Column::new("QUEUED", 9, 0),
    Column::new("FULL", 5, 1),
    Column::new("OUT/s", 6, 4),
    Column::new("LOST", 5, 5),
    Column::new("STATE", 18, 2),
];

const CHANNELS: [Column; 6] = [
    Column::new("CHANNEL", 0, 0),
    Column::new("CLIENTS", 8, 2),
    Column::new("LISTENERS", 10, 4),
    Column::new("IN/s", 8, 1),
    Column::new("OUT/s", 8, 1),
    Column::new("QUEUED", 10, 3),
];

const PEERS: [Column; 9] = [
    Column::new("NAME", 0, 0),
    Column::new("ADDRESS", 21, 5),
    Column::new("PATH", 9, 6),
    Column::new("TRIP", 9, 1),
    Column::new("IN/s", 7, 2),
    Column::new("AGAIN/s", 8, 4),
    Column::new("LOST", 6, 1),
    Column::new("HEARD", 6, 3),
    Column::new("UP", 9, 7),
];

const LOSSES: [Column; 4] = [
    Column::new("WHAT", 31, 0),
    Column::new("TOTAL", 7, 0),
    Column::new("NOW/s", 7, 1),
    Column::new("MEANING", 0, 2),
];

const SHARDS: [Column; 8] = [
    Column::new("SHARD", 6, 0),
    Column::new("CLIENTS", 8, 1),
    Column::new("SYSCALLS/s", 11, 4),
    Column::new("RECEIVES/s", 11, 2),
    Column::new("SENDS/s", 8, 2),
    Column::new("BLOCKED", 8, 3),
    Column::new("STARVED", 8, 3),
    Column::new("PINNED", 0, 5),
];

/// Events that are lost, or connections; and what it means.
type Loss = (&'static str, fn(&Status) -> u64, &'static str);

const TOTALS: [Loss; 9] = [
    ("events dropped", |it| it.totals.dropped, "`latest` listeners that were too slow lost them"),
    ("listeners stalled", |it| it.totals.stalled, "disconnected, as they did not read"),
    ("clients kicked", |it| it.totals.kicked, "disconnected by whoever runs the broker"),
    ("protocol errors", |it| it.totals.protocol_errors, "disconnected: no client of this version?"),
    ("cut off in mid-frame", |it| it.totals.truncated, "their last events did not arrive"),
    ("connections refused", |it| it.totals.refused, "too many, or too many of their user"),
    ("accepting paused", |it| it.totals.accept_pauses, "no descriptors or memory were left"),
    ("events unheard", |it| it.totals.events_unheard, "nobody listens to them"),
    ("lines of the log lost", |it| it.log.lost, "they could not be written"),
];

const LINK: [Loss; 7] = [
    ("link: given up", |it| link(it, |it| it.given_up), "datagrams that peers no longer had"),
    ("link: sent again", |it| link(it, |it| it.repaired), "datagrams that the network lost"),
    ("link: frames cut off", |it| link(it, |it| it.stalled_frames), "large events of peers"),
    (
        "link: peers fell silent",
        |it| link(it, |it| it.silent),
        "and what they had not sent is lost",
    ),
    ("link: receivers not waited for", |it| link(it, |it| it.demoted), "too slow for the others"),
    ("link: dropped by the kernel", kernel_drops, "a receive buffer was full"),
    ("link: not sent", |it| it.totals.link_send_errors, "refused by the system"),
];

/// Part of a broker that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum View {
    /// Who is connected
    Clients,
    /// Clients with something in their queues, and emitters that wait for them
    Slow,
    /// Channels
    Channels,
    /// Brokers of other machines
    Peers,
    /// What was lost, refused or disconnected
    Losses,
    /// Threads of the broker
    Shards,
}

fn link(status: &Status, take: fn(&LinkCounters) -> u64) -> u64 {
    status.link.as_ref().map_or(0, |link| take(&link.counters))
}

fn kernel_drops(status: &Status) -> u64 {
    status.link_io.as_ref().map_or(0, |io| io.kernel_drops)
}

impl View {
    /// All, in the order of their keys.
    pub const ALL: [View; 6] =
        [View::Clients, View::Slow, View::Channels, View::Peers, View::Losses, View::Shards];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            View::Clients => "clients",
            View::Slow => "slow",
            View::Channels => "channels",
            View::Peers => "peers",
            View::Losses => "losses",
            View::Shards => "shards",
        }
    }

    /// Returns the one so many further on.
    pub fn next(self, further: usize) -> View {
        View::ALL[(self as usize + further) % View::ALL.len()]
    }

    /// Returns its columns.
    pub fn columns(self) -> &'static [Column] {
        match self {
            View::Clients => &CLIENTS,
            View::Slow => &SLOW,
            View::Channels => &CHANNELS,
            View::Peers => &PEERS,
            View::Losses => &LOSSES,
            View::Shards => &SHARDS,
        }
    }

    /// Returns the order that it begins with.
    pub fn first_sort(self) -> Sort {
        let title = match self {
            View::Clients | View::Channels => "OUT/s",
            View::Slow => "QUEUED",
            View::Peers => "NAME",
            View::Losses => "NOW/s",
            View::Shards => "SHARD",
        };
        let column = self.columns().iter().position(|column| column.title == title);
        self.sort_of(column.unwrap_or(0))
    }

    /// Returns the order by one of its columns: most first, but names and numbers of things
    /// upwards.
    pub fn sort_of(self, column: usize) -> Sort {
        let title = self.columns()[column].title;
        let is_name = matches!(
            title,
            "CLIENT"
                | "NAME"
                | "CHANNEL"
                | "PID"
                | "ADDRESS"
                | "PATH"
                | "WHAT"
                | "MEANING"
                | "STATE"
                | "SHARD"
        );
        Sort { column, is_ascending: is_name }
    }

    /// Returns its rows, in the order of the broker. Of a look that was for another one it
    /// has none.
    pub fn rows(self, samples: &Samples) -> Rows {
        let Some(look) = &samples.last else { return Rows::default() };
        let is_filled = look.view == self || matches!(self, View::Losses | View::Shards);
        if !is_filled {
            return Rows::default();
        }
        let rows = match self {
            View::Clients => look.page.clients.iter().map(|it| client(it, samples)).collect(),
            View::Slow => {
                let clients = look.page.clients.iter();
                clients.filter(|it| is_slow(it)).map(|it| slow(it, samples)).collect()
            }
            View::Channels => channels(look, samples),
            View::Peers => peers(look, samples),
            View::Losses => losses(look, samples),
            View::Shards => shards(look, samples),
        };
        // Of the clients that are not listed none has a longer queue than those that are.
        let is_list = matches!(self, View::Clients | View::Channels);
        let omitted = if is_list { look.page.omitted } else { 0 };
        Rows { rows, omitted }
    }
}

fn client(client: &ClientStatus, samples: &Samples) -> Row {
    let rate = |place| Cell::rate(samples.clients.rate(&client.client, place));
    let cells = vec![
        Cell::id(client.client.into()),
        Cell::text(&client.name),
        Cell::text(&client.channel),
        Cell::id(client.pid.into()),
        rate(0),
        rate(1),
        Cell::bytes(client.queued_bytes),
        Cell::count(client.dropped),
        Cell::count(client.listeners),
        Cell::text(&client.state),
    ];
    Row { cells, mood: mood(client, samples) }
}

fn is_slow(client: &ClientStatus) -> bool {
    client.queued_bytes > 0 || !matches!(&*client.state, "open" | "hello" | "closing")
}

fn slow(client: &ClientStatus, samples: &Samples) -> Row {
    let share = client.queued_bytes as f64 / client.max_queue.max(1) as f64;
    let cells = vec![
        Cell::id(client.client.into()),
        Cell::text(&client.name),
        Cell::id(client.pid.into()),
        Cell::bytes(client.queued_bytes),
        Cell::shown(Some(share), |share| format!("{:.0}%", share * 100.0)),
        Cell::rate(samples.clients.rate(&client.client, 1)),
        Cell::count(client.dropped),
        Cell::text(&waits_for(client)),
    ];
    Row { cells, mood: mood(client, samples) }
}

/// The state of a client, and for whom it waits.
fn waits_for(client: &ClientStatus) -> String {
    let mut blockers: Vec<String> = client.paused_by.iter().map(u32::to_string).collect();
    if client.paused_by_link {
        blockers.push("link".to_owned());
    }
    let latest = if client.latest { ", latest" } else { "" };
    match &*blockers {
        [] => format!("{}{latest}", client.state),
        blockers => format!("{}{latest} by {}", client.state, blockers.join(" ")),
    }
}

fn mood(client: &ClientStatus, samples: &Samples) -> Mood {
    let is_losing = samples.clients.rate(&client.client, 2).is_some_and(|rate| rate > 0.0);
    match &*client.state {
        "full" => Mood::Bad,
        _ if is_losing => Mood::Bad,
        "slow" | "paused" => Mood::Warned,
        _ => Mood::Calm,
    }
}

fn channels(look: &Look, samples: &Samples) -> Vec<Row> {
    let row = |channel: &ChannelStatus| {
        let rate = |place| Cell::rate(samples.channels.rate(&channel.name, place));
        let cells = vec![
            Cell::text(&channel.name),
            Cell::count(channel.clients),
            Cell::count(channel.listeners),
            rate(0),
            rate(1),
            Cell::bytes(channel.queued_bytes),
        ];
        Row { cells, mood: Mood::Calm }
    };
    look.page.channels.iter().map(row).collect()
}

fn peers(look: &Look, samples: &Samples) -> Vec<Row> {
    let Some(link) = &look.page.link else { return Vec::new() };
    let mut rows = Vec::new();
    for peer in &link.peers {
        let rate = |place| samples.peers.rate(&peer.session, place);
        let trip = peer.round_trip_us.map(|us| us as f64);
        let is_losing = rate(2).is_some_and(|rate| rate > 0.0);
        let cells = vec![
            Cell::text(&peer.name),
            Cell::text(&peer.address),
            Cell::text(&peer.path),
            Cell::shown(trip, |us| format!("{:.2}ms", us / 1e3)),
            Cell::rate(rate(0)),
            Cell::rate(rate(1)),
            Cell::count(peer.counters.events_lost),
            Cell::shown(Some(peer.heard_ms as f64), |ms| format!("{:.1}s", ms / 1e3)),
            Cell::shown(Some(peer.since_ms as f64), |ms| uptime(ms as u64)),
        ];
        let mood = match () {
            () if is_losing => Mood::Bad,
            () if peer.demoted > 0 || peer.is_path_narrow => Mood::Warned,
            () => Mood::Calm,
        };
        rows.push(Row { cells, mood });
    }
    // Those that should be there and are not.
    let unlinked = link.unlinked.iter();
    let unlinked = unlinked.map(|it| (format!("{} (unlinked)", it.name), &*it.address));
    let silent = link.unanswered_peers.iter().map(|it| ("(no answer)".to_owned(), &**it));
    for (name, address) in unlinked.chain(silent) {
        let mut cells = vec![Cell::text(&name), Cell::text(address), Cell::text("")];
        cells.resize_with(PEERS.len(), || Cell::rate(None));
        rows.push(Row { cells, mood: Mood::Bad });
    }
    rows
}

fn losses(look: &Look, samples: &Samples) -> Vec<Row> {
    let status = &look.status;
    let link = LINK.iter().filter(|_| status.link.is_some());
    let row = |&(what, take, meaning): &Loss| {
        let rate = samples.rate(take);
        let is_now = rate.is_some_and(|rate| rate > 0.0) && what != "events unheard";
        let cells = vec![
            Cell::text(what),
            Cell::count(take(status)),
            Cell::rate(rate),
            Cell::text(meaning),
        ];
        Row { cells, mood: if is_now { Mood::Bad } else { Mood::Calm } }
    };
    let mut rows: Vec<Row> = TOTALS.iter().chain(link).map(row).collect();
    for closed in status.closed_by_broker.iter().rev() {
        let what = format!("client {} disconnected", closed.client);
        let cells =
            vec![Cell::text(&what), Cell::rate(None), Cell::rate(None), Cell::text(&closed.reason)];
        rows.push(Row { cells, mood: Mood::Calm });
    }
    rows
}

fn shards(look: &Look, samples: &Samples) -> Vec<Row> {
    let row = |shard: &ShardSummary| {
        let io = &shard.io;
        let rate = |place| Cell::rate(samples.shards.rate(&shard.shard, place));
        let pinned = |pinned: f64| format!("{pinned} of {}", io.buffers);
        let cells = vec![
            Cell::id(shard.shard.into()),
            Cell::count(shard.clients),
            rate(0),
            rate(1),
            rate(2),
            Cell::count(io.blocked_sends),
            Cell::count(io.starvations),
            Cell::shown(Some(io.pinned_buffers as f64), pinned),
        ];
        Row { cells, mood: Mood::Calm }
    };
    look.status.shards.iter().map(row).collect()
}
