//! Sentence that a run's report begins with: somebody who measured wants to know it
//! first. It knows the result alone, and the tables below it show the same.

use crate::report::html::grouped;
use crate::report::latency::time;
use crate::report::tables::{faults, rate};
use crate::report::units::Unit;
use crate::result::{Capacity, CapacityStep, RoleKind, RoleTotals, RunResult};

/// Verbs of the faults, in the order of [`faults`].
const FAULTS: [&str; 4] = ["were lost", "came again", "came out of order", "were corrupt"];

/// Returns the sentence: of a search the rate that it found, else whether all events that
/// were due came, and how fast.
pub fn sentence(run: &RunResult) -> String {
    let answer = match &run.capacity {
        Some(capacity) => of_search(capacity),
        None => of_run(run),
    };
    if run.complete { answer } else { format!("Broken off before its end: {answer}") }
}

/// Tells what a search found.
fn of_search(capacity: &Capacity) -> String {
    let goal = Unit::of("µs").show(capacity.goal_p99_us);
    let events = |per_s: f64| Unit::of("events/s").show(per_s);
    let briefly = best(capacity, |step| step.holds && !step.whole);
    let briefly = briefly.filter(|step| capacity.found_per_s.is_none_or(|f| step.rate_per_s > f));
    let briefly = briefly.map_or(String::new(), |step| {
        let (per_s, seconds) = (events(step.rate_per_s), step.seconds);
        format!(" For {seconds:.3} s alone {per_s} held.").replace(".000 s", " s")
    });
    if let Some(found) = capacity.found_per_s {
        let held = best(capacity, |step| step.holds && step.whole);
        let long = held.map_or(String::new(), |step| format!(", for {:.0} s", step.seconds));
        let found = events(found);
        return format!(
            "{found} is the highest rate that held for the whole scenario{long}: each event \
             came once, whole and in order, and 99 of 100 within {goal}.{briefly}"
        );
    }
    let by_rate = |a: &&CapacityStep, b: &&CapacityStep| a.rate_per_s.total_cmp(&b.rate_per_s);
    let lowest = capacity.steps.iter().min_by(by_rate).map_or(String::new(), |step| {
        let (per_s, p99) = (events(step.rate_per_s), Unit::of("µs").show(step.p99_us));
        if step.clean {
            format!(": at {per_s}, the lowest tried, it was {p99}")
        } else {
            format!(": not even {per_s}, the lowest tried")
        }
    });
    format!("No rate held a 99th percentile of {goal} with nothing lost{lowest}.{briefly}")
}

fn best(capacity: &Capacity, is_it: fn(&CapacityStep) -> bool) -> Option<&CapacityStep> {
    let steps = capacity.steps.iter().filter(|step| is_it(step));
    steps.max_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s))
}

fn of_run(run: &RunResult) -> String {
    let of_kind = |kind| run.roles.iter().filter(move |role| role.kind == kind);
    let sum = |kind, of: fn(&RoleTotals) -> u64| -> u64 {
        of_kind(kind).map(of).fold(0, u64::saturating_add)
    };
    if of_kind(RoleKind::Listener).next().is_none() {
        let emitted = sum(RoleKind::Emitter, |role| role.emitted);
        return format!("{} events were emitted, and nobody listened.", grouped(emitted));
    }
    let delivered = sum(RoleKind::Listener, |role| role.delivered);
    let per_s = Unit::of("events/s").show(rate(run, delivered));
    let mut counts = [0u64; 4];
    for role in of_kind(RoleKind::Listener) {
        for (count, (_, fault)) in counts.iter_mut().zip(faults(role)) {
            *count = count.saturating_add(fault);
        }
    }
    let what = match counts {
        [0, 0, 0, 0] => {
            format!("All {} events came once, whole and in order", grouped(delivered))
        }
        counts => {
            let due = grouped(delivered.saturating_add(counts[0]));
            let told = FAULTS.iter().zip(counts).filter(|(_, count)| *count > 0);
            let told: Vec<String> =
                told.map(|(verb, count)| format!("{} {verb}", grouped(count))).collect();
            format!("Of {due} events {}", told.join(", "))
        }
    };
    let p99 = run.latencies.iter().filter_map(|of| of.known_percentile_ns(99.0)).max();
    let slow = p99.map_or(String::new(), |ns| {
        format!("; in the slowest role 99 of 100 took at most {}", time(ns))
    });
    format!("{what}, at {per_s} over all listeners{slow}.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::{Latency, LatencyKind};

    fn step(rate_per_s: f64, whole: bool, holds: bool) -> CapacityStep {
        let seconds = if whole { 30.0 } else { 3.0 };
        let (p50_us, p99_us) = (100.0, if holds { 400.0 } else { 900.0 });
        let (delivered_per_s, clean) = (rate_per_s, true);
        CapacityStep { rate_per_s, seconds, whole, delivered_per_s, p50_us, p99_us, clean, holds }
    }

    fn search(steps: Vec<CapacityStep>, found_per_s: Option<f64>) -> String {
        let capacity = Capacity { goal_p99_us: 500.0, steps, found_per_s };
        let run = RunResult { capacity: Some(capacity), ..RunResult::default() };
        sentence(&run).replace('\u{a0}', " ")
    }

    #[test]
    fn a_search_is_answered_by_what_held_for_the_whole_scenario() {
        let steps = vec![
            step(48_400.0, false, true),
            step(48_400.0, true, false),
            step(46_600.0, true, true),
        ];
        let told = search(steps, Some(46_600.0));
        assert!(told.starts_with("46.6 k events/s is the highest"), "{told}");
        assert!(told.contains("for 30 s") && told.ends_with("For 3 s alone 48.4 k events/s held."));
    }

    #[test]
    fn a_goal_that_no_rate_meets_is_said_first() {
        let told = search(vec![step(512.0, false, false), step(256.0, false, false)], None);
        assert!(told.starts_with("No rate held a 99th percentile of 500 µs"), "{told}");
        assert!(told.contains("at 256 events/s, the lowest tried, it was 900 µs"), "{told}");
        let briefly = search(vec![step(512.0, false, true), step(512.0, true, false)], None);
        assert!(briefly.starts_with("No rate held") && briefly.contains("For 3 s alone 512"));
        assert!(search(Vec::new(), None).starts_with("No rate held"));
    }

    #[test]
    fn a_run_is_answered_by_whether_all_came() {
        let role = |kind, delivered, lost| RoleTotals {
            name: "r".into(),
            machine: "m1".into(),
            kind,
            channel: "c".into(),
            processes: 1,
            emitted: 10,
            delivered,
            bytes: 0,
            lost,
            duplicated: 0,
            disordered: 0,
            corrupt: 0,
        };
        let latency = Latency::of_buckets("r", "m1", LatencyKind::OneWay, 0, vec![(7000, 200)]);
        let mut run = RunResult {
            seconds: 2.0,
            roles: vec![role(RoleKind::Listener, 2000, 0)],
            latencies: vec![latency],
            ..RunResult::default()
        };
        let told = |run: &RunResult| sentence(run).replace('\u{a0}', " ");
        assert_eq!(
            told(&run),
            "All 2,000 events came once, whole and in order, at 1 k events/s over all \
             listeners; in the slowest role 99 of 100 took at most 7 µs."
        );
        run.roles[0].lost = 3;
        run.complete = false;
        let partial = told(&run);
        assert!(partial.starts_with("Broken off before its end: Of 2,003 events 3 were lost, at"));
        run.roles = vec![role(RoleKind::Emitter, 0, 0)];
        assert!(told(&run).contains("10 events were emitted, and nobody listened"));
    }
}
