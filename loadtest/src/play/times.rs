//! Latencies of a process: in all, and since the last tick.
//!
//! Latencies of events from other machines are kept apart, since they are as wrong as the
//! estimate of the other clock.

use std::sync::Mutex;

use hdrhistogram::Histogram;

use crate::meter::histogram;

/// Latencies and how many of each.
type Buckets = Vec<(u64, u64)>;

/// Latencies, recorded by the threads of the clients and read by the one that takes
/// control messages.
#[derive(Debug)]
pub struct Times {
    histograms: Mutex<Histograms>,
}

#[derive(Debug)]
struct Histograms {
    near: Histogram<u64>,
    far: Histogram<u64>,
    tick: Histogram<u64>,
}

impl Times {
    /// Begins without latencies.
    pub fn new() -> Times {
        let histograms = Histograms { near: histogram(), far: histogram(), tick: histogram() };
        Times { histograms: Mutex::new(histograms) }
    }

    /// Records one more latency; only those that are measured are in the totals.
    pub fn record(&self, latency_ns: u64, is_far: bool, is_measured: bool) {
        let mut guard = self.histograms.lock().expect("no thread panics with the lock");
        let latency_ns = latency_ns.max(1);
        guard.tick.saturating_record(latency_ns);
        if is_measured {
            let total = if is_far { &mut guard.far } else { &mut guard.near };
            total.saturating_record(latency_ns);
        }
    }

    /// Returns median and 99th percentile since the last call, if there were any
    /// latencies.
    pub fn tick(&self) -> Option<(u64, u64)> {
        let mut guard = self.histograms.lock().expect("no thread panics with the lock");
        let tick = &mut guard.tick;
        if tick.is_empty() {
            return None;
        }
        let found = (tick.value_at_quantile(0.5), tick.value_at_quantile(0.99));
        tick.reset();
        Some(found)
    }

    /// Returns all latencies, as value and count: near ones and far ones.
    pub fn totals(&self) -> (Buckets, Buckets) {
        let guard = self.histograms.lock().expect("no thread panics with the lock");
        (buckets(&guard.near), buckets(&guard.far))
    }
}

fn buckets(histogram: &Histogram<u64>) -> Buckets {
    let recorded = histogram.iter_recorded();
    recorded.map(|at| (at.value_iterated_to(), at.count_at_value())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_measured_shows_in_ticks_alone() {
        let times = Times::new();
        times.record(1000, false, false);
        times.record(3000, true, true);
        let (_, p99) = times.tick().unwrap();
        assert!((3000..3010).contains(&p99));
        assert_eq!(times.tick(), None);
        let (near, far) = times.totals();
        assert!(near.is_empty());
        assert_eq!(far.iter().map(|(_, count)| count).sum::<u64>(), 1);
    }
}
