//! Search of the highest rate that holds a goal: doubled (or halved) until it is between
//! two rates, then narrowed down.
//!
//! ```text
//!   holds   |#########|####|  |              rates grow by a factor of two,
//!   fails                  |##|#########     then the gap is halved by ratio
//!           start   ×2   ×4 ▲  ×8
//!                          found
//! ```
//! Each rate is a run of its own, with brokers of its own, so that none bears what
//! another run left. A rate holds if all that was due was emitted and came once, whole
//! and in order, and if every role's 99th percentile is within the goal.
//!
//! A rate that is only too slow is tried once more: a hiccup of the machine is not what
//! is searched for. The rate that was found must hold for the whole scenario, too; else
//! somewhat less is tried. A rate that holds for a step alone is told, but is not the
//! answer.
//!
//! A 99th percentile needs a hundred values: a role that timed fewer is not judged beside
//! one that timed enough, and no rate is tried that emits fewer.

mod bounds;

use anyhow::{Result, bail};

use self::bounds::Bounds;
use super::environment::Environment;
use super::totals;
use crate::progress::Progress;
use crate::result::{Capacity, CapacityStep, Latency, RunResult};
use crate::scenario::Scenario;

/// Share of the events that were due that must be emitted at least.
const MIN_EMITTED: f64 = 0.97;
/// Time that a run takes besides its measured time.
const OVERHEAD_SECONDS: f64 = 3.0;
/// Number of tries for the whole scenario: a rate that held for a step may not hold
/// there; then somewhat less is tried, down to half of it.
const WHOLE_TRIES: usize = 5;
const WHOLE_STEP: f64 = 0.85;
/// Number of values that a 99th percentile needs: of fewer it is the largest.
const MIN_TIMED: u64 = 100;

/// Goal of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Goal {
    /// Latency that 99 of 100 events of each role must not exceed.
    pub p99_us: f64,
    /// Time that each rate is tried for.
    pub step_seconds: f64,
}

/// Searches; the result is that of a whole run at the rate that was found.
///
/// # Errors
/// If the scenario has no rates, or a run cannot begin.
pub fn run(
    scenario: &Scenario,
    text: &str,
    environment: &Environment,
    goal: &Goal,
) -> Result<RunResult> {
    let Some(start) = scenario.offered_per_s().filter(|rate| *rate > 0.0) else {
        bail!("--find-max changes rates: every emitter needs one that is a number, not \"max\"");
    };
    let mut search = Search {
        text,
        environment,
        goal,
        start,
        steps: Vec::new(),
        last: RunResult::default(),
        progress: Progress::counting("rates tried", goal.step_seconds + OVERHEAD_SECONDS),
    };
    let mut found_per_s = search.highest(scenario)?;
    if let Some(found) = found_per_s.filter(|_| search.last.complete) {
        found_per_s = search.whole(scenario, found)?;
    }
    let Search { steps, last, .. } = search;
    let capacity = Capacity { goal_p99_us: goal.p99_us, steps, found_per_s };
    Ok(RunResult { capacity: Some(capacity), ..last })
}

struct Search<'a> {
    text: &'a str,
    environment: &'a Environment,
    goal: &'a Goal,
    /// Rate that the scenario offers as it is written.
    start: f64,
    steps: Vec<CapacityStep>,
    /// Result of the last rate that was tried; not complete if the search broke off.
    last: RunResult,
    progress: Progress,
}

impl Search<'_> {
    /// Finds the highest rate that holds for a step.
    fn highest(&mut self, scenario: &Scenario) -> Result<Option<f64>> {
        let mut short = scenario.clone();
        short.stretch(self.goal.step_seconds);
        let mut bounds = Bounds::new(MIN_TIMED as f64 / short.load_seconds());
        let mut next = Some(self.start);
        while let Some(rate) = next {
            let mut verdict = self.try_rate(&short, rate, Length::Step)?;
            if verdict == Some(Verdict::TooSlow) {
                verdict = self.try_rate(&short, rate, Length::Step)?;
            }
            let Some(verdict) = verdict else { break };
            next = bounds.next(rate, verdict == Verdict::Holds);
        }
        Ok(bounds.holds)
    }

    /// Finds the rate that holds for the whole scenario, if it is not far below.
    fn whole(&mut self, scenario: &Scenario, found: f64) -> Result<Option<f64>> {
        let mut rate = found;
        for _ in 0..WHOLE_TRIES {
            match self.try_rate(scenario, rate, Length::Whole)? {
                Some(Verdict::Holds) => return Ok(Some(rate)),
                Some(_) => rate *= WHOLE_STEP,
                None => break,
            }
        }
        Ok(None)
    }

    /// Runs the scenario at a rate. `None` if the run broke off, which says nothing of
    /// the rate.
    fn try_rate(
        &mut self,
        scenario: &Scenario,
        rate: f64,
        length: Length,
    ) -> Result<Option<Verdict>> {
        self.progress.describe(&format!("{rate:.0} events/s"));
        let mut tried = scenario.clone();
        tried.scale_rates(rate / self.start);
        let result = match super::run::run(&tried, self.text, self.environment) {
            Ok(result) => result,
            Err(error) if self.steps.is_empty() => return Err(error),
            Err(error) => {
                self.break_off(vec![format!("{error:#}")]);
                return Ok(None);
            }
        };
        if !result.complete {
            if self.steps.is_empty() {
                self.last = result;
            } else {
                for (machine, now) in self.last.machines.iter_mut().zip(&result.machines) {
                    machine.complete = now.complete;
                }
                self.break_off(result.notes);
            }
            return Ok(None);
        }
        let (step, verdict) = judge(&tried, &result, rate, self.goal);
        self.steps.push(CapacityStep { whole: length == Length::Whole, ..step });
        self.last = result;
        self.progress.step();
        Ok(Some(verdict))
    }

    /// Breaks the search off: the result is that of the last rate that was tried to the
    /// end.
    fn break_off(&mut self, why: Vec<String>) {
        self.last.complete = false;
        self.last.notes.extend(why);
        let what = "the search broke off; totals are of the last rate tried to the end";
        self.last.notes.push(what.into());
    }
}

/// Length of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    /// A step, to narrow the search down.
    Step,
    /// The whole scenario, to answer the search.
    Whole,
}

/// Verdict of a run on its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Holds,
    /// All events were emitted in time and came, but took too long.
    TooSlow,
    TooMuch,
}

fn judge(
    scenario: &Scenario,
    result: &RunResult,
    rate: f64,
    goal: &Goal,
) -> (CapacityStep, Verdict) {
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
    let verdict = if !(clean && is_on_time) {
        Verdict::TooMuch
    } else if p99_us > 0.0 && p99_us <= goal.p99_us {
        Verdict::Holds
    } else {
        Verdict::TooSlow
    };
    let step = CapacityStep {
        rate_per_s: rate,
        seconds: scenario.measured_seconds(),
        whole: false,
        delivered_per_s: totals::delivered_per_s(result, scenario),
        p50_us,
        p99_us,
        clean,
        holds: verdict == Verdict::Holds,
    };
    (step, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::LatencyKind;

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
            judge(&scenario, &result, 0.0, &goal).0.holds
        };
        assert!(holds(&[(50_000, 1000), (900_000, 99)]));
        assert!(!holds(&[(50_000, 1000), (900_000, 100)]));
        assert!(!holds(&[(900_000, 99)]), "where nobody timed enough, all are judged");
        assert!(!holds(&[]));
    }
}
