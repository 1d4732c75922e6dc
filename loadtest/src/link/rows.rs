//! Rows of the link's table: scenario, the one beside it, the numbers that are shown, and
//! their goals.

use crate::link::plan::{Level, LinkScenario};
use crate::metric::Metric;
use netcluster_testkit::netns::Packets;

const LATENCY_RATE: u64 = 10_000;
/// Bottlenecks in bits per second. On a small machine senders share the processors and
/// not the faster bottleneck.
const BOTTLENECKS: [(&str, u64); 2] = [
    ("3→1 1 KB cut, through 1 Gbit/s", 1_000_000_000),
    ("3→1 1 KB cut, through 500 Mbit/s", 500_000_000),
];
/// Number of senders into one receiver.
const RIVALS: usize = 3;
const SMALL_BYTES: usize = 64;
const KILOBYTE: usize = 1024;
/// Windows of a measurement with a bottleneck: rates take a while to find each other.
const BOTTLENECK_WINDOWS: f64 = 4.0;

/// Measurement that a row is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Packets without a protocol.
    Raw,
    /// Scenario without a key.
    NoKey,
}

/// Number of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// Usual metric.
    Metric(Metric),
    /// Payload that came through the bottleneck, as a share of the bottleneck.
    LineShare,
    /// Events that the slowest sender emitted, as a share of those of the fastest.
    Fairness,
}

/// Scenario and the numbers of it that are shown.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: String,
    pub scenario: LinkScenario,
    pub beside: Option<Beside>,
    /// Numbers that are shown, each with its goal or nothing.
    pub shown: Vec<(Number, &'static str)>,
}

impl Beside {
    /// Names the measurement in words.
    pub fn name(self) -> &'static str {
        match self {
            Beside::Raw => "raw",
            Beside::NoKey => "no key",
        }
    }

    /// Returns the other half of a pair.
    pub fn half(self, scenario: &LinkScenario) -> LinkScenario {
        let mut other = scenario.clone();
        match self {
            Beside::Raw => other.level = Level::Raw,
            Beside::NoKey => other.has_key = false,
        }
        other
    }
}

impl Row {
    /// Returns how many runs the row takes.
    pub fn runs(&self, repeats: usize) -> usize {
        repeats * if self.beside.is_some() { 2 } else { 1 }
    }
}

/// Makes all rows, with the receivers, the window and the back end of `base`.
pub fn all(base: &LinkScenario) -> Vec<Row> {
    let base = LinkScenario {
        receivers: base.receivers,
        seconds: base.seconds,
        backend: base.backend.clone(),
        ..LinkScenario::default()
    };
    let mut rows = Vec::new();
    rows.extend(throughput(&base));
    rows.extend(with_loss(&base));
    rows.extend(latency(&base));
    rows.extend(with_key(&base));
    rows.extend(between_clients(&base));
    rows.extend(BOTTLENECKS.map(|(name, line)| {
        let rivals = LinkScenario {
            senders: RIVALS,
            receivers: 1,
            seconds: base.seconds * BOTTLENECK_WINDOWS,
            packets: Packets::Cut,
            bottleneck: Some(line),
            ..base.clone()
        };
        let shown = [
            (Number::Metric(Metric::MbPerS), ""),
            (Number::LineShare, "≥ 0.8; 0.91 is all that headers leave"),
            (Number::Fairness, "≥ 0.8"),
        ];
        row(name, rivals, None, &shown)
    }));
    rows
}

fn row(
    name: &str,
    scenario: LinkScenario,
    beside: Option<Beside>,
    shown: &[(Number, &'static str)],
) -> Row {
    let name = match scenario.level {
        Level::Brokers => format!("client to client, {name}"),
        Level::Link | Level::Raw => name.to_owned(),
    };
    Row { name, scenario, beside, shown: shown.to_vec() }
}

fn throughput(base: &LinkScenario) -> Vec<Row> {
    let (events, mb) = (Number::Metric(Metric::EventsPerS), Number::Metric(Metric::MbPerS));
    let large = |packets| LinkScenario { size: KILOBYTE, packets, ..base.clone() };
    let small = |packets| LinkScenario { size: SMALL_BYTES, packets, ..base.clone() };
    vec![
        row(
            "1 KB whole",
            large(Packets::Whole),
            Some(Beside::Raw),
            &[(mb, "≥ 2,000 and ≥ 0.7 of raw")],
        ),
        row("1 KB cut", large(Packets::Cut), Some(Beside::Raw), &[(mb, "≥ 220 and ≥ 0.9 of raw")]),
        row("64 B whole", small(Packets::Whole), None, &[(events, "≥ 15 M")]),
        row("64 B cut", small(Packets::Cut), None, &[(events, "≥ 3.5 M")]),
    ]
}

fn with_loss(base: &LinkScenario) -> Vec<Row> {
    let mut rows = Vec::new();
    for (packets, label, goals) in
        [(Packets::Whole, "whole", ["≥ 800", "≥ 350"]), (Packets::Cut, "cut", ["", ""])]
    {
        for (percent, goal) in [1, 5].into_iter().zip(goals) {
            let loss_thousandths = percent * 10;
            let scenario = LinkScenario { packets, loss_thousandths, ..base.clone() };
            let shown = [(Number::Metric(Metric::MbPerS), goal)];
            rows.push(row(&format!("1 KB {label}, {percent} % loss"), scenario, None, &shown));
        }
    }
    rows
}

fn latency(base: &LinkScenario) -> Vec<Row> {
    let (p50, p99) = (Number::Metric(Metric::P50), Number::Metric(Metric::P99));
    let at = LinkScenario { rate: Some(LATENCY_RATE), packets: Packets::Cut, ..base.clone() };
    let lossy = LinkScenario { loss_thousandths: 10, ..at.clone() };
    vec![
        row("1 KB at 10 k/s", at, Some(Beside::Raw), &[(p50, "≤ 45"), (p99, "≤ 120")]),
        row("1 KB at 10 k/s, 1 % loss", lossy, None, &[(p50, ""), (p99, "≤ 500")]),
    ]
}

fn with_key(base: &LinkScenario) -> Vec<Row> {
    let mb = Number::Metric(Metric::MbPerS);
    let sealed = |packets| LinkScenario { has_key: true, packets, ..base.clone() };
    let no_key = Some(Beside::NoKey);
    vec![
        row("1 KB whole, key", sealed(Packets::Whole), no_key, &[(mb, "≥ 0.45 of no key")]),
        row("1 KB cut, key", sealed(Packets::Cut), no_key, &[(mb, "≥ 0.9 of no key")]),
    ]
}

fn between_clients(base: &LinkScenario) -> Vec<Row> {
    let (events, mb) = (Number::Metric(Metric::EventsPerS), Number::Metric(Metric::MbPerS));
    let (p50, p99) = (Number::Metric(Metric::P50), Number::Metric(Metric::P99));
    let base = LinkScenario { level: Level::Brokers, ..base.clone() };
    let cut = LinkScenario { packets: Packets::Cut, ..base.clone() };
    let small = |scenario: &LinkScenario| LinkScenario { size: SMALL_BYTES, ..scenario.clone() };
    let paced = LinkScenario { rate: Some(LATENCY_RATE), ..cut.clone() };
    let lossy = LinkScenario { loss_thousandths: 10, ..paced.clone() };
    vec![
        row("1 KB whole", base.clone(), None, &[(mb, "")]),
        row("1 KB cut", cut.clone(), None, &[(mb, "")]),
        row("64 B whole", small(&base), None, &[(events, "")]),
        row("64 B cut", small(&cut), None, &[(events, "")]),
        row("1 KB at 10 k/s", paced, None, &[(p50, ""), (p99, "")]),
        row("1 KB at 10 k/s, 1 % loss", lossy, None, &[(p50, ""), (p99, "")]),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_keep_what_was_asked_for() {
        let base = LinkScenario {
            receivers: 2,
            seconds: 0.5,
            backend: Some("poll".into()),
            ..LinkScenario::default()
        };
        let rows = all(&base);
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names.len(), rows.len());
        assert!(rows.iter().all(|row| row.scenario.backend == base.backend));
        assert!(rows.iter().all(|row| row.scenario.receivers <= 2));
    }

    #[test]
    fn the_other_half_is_told_apart_by_one_thing() {
        let sealed = LinkScenario { has_key: true, ..LinkScenario::default() };
        assert_eq!(Beside::NoKey.half(&sealed), LinkScenario::default());
        assert_eq!(Beside::Raw.half(&sealed).level, Level::Raw);
    }
}
