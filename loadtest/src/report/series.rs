//! Plots over time: one for each metric, a line for each role and machine.

use std::collections::BTreeMap;

use crate::report::axis::Axis;
use crate::report::csv::Csv;
use crate::report::plot::{Band, Layer, Plot, Shape, Style};
use crate::report::units::Unit;
use crate::result::{RunResult, Series, metric};

/// Most lines of a plot: with more nobody finds one; the data has all.
const MAX_LINES: usize = 10;
/// Most lines that are told in words.
const MAX_TOLD: usize = 4;

/// Returns a metric's name in words.
pub fn title(metric: &str) -> String {
    let known = match metric {
        "emitted_events" => "Emitted events",
        "delivered_events" => "Delivered events",
        "delivered_bytes" => "Delivered payload",
        "cpu" => "Processors in use",
        "broker_rss" => "Resident memory of the broker",
        "broker_cpu_per_million" => "CPU time of the broker per million events",
        "total_cpu_per_million" => "CPU time of all processes per million events",
        "rss" => "Resident memory",
        "context_switches" => "Context switches",
        "syscalls" => "Calls into the kernel",
        "latency_p99" => "99th percentile of the latency",
        "link_naks" => "Repairs asked for on the link",
        "link_repairs" => "Repairs sent on the link",
        "kernel_drops" => "Datagrams dropped by the kernel",
        other => return in_words(other),
    };
    known.into()
}

/// Turns `round_trip_p50` into `Round trip p50`.
fn in_words(metric: &str) -> String {
    let words = metric.replace('_', " ");
    let mut letters = words.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + letters.as_str()
}

/// Names who measured a series; the machine is told if there are several.
pub fn who(run: &RunResult, role: &str, machine: &str) -> String {
    if run.machines.len() > 1 { format!("{role} on {machine}") } else { role.into() }
}

/// Draws a plot for each metric: the known ones in their order, then the others.
pub fn plots(run: &RunResult) -> Vec<Plot> {
    let mut groups: BTreeMap<(usize, &str, &str), Vec<&Series>> = BTreeMap::new();
    for series in &run.series {
        let known = metric::ALL.iter().position(|(name, _)| *name == series.metric);
        let order = known.unwrap_or(metric::ALL.len());
        groups.entry((order, &series.metric, &series.unit)).or_default().push(series);
    }
    let groups = groups.into_iter().enumerate();
    groups.map(|(at, ((_, name, unit), lines))| plot(run, at, name, unit, &lines)).collect()
}

fn plot(run: &RunResult, at: usize, metric: &str, unit: &str, lines: &[&Series]) -> Plot {
    let mut csv = Csv::new(metric, &["role", "machine", "at_ms", &format!("{metric}_{unit}")]);
    for series in lines {
        for (at_ms, value) in series.at_ms.iter().zip(&series.values) {
            let value = if value.is_finite() { value.to_string() } else { String::new() };
            csv.row([&series.role, &series.machine, at_ms, &value]);
        }
    }
    // The busiest are drawn, each in the style of its place in the result.
    let mut drawn: Vec<(usize, &Series)> = lines.iter().copied().enumerate().collect();
    drawn.sort_by(|a, b| mean(b.1).total_cmp(&mean(a.1)));
    drawn.truncate(MAX_LINES);
    drawn.sort_by_key(|(place, _)| *place);
    let layers: Vec<Layer> = drawn
        .iter()
        .map(|(place, series)| {
            let seconds = series.at_ms.iter().map(|&at_ms| at_ms as f64 / 1e3);
            Layer {
                name: who(run, &series.role, &series.machine),
                style: Style(*place),
                shape: Shape::Line(seconds.zip(series.values.iter().copied()).collect()),
            }
        })
        .collect();
    let values = drawn.iter().flat_map(|(_, series)| &series.values).copied();
    let last_ms = lines.iter().filter_map(|series| series.at_ms.last()).max().copied();
    let last_s = (last_ms.unwrap_or(0) as f64 / 1e3).max(run.seconds);
    let bands = run.phases.iter().map(|phase| Band {
        name: phase.name.clone(),
        from: phase.from_ms as f64 / 1e3,
        to: phase.to_ms as f64 / 1e3,
    });
    Plot {
        id: format!("series-{at}"),
        title: format!("{} over time", title(metric)),
        summary: summary(run, unit, &drawn, lines.len()),
        x: Axis::time(last_s),
        y: Axis::from_zero(values.fold(0.0, f64::max), unit),
        layers,
        bands: bands.collect(),
        goals: Vec::new(),
        marks: Vec::new(),
        csv,
    }
}

/// Returns the mean of the values that there are; 0 of none.
pub fn mean(series: &Series) -> f64 {
    let known = series.values.iter().filter(|value| value.is_finite());
    let (sum, count) = known.fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    if count == 0.0 { 0.0 } else { sum / count }
}

fn summary(run: &RunResult, unit: &str, drawn: &[(usize, &Series)], all: usize) -> String {
    let unit = Unit::of(unit);
    let mut told: Vec<String> = drawn
        .iter()
        .take(MAX_TOLD)
        .map(|(_, series)| {
            let known = || series.values.iter().copied().filter(|value| value.is_finite());
            let (low, high) =
                (known().fold(f64::INFINITY, f64::min), known().fold(f64::NEG_INFINITY, f64::max));
            let who = who(run, &series.role, &series.machine);
            if low > high {
                return format!("{who}: nothing");
            }
            let (mean, low, high) = (unit.show(mean(series)), unit.show(low), unit.show(high));
            format!("{who}: mean {mean}, from {low} to {high}")
        })
        .collect();
    let others = drawn.len().saturating_sub(MAX_TOLD);
    if others > 0 {
        told.push(format!("and {others} further lines"));
    }
    if all > drawn.len() {
        told.push(format!("the busiest {} of {all} are drawn, the data has all", drawn.len()));
    }
    format!("{}.", told.join("; "))
}
