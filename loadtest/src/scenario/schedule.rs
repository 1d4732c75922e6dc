//! Schedule of events: the phases' loads, laid over an emitter's rate.
//!
//! ```text
//!   load 1 |        ____________
//!          |      /|            |          a phase is a piece of a line;
//!        0 |____/__|____________|___       one event is due per unit of area
//!          0     warm-up   load
//! ```
//! Constant arrivals take one unit of area each, Poisson arrivals a random one with mean
//! 1, which is exact also where the load changes.

use serde::{Deserialize, Serialize};

const NS_PER_S: f64 = 1e9;

/// Phase, for an emitter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// Length of the phase.
    pub ns: u64,
    /// Share of the rate at its start.
    pub from: f64,
    /// Share of the rate at its end.
    pub to: f64,
    /// Whether the phase counts for latencies.
    pub measured: bool,
}

/// Returns the end of all phases, after their start.
pub fn end_ns(phases: &[Phase]) -> u64 {
    phases.iter().map(|phase| phase.ns).sum()
}

/// Returns whether a time after the start is in a measured phase.
pub fn is_measured(phases: &[Phase], at_ns: u64) -> bool {
    let mut end = 0;
    let phase = phases.iter().find(|phase| {
        end += phase.ns;
        at_ns < end
    });
    phase.is_some_and(|phase| phase.measured)
}

/// Schedule of one emitter.
#[derive(Clone, Debug)]
pub struct Schedule {
    phases: Vec<Phase>,
    rate_per_s: f64,
    /// Current phase, when it began, and how far into it the last event was.
    phase: usize,
    began_ns: u64,
    into_s: f64,
}

impl Schedule {
    /// Makes the schedule of one emitter.
    pub fn new(phases: &[Phase], rate_per_s: f64) -> Schedule {
        Schedule { phases: phases.to_vec(), rate_per_s, phase: 0, began_ns: 0, into_s: 0.0 }
    }

    /// Returns the nanoseconds after the start when so much more area is covered; `None`
    /// when all phases are over before.
    pub fn next(&mut self, mut area: f64) -> Option<u64> {
        while let Some(phase) = self.phases.get(self.phase) {
            let seconds = phase.ns as f64 / NS_PER_S;
            let left_s = (seconds - self.into_s).max(0.0);
            let slope = self.rate_per_s * (phase.to - phase.from) / seconds;
            let rate = self.rate_per_s * phase.from + slope * self.into_s;
            let whole = left_s * (rate + slope * left_s / 2.0);
            if whole > area {
                // slope/2 x² + rate x = area, in the form that is exact for no slope.
                let root = (rate * rate + 2.0 * slope * area).max(0.0).sqrt();
                self.into_s += (2.0 * area / (rate + root)).min(left_s);
                return Some(self.began_ns + (self.into_s * NS_PER_S) as u64);
            }
            area -= whole.max(0.0);
            self.began_ns += phase.ns;
            self.into_s = 0.0;
            self.phase += 1;
        }
        None
    }
}

/// Seeded randomness: good enough for loads, for nothing else.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Random {
        let mut random = Random { state: seed };
        random.next();
        random
    }

    /// Draws the next number (splitmix64).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Draws a number from 0 to 1, without 1.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws a number that is exponentially distributed with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -(1.0 - self.unit()).ln()
    }

    /// Draws a number that is normally distributed around 0 with spread 1.
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn phase(seconds: u64, from: f64, to: f64) -> Phase {
        Phase { ns: seconds * SECOND_NS, from, to, measured: true }
    }

    fn due(phases: &[Phase], rate: f64, mut area: impl FnMut() -> f64) -> Vec<u64> {
        let mut schedule = Schedule::new(phases, rate);
        std::iter::from_fn(|| schedule.next(area())).collect()
    }

    #[test]
    fn constant_arrivals_are_at_equal_distances() {
        let due = due(&[phase(2, 1.0, 1.0)], 10.0, || 1.0);
        assert_eq!(due.len(), 19);
        for (index, at) in due.iter().enumerate() {
            let expected = (index as u64 + 1) * SECOND_NS / 10;
            assert!(at.abs_diff(expected) < 1000, "{index}: {at}");
        }
    }

    #[test]
    fn a_ramp_has_the_mean_of_its_ends_and_grows() {
        let due = due(&[phase(10, 0.0, 1.0)], 100.0, || 1.0);
        assert!((498..=500).contains(&due.len()), "{}", due.len());
        let half = due.iter().filter(|&&at| at < 5 * SECOND_NS).count();
        assert!((123..=126).contains(&half), "{half}");
        assert!(due.is_sorted());
    }

    #[test]
    fn a_silent_phase_is_passed_over() {
        let due = due(&[phase(1, 1.0, 1.0), phase(5, 0.0, 0.0), phase(1, 2.0, 2.0)], 10.0, || 1.0);
        assert!(!due.iter().any(|&at| (SECOND_NS + 1000..6 * SECOND_NS).contains(&at)));
        assert!((29..=30).contains(&due.len()), "{}", due.len());
    }

    #[test]
    fn poisson_arrivals_have_the_rate_and_its_spread() {
        let mut random = Random::new(5);
        let due = due(&[phase(100, 1.0, 1.0)], 100.0, || random.exponential());
        assert!((9_700..10_300).contains(&due.len()), "{}", due.len());
        let mut per_second = [0f64; 100];
        due.iter().for_each(|at| per_second[(at / SECOND_NS) as usize] += 1.0);
        let variance = per_second.iter().map(|n| (n - 100.0).powi(2)).sum::<f64>() / 100.0;
        assert!((60.0..150.0).contains(&variance), "{variance}");
    }

    #[test]
    fn measured_phases_are_told_from_others() {
        let phases = [Phase { measured: false, ..phase(1, 1.0, 1.0) }, phase(1, 1.0, 1.0)];
        let measured = [0, SECOND_NS - 1, SECOND_NS, 2 * SECOND_NS - 1, 2 * SECOND_NS];
        assert_eq!(measured.map(|at| is_measured(&phases, at)), [false, false, true, true, false]);
        assert_eq!(end_ns(&phases), 2 * SECOND_NS);
    }
}
