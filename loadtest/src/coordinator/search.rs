//! The highest rate that holds a goal: doubled (or halved) until it is between two
//! rates, then narrowed down.
//!
//! ```text
//!   holds   |#########|####|  |              rates grow by a factor of two,
//!   fails                  |##|#########     then the gap is halved by ratio
//!           start   ×2   ×4 ▲  ×8
//!                          found
//! ```
//! Each rate is a run of its own, with brokers of its own, so that none bears what
//! another one left. A rate holds if all that was due was emitted and came once,
//! whole and in order, and if every role's 99th percentile is within the goal.
//!
//! A 99th percentile needs a hundred values: a role that timed fewer is not judged
//! beside one that timed enough, and no rate is tried that emits fewer.

use anyhow::{Result, ensure};

use super::ground::Ground;
use super::{stage, totals};
use crate::progress::Progress;
use crate::result::{Capacity, CapacityStep, Latency, RunResult};
use crate::scenario::Scenario;

/// Beyond 2^16 times the start, or below, something is wrong with the scenario.
const MAX_DOUBLINGS: usize = 16;
/// The gap is narrowed this often: to within 5 %.
const NARROWINGS: usize = 4;
/// Of what was due, at least this much must be emitted.
const MIN_EMITTED: f64 = 0.97;
/// What a run takes besides its measured time.
const OVERHEAD_SECONDS: f64 = 3.0;
const EXPECTED_STEPS: usize = 9;
/// What held for a step may not for the whole scenario: then somewhat less is tried,
/// so often.
const WHOLE_TRIES: usize = 3;
const WHOLE_STEP: f64 = 0.9;
/// Of fewer values, the 99th percentile is the largest.
const MIN_TIMED: u64 = 100;

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// 99 of 100 events of each role take no longer.
    pub p99_us: f64,
    /// How long each rate is tried.
    pub step_seconds: f64,
}

/// Where a search stands; knows nothing of what is measured.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Less is not tried.
    lowest: f64,
    holds: Option<f64>,
    fails: Option<f64>,
    doublings: usize,
    narrowings: usize,
}

impl Bounds {
    fn new(lowest: f64) -> Bounds {
        Bounds { lowest, holds: None, fails: None, doublings: 0, narrowings: 0 }
    }

    /// Takes what was found and returns what to try next, if anything.
    fn next(&mut self, rate: f64, holds: bool) -> Option<f64> {
        match holds {
            true => self.holds = Some(self.holds.map_or(rate, |known| known.max(rate))),
            false => self.fails = Some(self.fails.map_or(rate, |known| known.min(rate))),
        }
        match (self.holds, self.fails) {
            (Some(holds), Some(fails)) => {
                self.narrowings += 1;
                // By ratio: the same share of either.
                (self.narrowings <= NARROWINGS && fails > holds).then(|| (holds * fails).sqrt())
            }
            (holds, fails) => {
                self.doublings += 1;
                let next = holds.map(|rate| rate * 2.0).or(fails.map(|rate| rate / 2.0));
                next.filter(|next| self.doublings <= MAX_DOUBLINGS && *next >= self.lowest)
            }
        }
    }
}

/// Searches; the result is that of a whole run at the rate that was found.
///
/// # Errors
/// If the scenario has no rates, or a run cannot begin.
pub fn run(scenario: &Scenario, text: &str, ground: &Ground, goal: &Goal) -> Result<RunResult> {
    let start = scenario.offered_per_s();
    let start = start.filter(|rate| *rate > 0.0);
    ensure!(
        start.is_some(),
        "--find-max changes rates: every emitter needs one that is a number, not \"max\""
    );
    let start = start.unwrap_or_default();
    let mut progress = Progress::new(EXPECTED_STEPS, goal.step_seconds + OVERHEAD_SECONDS);
    let mut steps: Vec<CapacityStep> = Vec::new();
    let mut short = scenario.clone();
    short.stretch(goal.step_seconds);
    let mut bounds = Bounds::new(MIN_TIMED as f64 / short.load_seconds());
    let mut rate = start;
    let mut last = RunResult::default();
    last = loop {
        progress.describe(&format!("{rate:.0} events/s"));
        let mut tried = short.clone();
        tried.scale_rates(rate / start);
        let result = match stage::run(&tried, text, ground) {
            Ok(result) => result,
            Err(error) if steps.is_empty() => return Err(error),
            Err(error) => break broke_off(last, vec![format!("{error:#}")]),
        };
        if !result.complete {
            // What broke off says nothing of the rate.
            break if steps.is_empty() { result } else { broke_off_in(last, result) };
        }
        let step = judge(&tried, &result, rate, goal);
        let next = bounds.next(rate, step.holds);
        steps.push(step);
        progress.step();
        match next {
            Some(next) => (rate, last) = (next, result),
            None => break result,
        }
    };
    let mut found_per_s = bounds.holds;
    if let Some(found) = bounds.holds.filter(|_| last.complete) {
        let mut tries = 0;
        rate = found;
        loop {
            progress.describe(&format!("{rate:.0} events/s, whole"));
            let mut whole = scenario.clone();
            whole.scale_rates(rate / start);
            last = match stage::run(&whole, text, ground) {
                Ok(result) => result,
                Err(error) => broke_off(last, vec![format!("{error:#}")]),
            };
            if !last.complete {
                break;
            }
            let check = judge(&whole, &last, rate, goal);
            let holds = check.holds;
            steps.push(check);
            if holds {
                found_per_s = Some(rate);
                break;
            }
            tries += 1;
            if tries == WHOLE_TRIES {
                last.notes.push(format!(
                    "{found:.0} events/s held for {} s, but {rate:.0} did not for the whole scenario",
                    goal.step_seconds
                ));
                break;
            }
            rate *= WHOLE_STEP;
        }
    }
    last.capacity = Some(Capacity { goal_p99_us: goal.p99_us, steps, found_per_s });
    Ok(last)
}

/// A search that could not go on has the result of the last rate that was tried to
/// the end.
fn broke_off(mut last: RunResult, why: Vec<String>) -> RunResult {
    last.complete = false;
    last.notes.extend(why);
    last.notes.push("the search broke off; totals are of the last rate tried to the end".into());
    last
}

/// The same, where a run began and broke off.
fn broke_off_in(mut last: RunResult, tried: RunResult) -> RunResult {
    for (machine, now) in last.machines.iter_mut().zip(&tried.machines) {
        machine.complete = now.complete;
    }
    broke_off(last, tried.notes)
}

fn judge(scenario: &Scenario, result: &RunResult, rate: f64, goal: &Goal) -> CapacityStep {
    let is_churn = |name: &str| scenario.churn.iter().any(|of| of.get_ref().name == name);
    let of_events = result.latencies.iter().filter(|latency| !is_churn(&latency.role));
    let of_events: Vec<&Latency> = of_events.collect();
    let is_enough = of_events.iter().any(|latency| latency.count >= MIN_TIMED);
    let worst = |percent: f64| {
        let judged = of_events.iter().filter(|of| !is_enough || of.count >= MIN_TIMED);
        let worst = judged.filter_map(|latency| latency.percentile_ns(percent)).max();
        worst.unwrap_or(0) as f64 / 1000.0
    };
    let (p50_us, p99_us) = (worst(50.0), worst(99.0));
    let clean = totals::is_clean(scenario, result);
    let emitted: u64 = result
        .roles
        .iter()
        .filter(|role| role.kind == crate::result::RoleKind::Emitter)
        .map(|role| role.emitted)
        .sum();
    let due = rate * scenario.load_seconds();
    let is_on_time = emitted as f64 >= due * MIN_EMITTED - totals::spread(due);
    let holds = clean && is_on_time && p99_us > 0.0 && p99_us <= goal.p99_us;
    let delivered_per_s = totals::delivered_per_s(result, scenario);
    CapacityStep { rate_per_s: rate, delivered_per_s, p50_us, p99_us, clean, holds }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::LatencyKind;

    fn search(start: f64, limit: f64) -> (Option<f64>, usize) {
        let mut bounds = Bounds::new(1.0);
        let (mut rate, mut tries) = (start, 1);
        while let Some(next) = bounds.next(rate, rate <= limit) {
            rate = next;
            tries += 1;
        }
        (bounds.holds, tries)
    }

    #[test]
    fn the_limit_is_found_from_below_and_from_above() {
        for start in [10.0, 1000.0, 50_000.0] {
            let (found, tries) = search(start, 1000.0);
            let found = found.unwrap();
            assert!((950.0..=1000.0).contains(&found), "from {start}: {found}");
            assert!(tries < 16, "from {start}: {tries}");
        }
    }

    #[test]
    fn a_role_that_timed_few_events_is_not_judged_beside_one_that_timed_enough() {
        let (scenario, _) = crate::scenario::read("telemetry").unwrap();
        let goal = Goal { p99_us: 100.0, step_seconds: 1.0 };
        let holds = |latencies: &[(u64, u64)]| {
            let latency = |(number, &(ns, count)): (usize, &(u64, u64))| {
                let role = format!("role {number}");
                Latency::of_buckets(&role, "m1", LatencyKind::OneWay, 0, vec![(ns, count)])
            };
            let latencies = latencies.iter().enumerate().map(latency).collect();
            let result = RunResult { latencies, ..RunResult::default() };
            judge(&scenario, &result, 0.0, &goal).holds
        };
        assert!(holds(&[(50_000, 1000), (900_000, 99)]));
        assert!(!holds(&[(50_000, 1000), (900_000, 100)]));
        assert!(!holds(&[(900_000, 99)]), "where nobody timed enough, all are judged");
        assert!(!holds(&[]));
    }

    #[test]
    fn what_never_holds_and_what_always_holds_ends() {
        // Down to the lowest rate that can be judged: 1000, 500 and so on to 1.95.
        assert_eq!(search(1000.0, 0.0), (None, 10));
        let (found, tries) = search(1.0, f64::INFINITY);
        assert!(found.unwrap() >= 65_536.0);
        assert_eq!(tries, MAX_DOUBLINGS + 1);
    }
}
