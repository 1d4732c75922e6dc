//! Page of one run.

use std::fmt::Write;

use crate::report::html::{escape, grouped};
use crate::report::plot::Plot;
use crate::report::tables::{self, faults, rate};
use crate::report::units::Unit;
use crate::report::{answer, capacity, date, header, histogram, latency, series};
use crate::result::{RoleKind, RoleTotals, RunResult};

/// Writes all of the page but the frame.
pub fn body(run: &RunResult) -> String {
    let mut out = String::new();
    let machines = match run.machines.len() {
        1 => "1 machine".to_owned(),
        count => format!("{count} machines"),
    };
    let mut about =
        vec![date(run.started_unix_ms), format!("{} s measured", run.seconds), machines];
    about.extend(
        run.offered_per_s.map(|rate| format!("{} offered", Unit::of("events/s").show(rate))),
    );
    about.extend(run.scenario.arguments.iter().cloned());
    let title = (run.scenario.name.as_str(), Some(answer::sentence(run)));
    header(&mut out, title, &about, run.complete, &run.notes);
    tiles(&mut out, run);
    if let Some(found) = &run.capacity {
        section(&mut out, "Capacity");
        figures(&mut out, capacity::plot(found).as_slice());
        capacity::steps(&mut out, found);
    }
    let plots = series::plots(run);
    if !plots.is_empty() {
        section(&mut out, "Over time");
        phases(&mut out, run);
        figures(&mut out, &plots);
    }
    if !run.latencies.is_empty() {
        section(&mut out, "Latency");
        latency::percentiles(&mut out, run);
        figures(&mut out, latency::plot(run).as_slice());
        figures(&mut out, &histogram::plots(run));
    }
    section(&mut out, "Roles");
    tables::roles(&mut out, run);
    section(&mut out, "Per machine");
    tables::machines(&mut out, run);
    if run.counters.values().any(|counters| !counters.is_empty()) {
        section(&mut out, "Counters");
        tables::counters(&mut out, run);
    }
    section(&mut out, "Where it ran");
    tables::systems(&mut out, &run.machines);
    section(&mut out, "Scenario");
    let _ = writeln!(out, "<pre>{}</pre>", escape(&run.scenario.toml));
    out
}

fn section(out: &mut String, title: &str) {
    let _ = writeln!(out, "<h2>{title}</h2>");
}

/// Writes the phases, whose names in the plots are cut where there is no room.
fn phases(out: &mut String, run: &RunResult) {
    if run.phases.is_empty() {
        return;
    }
    let seconds = |ms: u64| ms as f64 / 1e3;
    let told = run.phases.iter().map(|phase| {
        format!("{} {} to {} s", phase.name, seconds(phase.from_ms), seconds(phase.to_ms))
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let _ = writeln!(out, "<p class=\"hint\">Phases: {}.</p>", escape(&told));
}

fn figures(out: &mut String, plots: &[Plot]) {
    plots.iter().for_each(|plot| out.push_str(&plot.figure()));
}

/// Writes the numbers that everybody asks for first.
fn tiles(out: &mut String, run: &RunResult) {
    let listeners = || run.roles.iter().filter(|role| role.kind == RoleKind::Listener);
    let sum = |of: fn(&RoleTotals) -> u64| listeners().map(|role| rate(run, of(role))).sum::<f64>();
    out.push_str("<ul class=\"tiles\">");
    // A search ends with some rate: what was delivered then is no answer.
    let at = run.capacity.as_ref().and(run.offered_per_s);
    let at =
        at.map_or(String::new(), |rate| format!(", {} offered", Unit::of("events/s").show(rate)));
    tile(
        out,
        &format!("Delivered{at}"),
        &Unit::of("events/s").show(sum(|role| role.delivered)),
        false,
    );
    tile(out, "Payload delivered", &Unit::of("B/s").show(sum(|role| role.bytes)), false);
    // One latency is told: that of the role which waited longest.
    let slowest = run.latencies.iter().max_by_key(|latency| latency.percentile_ns(99.0));
    if let Some(latency) = slowest.filter(|latency| latency.count > 0) {
        let kind = latency.kind.name();
        for (name, percent) in [("p50", 50.0), ("p99", 99.0)] {
            let value = latency::percentile(latency, percent);
            tile(out, &format!("{name} {kind}, slowest role"), &value, false);
        }
    }
    let mut bad = false;
    for at in 0..4 {
        let name = ["Lost", "Duplicated", "Disordered", "Corrupt"][at];
        let count = listeners().map(|role| faults(role)[at].1).fold(0, u64::saturating_add);
        if count > 0 {
            bad = true;
            tile(out, name, &grouped(count), true);
        }
    }
    if !bad && listeners().next().is_some() {
        tile(out, "Lost, duplicated, disordered, corrupt", "none", false);
    }
    if let Some(capacity) = &run.capacity {
        let found = capacity.found_per_s.map(|found| Unit::of("events/s").show(found));
        let goal = Unit::of("µs").show(capacity.goal_p99_us);
        let name = format!("Highest rate with p99 ≤ {goal}");
        tile(out, &name, found.as_deref().unwrap_or("none"), found.is_none());
    }
    out.push_str("</ul>\n");
}

fn tile(out: &mut String, name: &str, value: &str, is_bad: bool) {
    let class = if is_bad { " class=\"bad\"" } else { "" };
    let (number, unit) = value.split_once(" events/s").map_or((value, ""), |of| (of.0, "events/s"));
    let (name, number) = (escape(name), escape(number));
    let _ = write!(
        out,
        "<li{class}><span>{name}</span><strong>{number} <small>{unit}</small></strong></li>"
    );
}
