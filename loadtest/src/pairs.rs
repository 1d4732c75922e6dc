//! Repeated runs, alone or in pairs with those that they are compared with.
//!
//! The halves of a pair follow each other at once, and take turns in going first: a
//! machine that is slow for a minute is slow for both. The verdict is that of the median
//! of the pairs' ratios.

use anyhow::Result;
use clap::ValueEnum;

use crate::interrupt;
use crate::median::Median;
use crate::metric::Metric;
use crate::outcome::Outcome;
use crate::plan::{Middle, Scenario};
use crate::run::Runner;

/// Run that a run is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// Process that copies bytes and parses nothing.
    Relay,
    /// Process that copies bytes between an emitter and a listener without the client
    /// crate.
    Bare,
    /// Broker without --slow-reader, --stuck, --beside and --patterns.
    Plain,
    /// Broker with one shard.
    OneShard,
    /// Broker on its `poll` back end.
    Poll,
    /// Broker and clients that share no memory.
    Sockets,
}

impl Against {
    /// Names the other half of a pair in words.
    pub fn name(self) -> &'static str {
        match self {
            Against::Relay => "relay",
            Against::Bare => "bare",
            Against::Plain => "plain",
            Against::OneShard => "one shard",
            Against::Poll => "poll",
            Against::Sockets => "sockets",
        }
    }

    /// Returns the other half of a pair.
    fn half(self, scenario: &Scenario) -> (Scenario, Middle) {
        let mut other = scenario.clone();
        match self {
            Against::Relay | Against::Bare | Against::Plain => {
                other.patterns = 0;
                other.slow_reader = false;
                other.stuck = false;
                other.beside = None;
            }
            Against::OneShard => other.shards = Some(1),
            Against::Poll => other.backend = Some("poll".into()),
            Against::Sockets => other = scenario.by_sockets(),
        }
        let middle = match self {
            Against::Relay => Middle::Relay,
            Against::Bare => Middle::Bare,
            Against::Plain | Against::OneShard | Against::Poll | Against::Sockets => Middle::Broker,
        };
        (other, middle)
    }
}

/// Outcomes of all runs.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    /// Outcomes of the broker.
    pub runs: Vec<Outcome>,
    /// Outcomes of the other halves, in the same order; empty if there are none.
    pub baseline: Vec<Outcome>,
}

impl Pairs {
    /// Runs the scenario so many times. An interrupt ends the series early with the runs
    /// that there are; `step` is told after each run.
    ///
    /// # Errors
    /// If a run fails, or is interrupted before there is anything.
    pub fn run(
        scenario: &Scenario,
        against: Option<Against>,
        repeats: usize,
        runner: &Runner,
        mut step: impl FnMut(),
    ) -> Result<Pairs> {
        let mut pairs = Pairs::default();
        for repeat in 0..repeats {
            match Pairs::one(scenario, against, repeat, runner, &mut step) {
                Ok((outcome, baseline)) => {
                    pairs.runs.push(outcome);
                    pairs.baseline.extend(baseline);
                }
                Err(_) if interrupt::requested() && !pairs.runs.is_empty() => break,
                Err(error) => return Err(error),
            }
            if interrupt::requested() {
                break;
            }
        }
        Ok(pairs)
    }

    fn one(
        scenario: &Scenario,
        against: Option<Against>,
        repeat: usize,
        runner: &Runner,
        step: &mut impl FnMut(),
    ) -> Result<(Outcome, Option<Outcome>)> {
        let mut own = || -> Result<Outcome> {
            let outcome = runner.run(scenario, runner.middle)?;
            step();
            Ok(outcome)
        };
        let Some(against) = against else { return Ok((own()?, None)) };
        let (other, middle) = against.half(scenario);
        if repeat.is_multiple_of(2) {
            let outcome = own()?;
            let baseline = runner.run(&other, middle)?;
            step();
            return Ok((outcome, Some(baseline)));
        }
        let baseline = runner.run(&other, middle)?;
        let outcome = own()?;
        step();
        Ok((outcome, Some(baseline)))
    }

    /// Returns the median of the pairs' ratios.
    pub fn ratio(&self, metric: Metric) -> Option<Median> {
        let pairs = self.runs.iter().zip(&self.baseline);
        Median::of(pairs.filter_map(|(own, other)| {
            let (own, other) = (metric.of(own)?, metric.of(other)?);
            (other > 0.0).then(|| own / other)
        }))
    }

    /// Returns whether every event of every run came once and whole.
    pub fn is_clean(&self) -> bool {
        self.runs.iter().chain(&self.baseline).all(|outcome| outcome.counts.is_clean())
    }
}

/// Returns the median of a number over runs.
pub fn median(runs: &[Outcome], metric: Metric) -> Option<Median> {
    Median::of(runs.iter().filter_map(|outcome| metric.of(outcome)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_over_pairs_not_the_ratio_of_medians() {
        let outcome = |events_per_s| Outcome { events_per_s, ..Outcome::default() };
        let pairs = Pairs {
            runs: [10.0, 40.0, 90.0].map(outcome).to_vec(),
            baseline: [10.0, 80.0, 100.0].map(outcome).to_vec(),
        };
        let ratio = pairs.ratio(Metric::EventsPerS).unwrap();
        assert_eq!((ratio.median, ratio.min, ratio.max), (0.9, 0.5, 1.0));
        assert_eq!(pairs.ratio(Metric::P50), None);
    }

    #[test]
    fn the_other_half_is_told_apart_by_one_thing() {
        let stuck = Scenario { stuck: true, shards: Some(2), ..Scenario::default() };
        let (plain, middle) = Against::Plain.half(&stuck);
        assert_eq!(plain, Scenario { shards: Some(2), ..Scenario::default() });
        assert_eq!(middle, Middle::Broker);
        assert_eq!(Against::OneShard.half(&stuck).0.shards, Some(1));
        assert_eq!(Against::Sockets.half(&stuck), (stuck.by_sockets(), Middle::Broker));
        assert_eq!(Against::Relay.half(&stuck).1, Middle::Relay);
        assert_eq!(Against::Bare.half(&stuck).1, Middle::Bare);
    }
}
