//! Rows of the README's table: the scenario, what it is compared with, and the numbers
//! that are shown.
//!
//! Goals are printed beside the figures; nothing passes or fails by time.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::args::Table;
use crate::interrupt;
use crate::metric::Metric;
use crate::pairs::{Against, Pairs, median};
use crate::pin::Pin;
use crate::plan::Scenario;
use crate::progress::Progress;
use crate::run::Runner;
use crate::summary;
use crate::transport::{SharedMemory, Transport};

/// Number of runs of rows that open very many connections, beside nothing.
const FEW_PAIRS: usize = 3;
const IDLE_SECONDS: f64 = 10.0;
const LATENCY_RATE: u64 = 10_000;
/// Time that clients and broker of a round trip look for events before they sleep.
const SPIN_US: u64 = 50;

/// Scenario and the numbers of it that are shown.
struct Row {
    name: String,
    scenario: Scenario,
    against: Option<Against>,
    /// Numbers that are shown, each with its goal or nothing.
    shown: Vec<(Metric, &'static str)>,
}

/// Outcome of a row.
pub struct Measured {
    row: Row,
    pairs: Pairs,
}

/// Runs all rows that are asked for. An interrupt ends the table with the rows that there
/// are.
///
/// # Errors
/// If a run fails, or no row has such a name.
pub fn run(table: &Table, runner: &Runner) -> Result<Vec<Measured>> {
    let asked = |row: &Row| {
        table.row.is_empty() || table.row.iter().any(|text| row.name.contains(text.as_str()))
    };
    let rows: Vec<Row> = rows(table).into_iter().filter(asked).collect();
    ensure!(!rows.is_empty(), "no row's name holds {}", table.row.join(" or "));
    let repeats_of = |row: &Row| match (row.scenario.connections, row.against) {
        (Some(_), None) => table.repeats.min(FEW_PAIRS),
        _ => table.repeats,
    };
    let halves = |row: &Row| if row.against.is_some() { 2 } else { 1 };
    let runs = rows.iter().map(|row| repeats_of(row) * halves(row)).sum();
    let mut progress = Progress::new(runs, table.seconds);
    let mut measured = Vec::new();
    for row in rows {
        progress.describe(&row.name);
        let repeats = repeats_of(&row);
        let pairs = Pairs::run(&row.scenario, row.against, repeats, runner, || progress.step());
        match pairs {
            Ok(pairs) => measured.push(Measured { row, pairs }),
            Err(_) if interrupt::requested() => break,
            Err(error) => return Err(error.context(row.name)),
        }
        if interrupt::requested() {
            break;
        }
    }
    Ok(measured)
}

/// Writes the table as Markdown.
pub fn markdown(measured: &[Measured]) -> String {
    let mut out = String::from(
        "| scenario | | measured | beside | ratio, median | 95 % interval | goal |\n|---|---|---|---|---|---|---|\n",
    );
    for Measured { row, pairs } in measured {
        let mut name = row.name.as_str();
        for (metric, goal) in &row.shown {
            let show = |runs: &[_]| {
                median(runs, *metric).map_or("–".into(), |value| metric.show(value.median))
            };
            let (mut beside, mut ratio, mut interval) = Default::default();
            if let Some(against) = row.against {
                beside = format!("{} {}", against.name(), show(&pairs.baseline));
                if let Some(found) = pairs.ratio(*metric) {
                    ratio = format!("{:.2}", found.median);
                    interval = format!("{:.2}–{:.2}", found.low, found.high);
                }
            }
            let (what, own) = (metric.name(), show(&pairs.runs));
            out += &format!(
                "| {name} | {what} | {own} | {beside} | {ratio} | {interval} | {goal} |\n"
            );
            name = "";
        }
        let counts = summary::counts(&[&pairs.runs[..], &pairs.baseline[..]].concat());
        if !counts.is_clean() {
            out += &format!(
                "| | **lost {}, duplicated {}, corrupt {}** | | | | | |\n",
                counts.lost, counts.duplicated, counts.corrupt
            );
        }
    }
    out
}

/// Writes the table as JSON.
pub fn json(measured: &[Measured]) -> Value {
    let row = |Measured { row, pairs }: &Measured| {
        let mut value = summary::json(&row.scenario, pairs, row.against);
        value["row"] = json!(row.name);
        value
    };
    measured.iter().map(row).collect()
}

/// Returns whether every event of every run came once and whole.
pub fn is_clean(measured: &[Measured]) -> bool {
    measured.iter().all(|measured| measured.pairs.is_clean())
}

fn rows(table: &Table) -> Vec<Row> {
    let base = Scenario {
        seconds: table.seconds,
        shards: Some(table.common.shards.unwrap_or(1)),
        backend: table.common.backend.clone(),
        // As the relay's clients; rows that share memory say so.
        transport: Transport::SOCKETS,
        ..Scenario::default()
    };
    let mut rows = beside_relay(&base, "");
    let two = Scenario { shards: Some(2), ..base.clone() };
    rows.extend(beside_relay(&two, ", 2 shards").into_iter().map(without_goals));
    rows.push(Row {
        name: "1→1 16 B, 2 shards beside 1".into(),
        scenario: Scenario { size: 16, ..two },
        against: Some(Against::OneShard),
        shown: vec![(Metric::EventsPerS, "0.9–1.1")],
    });
    rows.extend(others(&base));
    let uring = Scenario { backend: Some("uring".into()), ..base.clone() };
    rows.extend(beside_relay(&uring, ", uring beside poll").into_iter().map(|row| Row {
        against: Some(Against::Poll),
        shown: row.shown.into_iter().map(|(metric, _)| (metric, no_slower(metric))).collect(),
        ..row
    }));
    rows.extend(shared(&base));
    rows
}

/// Makes the rows that are compared with the relay.
fn beside_relay(base: &Scenario, suffix: &str) -> Vec<Row> {
    let row = |name: &str, scenario, shown: &[(Metric, &'static str)]| Row {
        name: format!("{name}{suffix}"),
        scenario,
        against: Some(Against::Relay),
        shown: shown.to_vec(),
    };
    let mut rows = Vec::new();
    for listeners in [1, 8] {
        for (size, label) in
            [(16, "16 B"), (1 << 10, "1 KB"), (16 << 10, "16 KB"), (64 << 10, "64 KB")]
        {
            let mut shown =
                vec![(Metric::EventsPerS, if size == 16 { "≥ 0.75" } else { "≥ 0.95" })];
            if size == 16 {
                let goal = if listeners == 1 { "≤ 1.5" } else { "" };
                shown.extend([(Metric::BrokerCpu, goal), (Metric::Syscalls, "")]);
            }
            let scenario = Scenario { listeners, size, ..base.clone() };
            rows.push(row(&format!("1→{listeners} {label}"), scenario, &shown));
        }
    }
    let four = Scenario { emitters: 4, listeners: 4, events: 4, ..base.clone() };
    rows.push(row("4→4 64 B, four events", four, &[(Metric::EventsPerS, "≥ 0.75")]));
    // Left to the scheduler it would show where the processes were, not what they do.
    for pin in [Pin::One, Pin::Two] {
        let trip = Scenario { round_trip: true, pin: Some(pin), ..base.clone() };
        let shown = [(Metric::P50, "≤ 1.15"), (Metric::P99, "≤ 1.15")];
        rows.push(row(&format!("round trip 64 B, {pin}"), trip, &shown));
    }
    rows
}

/// Makes the rows that have no relay.
fn others(base: &Scenario) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, stuck) in [("one slow reader", false), ("one stuck listener", true)] {
        let other = Scenario { stuck, slow_reader: !stuck, ..base.clone() };
        rows.push(Row {
            name: format!("1→1 64 B, {name} beside none"),
            scenario: other.clone(),
            against: Some(Against::Plain),
            shown: vec![(Metric::EventsPerS, "unchanged")],
        });
        rows.push(Row {
            name: format!("1→1 64 B at 10 k/s, {name} beside none"),
            scenario: Scenario { rate: Some(LATENCY_RATE), ..other },
            against: Some(Against::Plain),
            shown: vec![(Metric::P50, "unchanged"), (Metric::P99, "unchanged")],
        });
    }
    rows.push(Row {
        name: "1→1 16 B, 100,000 other patterns beside none".into(),
        scenario: Scenario { size: 16, patterns: 100_000, ..base.clone() },
        against: Some(Against::Plain),
        shown: vec![(Metric::EventsPerS, "≥ 0.97")],
    });
    let many = |connections| Scenario {
        connections: Some(connections),
        events: connections,
        ..base.clone()
    };
    let memory = |goal| [(Metric::DrainedRss, goal), (Metric::PeakRss, "")];
    let mut shown = vec![(Metric::EventsPerS, "≥ 1 M"), (Metric::FramesPerSend, "")];
    shown.extend(memory("≤ 12 MB"));
    rows.push(Row {
        name: "1,000 connections 64 B".into(),
        scenario: many(1000),
        against: None,
        shown,
    });
    let mut shown = vec![(Metric::EventsPerS, ""), (Metric::FramesPerSend, "")];
    shown.extend(memory("≤ 48 MB"));
    rows.push(Row {
        name: "10,000 connections 64 B".into(),
        scenario: many(10_000),
        against: None,
        shown,
    });
    rows.push(Row {
        name: "1,000 connections, idle for 10 s".into(),
        scenario: Scenario { idle: Some(IDLE_SECONDS), ..many(1000) },
        against: None,
        shown: vec![
            (Metric::WindowCpu, "none"),
            (Metric::WindowSwitches, "≤ 1 per s"),
            (Metric::IdleRss, ""),
        ],
    });
    rows
}

/// Makes the rows that share memory, beside the same by sockets.
fn shared(base: &Scenario) -> Vec<Row> {
    let base = Scenario { transport: Transport::default(), ..base.clone() };
    let row = |name: &str, scenario, shown: &[(Metric, &'static str)]| Row {
        name: format!("{name}, shared memory beside sockets"),
        scenario,
        against: Some(Against::Sockets),
        shown: shown.to_vec(),
    };
    let mut rows = Vec::new();
    for (listeners, size, label, rate, cpu) in [
        (1, 16, "16 B", "≥ 1.8", "≤ 0.7"),
        (1, 1 << 10, "1 KB", "≥ 2.5", "≤ 0.45"),
        (1, 64 << 10, "64 KB", "≥ 2.5", "≤ 0.4"),
        (8, 16, "16 B", "≥ 2.5", "≤ 0.5"),
        (8, 1 << 10, "1 KB", "≥ 4", "≤ 0.35"),
        (8, 16 << 10, "16 KB", "≥ 2.5", "≤ 0.45"),
    ] {
        let scenario = Scenario { listeners, size, ..base.clone() };
        let shown = [(Metric::EventsPerS, rate), (Metric::TotalCpu, cpu)];
        rows.push(row(&format!("1→{listeners} {label}"), scenario, &shown));
    }
    let four = Scenario { emitters: 4, listeners: 4, events: 4, ..base.clone() };
    rows.push(row("4→4 64 B, four events", four, &[(Metric::EventsPerS, "≥ 1.8")]));
    for (pin, spin_us, goal) in [
        (Some(Pin::One), 0, "≤ 1"),
        (Some(Pin::Two), 0, "≤ 1"),
        (None, 0, "≤ 1"),
        (None, SPIN_US, "≤ 0.5"),
    ] {
        let transport = Transport { spin_us, ..base.transport };
        let trip = Scenario { round_trip: true, pin, transport, ..base.clone() };
        let place = pin.map_or("left to the scheduler".into(), |pin| pin.to_string());
        let spin = if spin_us > 0 { format!(", spinning {spin_us} µs") } else { String::new() };
        let shown = [(Metric::P50, goal), (Metric::P99, "")];
        rows.push(row(&format!("round trip 64 B, {place}{spin}"), trip, &shown));
    }
    let many = Scenario { connections: Some(1000), events: 1000, by_clients: true, ..base.clone() };
    let memory = [
        (Metric::SharedIdle, "≤ 20 MB"),
        (Metric::SharedDrained, "≤ 100 MB"),
        (Metric::SharedClients, ""),
        (Metric::DrainedRss, ""),
    ];
    let shown = [&[(Metric::EventsPerS, "≥ 1")], &memory[..]].concat();
    rows.push(row("1,000 clients 64 B", many, &shown));
    for (name, stuck) in [("one slow reader", false), ("one stuck listener", true)] {
        rows.push(Row {
            name: format!("1→1 64 B, shared memory, {name} beside none"),
            scenario: Scenario { stuck, slow_reader: !stuck, ..base.clone() },
            against: Some(Against::Plain),
            shown: vec![(Metric::EventsPerS, "unchanged")],
        });
    }
    let mixed =
        Scenario { transport: Transport::SOCKETS, beside: Some(SharedMemory::Auto), ..base };
    rows.push(Row {
        name: "1→1 64 B by sockets, a pair that shares memory beside one that does not".into(),
        scenario: mixed,
        against: Some(Against::Sockets),
        shown: vec![(Metric::EventsPerS, "≥ 1"), (Metric::TotalCpu, "")],
    });
    rows
}

fn without_goals(row: Row) -> Row {
    Row { shown: row.shown.into_iter().map(|(metric, _)| (metric, "")).collect(), ..row }
}

fn no_slower(metric: Metric) -> &'static str {
    match metric {
        Metric::EventsPerS => "≥ 1",
        Metric::P50 | Metric::P99 => "≤ 1",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Arguments, Task};
    use clap::Parser;

    fn rows_of(line: &str) -> Vec<Row> {
        match Arguments::try_parse_from(line.split_whitespace()).unwrap().command {
            Task::Table(table) => rows(&table),
            _ => panic!("another task"),
        }
    }

    #[test]
    fn rows_use_sockets_unless_they_say_that_memory_is_shared() {
        let rows = rows_of("netcluster-loadtest table");
        let names: std::collections::BTreeSet<&str> =
            rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len(), "each row has a name of its own");
        for row in &rows {
            let says = row.name.contains("shared memory") || row.name.contains("shares memory");
            assert_eq!(row.scenario.shares_memory(), says, "{}", row.name);
        }
    }

    #[test]
    fn what_shares_memory_is_compared_with_the_same_by_sockets() {
        let rows = rows_of("netcluster-loadtest table");
        let beside_sockets = |row: &&Row| row.against == Some(Against::Sockets);
        let beside: Vec<&Row> = rows.iter().filter(beside_sockets).collect();
        assert!(beside.iter().all(|row| row.scenario.shares_memory()));
        let with = |wanted: fn(&Scenario) -> bool| {
            beside.iter().filter(|row| wanted(&row.scenario)).count()
        };
        assert_eq!(with(|scenario| scenario.round_trip), 4);
        assert_eq!(with(|scenario| scenario.transport.spin_us > 0), 1);
        assert_eq!(with(|scenario| scenario.by_clients), 1);
        assert_eq!(with(|scenario| scenario.beside.is_some()), 1);
    }
}
