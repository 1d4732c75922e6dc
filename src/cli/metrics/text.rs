//! A status as Prometheus's text format has it.
//!
//! Names follow <https://prometheus.io/docs/practices/naming>: `netcluster_`, base units,
//! `_total` for what only grows. Labels are few: shards, reasons, and at most so many
//! channels, the others being `other`.

use std::fmt::Write;
use std::time::{Duration, SystemTime};

use netcluster::status::{Histogram, LinkIo, LinkStatus, Status};
use serde_json::Value;

use super::ChannelsPage;

/// Type of the text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Channel that stands for all that are not named.
const OTHER: &str = "other";

/// A metric that only grows.
const COUNTER: &str = "counter";
/// A metric that goes up and down.
const GAUGE: &str = "gauge";

/// Text that grows metric by metric.
struct Page(String);

impl Page {
    /// Begins a metric.
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a string does not fail.
        let _ =
            writeln!(self.0, "# HELP netcluster_{name} {help}\n# TYPE netcluster_{name} {kind}");
    }

    fn value(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.0, "netcluster_{name}");
        for (at, (label, text)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }

    /// Appends a metric without labels.
    fn one(&mut self, kind: &str, name: &str, help: &str, value: f64) {
        self.head(name, kind, help);
        self.value(name, &[], value);
    }

    /// Appends a metric with one label.
    fn each<'a>(
        &mut self,
        kind: &str,
        (name, label): (&str, &str),
        help: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        self.head(name, kind, help);
        for (text, value) in values {
            self.value(name, &[(label, text)], value);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let (bucket, mut sum) = (format!("{name}_bucket"), 0);
        let bounds = histogram.bounds.iter().map(f64::to_string);
        for (count, bound) in histogram.counts.iter().zip(bounds.chain(["+Inf".to_owned()])) {
            sum += count;
            self.value(&bucket, &[("le", &bound)], sum as f64);
        }
        self.value(&format!("{name}_sum"), &[], histogram.sum);
        self.value(&format!("{name}_count"), &[], sum as f64);
    }
}

/// A label's value, in which `\`, `"` and the end of a line are written otherwise.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Writes all metrics of a broker that took so long to answer.
pub fn metrics(status: &Status, channels: &ChannelsPage, took: Duration) -> String {
    let mut page = Page(String::new());
    about(&mut page, status, took);
    totals(&mut page, status);
    memory(&mut page, status);
    shards(&mut page, status);
    self::channels(&mut page, status, channels);
    let help = "Clients that each run of events of a client of this machine went to";
    page.histogram("fan_out_targets", help, &status.fan_out);
    let help = "Time for which a client's queue was not empty, as its socket took no more; 0 if all went at once";
    page.histogram("queueing_delay_seconds", help, &status.queueing_delay);
    if let Some(link) = &status.link {
        self::link(&mut page, link, status.link_io.as_ref());
    }
    page.0
}

fn about(page: &mut Page, status: &Status, took: Duration) {
    page.head("build_info", GAUGE, "The broker; always 1");
    let labels =
        [("version", &*status.version), ("node", &*status.node), ("backend", &*status.backend)];
    page.value("build_info", &labels, 1.0);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let started = now.saturating_sub(Duration::from_millis(status.uptime_ms)).as_secs_f64();
    page.one(GAUGE, "start_time_seconds", "Start of the broker since 1970", started);
    let took = took.as_secs_f64();
    page.one(GAUGE, "scrape_duration_seconds", "Time that the broker took to answer this", took);
    page.one(
        GAUGE,
        "shared_memory_available",
        "Whether memory can be shared with clients",
        f64::from(u8::from(status.shared_memory_note.is_none())),
    );
    let log = status.log;
    page.each(
        COUNTER,
        ("log_lines_omitted_total", "reason"),
        "Lines that the log does not have",
        [("lost", log.lost as f64), ("summed_up", log.summed_up as f64)],
    );
}

fn totals(page: &mut Page, status: &Status) {
    let totals = &status.totals;
    let gauges: [(&str, &str, u64); 7] = [
        ("clients", "Clients that are connected", totals.clients),
        ("shared_memory_clients", "Clients that use shared memory", totals.shared_clients),
        ("silent_connections", "Connections that have not said hello", totals.silent),
        ("listeners", "Pairs of pattern and client", totals.listeners),
        ("queued_bytes", "Bytes waiting in the queues of clients", totals.queued_bytes),
        ("full_clients", "Clients whose queues are full, so that emitters wait", totals.full),
        ("slow_clients", "Clients whose queues lag behind their sockets", totals.slow),
    ];
    for (name, help, value) in gauges {
        page.one(GAUGE, name, help, value as f64);
    }
    let counters: [(&str, &str, u64); 17] = [
        ("events_received_total", "Events received from clients", totals.events_in),
        ("events_queued_total", "Events queued to clients", totals.events_out),
        ("events_unheard_total", "Events that nobody listened to", totals.events_unheard),
        ("events_dropped_total", "Events that latest clients lost", totals.dropped),
        ("link_events_received_total", "Events of other brokers", totals.link_events_in),
        ("received_bytes_total", "Bytes received from clients", totals.bytes_in),
        ("sent_bytes_total", "Bytes sent to clients", totals.bytes_out),
        ("emitter_pauses_total", "Times that an emitter was paused", totals.pauses),
        ("connections_accepted_total", "Connections accepted", totals.accepted),
        ("connections_refused_total", "Connections over a limit", totals.refused),
        ("accept_pauses_total", "Times that accepting had to pause", totals.accept_pauses),
        ("connections_truncated_total", "Connections that ended in mid-frame", totals.truncated),
        ("link_send_errors_total", "Sends to brokers that failed", totals.link_send_errors),
        ("copied_head_bytes_total", "Bytes of headers that were copied", totals.copied_head_bytes),
        ("copied_out_bytes_total", "Bytes copied for laggards", totals.copied_out_bytes),
        ("route_misses_total", "Looks at patterns that no cache saved", totals.route_misses),
        ("closed_by_broker_total", "Clients that the broker disconnected", {
            totals.stalled + totals.kicked + totals.protocol_errors
        }),
    ];
    for (name, help, value) in counters {
        page.one(COUNTER, name, help, value as f64);
    }
    page.each(
        COUNTER,
        ("disconnected_total", "reason"),
        "Clients that the broker disconnected, by reason",
        [
            ("stalled", totals.stalled as f64),
            ("kicked", totals.kicked as f64),
            ("protocol", totals.protocol_errors as f64),
        ],
    );
}

fn memory(page: &mut Page, status: &Status) {
    let memory = &status.memory;
    let parts = [
        ("queues", memory.queues_bytes),
        ("connections", memory.connections_bytes),
        ("patterns", memory.patterns_bytes),
        ("routes", memory.routes_bytes),
        ("shared", memory.shared_bytes),
    ];
    let parts = parts.map(|(name, bytes)| (name, bytes as f64));
    page.each(GAUGE, ("memory_bytes", "use"), "Memory that clients make the broker keep", parts);
    page.one(GAUGE, "memory_used_bytes", "Sum of that", memory.used_bytes as f64);
    page.one(GAUGE, "memory_limit_bytes", "Limit of that: --max-memory", memory.limit_bytes as f64);
}

fn shards(page: &mut Page, status: &Status) {
    type Take = fn(&netcluster::status::ShardSummary) -> u64;
    let metrics: [(&str, &str, &str, Take); 9] = [
        (GAUGE, "shard_clients", "Clients of the shard", |shard| shard.clients),
        (COUNTER, "shard_syscalls_total", "System calls", |shard| shard.io.syscalls),
        (COUNTER, "shard_receives_total", "Receives that brought bytes", |shard| shard.io.receives),
        (COUNTER, "shard_sends_total", "Sends", |shard| shard.io.sends),
        (COUNTER, "shard_blocked_sends_total", "Sends taken in part", |it| it.io.blocked_sends),
        (COUNTER, "shard_starvations_total", "Times without a receive buffer", |it| {
            it.io.starvations
        }),
        (GAUGE, "shard_buffers", "Receive buffers", |shard| shard.io.buffers),
        (GAUGE, "shard_pinned_buffers", "Buffers pinned by events", |it| it.io.pinned_buffers),
        (GAUGE, "shard_buffer_bytes", "Bytes of one receive buffer", |it| it.io.buffer_bytes),
    ];
    let names: Vec<String> = status.shards.iter().map(|shard| shard.shard.to_string()).collect();
    for (kind, name, help, take) in metrics {
        let values = status.shards.iter().map(|shard| take(shard) as f64);
        page.each(kind, (name, "shard"), help, names.iter().map(String::as_str).zip(values));
    }
}

/// The channels with the most clients, and all others as one.
fn channels(page: &mut Page, status: &Status, channels: &ChannelsPage) {
    type Take = fn(&netcluster::status::ChannelStatus) -> u64;
    let named: Vec<_> = channels.channels.iter().filter(|channel| channel.name != OTHER).collect();
    let sum = |take: Take| -> u64 { named.iter().map(|channel| take(channel)).sum() };
    let totals = &status.totals;
    // Each was read at its own moment.
    let rest = [
        totals.clients.saturating_sub(sum(|it| it.clients)),
        totals.listeners.saturating_sub(sum(|it| it.listeners)),
        totals.queued_bytes.saturating_sub(sum(|it| it.queued_bytes)),
    ];
    let metrics: [(&str, &str, Take); 3] = [
        ("channel_clients", "Clients of the channel", |it| it.clients),
        ("channel_listeners", "Pairs of pattern and client of the channel", |it| it.listeners),
        ("channel_queued_bytes", "Bytes in the queues of its clients", |it| it.queued_bytes),
    ];
    for ((name, help, take), rest) in metrics.into_iter().zip(rest) {
        let values = named.iter().map(|channel| (&*channel.name, take(channel) as f64));
        page.each(GAUGE, (name, "channel"), help, values.chain([(OTHER, rest as f64)]));
    }
    let known = channels.channels.len() as u64 + channels.omitted;
    page.one(GAUGE, "channels", "Channels that clients are on", known as f64);
}

fn link(page: &mut Page, link: &LinkStatus, io: Option<&LinkIo>) {
    let counters = &link.counters;
    page.one(GAUGE, "link_peers", "Brokers that this one is linked with", link.peers_total as f64);
    page.one(
        GAUGE,
        "link_missing_pairs",
        "Pairs of brokers that do not hear each other",
        link.missing_pairs_total as f64,
    );
    page.one(
        GAUGE,
        "link_unanswered_peers",
        "Configured peers that do not answer",
        link.unanswered_peers.len() as f64,
    );
    page.one(
        GAUGE,
        "link_unlinked_brokers",
        "Brokers that are heard and do not answer",
        link.unlinked.len() as f64,
    );
    let expected = link.expected_peers.iter().map(|name| {
        let is_missing = link.missing_peers.contains(name);
        (&**name, f64::from(u8::from(is_missing)))
    });
    let help = "Whether a broker that is expected (--expect-peer) is not linked";
    page.each(GAUGE, ("expected_peer_missing", "peer"), help, expected);
    page.one(GAUGE, "peers_missing", "Number of those", link.missing_peers.len() as f64);
    let metrics: [(&str, &str, u64); 14] = [
        ("received_datagrams_total", "Datagrams received and used", counters.received),
        ("received_bytes_total", "Bytes of them", counters.received_bytes),
        ("sent_datagrams_total", "Data datagrams sent for the first time", counters.sent),
        ("sent_bytes_total", "Bytes of them", counters.sent_bytes),
        ("repaired_datagrams_total", "Data datagrams sent again", counters.repaired),
        ("control_datagrams_sent_total", "Control datagrams sent", counters.control_sent),
        ("refused_datagrams_total", "Datagrams that sockets refused", counters.refused),
        ("given_up_datagrams_total", "Datagrams asked for in vain", counters.given_up),
        ("naks_sent_total", "Retransmission requests sent", counters.naks_sent),
        ("naks_received_total", "Retransmission requests received", counters.naks_received),
        ("demotions_total", "Times that a receiver was waited for no more", counters.demoted),
        ("peers_silent_total", "Peers that fell silent", counters.silent),
        ("peers_established_total", "Sessions that became peers", counters.established),
        ("stalled_frames_total", "Large events that peers did not finish", counters.stalled_frames),
    ];
    for (name, help, value) in metrics {
        page.one(COUNTER, &format!("link_{name}"), help, value as f64);
    }
    // As many reasons as the link has.
    let drops = serde_json::to_value(counters.drops).unwrap_or_default();
    let drops = drops.as_object().into_iter().flatten();
    let drops: Vec<_> = drops
        .map(|(reason, count)| (reason.as_str(), Value::as_f64(count).unwrap_or(0.0)))
        .collect();
    let help = "Datagrams that were received and not used, by reason";
    page.each(COUNTER, ("link_dropped_datagrams_total", "reason"), help, drops);
    if let Some(io) = io {
        let help = "Datagrams that the kernel dropped, as a receive buffer was full";
        page.one(COUNTER, "link_kernel_drops_total", help, io.kernel_drops as f64);
        let help = "Datagrams that a socket refused to send";
        page.one(COUNTER, "link_socket_errors_total", help, io.send_errors as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use netcluster::status::ChannelStatus;

    use super::*;

    fn channel(name: &str, clients: u64) -> ChannelStatus {
        let mut channel = ChannelStatus::default();
        (channel.name, channel.clients) = (name.to_owned(), clients);
        channel
    }

    #[test]
    fn channels_that_are_not_named_are_one() {
        let mut status = Status::default();
        status.totals.clients = 100;
        let channels = ChannelsPage {
            channels: vec![channel("a\"\\\n", 40), channel("other", 20), channel("b", 10)],
            omitted: 7,
        };
        let text = metrics(&status, &channels, Duration::ZERO);
        assert!(
            text.contains("netcluster_channel_clients{channel=\"a\\\"\\\\\\n\"} 40\n"),
            "{text}"
        );
        assert!(text.contains("netcluster_channel_clients{channel=\"other\"} 50\n"), "{text}");
        assert!(text.contains("netcluster_channels 10\n"), "{text}");
    }

    #[test]
    fn each_metric_has_one_head_and_its_convention() {
        let mut status = Status::default();
        status.link = Some(LinkStatus::default());
        status.link_io = Some(LinkIo::default());
        status.shards.push(Default::default());
        let text = metrics(&status, &ChannelsPage::default(), Duration::ZERO);
        let mut named = HashSet::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
            let (name, kind) = line.split_once(' ').unwrap();
            assert!(named.insert(name), "{name} has two heads");
            assert_eq!(name.ends_with("_total"), kind == "counter", "{name} {kind}");
            assert!(name.starts_with("netcluster_"));
        }
        assert!(named.len() > 60, "{}", named.len());
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let mut page = Page(String::new());
        let mut histogram = Histogram::default();
        (histogram.bounds, histogram.counts, histogram.sum) = (vec![0.0, 1.0], vec![1, 2, 3], 9.5);
        page.histogram("x", "help", &histogram);
        let lines: Vec<&str> = page.0.lines().skip(2).collect();
        let expected = [
            "netcluster_x_bucket{le=\"0\"} 1",
            "netcluster_x_bucket{le=\"1\"} 3",
            "netcluster_x_bucket{le=\"+Inf\"} 6",
            "netcluster_x_sum 9.5",
            "netcluster_x_count 6",
        ];
        assert_eq!(lines, expected);
    }
}
