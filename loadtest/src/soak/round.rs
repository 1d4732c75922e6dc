//! One round: a quiet window, a disturbance, a window behind it, the accounts.
//!
//! ```text
//!   emit ── quiet ── disturbance ── healed ── behind ── pause ── accounts, samples
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::crew::{EMITTERS, LISTENERS};
use super::disturbance::{Card, Kind};
use super::latency::Recovery;
use super::plan::{EmitterTotals, Settled};

/// Time in which latencies must be back.
pub const BACK_WITHIN_MS: u64 = 1000;
/// Faults of a round that are told in full.
const MAX_TOLD: usize = 20;

/// Lengths of a round's parts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Time from the start of emitting until the quiet window.
    pub warm_up: Duration,
    /// Quiet window.
    pub quiet: Duration,
    /// Window behind the disturbance.
    pub behind: Duration,
    /// Longest wait for what is on the way.
    pub settle: Duration,
    /// Length of disturbances, of the longest.
    pub scale: f64,
    /// Whether latencies that are not back in time fail the run.
    pub judges_latency: bool,
}

/// Result of a round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// Number, from 1.
    pub number: u64,
    /// Seconds since the start of the run.
    pub at_s: f64,
    /// Disturbance.
    pub kind: Kind,
    /// Machine that it came to.
    pub machine: String,
    /// Deed, in a few words.
    pub note: String,
    /// Events emitted.
    pub emitted: u64,
    /// Events delivered, by all listeners.
    pub delivered: u64,
    /// Events missing at listeners that were told so, or whose emitters were.
    pub told_missing: u64,
    /// Events missing without a word.
    pub silently_missing: u64,
    /// Events of which their emitters were told that they may not have arrived.
    pub doubtful: u64,
    /// Times clients came back.
    pub reconnects: u64,
    /// Notices of loss, by reason.
    pub notices: BTreeMap<String, u64>,
    /// Latencies, by path.
    pub latencies: BTreeMap<String, Recovery>,
    /// Faults: everything that was not as it should have been.
    pub faults: Vec<String>,
}

impl Round {
    /// Makes the result of a round of which nothing is known yet.
    pub fn new(number: u64, at: Duration, card: Card, machine: &str) -> Round {
        Round {
            number,
            at_s: at.as_secs_f64(),
            kind: card.kind,
            machine: machine.to_owned(),
            note: String::new(),
            emitted: 0,
            delivered: 0,
            told_missing: 0,
            silently_missing: 0,
            doubtful: 0,
            reconnects: 0,
            notices: BTreeMap::new(),
            latencies: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    /// Notes a fault.
    pub fn fault(&mut self, fault: impl Into<String>) {
        if self.faults.len() < MAX_TOLD {
            self.faults.push(fault.into());
        }
    }

    /// Takes what the emitters tell.
    pub fn emitters(&mut self, before: &[u64], totals: &[EmitterTotals]) {
        for of in totals {
            let was = before.get(usize::from(of.emitter)).copied().unwrap_or(0);
            self.emitted += of.total - was;
            self.doubtful += of.doubtful.iter().map(|(from, to)| to - from).sum::<u64>();
            self.reconnects += of.reconnects;
            for error in of.errors.iter().filter(|error| !self.kind.explains(error)) {
                self.faults.push(format!("emitter {}: {error}", of.emitter));
            }
        }
    }

    /// Takes the accounts of all machines and judges them.
    pub fn accounts(
        &mut self,
        card: Card,
        pace: &Pace,
        totals: &[EmitterTotals],
        settled: &[Settled],
    ) -> Result<()> {
        for (at, machine) in settled.iter().enumerate() {
            for (place, tally) in machine.tallies.iter().enumerate() {
                let who = format!("listener {place} of m{}", at + 1);
                self.delivered += tally.received;
                self.reconnects += tally.reconnects;
                for (reason, (notices, _)) in &tally.notices {
                    *self.notices.entry(reason.clone()).or_default() += notices;
                }
                for (what, count) in
                    [("again", tally.repeated), ("late", tally.late), ("corrupt", tally.corrupt)]
                {
                    if count > 0 {
                        self.fault(format!("{who}: {count} events came {what}"));
                    }
                }
                for error in tally.errors.iter().filter(|error| !card.kind.explains(error)) {
                    self.fault(format!("{who}: {error}"));
                }
                for gap in &tally.gaps {
                    let doubtful = &totals[usize::from(gap.emitter)].doubtful;
                    let silent = gap.unaccounted(doubtful);
                    self.silently_missing += silent;
                    self.told_missing += gap.events() - silent;
                    let from = usize::from(gap.emitter) / EMITTERS;
                    let may =
                        card.kind.may_lose(card.machine, from, at, LISTENERS[place].is_latest);
                    if silent > 0 || !may {
                        self.fault(format!(
                            "{who}: {} to {} of emitter {} (m{}) are missing, {}",
                            gap.from,
                            gap.to - 1,
                            gap.emitter,
                            from + 1,
                            told(silent, gap.told, doubtful)
                        ));
                    }
                }
            }
            for (path, recovery) in [("local", machine.local), ("link", machine.remote)] {
                let Some(recovery) = recovery else { continue };
                let name = format!("{path} to m{}", at + 1);
                if pace.judges_latency && recovery.back_ms.is_none_or(|ms| ms > BACK_WITHIN_MS) {
                    self.fault(format!(
                        "{name}: latency back after {}; p99 {} µs before, {} µs behind",
                        recovery.back_ms.map_or("never".into(), |ms| format!("{ms} ms")),
                        recovery.quiet_p99_us,
                        recovery.after_p99_us
                    ));
                }
                self.latencies.insert(name, recovery);
            }
            if machine.tallies.len() != LISTENERS.len() {
                self.fault(format!("m{} has {} listeners", at + 1, machine.tallies.len()));
            }
        }
        Ok(())
    }
}

fn told(silent: u64, told: Option<u64>, doubtful: &[(u64, u64)]) -> String {
    if silent > 0 {
        let told = told.map_or("any".into(), |told| told.to_string());
        format!("{silent} of them without a word (told {told}, doubtful {doubtful:?})")
    } else {
        "which was told, but nothing may be".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::{Gap, Tally};
    use super::*;

    const PACE: Pace = Pace {
        warm_up: Duration::ZERO,
        quiet: Duration::ZERO,
        behind: Duration::ZERO,
        settle: Duration::ZERO,
        scale: 1.0,
        judges_latency: true,
    };

    fn judged(kind: Kind, gap: Gap, doubtful: Vec<(u64, u64)>) -> Round {
        let card = Card { kind, machine: 0, seed: 1 };
        let mut round = Round::new(1, Duration::ZERO, card, "m1");
        let totals: Vec<EmitterTotals> = (0..4)
            .map(|emitter| EmitterTotals {
                emitter,
                total: 100,
                doubtful: doubtful.clone(),
                reconnects: 0,
                refused: 0,
                errors: Vec::new(),
            })
            .collect();
        round.emitters(&[0; 4], &totals);
        let mut tallies = vec![Tally::default(); LISTENERS.len()];
        tallies[0].gaps.push(gap);
        let settled = Settled { tallies, local: None, remote: None };
        round.accounts(card, &PACE, &totals, &[settled]).unwrap();
        round
    }

    #[test]
    fn what_is_missing_is_a_fault_unless_it_may_be_and_was_told() {
        let gap = |told| Gap { emitter: 0, from: 10, to: 15, told };
        assert_eq!(judged(Kind::KillBroker, gap(None), vec![]).faults.len(), 0);
        assert_eq!(judged(Kind::KillBroker, gap(Some(0)), vec![(9, 20)]).faults.len(), 0);
        let silent = judged(Kind::KillBroker, gap(Some(3)), vec![]);
        assert_eq!((silent.silently_missing, silent.faults.len()), (2, 1));
        // Told, but a takeover loses nothing between clients of one machine.
        assert_eq!(judged(Kind::Takeover, gap(None), vec![]).faults.len(), 1);
    }

    #[test]
    fn latency_that_is_not_back_is_a_fault() {
        let card = Card { kind: Kind::Churn, machine: 0, seed: 1 };
        let mut round = Round::new(1, Duration::ZERO, card, "m1");
        let slow = Recovery { quiet_p99_us: 100, after_p99_us: 9, back_ms: Some(1200) };
        let tallies = vec![Tally::default(); LISTENERS.len()];
        let settled = Settled { tallies, local: Some(slow), remote: None };
        round.accounts(card, &PACE, &[], &[settled]).unwrap();
        assert_eq!(round.faults.len(), 1, "{:?}", round.faults);
    }
}
