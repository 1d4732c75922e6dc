//! An endurance run as people read it: a line for each round, and a page at the end.

use std::fmt::Write;

use super::outcome::{Outcome, Summary};
use super::round::Round;

/// Faults on the page; all are in the file.
const MAX_FAULTS: usize = 40;

/// Returns the line of a round.
pub fn line(round: &Round) -> String {
    let back = round.latencies.values().map(|of| of.back_ms.unwrap_or(u64::MAX)).max();
    let back = match back {
        Some(u64::MAX) => "not back".into(),
        Some(ms) => format!("back {ms} ms"),
        None => "no latency".to_owned(),
    };
    let mut line = format!(
        "{:>4} {:>6.0} s  {:<14} {}  {back:<12} missing {} told, {} not  {}\n",
        round.number,
        round.at_s,
        round.kind.name(),
        round.machine,
        round.told_missing,
        round.silently_missing,
        round.note
    );
    for fault in &round.faults {
        let _ = writeln!(line, "       FAULT: {fault}");
    }
    line
}

/// Returns the page at the end.
pub fn page(outcome: &Outcome) -> String {
    let mut page = String::new();
    let machine = &outcome.machine;
    let [least, usual, most] = outcome.load_average;
    let _ = writeln!(
        page,
        "soak: seed {}, {:.0} s of {:.0}, {} rounds; {}, {} cores, Linux {}, load average {least:.1} to {most:.1}, median {usual:.1}",
        outcome.seed,
        outcome.seconds,
        outcome.wanted_seconds,
        outcome.rounds.len(),
        machine.cpu,
        machine.cores,
        machine.kernel
    );
    if let Some(why) = &outcome.without_network {
        let _ = writeln!(page, "no link between the machines: {why}");
    }
    for (kind, why) in &outcome.skipped {
        let _ = writeln!(page, "SKIPPED: {kind}: {why}");
    }
    let _ = writeln!(
        page,
        "{} events emitted, {} delivered; missing {} told, {} not\n\n{}",
        outcome.emitted,
        outcome.delivered,
        outcome.told_missing,
        outcome.silently_missing,
        disturbances(&outcome.disturbances)
    );
    page.push_str(&trends(outcome));
    page.push('\n');
    let in_rounds = outcome.rounds.iter().flat_map(|round| {
        let of = format!("round {} ({} {})", round.number, round.kind.name(), round.machine);
        round.faults.iter().map(move |fault| format!("{of}: {fault}"))
    });
    let faults: Vec<String> = outcome.faults.iter().cloned().chain(in_rounds).collect();
    for fault in faults.iter().take(MAX_FAULTS) {
        let _ = writeln!(page, "FAULT: {fault}");
    }
    if faults.len() > MAX_FAULTS {
        let _ = writeln!(page, "and {} more", faults.len() - MAX_FAULTS);
    }
    if outcome.passed {
        page.push_str("passed\n");
    } else {
        let seconds = outcome.wanted_seconds;
        let seed = outcome.seed;
        let _ = writeln!(page, "FAILED; again: run soak --seed {seed} --duration {seconds:.0}s");
    }
    page
}

/// Returns the table of disturbances, in Markdown.
fn disturbances(all: &[Summary]) -> String {
    let mut table = String::from(
        "| disturbance | rounds | with faults | missing, told | not told | latency back, median | longest | p99 before | 1 s after |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    let ms = |ms: Option<u64>| ms.map_or("not back".into(), |ms| format!("{ms} ms"));
    for of in all {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {} | {} | {} | {} | {:.2} ms | {:.2} ms |",
            of.kind.name(),
            of.rounds,
            of.faulty,
            of.told_missing,
            of.silently_missing,
            ms(of.back_ms[0]),
            ms(of.back_ms[1]),
            f64::from(of.quiet_p99_us) / 1000.0,
            f64::from(of.after_p99_us) / 1000.0
        );
    }
    table
}

/// Returns the table of what processes hold, in Markdown.
fn trends(outcome: &Outcome) -> String {
    let mut table = String::from(
        "| process | measure | samples | after warm-up | at the end | most | slope (95 % interval) | allowed | |\n\
         |---|---|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for trend in &outcome.trends {
        let _ = writeln!(
            table,
            "| {} | {} | {} | {:.0} | {:.0} | {:.0} | {} | {:.0}/h | {} |",
            trend.process,
            trend.measure,
            trend.samples,
            trend.first,
            trend.last,
            trend.most,
            trend.slope_text(),
            trend.limit_per_hour,
            if trend.grows { "GROWS" } else { "flat" }
        );
    }
    table
}
