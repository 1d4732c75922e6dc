//! Histograms of latencies: how many events took how long.

use crate::report::axis::Axis;
use crate::report::csv::Csv;
use crate::report::latency::{name, percentile, time};
use crate::report::plot::{Layer, Mark, Plot, Shape, Style};
use crate::result::{Latency, RunResult};

/// Most histograms: more are left to the data.
const MAX_HISTOGRAMS: usize = 6;
/// Bars per factor of ten, of which a u64 has 20.
const BARS_PER_DECADE: f64 = 32.0;

/// Draws a histogram for each of the first latencies that have buckets.
pub fn plots(run: &RunResult) -> Vec<Plot> {
    let with_buckets = run.latencies.iter().enumerate().filter(|(_, of)| !of.buckets_ns.is_empty());
    with_buckets.take(MAX_HISTOGRAMS).filter_map(|(at, latency)| plot(run, at, latency)).collect()
}

fn plot(run: &RunResult, at: usize, latency: &Latency) -> Option<Plot> {
    let name = name(run, latency);
    let mut csv = Csv::new(&format!("histogram {name}"), &["latency_ns", "events"]);
    latency.buckets_ns.iter().for_each(|(ns, count)| csv.row([ns, count]));
    let bars = bars(latency);
    let (first, last) = (bars.first()?, bars.last()?);
    let highest = bars.iter().copied().max_by(|a, b| a.2.total_cmp(&b.2))?;
    let x = Axis::log(first.0.max(1.0), last.1, "ns").titled("latency");
    // By logarithm, or the tail, which is what people look for, would not be seen.
    let rarest = bars.iter().map(|bar| bar.2).fold(f64::INFINITY, f64::min);
    let y = Axis::log(rarest / 2.0, highest.2, "%").titled("of the events");
    let (from, to) = (x.show(highest.0), x.show(highest.1));
    let mark = |name: &str, percent| {
        let at = latency.known_percentile_ns(percent)? as f64;
        Some(Mark { name: name.into(), at })
    };
    let marks = [mark("p50", 50.0), mark("p99", 99.0), mark("p99.9", 99.9)];
    let most = latency.known_percentile_ns(99.0);
    let most = most.map_or(String::new(), |ns| format!(", 99 of 100 at most {}", time(ns)));
    Some(Plot {
        id: format!("histogram-{at}"),
        title: format!("Latencies of {name}"),
        summary: format!(
            "The most frequent are from {from} to {to} ({:.1} % of the events); half took at most \
             {}{most}.",
            highest.2,
            percentile(latency, 50.0)
        ),
        x,
        y,
        layers: vec![Layer { name, style: Style(at), shape: Shape::Bars(bars) }],
        bands: Vec::new(),
        goals: Vec::new(),
        marks: marks.into_iter().flatten().collect(),
        csv,
    })
}

/// Returns the bars: begin, end, and percent of the events; empty ones are left out.
fn bars(latency: &Latency) -> Vec<(f64, f64, f64)> {
    let bin = |ns: u64| ((ns.max(1) as f64).log10() * BARS_PER_DECADE + 1e-9).floor();
    let edge = |bin: f64| 10f64.powf(bin / BARS_PER_DECADE);
    let mut bars: Vec<(f64, f64, f64)> = Vec::new();
    let mut current = f64::NAN;
    for &(ns, count) in &latency.buckets_ns {
        let share = count as f64 / latency.count.max(1) as f64 * 100.0;
        let is_same = bin(ns) == current;
        match bars.last_mut() {
            Some(last) if is_same => last.2 += share,
            _ => {
                current = bin(ns);
                bars.push((edge(current), edge(current + 1.0), share));
            }
        }
    }
    bars
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::LatencyKind;

    #[test]
    fn bars_hold_all_events_in_order() {
        let buckets = (1..2000u64).map(|at| (at * at, at)).collect();
        let latency = Latency::of_buckets("l", "a", LatencyKind::OneWay, 0, buckets);
        let bars = bars(&latency);
        let all: f64 = bars.iter().map(|bar| bar.2).sum();
        assert!((all - 100.0).abs() < 1e-6, "{all}");
        assert!(bars.is_sorted_by(|a, b| a.1 <= b.0 * 1.000_001));
    }
}
