//! Number with what is known of its noise, and the verdict on its change.
//!
//! Two numbers differ if their intervals do not meet and the change is more than the
//! least that is believed. The least change is there because intervals come from within a
//! run: the next run of the same thing on the same machine has other addresses, another
//! placement on the cores, another neighbour.

use serde::Serialize;

use crate::median::Median;
use crate::result::Latency;

/// Least change of a rate or a cost that is believed.
pub const LEAST_CHANGE: f64 = 0.05;
/// Least change of a latency that is believed: it depends on more.
pub const LEAST_LATENCY_CHANGE: f64 = 0.10;
/// Least change of a counter that is believed: nothing is known of its noise, so it must
/// double or halve.
pub const LEAST_COUNTER_CHANGE: f64 = 1.0;
/// Number of parts that a series is cut into; their means tell how much it wavers.
const MAX_BATCHES: usize = 20;
/// Number of values that a percentile needs beyond it.
const MIN_BEYOND: f64 = 10.0;
/// Deviations of a normal distribution that hold 95 %.
const DEVIATIONS: f64 = 1.96;
/// Deviations of rare events, such as losses, whose count wavers by its root.
const RARE_DEVIATIONS: f64 = 3.0;

/// Value between two ends.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Value itself.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// Number of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// Name of the number, unique in the result.
    pub what: String,
    /// Unit of the number.
    pub unit: String,
    /// Whether more is better; none if neither is.
    pub higher_is_better: Option<bool>,
    /// Least change that is believed, as a share.
    pub least_change: f64,
    /// Value of the number.
    pub spread: Spread,
}

/// Verdict on the change of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The number is worse.
    Worse,
    /// The number is better.
    Better,
    /// The number differs, and neither value is better.
    Differs,
    /// The change is not beyond noise.
    Noise,
}

/// Number of both results, and its change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// Name of the number.
    pub what: String,
    /// Unit of the number.
    pub unit: String,
    /// Value in the first result.
    pub before: Spread,
    /// Value in the second result.
    pub after: Spread,
    /// Verdict on the change.
    pub verdict: Verdict,
}

impl Spread {
    /// Makes the spread of a value that is known exactly.
    pub fn exact(value: f64) -> Spread {
        Spread { value, low: value, high: value }
    }

    /// Takes the mean of values in the order of time; gaps are left out. The interval is
    /// that of the median of the means of its parts: the parts are longer than what makes
    /// neighbouring values alike.
    pub fn over_time(values: &[f64]) -> Option<Spread> {
        let known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let length = known.len().div_ceil(MAX_BATCHES).max(1);
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let median = Median::of(known.chunks(length).map(mean))?;
        let value = mean(&known);
        Some(Spread { value, low: median.low.min(value), high: median.high.max(value) })
    }

    /// Takes a percentile in nanoseconds, by the ranks between which it lies, wider by
    /// the error of the clocks. `None` where too few values lie beyond it.
    pub fn percentile(latency: &Latency, percent: f64) -> Option<Spread> {
        let (count, share) = (latency.count as f64, percent / 100.0);
        if count * (1.0 - share) < MIN_BEYOND {
            return None;
        }
        let value = latency.percentile_ns(percent)? as f64;
        let error = latency.error_ns as f64;
        let around = DEVIATIONS * (count * share * (1.0 - share)).sqrt();
        let at = |rank: f64| {
            if latency.buckets_ns.is_empty() {
                Some(value)
            } else {
                Some(latency.at_rank(rank.max(1.0) as u64)? as f64)
            }
        };
        let low = at((count * share - around).floor())?.min(value) - error;
        let high = at((count * share + around).ceil())?.max(value) + error;
        Some(Spread { value, low: low.max(0.0), high })
    }

    /// Takes rare events per million of many.
    pub fn rare(count: u64, among: u64) -> Spread {
        let among = among.max(1) as f64 / 1e6;
        let around = RARE_DEVIATIONS * (count as f64).sqrt();
        let low = (count as f64 - around).max(0.0);
        Spread {
            value: count as f64 / among,
            low: low / among,
            high: (count as f64 + around) / among,
        }
    }

    /// Returns the change as a share of the first value; `None` if that is 0.
    pub fn change_to(self, after: Spread) -> Option<f64> {
        (self.value != 0.0).then(|| after.value / self.value - 1.0)
    }

    fn is_apart_from(self, other: Spread) -> bool {
        self.high < other.low || other.high < self.low
    }
}

impl Number {
    /// Compares the number with the same one of a later result.
    pub fn change(&self, now: &Number) -> Change {
        let (before, after) = (self.spread, now.spread);
        Change {
            what: self.what.clone(),
            unit: self.unit.clone(),
            before,
            after,
            verdict: self.verdict(after),
        }
    }

    fn verdict(&self, after: Spread) -> Verdict {
        let before = self.spread;
        let (less, more) = (before.value.min(after.value), before.value.max(after.value));
        // Upwards and downwards alike: doubled is as far as halved.
        let is_large = more > less * (1.0 + self.least_change);
        let appeared = (before.value == 0.0) != (after.value == 0.0);
        let is_change = appeared || (is_large && before.is_apart_from(after));
        if !is_change {
            return Verdict::Noise;
        }
        match self.higher_is_better {
            None => Verdict::Differs,
            Some(higher) if higher == (after.value > before.value) => Verdict::Better,
            Some(_) => Verdict::Worse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::LatencyKind;

    fn number(low: f64, value: f64, high: f64) -> Number {
        Number {
            what: "n".into(),
            unit: String::new(),
            higher_is_better: Some(true),
            least_change: LEAST_CHANGE,
            spread: Spread { value, low, high },
        }
    }

    #[test]
    fn a_change_is_one_beyond_both_intervals_and_the_least_change() {
        let before = number(95.0, 100.0, 105.0);
        for (after, verdict) in [
            (number(85.0, 90.0, 96.0), Verdict::Noise),
            (number(80.0, 85.0, 90.0), Verdict::Worse),
            (number(110.0, 120.0, 130.0), Verdict::Better),
        ] {
            assert_eq!(before.change(&after).verdict, verdict, "{after:?}");
        }
        let exact = number(100.0, 100.0, 100.0);
        assert_eq!(exact.change(&number(104.0, 104.0, 104.0)).verdict, Verdict::Noise);
        assert_eq!(exact.change(&number(106.0, 106.0, 106.0)).verdict, Verdict::Better);
        let cost = Number { higher_is_better: Some(false), ..exact.clone() };
        assert_eq!(cost.change(&number(106.0, 106.0, 106.0)).verdict, Verdict::Worse);
        let neither = Number { higher_is_better: None, ..exact };
        assert_eq!(neither.change(&number(50.0, 50.0, 50.0)).verdict, Verdict::Differs);
    }

    #[test]
    fn the_first_loss_is_news_and_a_few_more_are_not() {
        let lost = |count| Number {
            higher_is_better: Some(false),
            spread: Spread::rare(count, 1_000_000),
            ..number(0.0, 0.0, 0.0)
        };
        assert_eq!(lost(0).change(&lost(1)).verdict, Verdict::Worse);
        assert_eq!(lost(1).change(&lost(0)).verdict, Verdict::Better);
        assert_eq!(lost(100).change(&lost(120)).verdict, Verdict::Noise);
        assert_eq!(lost(100).change(&lost(400)).verdict, Verdict::Worse);
        assert_eq!(lost(0).change(&lost(0)).verdict, Verdict::Noise);
    }

    #[test]
    fn a_series_that_wavers_has_a_wide_interval() {
        let steady = Spread::over_time(&[10.0; 100]).unwrap();
        assert_eq!((steady.low, steady.value, steady.high), (10.0, 10.0, 10.0));
        let waves: Vec<f64> = (0..100).map(|at| f64::from(at / 10 % 2) * 10.0).collect();
        let wavering = Spread::over_time(&waves).unwrap();
        assert_eq!((wavering.low, wavering.value, wavering.high), (0.0, 5.0, 10.0));
        assert_eq!(Spread::over_time(&[f64::NAN]), None);
    }

    #[test]
    fn a_percentile_is_as_wide_as_its_ranks_and_the_clocks() {
        let buckets = (1..=10_000).map(|at| (at, 1)).collect();
        let mut latency = Latency::of_buckets("l", "a", LatencyKind::OneWay, 0, buckets);
        let spread = Spread::percentile(&latency, 99.0).unwrap();
        assert_eq!((spread.low, spread.value, spread.high), (9880.0, 9900.0, 9920.0));
        latency.error_ns = 100;
        assert_eq!(Spread::percentile(&latency, 99.0).unwrap().low, 9780.0);
        assert_eq!(Spread::percentile(&latency, 99.99), None);
    }
}
