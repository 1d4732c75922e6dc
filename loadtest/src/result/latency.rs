//! Distribution of latencies: the usual percentiles, and all values that were recorded.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Percentiles that are written, in percent.
pub const PERCENTS: [f64; 16] = [
    0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.995, 99.999,
    99.9999, 100.0,
];

/// Way that was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LatencyKind {
    /// Way from the intended send to the listener, by the offset of two clocks.
    OneWay,
    /// Way there and back, by one clock.
    RoundTrip,
}

impl LatencyKind {
    /// Names the way in words.
    pub fn name(self) -> &'static str {
        match self {
            LatencyKind::OneWay => "one way",
            LatencyKind::RoundTrip => "round trip",
        }
    }
}

/// Latencies of one role on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Role that measured the latencies.
    pub role: String,
    /// Machine that the role ran on.
    pub machine: String,
    /// Way that was timed.
    pub kind: LatencyKind,
    /// Error of all values by two clocks; 0 for one clock.
    pub error_ns: u64,
    /// Number of events that were timed.
    pub count: u64,
    /// Percent, and the latency that so many events did not exceed; ascending.
    pub percentiles_ns: Vec<(f64, u64)>,
    /// Latency, and how many events took as long; ascending, without empty ones. Equal to
    /// three digits counts as equal.
    pub buckets_ns: Vec<(u64, u64)>,
}

impl Latency {
    /// Makes the distribution out of a histogram of nanoseconds.
    pub fn of(
        role: &str,
        machine: &str,
        kind: LatencyKind,
        error_ns: u64,
        histogram: &Histogram<u64>,
    ) -> Latency {
        let buckets = histogram.iter_recorded();
        let buckets = buckets.map(|at| (at.value_iterated_to(), at.count_at_value())).collect();
        Latency::of_buckets(role, machine, kind, error_ns, buckets)
    }

    /// Makes the distribution out of ascending pairs of a latency and its count, as roles
    /// report them.
    pub fn of_buckets(
        role: &str,
        machine: &str,
        kind: LatencyKind,
        error_ns: u64,
        buckets_ns: Vec<(u64, u64)>,
    ) -> Latency {
        let count = buckets_ns.iter().map(|(_, count)| count).sum();
        let mut latency = Latency {
            role: role.into(),
            machine: machine.into(),
            kind,
            error_ns,
            count,
            percentiles_ns: Vec::new(),
            buckets_ns,
        };
        if count > 0 {
            latency.percentiles_ns = PERCENTS
                .map(|at| Some((at, latency.known_percentile_ns(at)?)))
                .into_iter()
                .flatten()
                .collect();
        }
        latency
    }

    /// Returns a percentile if enough events were timed to tell it: at least one value is
    /// expected beyond it. Of 78 values the 99.99th percentile is but the largest.
    pub fn known_percentile_ns(&self, percent: f64) -> Option<u64> {
        let beyond = percent.min(100.0 - percent) / 100.0 * self.count as f64;
        // As below: binary fractions.
        let is_known = beyond == 0.0 || percent == 50.0 || beyond * (1.0 + 1e-9) >= 1.0;
        self.percentile_ns(percent).filter(|_| is_known && self.count > 0)
    }

    /// Returns the latency that so many percent did not exceed: out of the buckets, or
    /// else the next percentile that was written.
    pub fn percentile_ns(&self, percent: f64) -> Option<u64> {
        if self.buckets_ns.is_empty() {
            let known = self.percentiles_ns.iter();
            return known.filter(|(at, _)| *at >= percent).map(|&(_, ns)| ns).next();
        }
        // 99.9 % of 1000 is not quite 999 in binary; that must not become 1000.
        let exact = percent / 100.0 * self.count as f64 * (1.0 - f64::EPSILON);
        self.at_rank(exact.ceil().max(1.0) as u64)
    }

    /// Returns the so-manieth smallest latency, from 1; the largest if there are fewer.
    pub fn at_rank(&self, rank: u64) -> Option<u64> {
        let mut seen = 0u64;
        let found = self.buckets_ns.iter().find(|(_, count)| {
            seen = seen.saturating_add(*count);
            seen >= rank
        });
        found.or(self.buckets_ns.last()).map(|&(ns, _)| ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_out_of_the_recorded_values() {
        let mut histogram = Histogram::new_with_bounds(1, 1_000_000, 3).unwrap();
        (1..=1000u64).for_each(|value| histogram.record(value).unwrap());
        let latency = Latency::of("l", "a", LatencyKind::OneWay, 5, &histogram);
        assert_eq!(latency.count, 1000);
        assert_eq!(latency.percentile_ns(0.0), Some(1));
        assert_eq!(latency.percentile_ns(50.0), Some(500));
        assert_eq!(latency.percentile_ns(99.9), Some(999));
        assert_eq!(latency.percentile_ns(100.0), Some(1000));
        // 99.95 % and more would be the largest of 1000.
        let written: Vec<f64> = latency.percentiles_ns.iter().map(|(at, _)| *at).collect();
        assert_eq!(written[9..], [99.9, 100.0][..], "{written:?}");
    }

    #[test]
    fn a_percentile_of_too_few_values_is_not_told() {
        let of = |count| Latency::of_buckets("l", "a", LatencyKind::OneWay, 0, vec![(10, count)]);
        let (few, enough) = (of(78), of(10_000));
        for (percent, is_known) in
            [(0.0, true), (50.0, true), (90.0, true), (99.0, false), (99.99, false), (100.0, true)]
        {
            assert_eq!(few.known_percentile_ns(percent).is_some(), is_known, "{percent}");
            assert!(enough.known_percentile_ns(percent).is_some(), "{percent}");
        }
        assert_eq!(of(1).known_percentile_ns(50.0), Some(10));
        assert_eq!(of(0).known_percentile_ns(100.0), None);
    }

    #[test]
    fn without_values_there_are_no_percentiles() {
        let latency = Latency::of_buckets("l", "a", LatencyKind::RoundTrip, 0, Vec::new());
        assert_eq!(latency.percentile_ns(50.0), None);
        assert!(latency.percentiles_ns.is_empty());
    }

    #[test]
    fn without_buckets_the_next_written_percentile_counts() {
        let mut latency =
            Latency::of_buckets("l", "a", LatencyKind::OneWay, 0, vec![(10, 99), (90, 1)]);
        latency.buckets_ns.clear();
        assert_eq!(latency.percentile_ns(98.0), Some(10));
        assert_eq!(latency.percentile_ns(99.2), Some(90));
    }
}
