//! `netcluster peers`: the brokers of other machines, as this one sees them.
//!
//! The broker's status has it all; here it becomes a table, a few lines about the
//! link itself, and in `trouble` sentences about what is not as it should be.

pub(super) mod trouble;

use netcluster::status::{LinkIo, Status};
use netcluster_link::LinkStatus;
use netcluster_link::status::{PeerStatus, StreamChannels};
use serde::Deserialize;
use serde_json::{Value, json};

use super::args::PeersArgs;
use super::control::{self, connect};
use super::failure::Failure;
use super::page::{terminal_chars, titled, wrapped};
use super::render::escaped;
use super::status::{self, bytes, counted, uptime};
use super::table::Table;

/// Number of a session's digits that are shown: enough to tell two apart.
const SESSION_DIGITS: usize = 8;

/// Width of the mark before a sentence about a trouble, and of the space behind it.
const MARK_CHARS: usize = 2;

/// Asks the broker and prints.
pub fn run(args: &PeersArgs) -> Result<(), Failure> {
    let client = connect("netcluster peers", &args.socket)?;
    let mut whole = linked(control::ask(&client, &json!({ "do": "peers" }))?)?;
    status::print(&if args.json {
        status::pretty(&json!({
            "schema": whole["schema"].take(),
            "link": whole["link"].take(),
            "link_io": whole["link_io"].take(),
        }))?
    } else {
        page(&read(whole)?, args.verbose, terminal_chars())
    })
}

/// Returns what a broker says of its link, if it has one.
pub fn linked(whole: Value) -> Result<Value, Failure> {
    if whole.get("link").is_none_or(Value::is_null) {
        return Err(Failure::other(
            "the broker has no link: it was started without --link, so it hears no other machine \
             (`netcluster link open` opens it)",
        ));
    }
    Ok(whole)
}

/// Reads what this version knows of a link.
pub fn read(json: Value) -> Result<Status, Failure> {
    #[derive(Deserialize)]
    struct Link {
        link: Option<LinkStatus>,
        link_io: Option<LinkIo>,
    }
    let Link { link, link_io } = serde_json::from_value(json).map_err(status::unreadable)?;
    let mut status = Status::default();
    (status.link, status.link_io) = (link, link_io);
    Ok(status)
}

/// Writes the page for people, for a terminal of this width.
fn page(status: &Status, verbose: bool, width: usize) -> String {
    let Some(link) = &status.link else { return String::new() };
    let mut page = titled(&summary(status), width);
    let mut tables = vec![peers(link)];
    if verbose {
        tables.extend([incoming(link), own(link)]);
    }
    for table in tables.iter().filter(|table| !table.is_empty()) {
        page.push_str(&format!("\n{}", table.fit(width)));
    }
    let troubles = trouble::sentences(link, status.link_io.as_ref());
    if !troubles.is_empty() {
        page.push('\n');
    }
    for sentence in troubles {
        for (at, line) in wrapped(&sentence, width - MARK_CHARS).iter().enumerate() {
            page.push_str(&format!("{} {line}\n", if at == 0 { "!" } else { " " }));
        }
    }
    page
}

/// Writes the lines about the link itself, which `status` shows too; none without one.
pub fn summary(status: &Status) -> Vec<(&str, String)> {
    let Some(link) = &status.link else { return Vec::new() };
    let counters = &link.counters;
    let seal = if link.is_sealed { "sealed" } else { "open to all" };
    let looking = if link.is_discovering { ", still looking for others" } else { "" };
    let mut lines = vec![
        (
            "link",
            format!(
                "cluster {} at {}, {}, {seal}, {}{looking}",
                escaped(&link.cluster),
                escaped(&link.group),
                counted(link.groups.into(), "group"),
                counted(link.peers.len() as u64, "peer"),
            ),
        ),
        (
            "traffic",
            format!(
                "{} sent ({}), {} again, {} received ({})",
                counted(counters.sent, "datagram"),
                bytes(counters.sent_bytes),
                counters.repaired,
                counters.received,
                bytes(counters.received_bytes),
            ),
        ),
        (
            "events",
            format!(
                "{} nobody else wanted, {} came for nobody here",
                counters.events_unwanted, counters.events_unheard
            ),
        ),
    ];
    if let Some(io) = &status.link_io {
        lines.push((
            "sockets",
            format!(
                "{} on {}, receive buffer {}, {} dropped by the kernel, {} not sent",
                escaped(&io.unicast),
                escaped(&io.interface),
                bytes(io.receive_buffer_bytes),
                counted(io.kernel_drops, "datagram"),
                io.send_errors,
            ),
        ));
    }
    lines
}

/// Table of peers, by name.
fn peers(link: &LinkStatus) -> Table {
    let mut table = Table::new(&[
        "NODE",
        "NAME",
        "ADDRESS",
        "SESSION",
        "PATH",
        ">ROUND TRIP",
        ">SINCE",
        ">SENT",
        ">RECEIVED",
        ">REPAIRED",
        ">LOST",
        ">NAKS IN",
        ">OUT",
        ">GROUPS",
        ">MISSING",
    ]);
    for peer in by_name(link) {
        let counters = &peer.counters;
        let missing: u64 = peer.streams.iter().map(|stream| u64::from(stream.missing)).sum();
        table.row([
            escaped(&peer.node),
            escaped(&peer.name),
            escaped(&peer.address),
            escaped(&peer.session).chars().take(SESSION_DIGITS).collect(),
            escaped(&peer.path),
            peer.round_trip_us.map_or_else(|| "-".to_owned(), milliseconds),
            uptime(peer.since_ms),
            counters.sent_unicast.to_string(),
            counters.received.to_string(),
            counters.repaired.to_string(),
            lost(counters.events_lost, counters.losses_unknown),
            counters.naks_received.to_string(),
            counters.naks_sent.to_string(),
            peer.groups_wanted.count_ones().to_string(),
            missing.to_string(),
        ]);
    }
    table
}

/// Table of the streams of peers.
fn incoming(link: &LinkStatus) -> Table {
    let mut table = Table::new(&[
        "FROM",
        "STREAM",
        ">POSITION",
        ">MISSING",
        ">EVER MISSED",
        ">NAKS OUT",
        ">REPAIRED",
        ">LOST",
        "CHANNELS",
    ]);
    for peer in by_name(link) {
        for stream in &peer.streams {
            table.row([
                escaped(&peer.name),
                stream_name(stream.group, stream.index),
                stream.position.to_string(),
                stream.missing.to_string(),
                stream.seen_lost.to_string(),
                stream.naks_sent.to_string(),
                stream.repaired.to_string(),
                lost(stream.events_lost, stream.losses_unknown),
                channels(link, stream.group, stream.index),
            ]);
        }
    }
    table
}

/// Table of the streams of this broker.
fn own(link: &LinkStatus) -> Table {
    let mut table = Table::new(&[
        "OWN STREAM",
        ">RECEIVERS",
        ">SENT",
        ">KEPT",
        ">WINDOW",
        ">WAITING",
        ">NAKS IN",
        ">REPAIRED",
        "CHANNELS",
    ]);
    for stream in &link.streams {
        let window = |limit: u64| limit.saturating_sub(stream.next).to_string();
        table.row([
            stream_name(stream.group, stream.index),
            stream.receivers.to_string(),
            stream.next.to_string(),
            stream.next.saturating_sub(stream.tail).to_string(),
            stream.limit.map_or_else(|| "-".to_owned(), window),
            bytes(stream.queued_bytes as u64),
            stream.naks_received.to_string(),
            stream.repaired.to_string(),
            channels(link, stream.group, stream.index),
        ]);
    }
    table
}

fn by_name(link: &LinkStatus) -> Vec<&PeerStatus> {
    let mut peers: Vec<&PeerStatus> = link.peers.iter().collect();
    peers.sort_by_key(|peer| (&peer.name, &peer.node, &peer.session));
    peers
}

fn lost(events: u64, times_unknown: u64) -> String {
    match times_unknown {
        0 => events.to_string(),
        // It came to pass when nobody could count.
        _ => format!(">{events}"),
    }
}

/// The channels of this broker in a stream: some by name, others by number.
fn channels(link: &LinkStatus, group: u8, index: u8) -> String {
    let is_it = |channels: &&StreamChannels| (channels.group, channels.index) == (group, index);
    let Some(StreamChannels { names, total, .. }) = link.channels.iter().find(is_it) else {
        return "-".to_owned();
    };
    let mut names: Vec<String> = names.iter().map(|name| escaped(name)).collect();
    if *total > names.len() {
        names.push(format!("{} more", total - names.len()));
    }
    names.join(", ")
}

/// A group's ordinary stream is named by the group alone.
fn stream_name(group: u8, index: u8) -> String {
    match index {
        0 => group.to_string(),
        index => format!("{group}.{index}"),
    }
}

/// `1.25 ms`.
pub fn milliseconds(us: u64) -> String {
    format!("{}.{:02} ms", us / 1000, us % 1000 / 10)
}

#[cfg(test)]
mod tests;
