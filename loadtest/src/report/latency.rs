//! Percentile curve of all latencies, spread towards the tail.

use crate::report::axis::Axis;
use crate::report::csv::Csv;
use crate::report::html::{Entry, grouped, table};
use crate::report::plot::{Layer, Plot, Shape, Style};
use crate::report::series::who;
use crate::report::units::Unit;
use crate::result::{Latency, RunResult};

const HEADINGS: [&str; 11] = [
    "Role",
    "Timed",
    "Clock error",
    "Events",
    "Least",
    "p50",
    "p90",
    "p99",
    "p99.9",
    "p99.99",
    "Most",
];
const PERCENTS: [f64; 7] = [0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0];

/// Points of a curve per decade.
const POINTS_PER_DECADE: f64 = 25.0;
/// Steps of a percent: six decimals.
const PERCENT_STEPS: f64 = 1e6;

/// Writes a time in nanoseconds for people.
pub fn time(ns: u64) -> String {
    Unit::of("ns").show(ns as f64)
}

/// Names who measured what, in the legend and in headings.
pub fn name(run: &RunResult, latency: &Latency) -> String {
    let who = who(run, &latency.role, &latency.machine);
    let error = match latency.error_ns {
        0 => String::new(),
        error => format!(" ± {}", time(error)),
    };
    format!("{who}, {}{error}", latency.kind.name())
}

/// Writes a percentile, or a dash if too few events were timed to tell it.
pub fn percentile(latency: &Latency, percent: f64) -> String {
    latency.known_percentile_ns(percent).map_or("–".into(), time)
}

/// Writes a table of the usual percentiles.
pub fn percentiles(out: &mut String, run: &RunResult) {
    let rows = run.latencies.iter().map(|latency| {
        let error = match latency.error_ns {
            0 => "none".to_owned(),
            error => format!("± {}", time(error)),
        };
        let mut row = vec![
            Entry::text(who(run, &latency.role, &latency.machine)),
            Entry::text(latency.kind.name()),
            Entry::number(error),
            Entry::number(grouped(latency.count)),
        ];
        row.extend(PERCENTS.map(|percent| Entry::number(percentile(latency, percent))));
        row
    });
    table(out, "Latencies", &HEADINGS, &rows.collect::<Vec<_>>());
}

/// Draws a curve for each latency that has values.
pub fn plot(run: &RunResult) -> Option<Plot> {
    let headings = ["role", "machine", "kind", "error_ns", "percent", "latency_ns"];
    let mut csv = Csv::new("latency percentiles", &headings);
    let (mut layers, mut told) = (Vec::new(), Vec::new());
    let (mut least, mut most, mut count) = (f64::INFINITY, 0.0f64, 0);
    for (at, latency) in run.latencies.iter().enumerate() {
        let curve = curve(latency);
        let (Some(first), Some(last)) = (curve.first(), curve.last()) else { continue };
        (least, most) = (least.min(first.1), most.max(last.1));
        count = count.max(latency.count);
        for (percent, ns) in &curve {
            let Latency { role, machine, error_ns, .. } = latency;
            csv.row([role, machine, &latency.kind.name(), error_ns, percent, ns]);
        }
        let name = name(run, latency);
        let of = |percent| self::percentile(latency, percent);
        let (p50, p99, p999) = (of(50.0), of(99.0), of(99.9));
        told.push(format!("{name}: p50 {p50}, p99 {p99}, p99.9 {p999}, most {}", of(100.0)));
        layers.push(Layer { name, style: Style(at), shape: Shape::Line(curve) });
    }
    if layers.is_empty() {
        return None;
    }
    Some(Plot {
        id: "percentiles".into(),
        title: "Latency by percentile".into(),
        summary: format!("{}.", told.join("; ")),
        x: Axis::tail(count),
        y: Axis::log(least, most, "ns").titled("latency"),
        layers,
        bands: Vec::new(),
        goals: Vec::new(),
        marks: Vec::new(),
        csv,
    })
}

/// Returns percents and latencies, ascending; as close as anybody sees on an axis that
/// gives 90 %, 99 % and 99.9 % the same distance.
fn curve(latency: &Latency) -> Vec<(f64, f64)> {
    if latency.buckets_ns.is_empty() {
        return latency.percentiles_ns.iter().map(|&(at, ns)| (at, ns as f64)).collect();
    }
    let (all, mut seen) = (latency.count.max(1), 0u64);
    let mut curve: Vec<(f64, f64)> = Vec::new();
    let mut next = 0.0;
    let last = latency.buckets_ns.len() - 1;
    for (place, &(ns, count)) in latency.buckets_ns.iter().enumerate() {
        // A bucket holds from its first value's percentile to its last one's.
        if place == 0 {
            curve.push((0.0, ns as f64));
        }
        seen = seen.saturating_add(count);
        let decades = (all as f64 / all.saturating_sub(seen) as f64).log10();
        if decades >= next || place == last {
            next = decades + 1.0 / POINTS_PER_DECADE;
            let percent = seen as f64 / all as f64 * 100.0;
            curve.push(((percent * PERCENT_STEPS).round() / PERCENT_STEPS, ns as f64));
        }
    }
    curve
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::LatencyKind;

    #[test]
    fn a_curve_has_few_points_and_both_ends() {
        let buckets = (0..1_000_000).map(|value| (value, 1)).collect();
        let latency = Latency::of_buckets("l", "m1", LatencyKind::OneWay, 0, buckets);
        let curve = curve(&latency);
        assert!(curve.len() < 6 * POINTS_PER_DECADE as usize + 4, "{}", curve.len());
        assert_eq!((curve[0], *curve.last().unwrap()), ((0.0, 0.0), (100.0, 999_999.0)));
        for percent in [50.0, 90.0, 99.0, 99.9] {
            let (at, ns) = *curve.iter().find(|(at, _)| *at >= percent).unwrap();
            assert!(at - percent < 0.05 * (100.0 - percent) + 2.5, "{percent}: {at}");
            assert!((ns - at * 1e4).abs() < 2.0, "{at}: {ns}");
        }
        assert!(curve.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
