//! Search for the highest rate: latency over the rates that were tried.

use crate::report::axis::Axis;
use crate::report::csv::Csv;
use crate::report::html::{Entry, table};
use crate::report::plot::{Layer, Mark, Plot, Shape, Style};
use crate::report::units::Unit;
use crate::result::{Capacity, CapacityStep};

/// Writes the rates that were tried, as a table in the order of time.
pub fn steps(out: &mut String, capacity: &Capacity) {
    let (rate, time) = (Unit::of("events/s"), Unit::of("µs"));
    let yes = |is: bool| if is { "yes" } else { "no" };
    let rows = capacity.steps.iter().map(|step| {
        vec![
            Entry::number(rate.show(step.rate_per_s)),
            Entry::text(tried_for(step)),
            Entry::number(rate.show(step.delivered_per_s)),
            Entry::number(time.show(step.p50_us)),
            Entry::number(time.show(step.p99_us)),
            Entry::text(yes(step.clean)),
            Entry::text(yes(step.holds)),
        ]
    });
    let headings = ["Rate", "Tried for", "Delivered", "p50", "p99", "Clean", "Holds the goal"];
    table(out, "Rates that were tried", &headings, &rows.collect::<Vec<_>>());
}

/// Tells how long a rate was tried, and whether that was all that is asked for.
pub fn tried_for(step: &CapacityStep) -> String {
    let what = if step.whole { "the whole" } else { "a step" };
    format!("{what}, {:.1} s", step.seconds)
}

/// Draws the plot; `None` if no rate was tried.
pub fn plot(capacity: &Capacity) -> Option<Plot> {
    let headings =
        ["rate_per_s", "seconds", "whole", "delivered_per_s", "p50_us", "p99_us", "clean", "holds"];
    let mut csv = Csv::new("capacity", &headings);
    for step in &capacity.steps {
        let CapacityStep { rate_per_s, seconds, whole, delivered_per_s, .. } = step;
        let CapacityStep { p50_us, p99_us, clean, holds, .. } = step;
        csv.row([rate_per_s, seconds, whole, delivered_per_s, p50_us, p99_us, clean, holds]);
    }
    let mut steps: Vec<&CapacityStep> = capacity.steps.iter().collect();
    steps.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    let most = steps.last()?.rate_per_s;
    let all = |of: fn(&CapacityStep) -> f64| -> Vec<(f64, f64)> {
        steps.iter().map(|step| (step.rate_per_s, of(step))).collect()
    };
    let those = |holds: bool| -> Vec<(f64, f64)> {
        let wanted = steps.iter().filter(|step| step.holds == holds);
        wanted.map(|step| (step.rate_per_s, step.p99_us)).collect()
    };
    let layer = |name: &str, style, shape| Layer { name: name.into(), style: Style(style), shape };
    let times = steps.iter().flat_map(|step| [step.p50_us, step.p99_us]);
    let times = times.chain([capacity.goal_p99_us]).filter(|time| *time > 0.0);
    let least = times.clone().fold(f64::INFINITY, f64::min);
    let x = Axis::from_zero(most, "events/s");
    let title = format!("rate, {}", x.title);
    let unit = Unit::of("µs");
    Some(Plot {
        id: "capacity".into(),
        title: "Latency by rate".into(),
        summary: "Each rate that was tried, and whether it held.".into(),
        x: x.titled(&title),
        y: Axis::log(least, times.fold(0.0, f64::max), "µs").titled("latency"),
        layers: vec![
            layer("p99", 0, Shape::Line(all(|step| step.p99_us))),
            layer("p50", 2, Shape::Line(all(|step| step.p50_us))),
            layer("p99, holds the goal", 0, Shape::Dots(those(true))),
            layer("p99, does not", 1, Shape::Crosses(those(false))),
        ],
        bands: Vec::new(),
        goals: vec![Mark {
            name: format!("goal {}", unit.show(capacity.goal_p99_us)),
            at: capacity.goal_p99_us,
        }],
        marks: Vec::new(),
        csv,
    })
}
