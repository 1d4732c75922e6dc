//! Summary of results, for people and programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::delivery_check::Counts;
use crate::interrupt;
use crate::metric::Metric;
use crate::outcome::Outcome;
use crate::pairs::{Against, Pairs, median};
use crate::plan::Scenario;
use crate::transport::SharedMemory;

/// Metrics that people see, in this order.
const SHOWN: [Metric; 18] = [
    Metric::EventsPerS,
    Metric::MbPerS,
    Metric::P50,
    Metric::P99,
    Metric::P999,
    Metric::BrokerCpu,
    Metric::TotalCpu,
    Metric::WindowCpu,
    Metric::WindowSwitches,
    Metric::PeakRss,
    Metric::IdleRss,
    Metric::DrainedRss,
    Metric::SharedIdle,
    Metric::SharedDrained,
    Metric::SharedClients,
    Metric::Syscalls,
    Metric::FramesPerSend,
    Metric::ContextSwitches,
];

/// Metrics that are worth a ratio, with their keys.
const COMPARED: [(&str, Metric); 6] = [
    ("events_per_s", Metric::EventsPerS),
    ("broker_cpu", Metric::BrokerCpu),
    ("total_cpu", Metric::TotalCpu),
    ("p50", Metric::P50),
    ("p99", Metric::P99),
    ("broker_rss", Metric::PeakRss),
];

/// Sums up losses and the like over all runs.
pub fn counts(runs: &[Outcome]) -> Counts {
    let mut sum = Counts::default();
    runs.iter().for_each(|outcome| sum.add(outcome.counts));
    sum
}

/// Writes the summary for programs.
pub fn json(scenario: &Scenario, pairs: &Pairs, against: Option<Against>) -> Value {
    let mut value = half(&pairs.runs);
    let fields = value.as_object_mut().expect("a half is an object");
    fields.insert("emitters".into(), json!(scenario.emitters));
    fields.insert("listeners".into(), json!(scenario.connections.unwrap_or(scenario.listeners)));
    fields.insert("events".into(), json!(scenario.events));
    fields.insert("size".into(), json!(scenario.size));
    let (mut baseline, mut ratio) = (Value::Null, Value::Null);
    if let Some(against) = against {
        baseline = half(&pairs.baseline);
        baseline["is"] = json!(against.name());
        let ratios = COMPARED.map(|(key, metric)| (key.to_owned(), json!(pairs.ratio(metric))));
        ratio = Value::Object(ratios.into_iter().collect());
    }
    fields.insert("baseline".into(), baseline);
    fields.insert("ratio".into(), ratio);
    fields.insert("complete".into(), json!(!interrupt::requested()));
    value
}

/// Returns medians over runs, and losses summed up.
fn half(runs: &[Outcome]) -> Value {
    let of = |metric| median(runs, metric).map(|median| median.median);
    let bytes = |metric| of(metric).map(|bytes| bytes as u64);
    let counts = counts(runs);
    let latency = of(Metric::P50)
        .map(|p50| json!({ "p50": p50, "p99": of(Metric::P99), "p999": of(Metric::P999) }));
    json!({
        "runs": runs.len(),
        "seconds": runs.iter().map(|outcome| outcome.seconds).sum::<f64>(),
        "events_per_s": of(Metric::EventsPerS),
        "mb_per_s": of(Metric::MbPerS),
        "broker_cpu_s_per_million": of(Metric::BrokerCpu),
        "total_cpu_s_per_million": of(Metric::TotalCpu),
        "broker_cpu_s": of(Metric::WindowCpu),
        "broker_rss_bytes": bytes(Metric::PeakRss),
        "broker_rss_idle_bytes": bytes(Metric::IdleRss),
        "broker_rss_drained_bytes": bytes(Metric::DrainedRss),
        "broker_shared_idle_bytes": bytes(Metric::SharedIdle),
        "broker_shared_drained_bytes": bytes(Metric::SharedDrained),
        "shared_clients": of(Metric::SharedClients).map(|clients| clients as u64),
        "broker_context_switches": of(Metric::WindowSwitches),
        "broker_context_switches_per_million": of(Metric::ContextSwitches),
        "broker_syscalls_per_event": of(Metric::Syscalls),
        "frames_per_send": of(Metric::FramesPerSend),
        "received": counts.received,
        "lost": counts.lost,
        "duplicated": counts.duplicated,
        "corrupt": counts.corrupt,
        "latency_us": latency,
        "driver": runs.iter().find_map(|outcome| outcome.driver.clone()),
    })
}

/// Writes the summary for people: one number per line, aligned.
pub fn text(scenario: &Scenario, pairs: &Pairs, against: Option<Against>) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(out, "{name:<30} {value}");
    };
    line("scenario", &describe(scenario));
    if let Some(driver) = pairs.runs.iter().find_map(|outcome| outcome.driver.as_deref()) {
        line("connections driven by", driver);
    }
    for metric in SHOWN {
        let Some(own) = median(&pairs.runs, metric) else { continue };
        if matches!(metric, Metric::EventsPerS | Metric::MbPerS) && scenario.idle.is_some() {
            continue;
        }
        let mut shown = format!("{:>12}", metric.show(own.median));
        if let Some(against) = against
            && let Some(other) = median(&pairs.baseline, metric)
        {
            let _ = write!(shown, "   {} {:>12}", against.name(), metric.show(other.median));
            if COMPARED.iter().any(|(_, compared)| *compared == metric)
                && let Some(ratio) = pairs.ratio(metric)
            {
                let _ = write!(
                    shown,
                    "   ratio {:.3}  95 % {:.3}–{:.3}  min–max {:.3}–{:.3}",
                    ratio.median, ratio.low, ratio.high, ratio.min, ratio.max
                );
            }
        }
        line(metric.name(), &shown);
    }
    let counts = counts(&[pairs.runs.as_slice(), pairs.baseline.as_slice()].concat());
    for (name, count) in
        [("lost", counts.lost), ("duplicated", counts.duplicated), ("corrupt", counts.corrupt)]
    {
        line(name, &format!("{count:>12}"));
    }
    out
}

fn describe(scenario: &Scenario) -> String {
    let mut words = match scenario.connections {
        Some(connections) => format!("{} → {connections} connections", scenario.emitters),
        None => format!("{} → {}", scenario.emitters, scenario.listeners),
    };
    let _ = write!(words, " on {} event(s), {} B", scenario.events, scenario.size);
    let mut add = |wanted: bool, what: String| {
        if wanted {
            words += ", ";
            words += &what;
        }
    };
    add(scenario.round_trip, "round trip".into());
    add(scenario.rate.is_some(), format!("{} events/s each", scenario.rate.unwrap_or(0)));
    add(scenario.idle.is_some(), format!("idle for {} s", scenario.idle.unwrap_or(0.0)));
    add(scenario.patterns > 0, format!("{} other patterns", scenario.patterns));
    add(scenario.slow_reader, "a slow reader of another event".into());
    add(scenario.stuck, "a stuck listener of another event".into());
    let word = |choice| match choice {
        SharedMemory::Auto => "shared memory",
        SharedMemory::Off => "sockets",
    };
    if let Some(choice) = scenario.beside {
        add(true, format!("beside a pair of another event by {}", word(choice)));
    }
    let transport = scenario.transport;
    add(!transport.is_shared(), format!("by {}", word(transport.shared_memory)));
    add(transport.spin_us > 0, format!("{} µs of spinning", transport.spin_us));
    add(scenario.shards.is_some(), format!("{} shard(s)", scenario.shards.unwrap_or(0)));
    add(scenario.backend.is_some(), scenario.backend.clone().unwrap_or_default());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Latency;

    fn pairs() -> Pairs {
        let outcome = |events_per_s, lost| Outcome {
            events_per_s,
            latency_us: Some(Latency { p50: 1.0, p99: 2.0, p999: 3.0, max: 4.0 }),
            counts: Counts { lost, ..Counts::default() },
            ..Outcome::default()
        };
        Pairs { runs: vec![outcome(50.0, 1)], baseline: vec![outcome(100.0, 0)] }
    }

    #[test]
    fn json_has_the_promised_keys() {
        let value = json(&Scenario::default(), &pairs(), Some(Against::Relay));
        for key in [
            "events_per_s",
            "mb_per_s",
            "broker_cpu_s_per_million",
            "total_cpu_s_per_million",
            "broker_rss_bytes",
            "lost",
            "duplicated",
            "corrupt",
            "latency_us",
            "baseline",
            "ratio",
        ] {
            assert!(value.get(key).is_some(), "{key}");
        }
        assert_eq!(value["latency_us"]["p999"], 3.0);
        assert_eq!(value["ratio"]["events_per_s"]["median"], 0.5);
        assert_eq!(value["baseline"]["is"], "relay");
        assert_eq!(value["lost"], 1);
    }

    #[test]
    fn text_shows_both_halves_and_the_ratio() {
        let text = text(&Scenario::default(), &pairs(), Some(Against::Relay));
        assert!(text.contains("relay"), "{text}");
        assert!(text.contains("ratio 0.500"), "{text}");
        assert!(text.lines().any(|line| line.starts_with("lost") && line.ends_with(" 1")));
    }
}
