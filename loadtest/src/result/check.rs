//! Check whether a result agrees with itself, so that its readers need not ask.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};

use crate::result::{CompareResult, Latency, RunResult, Series};

/// Checks a run.
pub fn run(run: &RunResult) -> Result<()> {
    head(&run.schema, &run.kind, "run")?;
    ensure!(run.seconds.is_finite() && run.seconds >= 0.0, "seconds: {}", run.seconds);
    finite("offered_per_s", run.offered_per_s)?;
    unique("machines", run.machines.iter().map(|machine| machine.name.as_str()))?;
    run.series.iter().enumerate().try_for_each(|(at, of)| series(at, of))?;
    run.latencies.iter().enumerate().try_for_each(|(at, of)| latency(at, of))?;
    for (at, phase) in run.phases.iter().enumerate() {
        ensure!(phase.from_ms <= phase.to_ms, "phases[{at}] ends before it begins");
    }
    let Some(capacity) = &run.capacity else { return Ok(()) };
    finite("capacity.goal_p99_us", [capacity.goal_p99_us])?;
    finite("capacity.found_per_s", capacity.found_per_s)?;
    for (at, step) in capacity.steps.iter().enumerate() {
        let numbers =
            [step.rate_per_s, step.seconds, step.delivered_per_s, step.p50_us, step.p99_us];
        finite(&format!("capacity.steps[{at}]"), numbers)?;
    }
    Ok(())
}

/// Checks a comparison.
pub fn compare(compare: &CompareResult) -> Result<()> {
    head(&compare.schema, &compare.kind, "compare")?;
    let loads = unique("loads", compare.loads.iter().map(|load| load.name.as_str()))?;
    let peers = unique("peers", compare.peers.iter().map(|peer| peer.name.as_str()))?;
    let mut seen = BTreeSet::new();
    for (at, cell) in compare.cells.iter().enumerate() {
        ensure!(loads.contains(cell.load.as_str()), "cells[{at}]: no load {:?}", cell.load);
        ensure!(peers.contains(cell.peer.as_str()), "cells[{at}]: no peer {:?}", cell.peer);
        let key = (&cell.peer, &cell.load, &cell.metric);
        ensure!(seen.insert(key), "cells[{at}] is there twice: {key:?}");
        finite(&format!("cells[{at}]"), [cell.median, cell.low, cell.high])?;
        ensure!(
            cell.low <= cell.median && cell.median <= cell.high,
            "cells[{at}]: its median is not between low and high"
        );
    }
    Ok(())
}

fn head(schema: &str, kind: &str, expected: &str) -> Result<()> {
    ensure!(schema == super::SCHEMA, "schema: {schema:?}");
    ensure!(kind == expected, "kind: {kind:?}");
    Ok(())
}

fn unique<'a>(list: &str, names: impl Iterator<Item = &'a str>) -> Result<BTreeSet<&'a str>> {
    let mut seen = BTreeSet::new();
    for name in names {
        ensure!(seen.insert(name), "{list}: {name:?} is there twice");
    }
    Ok(seen)
}

fn finite(place: &str, values: impl IntoIterator<Item = f64>) -> Result<()> {
    for value in values {
        ensure!(value.is_finite(), "{place}: {value} is no number");
    }
    Ok(())
}

fn series(at: usize, series: &Series) -> Result<()> {
    ensure!(
        series.at_ms.len() == series.values.len(),
        "series[{at}]: {} times, {} values",
        series.at_ms.len(),
        series.values.len()
    );
    ensure!(series.at_ms.is_sorted(), "series[{at}]: its times do not ascend");
    Ok(())
}

fn latency(at: usize, latency: &Latency) -> Result<()> {
    for &(percent, _) in &latency.percentiles_ns {
        ensure!((0.0..=100.0).contains(&percent), "latencies[{at}]: {percent} percent");
    }
    let ascend = latency.percentiles_ns.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1);
    ensure!(ascend, "latencies[{at}]: its percentiles do not ascend");
    let ascend = latency.buckets_ns.is_sorted_by(|a, b| a.0 < b.0);
    ensure!(ascend, "latencies[{at}]: its buckets do not ascend");
    let counts = latency.buckets_ns.iter().map(|(_, count)| u128::from(*count));
    let count: u128 = counts.sum();
    ensure!(
        latency.buckets_ns.is_empty() || count == u128::from(latency.count),
        "latencies[{at}]: its buckets hold {count}, not {}",
        latency.count
    );
    Ok(())
}
