//! A comparison as a result and as Markdown.

use crate::compare::comparison::{Comparison, Entry};
use crate::compare::load::Load;
use crate::median::Median;
use crate::metric::{Metric, digits};
use crate::pairs::median;
use crate::result::{Cell, CompareResult, LoadInfo};

const FLAT_OUT: [Shown; 3] = [
    Shown {
        metric: Metric::EventsPerS,
        name: "delivered_events",
        unit: "events/s",
        higher_is_better: true,
        factor: 1.0,
    },
    Shown {
        metric: Metric::BrokerCpu,
        name: "broker_cpu_per_million",
        unit: "s",
        higher_is_better: false,
        factor: 1.0,
    },
    Shown {
        metric: Metric::TotalCpu,
        name: "total_cpu_per_million",
        unit: "s",
        higher_is_better: false,
        factor: 1.0,
    },
];
const MANY: [Shown; 2] = [
    FLAT_OUT[0],
    Shown {
        metric: Metric::DrainedRss,
        name: "broker_rss",
        unit: "B",
        higher_is_better: false,
        factor: 1.0,
    },
];
const ROUND_TRIP: [Shown; 2] = [
    Shown {
        metric: Metric::P50,
        name: "round_trip_p50",
        unit: "ns",
        higher_is_better: false,
        factor: NS_PER_US,
    },
    Shown {
        metric: Metric::P99,
        name: "round_trip_p99",
        unit: "ns",
        higher_is_better: false,
        factor: NS_PER_US,
    },
];

const NS_PER_US: f64 = 1e3;
/// Sign for a number that there is not and will not be.
const NONE: &str = "–";

/// Number of a cell, with its names in the result.
#[derive(Clone, Copy)]
struct Shown {
    metric: Metric,
    name: &'static str,
    unit: &'static str,
    higher_is_better: bool,
    factor: f64,
}

/// Returns the comparison as a file holds it.
pub fn result(comparison: Comparison) -> CompareResult {
    let mut cells = Vec::new();
    for (ready, entries) in comparison.ready.iter().zip(&comparison.entries) {
        for (load, entry) in comparison.loads.iter().zip(entries) {
            for shown in shown(load) {
                let values = entry.runs.iter().filter_map(|run| shown.metric.of(run));
                let median = Median::of(values.map(|value| value * shown.factor));
                let cell = Cell {
                    peer: ready.what().name().into(),
                    load: load.name(),
                    metric: shown.name.into(),
                    unit: shown.unit.into(),
                    higher_is_better: shown.higher_is_better,
                    lost: entry.sum(|counts| counts.lost),
                    ..Cell::default()
                };
                cells.extend(median.map(|median| cell.with_median(median)));
            }
        }
    }
    let loads = comparison.loads.iter();
    CompareResult {
        complete: comparison.complete,
        loads: loads.map(|load| LoadInfo { name: load.name(), what: load.what() }).collect(),
        cells,
        notes: comparison.notes,
        started_unix_ms: comparison.started_unix_ms,
        machine: comparison.machine,
        peers: comparison.peers,
        ..CompareResult::default()
    }
}

/// Writes two tables, and the notes below them.
pub fn markdown(comparison: &Comparison) -> String {
    let mut out = format!(
        "M events/s delivered; in brackets CPU s per million, of the broker / of all processes. \
         Round trips: p50 / p99 µs. Many connections: events/s, and the broker's memory once all came. Medians of interleaved runs on {}, {} cores.\n\n",
        comparison.machine.cpu, comparison.machine.cores
    );
    rows(&mut out, comparison, medians);
    out += "\nFrom the lower to the upper end of the 95 % interval of the median (of under six \
            runs: from the least to the most).\n\n";
    rows(&mut out, comparison, intervals);
    let skipped = comparison.peers.iter().filter_map(|peer| Some((peer, peer.skipped.as_ref()?)));
    let skipped: Vec<String> =
        skipped.map(|(peer, reason)| format!("- {} skipped: {reason}\n", peer.name)).collect();
    let notes: Vec<String> = comparison.notes.iter().map(|note| format!("- {note}\n")).collect();
    if !skipped.is_empty() || !notes.is_empty() {
        out += "\n";
    }
    out + &skipped.concat() + &notes.concat()
}

fn rows(out: &mut String, comparison: &Comparison, show: impl Fn(&Load, &Entry) -> String) {
    let names: Vec<String> = comparison.loads.iter().map(Load::name).collect();
    *out += &format!("| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for (ready, entries) in comparison.ready.iter().zip(&comparison.entries) {
        let cells = comparison.loads.iter().zip(entries).map(|(load, entry)| show(load, entry));
        let cells: Vec<String> = cells.collect();
        let (name, version) = (ready.what().name(), ready.version());
        *out += &format!("| {name} {version} | {} |\n", cells.join(" | "));
    }
}

fn medians(load: &Load, entry: &Entry) -> String {
    let of =
        |metric, factor| median(&entry.runs, metric).map(|found| digits(found.median / factor));
    let lost = match entry.lost_percent() {
        Some(percent) => format!(", {} % lost", digits(percent)),
        None => String::new(),
    };
    if entry.unsuited {
        return NONE.into();
    }
    if entry.runs.is_empty() {
        return if entry.failed { "fails".into() } else { String::new() };
    }
    let both = |first, second| {
        let [first, second] = [of(first, 1.0), of(second, 1.0)];
        let or_none = |shown: Option<String>| shown.unwrap_or_else(|| NONE.into());
        format!("{} / {}", or_none(first), or_none(second))
    };
    if load.is_round_trip() {
        return format!("{}{lost}", both(Metric::P50, Metric::P99));
    }
    if load.is_many() {
        let shown = |metric: Metric| {
            median(&entry.runs, metric).map_or(NONE.into(), |found| metric.show(found.median))
        };
        let (events, memory) = (shown(Metric::EventsPerS), shown(Metric::DrainedRss));
        return format!("{events}, {memory}{lost}");
    }
    let events = of(Metric::EventsPerS, 1e6).unwrap_or_default();
    format!("{events} ({}){lost}", both(Metric::BrokerCpu, Metric::TotalCpu))
}

fn intervals(load: &Load, entry: &Entry) -> String {
    let of = |metric, factor: f64| {
        let found = median(&entry.runs, metric)?;
        Some(format!("{}–{}", digits(found.low / factor), digits(found.high / factor)))
    };
    let shown = if load.is_round_trip() {
        [of(Metric::P50, 1.0), of(Metric::P99, 1.0)]
    } else if load.is_many() {
        [of(Metric::EventsPerS, 1e6), of(Metric::DrainedRss, 1e6)]
    } else {
        [of(Metric::EventsPerS, 1e6), None]
    };
    shown.into_iter().flatten().collect::<Vec<_>>().join(" / ")
}

fn shown(load: &Load) -> &'static [Shown] {
    if load.is_round_trip() {
        &ROUND_TRIP
    } else if load.is_many() {
        &MANY
    } else {
        &FLAT_OUT
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery_check::Counts;
    use crate::outcome::{Latency, Outcome};

    fn entry(counts: Counts) -> Entry {
        let outcome = |events_per_s| Outcome {
            events_per_s,
            broker_cpu_s_per_million: Some(0.29),
            total_cpu_s_per_million: Some(0.5),
            broker_rss_drained_bytes: 12_000_000,
            latency_us: Some(Latency { p50: 65.0, p99: 120.0, p999: 200.0, max: 300.0 }),
            counts,
            ..Outcome::default()
        };
        Entry { runs: [3.2e6, 3.3e6, 3.5e6].map(outcome).to_vec(), ..Entry::default() }
    }

    #[test]
    fn a_cell_holds_the_median_the_cost_and_the_loss() {
        let load: Load = "1-1-16".parse().unwrap();
        let whole = entry(Counts { received: 66, ..Counts::default() });
        assert_eq!(medians(&load, &whole), "3.30 (0.290 / 0.500)");
        assert_eq!(intervals(&load, &whole), "3.20–3.50");
        let lossy = entry(Counts { received: 66, lost: 34, ..Counts::default() });
        assert_eq!(medians(&load, &lossy), "3.30 (0.290 / 0.500), 34.0 % lost");
        // Without a broker, the cost is that of emitters and listeners alone.
        let mut alone = whole;
        for run in &mut alone.runs {
            run.broker_cpu_s_per_million = None;
        }
        assert_eq!(medians(&load, &alone), "3.30 (– / 0.500)");
    }

    #[test]
    fn other_loads_have_their_own_numbers_and_failures_are_shown_as_such() {
        let load: Load = "trip-64".parse().unwrap();
        let whole = entry(Counts::default());
        assert_eq!(medians(&load, &whole), "65.0 / 120");
        assert_eq!(intervals(&load, &whole), "65.0–65.0 / 120–120");
        let many: Load = "many-1000".parse().unwrap();
        assert_eq!(medians(&many, &whole), "3.30 M, 12.0 MB");
        assert_eq!(intervals(&many, &whole), "3.20–3.50 / 12.0–12.0");
        let unsuited = Entry { unsuited: true, ..Entry::default() };
        assert_eq!(medians(&many, &unsuited), "–");
        let failed = Entry { failed: true, ..Entry::default() };
        assert_eq!(medians(&load, &failed), "fails");
        assert_eq!(medians(&load, &Entry::default()), "");
    }
}
