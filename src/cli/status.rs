//! `netcluster status`: what a broker says of itself, as a page or as JSON.

use std::io::{self, Write};

use netcluster::status::{ChannelStatus, ClientStatus, Status};
use netcluster_platform::account_name;
use netcluster_wire::escape;
use serde_json::{Value, json};

use super::args::{SocketArgs, StatusArgs};
use super::control::{self, connect};
use super::failure::Failure;
use super::page::{terminal_chars, titled};
use super::peers;
use super::render::escaped;
use super::table::Table;

/// Asks the broker and prints.
pub fn run(args: &StatusArgs) -> Result<(), Failure> {
    let json = if args.totals {
        let client = connect("netcluster status", &args.socket)?;
        control::ask(&client, &json!({ "do": "totals" }))?
    } else {
        ask("netcluster status", &args.socket)?
    };
    print(&if args.json { pretty(&json)? } else { page(&read(json)?, terminal_chars()) })
}

/// The broker's status. Not as a `Status`, so that what a newer broker says is
/// shown as well.
pub fn ask(name: &str, socket: &SocketArgs) -> Result<Value, Failure> {
    let client = connect(name, socket)?;
    serde_json::from_str(&client.status()?).map_err(unreadable)
}

/// Reads what this version knows of the status.
pub fn read(json: Value) -> Result<Status, Failure> {
    serde_json::from_value(json).map_err(unreadable)
}

/// Writes all of the status, for people.
pub fn pretty(json: &Value) -> Result<String, Failure> {
    let json = serde_json::to_string_pretty(json).map_err(unreadable)?;
    Ok(format!("{}\n", escape::json(&json)))
}

/// Says that an answer is not understood.
pub fn unreadable(error: serde_json::Error) -> Failure {
    Failure::other(format_args!(
        "the broker's answer is not understood ({error}): is it of another version? See --json"
    ))
}

/// Writes it all, or says why not. Whatever others had a say in is harmless.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(escape::page(text).as_bytes())
        .and_then(|()| out.flush())
        .or_else(|error| Failure::output(&error))
}

fn page(status: &Status, width: usize) -> String {
    let mut page = titled(&summary(status), width);
    let link = peers::summary(status);
    if !link.is_empty() {
        page.push_str(&format!("\n{}", titled(&link, width)));
    }
    let channels = channels(&status.channels, status.channels_omitted);
    let clients = clients(&status.clients, status.clients_omitted);
    for table in [channels, clients, shards(status), closed_by_broker(status)] {
        if !table.is_empty() {
            page.push_str(&format!("\n{}", table.fit(width)));
        }
    }
    page
}

fn summary(status: &Status) -> Vec<(&str, String)> {
    let totals = &status.totals;
    let lines = [
        (
            "broker",
            format!(
                "version {}, node {}, pid {}, up {}",
                escaped(&status.version),
                escaped(&status.node),
                status.pid,
                uptime(status.uptime_ms)
            ),
        ),
        (
            "back end",
            match &status.backend_note {
                None => escaped(&status.backend),
                Some(note) => format!("{} ({})", escaped(&status.backend), escaped(note)),
            },
        ),
        (
            "clients",
            format!(
                "{} connected, {} of them by shared memory{}, {} accepted so far, {} refused, {} \
                 without a hello, listening to {}",
                totals.clients,
                totals.shared_clients,
                no_shared_memory(status),
                totals.accepted,
                totals.refused,
                totals.silent,
                counted(totals.listeners, "pattern")
            ),
        ),
        (
            "events",
            format!(
                "{} in ({}/s), {} out ({}/s), {} unheard",
                totals.events_in,
                rate(totals.events_in_per_s),
                totals.events_out,
                rate(totals.events_out_per_s),
                totals.events_unheard
            ),
        ),
        ("bytes", format!("{} in, {} out", bytes(totals.bytes_in), bytes(totals.bytes_out))),
        (
            "queues",
            format!(
                "{} to be sent (what several clients get counts for each), {} full, {} slow, {} \
                 dropped, emitters paused {}",
                bytes(totals.queued_bytes),
                totals.full,
                totals.slow,
                counted(totals.dropped, "event"),
                counted(totals.pauses, "time")
            ),
        ),
        (
            "memory",
            format!(
                "{} of {}: queues {}, connections {}, patterns {}, routes {}, shared with clients {}",
                bytes(status.memory.used_bytes),
                bytes(status.memory.limit_bytes),
                bytes(status.memory.queues_bytes),
                bytes(status.memory.connections_bytes),
                bytes(status.memory.patterns_bytes),
                bytes(status.memory.routes_bytes),
                bytes(status.memory.shared_bytes)
            ),
        ),
        (
            "trouble",
            format!(
                "{} stalled, {} kicked, {} broke the protocol, {} ended in mid-frame, accepting paused {}; \
                 forbidden: {}, {}",
                totals.stalled,
                totals.kicked,
                totals.protocol_errors,
                totals.truncated,
                counted(totals.accept_pauses, "time"),
                counted(totals.forbidden_events, "event"),
                counted(totals.forbidden_patterns, "subscription")
            ),
        ),
    ];
    let mut lines = Vec::from(lines);
    let log = status.log;
    if log.lost + log.summed_up > 0 {
        let text = format!(
            "{} lost, as they could not be written; {} more like others, summed up",
            counted(log.lost, "line"),
            log.summed_up
        );
        lines.push(("log", text));
    }
    lines
}

/// The reason why no memory is shared, in brackets, if there is one.
fn no_shared_memory(status: &Status) -> String {
    status.shared_memory_note.as_ref().map_or_else(String::new, |it| format!(" ({})", escaped(it)))
}

/// Table of channels, of which some are left out.
pub fn channels(channels: &[ChannelStatus], omitted: u64) -> Table {
    let mut table = Table::new(&["CHANNEL", ">CLIENTS", ">LISTENERS", ">QUEUED"]);
    for channel in channels {
        table.row([
            escaped(&channel.name),
            channel.clients.to_string(),
            channel.listeners.to_string(),
            bytes(channel.queued_bytes),
        ]);
    }
    if omitted > 0 {
        let nothing = String::new;
        table.row([format!("… {omitted} more"), nothing(), nothing(), nothing()]);
    }
    table
}

/// Table of clients, of which some are left out.
pub fn clients(clients: &[ClientStatus], omitted: u64) -> Table {
    let mut table = Table::new(&[
        ">CLIENT",
        "NAME",
        "CHANNEL",
        ">SHARD",
        ">PID",
        ">UID",
        ">LISTENERS",
        ">IN",
        ">OUT",
        ">QUEUED",
        ">OF",
        ">DROPPED",
        "STATE",
    ]);
    for client in clients {
        let mut state = escaped(&client.state);
        if let Some(shared) = &client.shared {
            state.push_str(&format!(
                ", shared memory ({} of {} sent, {} unread)",
                bytes(shared.ring_held_bytes),
                bytes(shared.ring_bytes),
                bytes(shared.in_flight_bytes)
            ));
        }
        if client.latest {
            state.push_str(", latest");
        }
        let mut pausing: Vec<String> = client.paused_by.iter().map(u32::to_string).collect();
        if client.paused_by_link {
            pausing.push("the link".into());
        }
        if !pausing.is_empty() {
            state.push_str(&format!(" by {}", pausing.join(" ")));
        }
        table.row([
            client.client.to_string(),
            if client.name.is_empty() { "-".into() } else { escaped(&client.name) },
            if client.channel.is_empty() { "-".into() } else { escaped(&client.channel) },
            client.shard.to_string(),
            client.pid.to_string(),
            user(client),
            client.listeners.to_string(),
            client.events_in.to_string(),
            client.events_out.to_string(),
            bytes(client.queued_bytes),
            bytes(client.max_queue),
            client.dropped.to_string(),
            state,
        ]);
    }
    if omitted > 0 {
        let mut cells: [String; 13] = Default::default();
        cells[1] = format!("… {omitted} more");
        table.row(cells);
    }
    table
}

/// The user's number; where users have none, the name of the account.
fn user(client: &ClientStatus) -> String {
    match &client.user {
        Some(user) => escaped(&account_name(user).unwrap_or_else(|| user.clone())),
        None if client.uid == u32::MAX => "-".to_owned(),
        None => client.uid.to_string(),
    }
}

fn shards(status: &Status) -> Table {
    let mut table = Table::new(&[
        ">SHARD",
        ">CLIENTS",
        ">BUFFERS",
        ">PINNED",
        ">OF SIZE",
        ">STARVED",
        ">SYSCALLS",
        ">RECEIVES",
        ">SENDS",
        ">BLOCKED",
    ]);
    for shard in &status.shards {
        let io = &shard.io;
        table.row([
            shard.shard.to_string(),
            shard.clients.to_string(),
            io.buffers.to_string(),
            io.pinned_buffers.to_string(),
            bytes(io.buffer_bytes),
            io.starvations.to_string(),
            io.syscalls.to_string(),
            io.receives.to_string(),
            io.sends.to_string(),
            io.blocked_sends.to_string(),
        ]);
    }
    table
}

fn closed_by_broker(status: &Status) -> Table {
    let mut table = Table::new(&[">CLOSED", "WHY"]);
    for client in &status.closed_by_broker {
        table.row([client.client.to_string(), escaped(&client.reason)]);
    }
    table
}

/// `1 time`, `2 times`.
pub fn counted(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn rate(per_second: f64) -> String {
    match per_second {
        low if low < 10.0 => format!("{low:.1}"),
        high => format!("{high:.0}"),
    }
}

/// `8 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) if bytes.is_multiple_of(*size) => format!("{} {unit}", bytes / size),
        Some((size, unit)) => format!("{:.1} {unit}", bytes as f64 / *size as f64),
        None => format!("{bytes} B"),
    }
}

/// `1min 1s`.
pub fn uptime(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d {}h", hours % 24),
        () if hours > 0 => format!("{hours}h {}min", minutes % 60),
        () if minutes > 0 => format!("{minutes}min {}s", seconds % 60),
        () => format!("{}.{}s", seconds, ms % 1000 / 100),
    }
}

#[cfg(test)]
mod tests {
    use netcluster::status::{ClientStatus, ClosedClient};

    use super::*;

    #[test]
    fn amounts_are_readable() {
        assert_eq!(counted(1, "time"), "1 time");
        assert_eq!(counted(0, "time"), "0 times");
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(8 << 20), "8 MiB");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(uptime(1_250), "1.2s");
        assert_eq!(uptime(61_000), "1min 1s");
        assert_eq!(uptime(3_660_000), "1h 1min");
        assert_eq!(uptime(90_000_000), "1d 1h");
        assert_eq!(rate(0.25), "0.2");
        assert_eq!(rate(1234.5), "1234");
    }

    /// Rows of 110 characters and lines of 130 were a tangle in a terminal of 80.
    #[test]
    fn a_page_is_no_wider_than_the_terminal() {
        let mut status = Status::default();
        let mut client = ClientStatus::default();
        client.name = "n".repeat(255);
        client.channel = "default".into();
        client.state = "paused".into();
        client.paused_by = vec![1 << 20; 20];
        client.events_in = u64::MAX;
        status.clients.push(client);
        status.channels.push(Default::default());
        status.shards.push(Default::default());
        let mut closed = ClosedClient::default();
        closed.reason = "a client that does not read ".repeat(9);
        status.closed_by_broker.push(closed);
        for width in [40, 80, 120] {
            let page = page(&status, width);
            assert!(page.lines().all(|line| line.chars().count() <= width), "{page}");
            assert_eq!(
                page.matches('n').count(),
                super::page(&status, usize::MAX).matches('n').count()
            );
            assert!(page.contains("DROPPED"), "{page}");
        }
    }

    #[test]
    fn what_clients_call_themselves_cannot_break_the_page() {
        let mut status = Status::default();
        let mut client = ClientStatus::default();
        client.name = "a\nb\x1b[2J".into();
        status.clients.push(client);
        let mut closed = ClosedClient::default();
        (closed.client, closed.reason) = (7, "stalled\n".into());
        status.closed_by_broker.push(closed);
        let page = page(&status, usize::MAX);
        assert!(page.contains("a\\nb\\u{1b}[2J"), "{page}");
        assert!(page.contains("     7  stalled\\n\n"), "{page}");
    }
}
