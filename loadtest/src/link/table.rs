//! Table of what was measured on the link, for people and programs. Goals stand beside;
//! nothing passes or fails by time.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::interrupt;
use crate::link::rows::Number;
use crate::link::series::Series;
use crate::metric::digits;

/// Counters in the table, with their names in words: the others are in the JSON.
const COUNTERS: [(&str, &str); 5] = [
    ("in_naks_sent", "NAKs"),
    ("out_repaired", "repairs"),
    ("in_kernel_drops", "kernel drops"),
    ("in_lost_notices", "lost notices"),
    ("out_demoted", "demotions"),
];

impl Number {
    fn name(self) -> &'static str {
        match self {
            Number::Metric(metric) => metric.name(),
            Number::LineShare => "share of the line",
            Number::Fairness => "slowest / fastest sender",
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Number::Metric(metric) => metric.show(value),
            Number::LineShare | Number::Fairness => digits(value),
        }
    }
}

/// Writes the table as Markdown.
pub fn markdown(measured: &[Series]) -> String {
    let mut out = String::from(
        "| per receiver | | median | 95 % interval | beside | ratio | 95 % interval | goal | counted |\n|---|---|---|---|---|---|---|---|---|\n",
    );
    for series in measured {
        let mut name = series.row.name.as_str();
        let mut counted = counters(series);
        for &(number, goal) in &series.row.shown {
            let (own, other) = series.medians(number);
            let Some(own) = own else { continue };
            let (mut beside, mut ratio, mut interval) = Default::default();
            if let (Some(which), Some(other)) = (series.row.beside, other) {
                beside = format!("{} {}", which.name(), number.show(other.median));
                if let Some(found) = series.ratio(number) {
                    ratio = digits(found.median);
                    interval = format!("{}–{}", digits(found.low), digits(found.high));
                }
            }
            let (what, median) = (number.name(), number.show(own.median));
            let spread = format!("{}–{}", number.show(own.low), number.show(own.high));
            let _ = writeln!(
                out,
                "| {name} | {what} | {median} | {spread} | {beside} | {ratio} | {interval} | {goal} | {counted} |"
            );
            (name, counted) = ("", String::new());
        }
        if let Some(trouble) = trouble(series) {
            let _ = writeln!(out, "| {name} | **{trouble}** | | | | | | | |");
        }
    }
    out
}

/// Writes the table for people: one number per line, aligned.
pub fn text(measured: &[Series]) -> String {
    let mut out = String::new();
    for series in measured {
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(out, "{name:<30} {value}");
        };
        line("scenario", &series.row.name);
        for &(number, _) in &series.row.shown {
            let (own, other) = series.medians(number);
            let Some(own) = own else { continue };
            let mut shown = format!("{:>12}", number.show(own.median));
            let _ = write!(shown, "   95 % {}–{}", number.show(own.low), number.show(own.high));
            if let (Some(which), Some(other)) = (series.row.beside, other) {
                let _ = write!(shown, "   {} {}", which.name(), number.show(other.median));
                if let Some(ratio) = series.ratio(number) {
                    let (low, high) = (digits(ratio.low), digits(ratio.high));
                    let _ = write!(shown, "   ratio {}  95 % {low}–{high}", digits(ratio.median));
                }
            }
            line(number.name(), &shown);
        }
        for (name, value) in series.counters() {
            if value > 0 {
                line(&name, &format!("{value:>12}"));
            }
        }
        line("", &trouble(series).unwrap_or_else(|| "every event came once and whole".into()));
    }
    out
}

/// Writes the table as JSON.
pub fn json(measured: &[Series]) -> Value {
    let row = |series: &Series| {
        let numbers = series.row.shown.iter().map(|&(number, goal)| {
            let (own, beside) = series.medians(number);
            let ratio = series.ratio(number);
            json!({
                "is": number.name(), "measured": own, "beside": beside, "ratio": ratio,
                "goal": goal,
            })
        });
        json!({
            "row": series.row.name,
            "beside": series.row.beside.map(|beside| beside.name()),
            "numbers": numbers.collect::<Vec<Value>>(),
            "counts": series.counts(),
            "counters": series.counters(),
            "failed": series.has_failed,
            "complete": !interrupt::requested(),
        })
    };
    measured.iter().map(row).collect()
}

fn counters(series: &Series) -> String {
    let all = series.counters();
    let shown = COUNTERS.iter().filter_map(|(key, name)| {
        let value = all.get(*key).filter(|value| **value > 0)?;
        Some(format!("{name} {value}"))
    });
    shown.collect::<Vec<String>>().join(", ")
}

fn trouble(series: &Series) -> Option<String> {
    if series.has_failed {
        return Some("failed".into());
    }
    let counts = series.counts();
    (!counts.is_clean()).then(|| {
        format!(
            "lost {}, duplicated {}, corrupt {}",
            counts.lost, counts.duplicated, counts.corrupt
        )
    })
}
