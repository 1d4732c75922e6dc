//! Latencies by the time at which events were due, and when they are back to what they were.
//!
//! ```text
//!   quiet window │ disturbance … healed │ window behind
//!   ▁▁▁▁▁▁▁▁▁▁▁▁ │ ▁▂▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇▇ │ ▃▁▁▁▁▁▁▁▁▁▁
//!        ▲ the bound follows from it          ▲ back: full buckets below the bound
//! ```
//! An event is counted when it was due, not when it came: what a disturbance held up belongs
//! to the disturbance, and what never came leaves its bucket short.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Length of a bucket.
pub const BUCKET: Duration = Duration::from_millis(100);
/// Buckets in a row that must be good before latencies count as back.
const IN_A_ROW: usize = 2;
/// Latency beyond the quiet window's that still counts as usual: what a scheduler that
/// serves others as well adds now and then.
const ALLOWANCE_US: u32 = 25_000;
/// Times the quiet window's latency that still counts as usual.
const ALLOWED_TIMES: u32 = 2;
/// Share of the quiet window's events that a full bucket has, in percent.
const FULL_PERCENT: u64 = 80;

/// Latencies in microseconds, by the bucket in which the events were due.
#[derive(Debug, Default)]
pub struct Latencies(BTreeMap<u64, Vec<u32>>);

/// Stretch of time, in nanoseconds of the machine's clock.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Stretch {
    /// First nanosecond.
    pub from_ns: u64,
    /// First nanosecond behind.
    pub to_ns: u64,
}

/// Latencies before a disturbance and behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// 99th percentile of the quiet window, in microseconds.
    pub quiet_p99_us: u32,
    /// 99th percentile from a second after the healing on.
    pub after_p99_us: u32,
    /// Time from the healing until latencies were back; `None`: not in this window.
    pub back_ms: Option<u64>,
}

impl Latencies {
    /// Books an event.
    pub fn record(&mut self, due_ns: u64, latency_ns: u64) {
        let us = u32::try_from(latency_ns / 1000).unwrap_or(u32::MAX);
        self.0.entry(due_ns / BUCKET.as_nanos() as u64).or_default().push(us);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the 99th percentile of what was due in a stretch, and how many there were.
    fn p99_us(&self, stretch: Stretch) -> (u32, u64) {
        let mut all: Vec<u32> = self.within(stretch).flat_map(|(_, us)| us).copied().collect();
        let count = all.len() as u64;
        (p99(&mut all), count)
    }

    fn within(&self, stretch: Stretch) -> impl Iterator<Item = (u64, &Vec<u32>)> {
        let length = BUCKET.as_nanos() as u64;
        // Whole buckets alone.
        let (from, to) = (stretch.from_ns.div_ceil(length), stretch.to_ns / length);
        self.0.range(from..to.max(from)).map(|(bucket, us)| (*bucket, us))
    }

    /// Compares the window behind a disturbance, which begins with the healing, with the
    /// quiet one; `None` if nothing came in the quiet one.
    pub fn recovery(&self, quiet: Stretch, behind: Stretch) -> Option<Recovery> {
        let length = BUCKET.as_nanos() as u64;
        let (quiet_p99_us, count) = self.p99_us(quiet);
        let buckets = (quiet.to_ns / length).checked_sub(quiet.from_ns.div_ceil(length))?;
        if count == 0 || buckets == 0 {
            return None;
        }
        let full = count * FULL_PERCENT / 100 / buckets;
        let bound = (quiet_p99_us * ALLOWED_TIMES).max(quiet_p99_us.saturating_add(ALLOWANCE_US));
        let good = |bucket: u64| {
            let Some(us) = self.0.get(&bucket) else { return false };
            us.len() as u64 >= full && p99(&mut us.clone()) <= bound
        };
        let (first, end) = (behind.from_ns / length, behind.to_ns / length);
        let back = (first..end).find(|&bucket| {
            bucket + IN_A_ROW as u64 <= end && (bucket..bucket + IN_A_ROW as u64).all(good)
        });
        let second = Duration::from_secs(1).as_nanos() as u64;
        let late = Stretch { from_ns: behind.from_ns + second, to_ns: behind.to_ns };
        Some(Recovery {
            quiet_p99_us,
            after_p99_us: self.p99_us(late).0,
            back_ms: back.map(|at| (at * length).saturating_sub(behind.from_ns) / 1_000_000),
        })
    }
}

fn p99(all: &mut [u32]) -> u32 {
    if all.is_empty() {
        return 0;
    }
    let place = (all.len() * 99 / 100).min(all.len() - 1);
    *all.select_nth_unstable(place).1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn stretch(from_ms: u64, to_ms: u64) -> Stretch {
        Stretch { from_ns: from_ms * MS, to_ns: to_ms * MS }
    }

    /// Latencies of an event each millisecond.
    fn latencies(us: impl Fn(u64) -> Option<u64>) -> Latencies {
        let mut latencies = Latencies::default();
        for ms in 0..4000 {
            if let Some(us) = us(ms) {
                latencies.record(ms * MS, us * 1000);
            }
        }
        latencies
    }

    #[test]
    fn latencies_are_back_when_full_buckets_are_below_the_bound() {
        let held = latencies(|ms| Some(if (1000..2350).contains(&ms) { 500_000 } else { 200 }));
        let recovery = held.recovery(stretch(0, 1000), stretch(2000, 4000)).unwrap();
        assert_eq!((recovery.quiet_p99_us, recovery.after_p99_us), (200, 200));
        assert_eq!(recovery.back_ms, Some(400));
        let never = latencies(|ms| Some(if ms > 1000 { 500_000 } else { 200 }));
        assert_eq!(never.recovery(stretch(0, 1000), stretch(2000, 4000)).unwrap().back_ms, None);
    }

    #[test]
    fn what_never_came_is_no_good_latency() {
        let silent = latencies(|ms| (!(1000..2700).contains(&ms) || ms % 2 == 0).then_some(200));
        let recovery = silent.recovery(stretch(0, 1000), stretch(2000, 4000)).unwrap();
        assert_eq!(recovery.back_ms, Some(700));
    }

    #[test]
    fn without_a_quiet_window_nothing_is_compared() {
        let none = latencies(|_| None);
        assert_eq!(none.recovery(stretch(0, 1000), stretch(2000, 4000)), None);
    }
}
