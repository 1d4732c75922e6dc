//! Result of an endurance run, and whether it passed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::disturbance::Kind;
use super::resources::Trend;
use super::round::Round;
use crate::result::MachineInfo;

/// Name and version of the file format.
pub const SCHEMA: &str = "netcluster-soak/1";
/// Name of the file in the directory `--out`.
pub const FILE: &str = "soak.json";

/// Result of an endurance run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Name and version of the format.
    pub schema: String,
    /// Seed of the order and the details of disturbances.
    pub seed: u64,
    /// Seconds that the run took.
    pub seconds: f64,
    /// Seconds that it was to take.
    pub wanted_seconds: f64,
    /// Machine on which all ran.
    pub machine: MachineInfo,
    /// Reason why there was no link between the machines.
    pub without_network: Option<String>,
    /// Disturbances that were left out, and why.
    pub skipped: BTreeMap<String, String>,
    /// Whether latencies that are not back in time fail the run.
    pub judges_latency: bool,
    /// Events emitted, delivered, missing and told, missing without a word, and in doubt.
    pub emitted: u64,
    /// Events delivered, by all listeners.
    pub delivered: u64,
    /// Events missing that were told so.
    pub told_missing: u64,
    /// Events missing without a word.
    pub silently_missing: u64,
    /// Load average at the end of each round: the least, the median, the most.
    pub load_average: [f64; 3],
    /// Effects of each kind of disturbance.
    pub disturbances: Vec<Summary>,
    /// Holdings of long-lived processes over time.
    pub trends: Vec<Trend>,
    /// All rounds.
    pub rounds: Vec<Round>,
    /// Faults outside of a round, and what broke the run off.
    pub faults: Vec<String>,
    /// Whether everything was as it should be.
    pub passed: bool,
}

/// All rounds of a kind of disturbance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Kind.
    pub kind: Kind,
    /// Rounds.
    pub rounds: u64,
    /// Rounds with a fault.
    pub faulty: u64,
    /// Events missing that were told so.
    pub told_missing: u64,
    /// Events missing without a word.
    pub silently_missing: u64,
    /// Time until latencies were back on the slower path: median and longest, in
    /// milliseconds; `None`: not in the window behind it.
    pub back_ms: [Option<u64>; 2],
    /// Median over rounds and paths of the 99th percentile before, in microseconds.
    pub quiet_p99_us: u32,
    /// Median of the 99th percentile from a second after the healing on.
    pub after_p99_us: u32,
}

impl Outcome {
    /// Sums the rounds up and judges.
    pub fn conclude(&mut self) {
        let sum = |of: fn(&Round) -> u64| self.rounds.iter().map(of).sum::<u64>();
        self.emitted = sum(|round| round.emitted);
        self.delivered = sum(|round| round.delivered);
        self.told_missing = sum(|round| round.told_missing);
        self.silently_missing = sum(|round| round.silently_missing);
        let mut kinds: BTreeMap<Kind, Vec<&Round>> = BTreeMap::new();
        for round in &self.rounds {
            kinds.entry(round.kind).or_default().push(round);
        }
        self.disturbances =
            kinds.into_iter().map(|(kind, rounds)| summary(kind, &rounds)).collect();
        let grows = |trend: &&Trend| trend.grows;
        for trend in self.trends.iter().filter(grows) {
            self.faults.push(format!(
                "{} of {} grows: {:.0} to {:.0}, by {}",
                trend.measure,
                trend.process,
                trend.first,
                trend.last,
                trend.slope_text()
            ));
        }
        let is_clean = self.rounds.iter().all(|round| round.faults.is_empty());
        self.passed = is_clean && self.faults.is_empty() && !self.rounds.is_empty();
    }
}

impl Trend {
    /// Returns the slope as people read it.
    pub fn slope_text(&self) -> String {
        match self.per_hour {
            Some([low, median, high]) => format!("{median:+.1}/h ({low:+.1} to {high:+.1})"),
            None => "too few samples".into(),
        }
    }
}

fn summary(kind: Kind, rounds: &[&Round]) -> Summary {
    let all = || rounds.iter().flat_map(|round| round.latencies.values());
    // Of each round the slower path; one that was not back is the slowest.
    let mut back: Vec<u64> = rounds
        .iter()
        .filter_map(|round| round.latencies.values().map(|of| of.back_ms.unwrap_or(u64::MAX)).max())
        .collect();
    back.sort_unstable();
    let known = |ms: Option<&u64>| ms.copied().filter(|&ms| ms < u64::MAX);
    Summary {
        kind,
        rounds: rounds.len() as u64,
        faulty: rounds.iter().filter(|round| !round.faults.is_empty()).count() as u64,
        told_missing: rounds.iter().map(|round| round.told_missing).sum(),
        silently_missing: rounds.iter().map(|round| round.silently_missing).sum(),
        back_ms: [known(back.get(back.len() / 2)), known(back.last())],
        quiet_p99_us: median(all().map(|of| of.quiet_p99_us).collect()),
        after_p99_us: median(all().map(|of| of.after_p99_us).collect()),
    }
}

fn median(mut all: Vec<u32>) -> u32 {
    all.sort_unstable();
    all.get(all.len() / 2).copied().unwrap_or(0)
}
