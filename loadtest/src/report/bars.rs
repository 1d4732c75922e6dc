//! Bars of several brokers under one load, with whiskers from the low to the
//! high end of the median's interval.
//!
//! ```text
//!   netcluster ██████████████├──┤      50.4 M
//!   relay      ████████████████├─┤     52.1 M
//!              0      20     40
//! ```
//! Each bar is named beside it and told beside it: nothing hangs on its colour.

use std::fmt::Write;

use crate::report::axis::Axis;
use crate::report::csv::Csv;
use crate::report::html::{escape, shortened};
use crate::report::plot::Style;
use crate::report::series::title;
use crate::report::units::Unit;
use crate::result::{Cell, CompareResult};

const WIDTH: f64 = 340.0;
const NAMES: f64 = 136.0;
const VALUES: f64 = 78.0;
const ROW: f64 = 24.0;
const BAR: f64 = 15.0;
const FOOT: f64 = 24.0;
/// Letters that fit beside a bar.
const NAME_LETTERS: usize = 20;
/// Letters that fit behind a bar.
const VALUE_LETTERS: usize = 12;

/// Draws a panel: a metric under a load. `None` if nobody measured it.
pub fn panel(compare: &CompareResult, at: usize, load: &str, metric: &str) -> Option<String> {
    let of_peer = |name: &str| {
        let mut cells = compare.cells.iter();
        cells.find(|cell| cell.peer == name && cell.load == load && cell.metric == metric)
    };
    let peers = compare.peers.iter().enumerate();
    let cells: Vec<(usize, &Cell)> =
        peers.filter_map(|(place, peer)| Some((place, of_peer(&peer.name)?))).collect();
    let (_, first) = cells.first()?;
    let most = cells.iter().map(|(_, cell)| cell.high).fold(0.0, f64::max);
    let axis = Axis::from_zero(most, &first.unit);
    let height = cells.len() as f64 * ROW + FOOT;
    let summary = summary(&cells);
    let (id, heading) = (format!("bars-{at}"), escape(load));
    let mut out = format!(
        "<figure id=\"{id}\"><figcaption><h3>{heading}</h3></figcaption>\n\
         <svg class=\"plot bars\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-labelledby=\"{id}-t {id}-d\"><title id=\"{id}-t\">{}, {heading}</title>\
         <desc id=\"{id}-d\">{}</desc>\n",
        escape(&title(metric)),
        escape(&summary)
    );
    scale(&mut out, &axis, height - FOOT);
    for (row, (place, cell)) in cells.iter().enumerate() {
        bar(&mut out, &axis, row as f64 * ROW, Style(*place), cell);
    }
    out.push_str("</svg></figure>\n");
    Some(out)
}

fn x(axis: &Axis, value: f64) -> f64 {
    NAMES + axis.scale.at(value) * (WIDTH - NAMES - VALUES)
}

fn scale(out: &mut String, axis: &Axis, bottom: f64) {
    let (first, last) = (axis.ticks.first(), axis.ticks.last());
    for tick in &axis.ticks {
        let x = x(axis, tick.at);
        let _ = write!(out, "<path class=\"grid\" d=\"M{x:.1} 0V{bottom}\"/>");
    }
    // Two labels always have room; the last ends where the unit has its place.
    for (tick, class) in first.into_iter().zip(["middle"]).chain(last.into_iter().zip(["end"])) {
        let (x, y) = (x(axis, tick.at), bottom + 14.0);
        let label = escape(&tick.label);
        let _ =
            write!(out, "<text class=\"minor {class}\" x=\"{x:.1}\" y=\"{y:.1}\">{label}</text>");
    }
    let (x, y, unit) = (WIDTH, bottom + 14.0, shortened(&axis.title, VALUE_LETTERS - 2));
    let unit = escape(&unit);
    let _ = writeln!(out, "<text class=\"minor end\" x=\"{x}\" y=\"{y:.1}\">{unit}</text>");
}

fn bar(out: &mut String, axis: &Axis, top: f64, style: Style, cell: &Cell) {
    let (left, right) = (x(axis, 0.0), x(axis, cell.median));
    let (low, high) = (x(axis, cell.low), x(axis, cell.high));
    let (middle, text_y) = (top + ROW / 2.0, top + ROW / 2.0 + 4.0);
    let (colour, bar_top) = (style.colour(), top + (ROW - BAR) / 2.0);
    let unit = Unit::of(&cell.unit);
    let scaled = unit.show(cell.median);
    // The unit stands at the axis; here only its prefix would differ.
    let value = match scaled.split_once('\u{a0}') {
        Some((number, name)) => format!("{number}{}", prefix(name)),
        None => scaled,
    };
    let lost = if cell.lost > 0 { " lost" } else { "" };
    let whisker = format!("M{low:.1} {:.1}v8m0-4H{high:.1}m0-4v8", middle - 4.0);
    let _ = writeln!(
        out,
        "<text class=\"end\" x=\"{:.1}\" y=\"{text_y:.1}\">{}</text>\
         <rect class=\"f{colour}\" x=\"{left:.1}\" y=\"{bar_top:.1}\" width=\"{:.1}\" height=\"{BAR}\">\
         <title>{}</title></rect>\
         <path class=\"halo\" d=\"{whisker}\"/><path class=\"whisker\" d=\"{whisker}\"/>\
         <text class=\"end\" x=\"{WIDTH}\" y=\"{text_y:.1}\">{}</text>",
        NAMES - 6.0,
        escape(&shortened(&cell.peer, NAME_LETTERS)),
        (right - left).max(1.0),
        escape(&told(cell)),
        escape(&shortened(&format!("{value}{lost}"), VALUE_LETTERS)),
    );
}

/// Returns what stands behind a number: of `k events/s` ` k`, of `µs` ` µs`, of `MB/s` `
/// MB/s`.
fn prefix(unit: &str) -> String {
    let short = unit.split_once(" events/s").map_or(unit, |(prefix, _)| prefix);
    match short {
        "events/s" => String::new(),
        short => format!("\u{a0}{short}"),
    }
}

/// Tells a bar in words.
fn told(cell: &Cell) -> String {
    let unit = Unit::of(&cell.unit);
    let (median, low, high) = (unit.show(cell.median), unit.show(cell.low), unit.show(cell.high));
    let lost = if cell.lost > 0 { format!(", {} lost", cell.lost) } else { String::new() };
    format!("{}: {median} ({low} to {high}, {} runs{lost})", cell.peer, cell.runs)
}

fn summary(cells: &[(usize, &Cell)]) -> String {
    let told: Vec<String> = cells.iter().map(|(_, cell)| told(cell)).collect();
    format!("{}.", told.join("; "))
}

/// Returns all cells of a metric.
pub fn csv(compare: &CompareResult, metric: &str) -> Csv {
    let headings = ["peer", "load", "metric", "unit", "median", "low", "high", "runs", "lost"];
    let mut csv = Csv::new(metric, &headings);
    for cell in compare.cells.iter().filter(|cell| cell.metric == metric) {
        let Cell { peer, load, metric, unit, median, low, high, runs, lost, .. } = cell;
        csv.row([peer, load, metric, unit, median, low, high, runs, lost]);
    }
    csv
}
