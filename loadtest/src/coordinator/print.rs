//! Result of a run as a page for people; the report and the JSON have the rest.

use std::fmt::Write;

use crate::metric::digits;
use crate::report::answer;
use crate::report::capacity::tried_for;
use crate::result::{Latency, RoleKind, RoleTotals, RunResult};

/// Counters that are worth a line if they are not 0.
const COUNTERS: [(&str, &str); 9] = [
    ("link_naks_sent", "requests for repairs"),
    ("link_repaired", "repairs"),
    ("link_io_kernel_drops", "datagrams dropped by the kernel"),
    ("link_demoted", "demotions"),
    ("link_silent", "peers fell silent"),
    ("dropped", "events dropped for slow listeners"),
    ("pauses", "pauses of emitters"),
    ("stalled", "clients disconnected as stalled"),
    ("protocol_errors", "protocol errors"),
];

/// Writes the page.
pub fn page(result: &RunResult) -> String {
    let mut out = String::new();
    // Writing into a string does not fail.
    let _ = write_page(&mut out, result);
    out
}

fn write_page(out: &mut String, result: &RunResult) -> std::fmt::Result {
    let seconds = result.seconds;
    writeln!(out, "{}\n", answer::sentence(result).replace('\u{a0}', " "))?;
    writeln!(
        out,
        "{}, {seconds:.1} s on {} machine(s){}",
        result.scenario.name,
        result.machines.len(),
        result.offered_per_s.map_or(String::new(), |rate| format!(", {rate:.0} events/s offered"))
    )?;
    for of in &result.machines {
        let broker = of.versions.get("netcluster").map_or("?", String::as_str);
        write!(out, "  {:<6} {} cores, {}, broker {broker}", of.name, of.cores, of.cpu)?;
        if !of.address.is_empty() {
            write!(out, ", at {}", of.address)?;
        }
        if of.clock_error_ns > 0 {
            write!(out, ", clock ±{} µs", digits(of.clock_error_ns as f64 / 1000.0))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "\n{:<16} {:<6} {:>7} {:>12} {:>11} {:>10} {:>6} {:>6} {:>6} {:>7}",
        "role", "on", "clients", "events", "events/s", "MB/s", "lost", "again", "late", "corrupt"
    )?;
    for role in &result.roles {
        write_role(out, role, seconds)?;
    }
    if !result.latencies.is_empty() {
        writeln!(
            out,
            "\n{:<52} {:>10} {:>9} {:>9} {:>9} {:>9}",
            "latency, µs", "events", "p50", "p99", "p99.9", "max"
        )?;
    }
    for latency in &result.latencies {
        write_latency(out, latency)?;
    }
    let mut heading = "\n";
    for (machine, counters) in &result.counters {
        for (name, words) in COUNTERS {
            if let Some(value) = counters.get(name).filter(|value| **value > 0) {
                writeln!(out, "{heading}{machine:<6} {value:>10} {words}")?;
                heading = "";
            }
        }
    }
    if let Some(found) = &result.capacity {
        writeln!(
            out,
            "\n{:>12} {:>18} {:>14} {:>10} {:>10}",
            "events/s", "tried for", "delivered/s", "p50 µs", "p99 µs"
        )?;
        for step in &found.steps {
            let verdict = match (step.holds, step.clean) {
                (true, _) => "holds",
                (false, true) => "too slow",
                (false, false) => "not clean",
            };
            writeln!(
                out,
                "{:>12.0} {:>18} {:>14.0} {:>10} {:>10}  {verdict}",
                step.rate_per_s,
                tried_for(step),
                step.delivered_per_s,
                digits(step.p50_us),
                digits(step.p99_us)
            )?;
        }
    }
    for note in &result.notes {
        writeln!(out, "note: {note}")?;
    }
    if !result.complete {
        writeln!(out, "note: the run is not complete; these are partial results")?;
    }
    Ok(())
}

fn write_role(out: &mut String, role: &RoleTotals, seconds: f64) -> std::fmt::Result {
    let events = match role.kind {
        RoleKind::Emitter => role.emitted,
        RoleKind::Listener | RoleKind::Broker => role.delivered,
    };
    writeln!(
        out,
        "{:<16} {:<6} {:>7} {:>12} {:>11.0} {:>10} {:>6} {:>6} {:>6} {:>7}",
        role.name,
        role.machine,
        role.processes,
        events,
        events as f64 / seconds,
        digits(role.bytes as f64 / 1e6 / seconds),
        role.lost,
        role.duplicated,
        role.disordered,
        role.corrupt
    )
}

fn write_latency(out: &mut String, latency: &Latency) -> std::fmt::Result {
    let us = |percent| {
        let ns = latency.known_percentile_ns(percent);
        ns.map_or("–".into(), |ns| digits(ns as f64 / 1000.0))
    };
    let name = format!("{} on {}, {}", latency.role, latency.machine, latency.kind.name());
    write!(
        out,
        "{name:<52} {:>10} {:>9} {:>9} {:>9} {:>9}",
        latency.count,
        us(50.0),
        us(99.0),
        us(99.9),
        us(100.0)
    )?;
    if latency.error_ns > 0 {
        write!(out, "  ±{} µs", digits(latency.error_ns as f64 / 1000.0))?;
    }
    writeln!(out)
}
