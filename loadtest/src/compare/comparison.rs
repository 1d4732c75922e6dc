//! Runs of a comparison, interleaved, and their outcomes.

use anyhow::{Result, bail};

use crate::compare::args::CompareArgs;
use crate::compare::contestant::{Ready, Turn};
use crate::compare::load::Load;
use crate::interrupt;
use crate::outcome::Outcome;
use crate::plan::Scenario;
use crate::progress::Progress;
use crate::result::PeerInfo;
use crate::result::machine::MachineInfo;
use crate::result::unix_ms_now;

/// Loads that are measured with contestants, and the outcomes.
#[derive(Debug)]
pub struct Comparison {
    /// Contestants that were asked for, skipped ones too.
    pub peers: Vec<PeerInfo>,
    /// Loads: the columns of the table.
    pub loads: Vec<Load>,
    /// Contestants that run.
    pub ready: Vec<Ready>,
    /// Outcomes by contestant and load.
    pub entries: Vec<Vec<Entry>>,
    /// Notes that a reader must know.
    pub notes: Vec<String>,
    /// Whether all runs were made.
    pub complete: bool,
    /// Time at which the comparison began.
    pub started_unix_ms: u64,
    /// Machine that the comparison runs on.
    pub machine: MachineInfo,
    base: Scenario,
    repeats: usize,
}

/// Outcomes of one contestant under one load.
#[derive(Clone, Debug, Default)]
pub struct Entry {
    /// Outcome of each run.
    pub runs: Vec<Outcome>,
    /// Counters that the processes told besides.
    pub told: Vec<(String, u64)>,
    /// Whether a run failed, so that there is no other one.
    pub failed: bool,
    /// Whether there is no run at all, as the load is nothing for this contestant.
    pub unsuited: bool,
}

impl Comparison {
    /// Looks which contestants are there.
    pub fn new(args: &CompareArgs) -> Result<Comparison> {
        args.check()?;
        let (mut peers, mut ready) = (Vec::new(), Vec::new());
        for contestant in args.contestants() {
            let found = contestant.find(args.common.broker.as_deref());
            peers.push(PeerInfo {
                name: contestant.name().into(),
                version: found.as_ref().map_or("", Ready::version).into(),
                transport: contestant.transport().into(),
                skipped: found.as_ref().err().cloned(),
            });
            ready.extend(found.ok());
        }
        if ready.is_empty() {
            let reasons: Vec<&str> =
                peers.iter().filter_map(|peer| peer.skipped.as_deref()).collect();
            bail!("there is nobody to measure: {}", reasons.join("; "));
        }
        let loads = args.loads();
        let base = Scenario {
            seconds: args.seconds,
            shards: Some(args.common.shards.unwrap_or(1)),
            backend: args.common.backend.clone(),
            // As the connections to the others: it is brokers that are compared.
            by_epoll: true,
            ..Scenario::default()
        };
        let entry = |ready: &Ready, load: &Load| {
            let unsuited = !ready.what().suits(&load.scenario(&base));
            Entry { unsuited, ..Entry::default() }
        };
        let entries = ready.iter();
        let entries =
            entries.map(|ready| loads.iter().map(|load| entry(ready, load)).collect()).collect();
        Ok(Comparison {
            entries,
            peers,
            loads,
            ready,
            notes: Vec::new(),
            complete: true,
            started_unix_ms: unix_ms_now(),
            machine: MachineInfo::here("local"),
            base,
            repeats: args.repeats,
        })
    }

    /// Runs everything. An interrupt ends the comparison with the runs that there are.
    pub fn run(mut self) -> Result<Comparison> {
        let suited = self.entries.iter().flatten().filter(|entry| !entry.unsuited);
        let runs = self.repeats * suited.count();
        let mut progress = Progress::new(runs, self.base.seconds);
        for round in 0..self.repeats {
            for load in 0..self.loads.len() {
                for turn in 0..self.ready.len() {
                    let who = (turn + round + load) % self.ready.len();
                    if self.entries[who][load].unsuited {
                        continue;
                    }
                    let name = self.ready[who].what().name();
                    progress.describe(&format!("{name}, {}", self.loads[load].name()));
                    self.turn(who, load);
                    progress.step();
                    if interrupt::requested() {
                        drop(progress);
                        return self.end();
                    }
                }
            }
        }
        drop(progress);
        self.end()
    }

    fn turn(&mut self, who: usize, load: usize) {
        if self.entries[who][load].failed {
            return;
        }
        let scenario = self.loads[load].scenario(&self.base);
        let entry = &mut self.entries[who][load];
        match self.ready[who].run(&scenario) {
            Ok((outcome, told)) => entry.take((outcome, told)),
            Err(_) if interrupt::requested() => {}
            Err(error) => {
                // The others go on: one peer that cannot do it is a result too.
                entry.failed = true;
                self.complete = false;
                let (name, load) = (self.ready[who].what().name(), self.loads[load].name());
                self.notes.push(format!("{name}, {load}: {error:#}."));
            }
        }
    }

    fn end(mut self) -> Result<Comparison> {
        if interrupt::requested() {
            self.complete = false;
            self.notes.push("Interrupted: not all runs were made.".into());
        }
        for (ready, entries) in self.ready.iter().zip(&self.entries) {
            for (load, entry) in self.loads.iter().zip(entries) {
                let about = format!("{}, {}", ready.what().name(), load.name());
                for (what, count) in &entry.told {
                    self.notes.push(format!("{about}: {count} {what}."));
                }
                let (duplicated, corrupt) = (entry.sum(|c| c.duplicated), entry.sum(|c| c.corrupt));
                if duplicated + corrupt > 0 {
                    self.notes.push(format!("{about}: {duplicated} repeated, {corrupt} broken."));
                }
            }
        }
        Ok(self)
    }

    /// Returns whether all runs were made, and the events of netcluster and the relay
    /// came once and whole.
    pub fn is_clean(&self) -> bool {
        let own = |ready: &Ready| ready.what().is_own();
        let entries = self.ready.iter().zip(&self.entries).filter(|(ready, _)| own(ready));
        let mut runs = entries.flat_map(|(_, entries)| entries).flat_map(|entry| &entry.runs);
        self.complete && runs.all(|outcome| outcome.counts.is_clean())
    }
}

impl Entry {
    fn take(&mut self, (outcome, told): Turn) {
        self.runs.push(outcome);
        for (what, count) in told {
            match self.told.iter_mut().find(|(known, _)| *known == what) {
                Some((_, sum)) => *sum += count,
                None => self.told.push((what, count)),
            }
        }
    }

    /// Sums up a count over all runs.
    pub fn sum(&self, of: impl Fn(&crate::delivery_check::Counts) -> u64) -> u64 {
        self.runs.iter().map(|outcome| of(&outcome.counts)).sum()
    }

    /// Returns the events that were lost of those that were due, in percent; `None` if
    /// none is lost.
    pub fn lost_percent(&self) -> Option<f64> {
        let (lost, received) = (self.sum(|c| c.lost), self.sum(|c| c.received));
        (lost > 0).then(|| 100.0 * lost as f64 / (lost + received) as f64)
    }
}
