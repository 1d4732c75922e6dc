//! Meter of a listening process: the checks of its listeners, and latencies where they
//! are asked for.
//!
//! The thread that runs the listeners records, the one that takes commands reads.
//! Latencies go through a lock: there, events are few per second.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::clock;
use crate::delivery_check::{Counts, DeliveryCheck, Emitted};
use crate::message::Sample;

/// Longest latency that is told apart: a minute.
const MAX_LATENCY_NS: u64 = 60_000_000_000;
/// Significant digits of a latency.
const DIGITS: u8 = 3;
/// Time without a new event after which missing events are lost.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_micros(200);

/// Counters of one process.
#[derive(Debug)]
pub struct Meter {
    checks: Vec<DeliveryCheck>,
    latencies: Mutex<Latencies>,
}

/// Makes an empty histogram for latencies in nanoseconds.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_LATENCY_NS, DIGITS).expect("the bounds are constants")
}

#[derive(Debug)]
struct Latencies {
    histogram: Histogram<u64>,
    sampled: bool,
}

impl Meter {
    /// Makes the meter of these listeners.
    pub fn new(checks: Vec<DeliveryCheck>) -> Meter {
        let latencies = Latencies { histogram: histogram(), sampled: false };
        Meter { checks, latencies: Mutex::new(latencies) }
    }

    /// Returns whether there are no listeners.
    pub fn is_empty(&self) -> bool {
        self.checks.is_empty()
    }

    /// Returns the counters of one listener.
    #[inline]
    pub fn check(&self, index: usize) -> &DeliveryCheck {
        &self.checks[index]
    }

    /// Records how long an event took.
    pub fn record_latency(&self, since_ns: u64) {
        let latency = clock::now_ns().saturating_sub(since_ns);
        let mut latencies = self.latencies.lock().expect("no thread panics with the lock");
        latencies.histogram.saturating_record(latency.max(1));
    }

    /// Takes a sample. The first call forgets the latencies before it.
    pub fn sample(&self) -> Sample {
        let received = self.checks.iter().map(DeliveryCheck::received).sum();
        let at_ns = clock::now_ns();
        let mut latencies = self.latencies.lock().expect("no thread panics with the lock");
        if !latencies.sampled {
            latencies.sampled = true;
            latencies.histogram.reset();
        }
        let recorded = latencies.histogram.iter_recorded();
        let latencies = recorded.map(|at| (at.value_iterated_to(), at.count_at_value())).collect();
        Sample { at_ns, received, latencies }
    }

    /// Waits until all events that were emitted have come, or none comes any more.
    pub fn finish(&self, totals: &[Emitted]) -> (Counts, Sample) {
        // By event, since with thousands of events each listener has but one.
        let mut by_event: Vec<Vec<Emitted>> = Vec::new();
        for &total in totals {
            let event = total.event as usize;
            by_event.resize(by_event.len().max(event + 1), Vec::new());
            by_event[event].push(total);
        }
        let none = Vec::new();
        let mine = |check: &DeliveryCheck| by_event.get(check.event() as usize).unwrap_or(&none);

        let mut last = (u64::MAX, Instant::now());
        while !self.checks.iter().all(|check| check.is_complete(mine(check))) {
            let received = self.checks.iter().map(DeliveryCheck::received).sum();
            if received != last.0 {
                last = (received, Instant::now());
            } else if last.1.elapsed() > DRAIN_TIMEOUT {
                break;
            }
            thread::sleep(POLL);
        }
        let sample = self.sample();
        let mut counts = Counts::default();
        self.checks.iter().for_each(|check| counts.add(check.counts(mine(check))));
        (counts, sample)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::stamp::{Stamp, Template};

    #[test]
    fn latencies_before_the_first_sample_are_forgotten() {
        let meter = Meter::new(Vec::new());
        meter.record_latency(clock::now_ns());
        assert!(meter.sample().latencies.is_empty());
        meter.record_latency(clock::now_ns());
        assert_eq!(meter.sample().latencies.iter().map(|&(_, count)| count).sum::<u64>(), 1);
    }

    #[test]
    fn finishing_sums_up_all_listeners() {
        let mut template = Template::new(16);
        let shared = Arc::new(template.clone());
        let check = |event| DeliveryCheck::new(event, 1, Arc::clone(&shared), true);
        let meter = Meter::new(vec![check(0), check(5)]);
        for (index, event) in [(0, 0), (1, 5)] {
            let stamp = Stamp { sequence: 0, emitter: 0, event };
            assert!(meter.check(index).record(template.write(stamp, 0)));
        }
        let total = |event| Emitted { emitter: 0, event, count: 1 };
        let (counts, sample) = meter.finish(&[total(0), total(5), total(7)]);
        assert_eq!(counts, Counts { received: 2, ..Counts::default() });
        assert_eq!(sample.received, 2);
    }
}
