//! Runs of a row: alone, or in pairs whose halves follow each other at once and take
//! turns in going first, all on one network.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;

use crate::delivery_check::Counts;
use crate::interrupt;
use crate::link::plan::LinkScenario;
use crate::link::rows::{Number, Row};
use crate::link::run::{LinkOutcome, run};
use crate::median::Median;
use netcluster_testkit::netns::{Network, NetworkOptions};

const BITS_PER_BYTE: f64 = 8.0;

/// Row and the outcomes of its runs.
#[derive(Debug)]
pub struct Series {
    pub row: Row,
    pub runs: Vec<LinkOutcome>,
    /// Outcomes of the runs beside them, in the same order.
    pub beside: Vec<LinkOutcome>,
    /// Whether a run ended with an error, which was told.
    pub has_failed: bool,
}

impl Series {
    /// Runs a row so many times. An interrupt ends the series with the runs that there
    /// are.
    ///
    /// # Errors
    /// If a run fails, or is interrupted before there is anything.
    pub fn run(row: Row, repeats: usize, program: &Path, mut step: impl FnMut()) -> Result<Series> {
        let network = network(&row.scenario)?;
        let other = row.beside.map(|beside| beside.half(&row.scenario));
        let mut series = Series { row, runs: Vec::new(), beside: Vec::new(), has_failed: false };
        for repeat in 0..repeats {
            let mut one = |scenario: &LinkScenario| -> Result<LinkOutcome> {
                let outcome = run(scenario, &network, program)?;
                step();
                Ok(outcome)
            };
            let own = &series.row.scenario;
            let pair = match &other {
                None => one(own).map(|outcome| (outcome, None)),
                Some(other) if repeat.is_multiple_of(2) => {
                    one(own).and_then(|outcome| Ok((outcome, Some(one(other)?))))
                }
                Some(other) => one(other).and_then(|beside| Ok((one(own)?, Some(beside)))),
            };
            match pair {
                Ok((outcome, beside)) => {
                    series.runs.push(outcome);
                    series.beside.extend(beside);
                }
                Err(_) if interrupt::requested() && !series.runs.is_empty() => break,
                Err(error) => return Err(error),
            }
            if interrupt::requested() {
                break;
            }
        }
        Ok(series)
    }

    /// Makes the series of a row that came to nothing.
    pub fn failed(name: String) -> Series {
        let scenario = LinkScenario::default();
        let row = Row { name, scenario, beside: None, shown: Vec::new() };
        Series { row, runs: Vec::new(), beside: Vec::new(), has_failed: true }
    }

    /// Returns the median of a number, and that of the runs beside.
    pub fn medians(&self, number: Number) -> (Option<Median>, Option<Median>) {
        let of = |runs: &[LinkOutcome]| {
            Median::of(runs.iter().filter_map(|outcome| self.value(number, outcome)))
        };
        (of(&self.runs), of(&self.beside))
    }

    /// Returns the median of the pairs' ratios.
    pub fn ratio(&self, number: Number) -> Option<Median> {
        let pairs = self.runs.iter().zip(&self.beside);
        Median::of(pairs.filter_map(|(own, other)| {
            let (own, other) = (self.value(number, own)?, self.value(number, other)?);
            (other > 0.0).then(|| own / other)
        }))
    }

    fn value(&self, number: Number, outcome: &LinkOutcome) -> Option<f64> {
        match number {
            Number::Metric(metric) => metric.of(&outcome.outcome),
            Number::LineShare => {
                let line = self.row.scenario.bottleneck? as f64;
                Some(outcome.outcome.mb_per_s * 1e6 * BITS_PER_BYTE / line)
            }
            Number::Fairness => {
                let fastest = *outcome.emitted.iter().max()?;
                let slowest = *outcome.emitted.iter().min()?;
                Some(slowest as f64 / fastest.max(1) as f64)
            }
        }
    }

    /// Sums up losses and the like over all runs.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.runs.iter().chain(&self.beside).for_each(|run| sum.add(run.outcome.counts));
        sum
    }

    /// Sums up what the runs of the row counted besides.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        let mut sum = BTreeMap::new();
        for (name, value) in self.runs.iter().flat_map(|run| &run.counters) {
            *sum.entry(name.clone()).or_default() += value;
        }
        sum
    }

    /// Returns whether every event came once and whole.
    pub fn is_clean(&self) -> bool {
        !self.has_failed && self.counts().is_clean()
    }
}

fn network(scenario: &LinkScenario) -> Result<Network> {
    let options = NetworkOptions {
        hosts: scenario.hosts(),
        packets: scenario.packets,
        ..NetworkOptions::default()
    };
    let network = Network::new(options)?;
    for receiver in &network.hosts()[scenario.senders..] {
        receiver.set_loss(scenario.loss_thousandths)?;
        if let Some(rate) = scenario.bottleneck {
            network.set_rate(receiver.index(), Some(rate))?;
        }
    }
    Ok(network)
}
