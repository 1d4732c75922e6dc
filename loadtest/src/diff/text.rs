//! Diff as text: worse numbers first, noise as a count.

use std::fmt::Write;

use crate::diff::{Change, Diff, Spread, Verdict};
use crate::report::Unit;

impl Diff {
    /// Writes the diff for a terminal. Control characters of names are left out.
    pub fn text(&self) -> String {
        let mut out = String::new();
        list(&mut out, "Measured under other conditions", &self.conditions);
        for (verdict, title) in [
            (Verdict::Worse, "Worse"),
            (Verdict::Better, "Better"),
            (Verdict::Differs, "Different, for better or worse"),
        ] {
            let changes = self.changes.iter().filter(|change| change.verdict == verdict);
            list(&mut out, title, &changes.map(line).collect::<Vec<_>>());
        }
        list(&mut out, "Only before", &self.only_before);
        list(&mut out, "Only after", &self.only_after);
        let noise = self.changes.iter().filter(|change| change.verdict == Verdict::Noise).count();
        let _ = writeln!(out, "Within noise: {noise} of {} numbers", self.changes.len());
        out
    }
}

fn list(out: &mut String, title: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "{title}:");
    for line in lines {
        let _ = writeln!(out, "  {line}");
    }
}

/// `who: what  1.25 M events/s (1.20 to 1.30) → 1.00 M events/s (…)  −20 %`
fn line(change: &Change) -> String {
    let unit = Unit::of(&change.unit);
    let show = |spread: Spread| {
        let value = unit.show(spread.value);
        if spread.low == spread.high {
            return value;
        }
        format!("{value} ({} to {})", unit.show(spread.low), unit.show(spread.high))
    };
    let share = change.before.change_to(change.after).map_or(String::new(), |share| {
        let sign = if share < 0.0 { '−' } else { '+' };
        format!("  {sign}{:.0} %", share.abs() * 100.0)
    });
    let (before, after) = (show(change.before), show(change.after));
    format!("{}  {before} → {after}{share}", change.what).replace('\u{a0}', " ")
}
