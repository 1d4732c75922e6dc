//! Histograms whose buckets are powers of two: what a run or a flush adds to one is a
//! counter and a sum.

use serde::{Deserialize, Serialize};

/// Buckets of [`FanOutHistogram`]: up to 0, 1, 3, 7 … 4095 targets, and more.
const FAN_OUT_BUCKETS: usize = 14;

/// Buckets of [`DelayHistogram`]: at once, up to 16 µs, 64 µs, 256 µs … 16.8 s, and more.
const DELAY_BUCKETS: usize = 13;

/// Bits by which the bound of a bucket of delays is larger than the one before.
const DELAY_BITS: u32 = 2;

/// Upper bound of the first bucket of delays that are not zero, as a power of two of µs.
const FIRST_DELAY_BITS: u32 = 4;

/// Number of targets of each run.
#[derive(Clone, Copy, Debug, Default)]
pub struct FanOutHistogram {
    counts: [u64; FAN_OUT_BUCKETS],
    sum: u64,
}

impl FanOutHistogram {
    /// Adds a run.
    #[inline]
    pub fn add(&mut self, targets: usize) {
        let bucket = (usize::BITS - targets.leading_zeros()) as usize;
        self.counts[bucket.min(FAN_OUT_BUCKETS - 1)] += 1;
        self.sum += targets as u64;
    }

    /// Returns the histogram as `status` has it.
    pub fn status(&self) -> Histogram {
        let bounds = (0..FAN_OUT_BUCKETS - 1).map(|bucket| ((1u64 << bucket) - 1) as f64);
        Histogram { bounds: bounds.collect(), counts: self.counts.into(), sum: self.sum as f64 }
    }
}

/// Time for which queues were not empty behind a socket that took no more.
#[derive(Clone, Copy, Debug, Default)]
pub struct DelayHistogram {
    counts: [u64; DELAY_BUCKETS],
    sum_ns: u64,
}

impl DelayHistogram {
    /// Adds a send that left nothing in the queue.
    #[inline]
    pub fn add_none(&mut self) {
        self.counts[0] += 1;
    }

    /// Adds a queue that was not empty for this long.
    #[cold]
    pub fn add(&mut self, delay_ns: u64) {
        let us = delay_ns / 1000;
        let bits = (u64::BITS - us.leading_zeros()).saturating_sub(FIRST_DELAY_BITS);
        let bucket = 1 + bits.div_ceil(DELAY_BITS) as usize;
        self.counts[bucket.min(DELAY_BUCKETS - 1)] += 1;
        self.sum_ns += delay_ns;
    }

    /// Returns the histogram as `status` has it, in seconds.
    pub fn status(&self) -> Histogram {
        let bound = |bucket: u32| (1u64 << (FIRST_DELAY_BITS + DELAY_BITS * bucket)) as f64 / 1e6;
        let bounds = std::iter::once(0.0).chain((0..DELAY_BUCKETS as u32 - 2).map(bound));
        Histogram {
            bounds: bounds.collect(),
            counts: self.counts.into(),
            sum: self.sum_ns as f64 / 1e9,
        }
    }
}

/// A histogram as `status` has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Histogram {
    /// Upper bounds of the buckets, each inclusive; the last bucket has none.
    pub bounds: Vec<f64>,
    /// Values in each bucket.
    pub counts: Vec<u64>,
    /// Sum of all values.
    pub sum: f64,
}

impl Histogram {
    /// Adds another shard's part.
    pub(crate) fn add(&mut self, other: &Histogram) {
        if self.counts.is_empty() {
            return self.clone_from(other);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the bounds of the bucket that has the one value.
    fn bucket(histogram: &Histogram) -> (f64, f64) {
        let at = histogram.counts.iter().position(|&count| count == 1).unwrap();
        let below = if at == 0 { -1.0 } else { histogram.bounds[at - 1] };
        (below, histogram.bounds.get(at).copied().unwrap_or(f64::INFINITY))
    }

    #[test]
    fn each_value_is_in_the_bucket_that_its_bounds_name() {
        for targets in [0, 1, 2, 3, 4, 7, 8, 100, 4095, 4096, 1 << 40] {
            let mut histogram = FanOutHistogram::default();
            histogram.add(targets);
            let status = histogram.status();
            let (below, most) = bucket(&status);
            let value = targets as f64;
            assert!(below < value && value <= most, "{targets}: {below} {most}");
            assert_eq!(status.bounds.len() + 1, status.counts.len());
            assert_eq!(status.sum, value);
        }
        for us in [1, 15, 16, 17, 63, 64, 65, 255, 256, 1 << 20, 1 << 24, 1 << 30] {
            let mut histogram = DelayHistogram::default();
            // The bound itself belongs to the bucket above it, by a microsecond.
            histogram.add(us * 1000);
            let status = histogram.status();
            let (below, most) = bucket(&status);
            let seconds = us as f64 / 1e6;
            assert!(below <= seconds && seconds <= most, "{us}: {below} {most}");
            assert_eq!(status.bounds.len() + 1, status.counts.len());
        }
        let mut at_once = DelayHistogram::default();
        at_once.add_none();
        assert_eq!(bucket(&at_once.status()), (-1.0, 0.0));
    }

    #[test]
    fn parts_of_shards_add_up() {
        let mut sum = Histogram::default();
        let mut part = FanOutHistogram::default();
        part.add(3);
        sum.add(&part.status());
        sum.add(&part.status());
        assert_eq!((sum.counts[2], sum.sum), (2, 6.0));
    }
}
