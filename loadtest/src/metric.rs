//! Metrics of a run that are compared and printed, each with its unit.

use crate::outcome::Outcome;

/// Number of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Delivered events.
    EventsPerS,
    /// Delivered payload.
    MbPerS,
    /// CPU of the broker.
    BrokerCpu,
    /// CPU of all processes.
    TotalCpu,
    /// CPU of the broker in the whole window.
    WindowCpu,
    /// Median latency.
    P50,
    /// 99th percentile of the latency.
    P99,
    /// 99.9th percentile of the latency.
    P999,
    /// Peak memory.
    PeakRss,
    /// Memory with everyone connected.
    IdleRss,
    /// Memory with queues drained.
    DrainedRss,
    /// Shared memory with everyone connected.
    SharedIdle,
    /// Shared memory with queues drained.
    SharedDrained,
    /// Connections that share memory with the broker.
    SharedClients,
    /// Events per send.
    FramesPerSend,
    /// Calls into the kernel.
    Syscalls,
    /// Context switches per million events.
    ContextSwitches,
    /// Context switches in the whole window.
    WindowSwitches,
}

impl Metric {
    /// Returns the value of the metric, if the run has one.
    pub fn of(self, outcome: &Outcome) -> Option<f64> {
        let latency = outcome.latency_us;
        match self {
            Metric::EventsPerS => Some(outcome.events_per_s),
            Metric::MbPerS => Some(outcome.mb_per_s),
            Metric::BrokerCpu => outcome.broker_cpu_s_per_million,
            Metric::TotalCpu => outcome.total_cpu_s_per_million,
            Metric::WindowCpu => Some(outcome.broker_cpu_s),
            Metric::P50 => latency.map(|latency| latency.p50),
            Metric::P99 => latency.map(|latency| latency.p99),
            Metric::P999 => latency.map(|latency| latency.p999),
            Metric::PeakRss => Some(outcome.broker_rss_bytes as f64),
            Metric::IdleRss => Some(outcome.broker_rss_idle_bytes as f64),
            Metric::DrainedRss => Some(outcome.broker_rss_drained_bytes as f64),
            Metric::SharedIdle => Some(outcome.broker_shared_idle_bytes as f64),
            Metric::SharedDrained => Some(outcome.broker_shared_drained_bytes as f64),
            Metric::SharedClients => outcome.shared_clients.map(|clients| clients as f64),
            Metric::FramesPerSend => outcome.frames_per_send,
            Metric::Syscalls => outcome.broker_syscalls_per_event,
            Metric::ContextSwitches => outcome.broker_context_switches_per_million,
            Metric::WindowSwitches => Some(outcome.broker_context_switches as f64),
        }
    }

    /// Names the metric in words.
    pub fn name(self) -> &'static str {
        match self {
            Metric::EventsPerS => "events/s delivered",
            Metric::MbPerS => "MB/s delivered",
            Metric::BrokerCpu => "broker CPU per million",
            Metric::TotalCpu => "total CPU per million",
            Metric::WindowCpu => "broker CPU",
            Metric::P50 => "p50",
            Metric::P99 => "p99",
            Metric::P999 => "p99.9",
            Metric::PeakRss => "broker peak RSS",
            Metric::IdleRss => "broker RSS, all connected",
            Metric::DrainedRss => "broker RSS, drained",
            Metric::SharedIdle => "shared memory, all connected",
            Metric::SharedDrained => "shared memory, drained",
            Metric::SharedClients => "clients by shared memory",
            Metric::FramesPerSend => "frames per send",
            Metric::Syscalls => "syscalls per event",
            Metric::ContextSwitches => "context switches per million",
            Metric::WindowSwitches => "broker context switches",
        }
    }

    /// Writes a value with the metric's unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Metric::EventsPerS if value >= 1e6 => format!("{} M", digits(value / 1e6)),
            Metric::EventsPerS if value >= 1e3 => format!("{} k", digits(value / 1e3)),
            Metric::EventsPerS
            | Metric::MbPerS
            | Metric::FramesPerSend
            | Metric::Syscalls
            | Metric::ContextSwitches => digits(value),
            Metric::WindowSwitches | Metric::SharedClients => format!("{value:.0}"),
            Metric::BrokerCpu | Metric::TotalCpu => format!("{} s", digits(value)),
            Metric::WindowCpu => format!("{} ms", digits(value * 1e3)),
            Metric::P50 | Metric::P99 | Metric::P999 => format!("{} µs", digits(value)),
            Metric::PeakRss
            | Metric::IdleRss
            | Metric::DrainedRss
            | Metric::SharedIdle
            | Metric::SharedDrained => format!("{} MB", digits(value / 1e6)),
        }
    }
}

/// Writes a value with three significant digits.
pub fn digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    let places = (2 - value.abs().log10().floor() as i32).clamp(0, 9) as usize;
    format!("{value:.places$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_unit() {
        assert_eq!(Metric::EventsPerS.show(50_432_000.0), "50.4 M");
        assert_eq!(Metric::EventsPerS.show(46_000.0), "46.0 k");
        assert_eq!(Metric::BrokerCpu.show(0.00823), "0.00823 s");
        assert_eq!(Metric::PeakRss.show(12_000_000.0), "12.0 MB");
        assert_eq!(Metric::P99.show(1234.0), "1234 µs");
        assert_eq!(digits(0.0), "0");
    }
}
