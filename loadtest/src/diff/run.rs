//! Numbers of a run that are compared, and its conditions.

use crate::diff::number::{
    LEAST_CHANGE, LEAST_COUNTER_CHANGE, LEAST_LATENCY_CHANGE, Number, Spread,
};
use crate::diff::{incomplete, machine_conditions};
use crate::report::Unit;
use crate::result::{Capacity, Latency, RoleKind, RunResult, Series, metric};

const PERCENTS: [(&str, f64); 3] = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)];

/// Tells how the conditions differ.
pub fn conditions(before: &RunResult, after: &RunResult) -> Vec<String> {
    let mut told: Vec<String> =
        [incomplete("before", before.complete), incomplete("after", after.complete)]
            .into_iter()
            .flatten()
            .collect();
    if before.scenario.name != after.scenario.name {
        told.push(format!("scenario {} → {}", before.scenario.name, after.scenario.name));
    } else if before.scenario.toml != after.scenario.toml {
        told.push(format!("the text of scenario {} is another", before.scenario.name));
    }
    if before.seconds != after.seconds {
        told.push(format!("measured for {} s → {} s", before.seconds, after.seconds));
    }
    let offered = |run: &RunResult| match run.offered_per_s {
        Some(rate) => Unit::of("events/s").show(rate).replace('\u{a0}', " "),
        None => "as fast as it goes".into(),
    };
    if before.offered_per_s != after.offered_per_s {
        told.push(format!("offered {} → {}", offered(before), offered(after)));
    }
    let arguments = |run: &RunResult| match run.scenario.arguments.join(" ") {
        none if none.is_empty() => "none".to_owned(),
        some => some,
    };
    if before.scenario.arguments != after.scenario.arguments {
        told.push(format!("arguments {} → {}", arguments(before), arguments(after)));
    }
    for machine in &before.machines {
        match after.machines.iter().find(|other| other.name == machine.name) {
            Some(other) => told.extend(machine_conditions(machine, other)),
            None => told.push(format!("{}: took part only before", machine.name)),
        }
    }
    let is_new = |name: &str| !before.machines.iter().any(|machine| machine.name == name);
    let new = after.machines.iter().filter(|machine| is_new(&machine.name));
    told.extend(new.map(|machine| format!("{}: took part only after", machine.name)));
    told
}

/// Returns the numbers of a run; names that are there twice are left out.
pub fn numbers(run: &RunResult) -> Vec<Number> {
    let mut numbers = Vec::new();
    series(&mut numbers, run);
    latencies(&mut numbers, run);
    faults(&mut numbers, run);
    if let Some(capacity) = &run.capacity {
        numbers.extend(found(capacity));
    }
    counters(&mut numbers, run);
    let mut seen = std::collections::BTreeSet::new();
    numbers.retain(|number| seen.insert(number.what.clone()));
    numbers
}

/// Returns whether more is better; `None` for rates that the scenario sets.
fn direction(name: &str) -> Option<bool> {
    match name {
        name if name == metric::DELIVERED.0 || name == metric::DELIVERED_BYTES.0 => Some(true),
        name if name == metric::EMITTED.0 => None,
        name => metric::ALL.iter().any(|(known, _)| *known == name).then_some(false),
    }
}

fn series(numbers: &mut Vec<Number>, run: &RunResult) {
    for series in &run.series {
        let Some(spread) = Spread::over_time(&series.values) else { continue };
        let is_latency = series.metric == metric::P99.0;
        numbers.push(Number {
            what: format!("{} on {}: {}", series.role, series.machine, series.metric),
            unit: series.unit.clone(),
            higher_is_better: direction(&series.metric),
            least_change: if is_latency { LEAST_LATENCY_CHANGE } else { LEAST_CHANGE },
            spread,
        });
    }
}

/// Returns how the 99th percentile of a role wavered in the run, as shares of its mean:
/// ranks take neighbouring events for independent, which they are not.
fn wavering(run: &RunResult, latency: &Latency) -> (f64, f64) {
    let is_its = |series: &&Series| {
        // Behind the role's name may stand from where.
        let rest = latency.role.strip_prefix(series.role.as_str());
        series.metric == metric::P99.0
            && series.machine == latency.machine
            && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
    };
    let series = run.series.iter().find(is_its);
    let spread = series.and_then(|series| Spread::over_time(&series.values));
    match spread {
        Some(Spread { value, low, high }) if value > 0.0 => (low / value, high / value),
        _ => (1.0, 1.0),
    }
}

fn latencies(numbers: &mut Vec<Number>, run: &RunResult) {
    for latency in &run.latencies {
        let (least, most) = wavering(run, latency);
        for (name, percent) in PERCENTS {
            let Some(mut spread) = Spread::percentile(latency, percent) else { continue };
            (spread.low, spread.high) = (spread.low * least, spread.high * most);
            let kind = latency.kind.name();
            numbers.push(Number {
                what: format!("{} on {}: {kind} {name}", latency.role, latency.machine),
                unit: "ns".into(),
                higher_is_better: Some(false),
                least_change: LEAST_LATENCY_CHANGE,
                spread,
            });
        }
    }
}

fn faults(numbers: &mut Vec<Number>, run: &RunResult) {
    for role in run.roles.iter().filter(|role| role.kind == RoleKind::Listener) {
        let due = role.delivered.saturating_add(role.lost);
        for (name, count) in [
            ("lost", role.lost),
            ("duplicated", role.duplicated),
            ("disordered", role.disordered),
            ("corrupt", role.corrupt),
        ] {
            numbers.push(Number {
                what: format!("{} on {}: {name}", role.name, role.machine),
                unit: "per million".into(),
                higher_is_better: Some(false),
                least_change: LEAST_CHANGE,
                spread: Spread::rare(count, due),
            });
        }
    }
}

/// Returns the highest rate: it lies between the rate that held and the next that did
/// not.
fn found(capacity: &Capacity) -> Option<Number> {
    let value = capacity.found_per_s?;
    let failed = capacity.steps.iter().filter(|step| !step.holds && step.rate_per_s > value);
    let next = failed.map(|step| step.rate_per_s).reduce(f64::min);
    Some(Number {
        what: format!("highest rate with p99 ≤ {} µs", capacity.goal_p99_us),
        unit: "events/s".into(),
        higher_is_better: Some(true),
        least_change: LEAST_CHANGE,
        spread: Spread { value, low: value, high: next.unwrap_or(value) },
    })
}

/// Adds the counters, per second, since windows may differ.
fn counters(numbers: &mut Vec<Number>, run: &RunResult) {
    let seconds = if run.seconds > 0.0 { run.seconds } else { 1.0 };
    for (machine, counters) in &run.counters {
        for (name, &count) in counters {
            numbers.push(Number {
                what: format!("counter on {machine}: {name}"),
                unit: "1/s".into(),
                higher_is_better: None,
                least_change: LEAST_COUNTER_CHANGE,
                spread: Spread::exact(count as f64 / seconds),
            });
        }
    }
}
