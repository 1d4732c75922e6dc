//! Medians of few runs, with an interval that assumes no distribution.
//!
//! The interval of the median lies between two of the sorted values: for n runs
//! the k-th smallest and the k-th largest, with the largest k for which fewer
//! than 2.5 % of the cases fall outside on either side (binomial, p = ½). Under
//! six runs no such k exists and the interval is the whole spread.

use serde::Serialize;

const TAIL: f64 = 0.025;

/// Median with its interval and the spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Median {
    /// Middle value.
    pub median: f64,
    /// Lower end of the 95 % interval of the median.
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Number of values.
    pub runs: usize,
}

impl Median {
    /// Takes the median of these values; `None` if there are none. Not-a-numbers are left
    /// out.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Median> {
        let mut sorted: Vec<f64> = values.into_iter().filter(|value| !value.is_nan()).collect();
        sorted.sort_by(f64::total_cmp);
        let runs = sorted.len();
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let rank = interval_rank(runs);
        Some(Median {
            median: (sorted[(runs - 1) / 2] + sorted[runs / 2]) / 2.0,
            low: sorted[rank],
            high: sorted[runs - 1 - rank],
            min,
            max,
            runs,
        })
    }
}

/// Returns how many values lie outside the interval on either side.
fn interval_rank(runs: usize) -> usize {
    // probability = P(exactly k of n below the median), summed from k = 0.
    let mut probability = 0.5f64.powi(runs as i32);
    let mut below = 0.0;
    let mut rank = 0;
    while rank < runs / 2 {
        below += probability;
        if below > TAIL {
            break;
        }
        probability *= (runs - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    // `rank` values can be dropped if the sum up to rank - 1 stays in the tail.
    rank.saturating_sub(1).min(runs.saturating_sub(1) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(Median::of([4.0, 1.0, 3.0, 2.0]).unwrap().median, 2.5);
        assert_eq!(Median::of([3.0, 1.0, 2.0]).unwrap().median, 2.0);
        assert_eq!(Median::of([]), None);
        assert_eq!(Median::of([f64::NAN]), None);
    }

    #[test]
    fn the_interval_of_ten_runs_is_from_the_second_to_the_ninth() {
        let median = Median::of((1..=10).map(f64::from)).unwrap();
        assert_eq!((median.low, median.high), (2.0, 9.0));
        assert_eq!((median.min, median.max, median.runs), (1.0, 10.0, 10));
    }

    #[test]
    fn the_interval_follows_the_binomial_table() {
        // Ranks (from 1) of the lower end for a 95 % interval, as tabulated.
        for (runs, rank) in [(6, 1), (8, 1), (9, 2), (11, 2), (12, 3), (15, 4), (20, 6), (25, 8)] {
            assert_eq!(interval_rank(runs) + 1, rank, "{runs} runs");
        }
    }

    #[test]
    fn few_runs_have_the_whole_spread_as_interval() {
        for runs in 1..6 {
            let median = Median::of((1..=runs).map(f64::from)).unwrap();
            assert_eq!((median.low, median.high), (1.0, f64::from(runs)));
        }
    }
}
