//! Outcome of a run.

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::delivery_check::Counts;
use crate::io_counts::IoCounts;
use crate::message::Sample;
use crate::meter::histogram;
use crate::usage::Usage;

const NS_PER_US: f64 = 1e3;
const NS_PER_S: f64 = 1e9;

/// Numbers of one run, per delivered event where that makes sense.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Outcome {
    /// Seconds of the measured window.
    pub seconds: f64,
    /// Events delivered per second, all listeners together.
    pub events_per_s: f64,
    /// Payload delivered per second, in 10^6 bytes.
    pub mb_per_s: f64,
    /// CPU seconds of the broker (or relay) per million events delivered.
    pub broker_cpu_s_per_million: Option<f64>,
    /// CPU seconds of all processes per million events delivered.
    pub total_cpu_s_per_million: Option<f64>,
    /// CPU seconds that the broker took in the window.
    pub broker_cpu_s: f64,
    /// Most memory that the broker ever had.
    pub broker_rss_bytes: u64,
    /// Memory of the broker once everyone was connected, before the first event.
    pub broker_rss_idle_bytes: u64,
    /// Memory of the broker after the last event was delivered.
    pub broker_rss_drained_bytes: u64,
    /// Part of that memory that the broker shares with clients.
    pub broker_shared_drained_bytes: u64,
    /// Shared part of the broker's memory once everyone was connected.
    pub broker_shared_idle_bytes: u64,
    /// Connections that shared memory with the broker at the end of the window.
    pub shared_clients: Option<u64>,
    /// Context switches of the broker in the window.
    pub broker_context_switches: u64,
    /// Context switches of the broker per million events delivered.
    pub broker_context_switches_per_million: Option<f64>,
    /// Calls of the broker into the kernel per event delivered.
    pub broker_syscalls_per_event: Option<f64>,
    /// Events per send of the broker.
    pub frames_per_send: Option<f64>,
    /// Losses, repeats and broken payloads of the whole run.
    #[serde(flatten)]
    pub counts: Counts,
    /// Latencies, where they are measured.
    pub latency_us: Option<Latency>,
    /// Driver of the many connections.
    pub driver: Option<String>,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Latency that half of the events do not exceed.
    pub p50: f64,
    /// Latency that 99 of 100 events do not exceed.
    pub p99: f64,
    /// Latency that 999 of 1000 events do not exceed.
    pub p999: f64,
    /// Latency of the slowest event.
    pub max: f64,
}

/// Readings of the window.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// Pairs of samples, per process that receives.
    pub samples: Vec<(Sample, Sample)>,
    /// Cost of the broker or relay.
    pub middle: Usage,
    /// CPU time of all processes together.
    pub total_cpu_ns: u64,
    /// Counts of what the broker says it did.
    pub io: Option<IoCounts>,
}

impl Window {
    /// Returns the events that were delivered in the window.
    pub fn delivered(&self) -> u64 {
        let deltas = self.samples.iter();
        deltas.map(|(first, last)| last.received.saturating_sub(first.received)).sum()
    }

    /// Returns the numbers of this window for payloads of `size` bytes.
    pub fn outcome(&self, size: usize) -> Outcome {
        let delivered = self.delivered() as f64;
        let rate = |(first, last): &(Sample, Sample)| {
            let elapsed = last.at_ns.saturating_sub(first.at_ns).max(1) as f64 / NS_PER_S;
            (last.received.saturating_sub(first.received) as f64 / elapsed, elapsed)
        };
        let rates: Vec<(f64, f64)> = self.samples.iter().map(rate).collect();
        // Not `sum`, which makes nothing a negative zero.
        let events_per_s = rates.iter().fold(0.0, |sum, (rate, _)| sum + rate);
        let per_event = |value: f64| (delivered > 0.0).then(|| value / delivered);
        let per_million = |value: f64| per_event(value * 1e6);
        Outcome {
            seconds: rates.iter().map(|(_, elapsed)| *elapsed).fold(0.0, f64::max),
            events_per_s,
            mb_per_s: events_per_s * size as f64 / 1e6,
            broker_cpu_s_per_million: per_million(self.middle.cpu_ns as f64 / NS_PER_S),
            total_cpu_s_per_million: per_million(self.total_cpu_ns as f64 / NS_PER_S),
            broker_cpu_s: self.middle.cpu_ns as f64 / NS_PER_S,
            broker_context_switches: self.middle.context_switches,
            broker_context_switches_per_million: per_million(self.middle.context_switches as f64),
            shared_clients: self.io.map(|io| io.shared_clients),
            broker_syscalls_per_event: self.io.and_then(|io| per_event(io.syscalls as f64)),
            frames_per_send: self
                .io
                .filter(|io| io.sends > 0)
                .map(|io| delivered / io.sends as f64),
            latency_us: self.latency(),
            ..Outcome::default()
        }
    }

    fn latency(&self) -> Option<Latency> {
        let mut all = histogram();
        for (_, last) in &self.samples {
            for &(value, count) in &last.latencies {
                all.saturating_record_n(value, count);
            }
        }
        (!all.is_empty()).then(|| Latency::of(&all))
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Latency {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / NS_PER_US;
        Latency { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ns: u64, received: u64, latencies: &[(u64, u64)]) -> Sample {
        Sample { at_ns, received, latencies: latencies.to_vec() }
    }

    #[test]
    fn each_listener_is_measured_over_its_own_time() {
        let window = Window {
            samples: vec![
                (sample(0, 100, &[]), sample(1_000_000_000, 1_100, &[])),
                (sample(0, 0, &[]), sample(2_000_000_000, 1_000, &[])),
            ],
            middle: Usage { cpu_ns: 1_000_000_000, ..Usage::default() },
            total_cpu_ns: 4_000_000_000,
            io: Some(IoCounts { syscalls: 20, sends: 10, ..IoCounts::default() }),
        };
        let outcome = window.outcome(1000);
        assert_eq!(outcome.events_per_s, 1500.0);
        assert_eq!(outcome.mb_per_s, 1.5);
        assert_eq!(outcome.broker_cpu_s_per_million, Some(500.0));
        assert_eq!(outcome.total_cpu_s_per_million, Some(2000.0));
        assert_eq!(outcome.broker_syscalls_per_event, Some(0.01));
        assert_eq!(outcome.frames_per_send, Some(200.0));
        assert_eq!(outcome.latency_us, None);
    }

    #[test]
    fn a_window_without_events_has_no_cost_per_event() {
        let window =
            Window { samples: vec![(sample(0, 5, &[]), sample(9, 5, &[]))], ..Window::default() };
        assert_eq!(window.outcome(16).broker_cpu_s_per_million, None);
    }

    #[test]
    fn percentiles_are_over_all_listeners() {
        let window = Window {
            samples: vec![
                (sample(0, 0, &[]), sample(1, 990, &[(1000, 990)])),
                (sample(0, 0, &[]), sample(1, 10, &[(500_000, 10)])),
            ],
            ..Window::default()
        };
        let latency = window.outcome(16).latency_us.unwrap();
        assert_eq!(latency.p50, 1.0);
        assert!(latency.p99 < 2.0 && latency.p999 > 499.0);
    }
}
