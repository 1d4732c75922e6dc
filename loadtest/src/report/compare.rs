//! Page of a comparison: a table of medians and bars for each metric.

use std::fmt::Write;

use crate::report::bars;
use crate::report::html::{Entry, escape, grouped, table};
use crate::report::series::title;
use crate::report::tables;
use crate::report::units::Unit;
use crate::report::{date, header};
use crate::result::{Cell, CompareResult};

/// Writes all of the page but the frame.
pub fn body(compare: &CompareResult) -> String {
    let mut out = String::new();
    let measured = compare.peers.iter().filter(|peer| peer.skipped.is_none()).count();
    let about = [
        date(compare.started_unix_ms),
        format!("{measured} brokers, {} loads", compare.loads.len()),
        format!("{}, {} cores", compare.machine.cpu, compare.machine.cores),
    ];
    header(&mut out, ("Comparison of brokers", None), &about, compare.complete, &compare.notes);
    let mut at = 0;
    for metric in metrics(compare) {
        section(&mut out, compare, metric, &mut at);
    }
    out.push_str("<h2>Brokers</h2>\n");
    peers(&mut out, compare);
    out.push_str("<h2>Loads</h2>\n");
    let loads = compare.loads.iter();
    let rows = loads.map(|load| vec![Entry::text(&load.name), Entry::text(&load.what)]);
    table(&mut out, "Loads", &["Load", "What it does"], &rows.collect::<Vec<_>>());
    out.push_str("<h2>Where it ran</h2>\n");
    tables::systems(&mut out, [&compare.machine]);
    out
}

/// Returns the metrics in the order of their first cells.
fn metrics(compare: &CompareResult) -> Vec<&str> {
    let mut metrics: Vec<&str> = Vec::new();
    for cell in &compare.cells {
        if !metrics.contains(&cell.metric.as_str()) {
            metrics.push(&cell.metric);
        }
    }
    metrics
}

fn section(out: &mut String, compare: &CompareResult, metric: &str, at: &mut usize) {
    let cells = || compare.cells.iter().filter(|cell| cell.metric == metric);
    let higher = cells().next().is_some_and(|cell| cell.higher_is_better);
    let (heading, better) = (title(metric), if higher { "More" } else { "Less" });
    let _ = writeln!(
        out,
        "<h2>{}</h2>\n<p class=\"hint\">{better} is better. Bars are medians; whiskers reach over \
         the 95 % interval of the median, or all runs if there are fewer than six. Each load has a \
         scale of its own.</p>",
        escape(&heading)
    );
    medians(out, compare, metric, &heading);
    out.push_str("<div class=\"panels\">\n");
    for load in &compare.loads {
        if let Some(panel) = bars::panel(compare, *at, &load.name, metric) {
            out.push_str(&panel);
            *at += 1;
        }
    }
    let _ =
        writeln!(out, "</div>\n<p class=\"data\">Data: {}</p>", bars::csv(compare, metric).link());
}

/// Writes a table with a row for each load and a column for each peer that measured it.
fn medians(out: &mut String, compare: &CompareResult, metric: &str, heading: &str) {
    let has = |peer: &str, load: Option<&str>| {
        let mut cells = compare.cells.iter();
        cells.find(|cell| {
            cell.peer == peer && cell.metric == metric && load.is_none_or(|load| cell.load == load)
        })
    };
    let peers = compare.peers.iter().map(|peer| peer.name.as_str());
    let peers: Vec<&str> = peers.filter(|peer| has(peer, None).is_some()).collect();
    let mut rows = Vec::new();
    for load in &compare.loads {
        let cells: Vec<Option<&Cell>> =
            peers.iter().map(|peer| has(peer, Some(&load.name))).collect();
        let known = || cells.iter().flatten();
        let best = known().map(|cell| cell.median).reduce(|a, b| {
            let more = known().next().is_some_and(|cell| cell.higher_is_better);
            if more { a.max(b) } else { a.min(b) }
        });
        if best.is_none() {
            continue;
        }
        let mut row = vec![Entry::text(&load.name)];
        row.extend(cells.iter().map(|cell| {
            let Some(cell) = cell else { return Entry::number("") };
            let shown = Unit::of(&cell.unit).show(cell.median).replace("events/s", "");
            let lost = match cell.lost {
                0 => String::new(),
                lost => format!(" ({} lost)", grouped(lost)),
            };
            let entry = Entry::number(format!("{}{lost}", shown.trim_end()));
            if Some(cell.median) == best { entry.best() } else { entry }
        }));
        rows.push(row);
    }
    let headings: Vec<&str> = ["Load"].into_iter().chain(peers).collect();
    table(out, heading, &headings, &rows);
}

fn peers(out: &mut String, compare: &CompareResult) {
    let rows = compare.peers.iter().map(|peer| {
        vec![
            Entry::text(&peer.name),
            Entry::text(&peer.version),
            Entry::text(&peer.transport),
            Entry::text(match &peer.skipped {
                Some(reason) => format!("skipped: {reason}"),
                None => "measured".into(),
            }),
        ]
    });
    let headings = ["Broker", "Version", "Transport", "Measured"];
    table(out, "Brokers", &headings, &rows.collect::<Vec<_>>());
}
