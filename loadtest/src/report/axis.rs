//! Axes: the place of a value, the ticks and their labels.
//!
//! Invariant: ticks ascend and lie within the axis; there are at most [`MAX_TICKS`],
//! whatever the numbers are.

use crate::report::units::Unit;

const NEARLY_1: f64 = 1.0 - 1e-9;

/// Most ticks: more are never needed, and a range without end must end.
pub const MAX_TICKS: usize = 24;
/// Steps that people read with ease.
const NICE: [f64; 4] = [1.0, 2.0, 5.0, 10.0];
/// Seconds from which an axis is in minutes.
const MINUTES_FROM_S: f64 = 300.0;
/// Seconds from which an axis is in hours.
const HOURS_FROM_S: f64 = 3.0 * 3600.0;
/// Decades up to which 2 and 5 are ticks too.
const FINE_DECADES: f64 = 2.2;
/// Least value that a logarithmic axis can hold, in any unit.
const LEAST: f64 = 1e-12;
const MOST: f64 = 1e24;
/// Most nines of a percentile.
const MAX_NINES: i32 = 9;

/// Scale, by which values are laid along an axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scale {
    /// Even scale.
    Linear { low: f64, high: f64 },
    /// Logarithmic scale.
    Log { low: f64, high: f64 },
    /// Scale of percentiles: as far from 99 to 99.9 as from 90 to 99.
    Tail { nines: f64 },
}

impl Scale {
    /// Returns the place of a value, from 0, the begin of the axis, to 1, its end.
    pub fn at(self, value: f64) -> f64 {
        let share = match self {
            Scale::Linear { low, high } => (value - low) / (high - low),
            Scale::Log { low, high } => {
                (value.max(low).log10() - low.log10()) / (high.log10() - low.log10())
            }
            Scale::Tail { nines } => -(1.0 - value / 100.0).max(1e-12).log10() / nines,
        };
        share.clamp(0.0, 1.0)
    }

    /// Returns the value at a share of the way.
    pub fn value(self, share: f64) -> f64 {
        match self {
            Scale::Linear { low, high } => low + share * (high - low),
            Scale::Log { low, high } => {
                10f64.powf(low.log10() + share * (high.log10() - low.log10()))
            }
            Scale::Tail { nines } => 100.0 * (1.0 - 10f64.powf(-share * nines)),
        }
    }
}

/// Mark on an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// Value of the tick.
    pub at: f64,
    /// Text at the tick.
    pub label: String,
}

/// Scale with its ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// Scale of the values.
    pub scale: Scale,
    /// Ticks, ascending.
    pub ticks: Vec<Tick>,
    /// Title of the axis, with the unit of the labels.
    pub title: String,
    /// Unit of the values.
    pub unit: Unit,
}

impl Axis {
    /// Makes an axis from zero to a round number not under `max`.
    pub fn from_zero(max: f64, unit: &str) -> Axis {
        let unit = Unit::of(unit);
        let max = if max.is_finite() && max > 0.0 { max } else { 1.0 };
        let scaled = unit.scaled(max);
        let step = nice_step(max / scaled.factor, 4.0);
        // What is a hair above a tick needs no further one.
        let count =
            ((max / scaled.factor / step - 1e-9).ceil().max(1.0) as usize).min(MAX_TICKS - 1);
        let ticks = (0..=count).map(|at| {
            let value = at as f64 * step;
            Tick { at: value * scaled.factor, label: plain(value, step) }
        });
        let high = count as f64 * step * scaled.factor;
        Axis {
            scale: Scale::Linear { low: 0.0, high },
            ticks: ticks.collect(),
            title: scaled.name,
            unit,
        }
    }

    /// Makes an axis of the time since the begin, in seconds.
    pub fn time(max_s: f64) -> Axis {
        let max_s = if max_s.is_finite() && max_s > 0.0 { max_s } else { 1.0 };
        let (factor, title) = match max_s {
            max if max >= HOURS_FROM_S => (3600.0, "hours"),
            max if max >= MINUTES_FROM_S => (60.0, "minutes"),
            _ => (1.0, "seconds"),
        };
        let step = nice_step(max_s / factor, 6.0);
        let count = ((max_s / factor / step + 1e-9) as usize).min(MAX_TICKS - 1);
        let tick = |at: usize| {
            let value = at as f64 * step;
            Tick { at: value * factor, label: plain(value, step) }
        };
        Axis {
            scale: Scale::Linear { low: 0.0, high: max_s },
            ticks: (0..=count).map(tick).collect(),
            title: format!("{title} since the begin"),
            unit: Unit::of("s"),
        }
    }

    /// Makes a logarithmic axis, from a round number not over `min` to one not under
    /// `max`.
    pub fn log(min: f64, max: f64, unit: &str) -> Axis {
        let unit = Unit::of(unit);
        let min = if min.is_finite() && min > 0.0 { min.clamp(LEAST, MOST / 10.0) } else { 1.0 };
        let max = if max.is_finite() && max > min { max.min(MOST) } else { min * 2.0 };
        let fine = (max / min).log10() <= FINE_DECADES;
        let steps: &[f64] = if fine { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let edges: &[f64] = &[1.0, 2.0, 5.0];
        let (low, high) = (edge_below(min, edges), edge_above(max, edges));
        let mut ticks = Vec::new();
        for decade in low.log10().floor() as i32..=high.log10().ceil() as i32 {
            for step in steps {
                let at = step * 10f64.powi(decade);
                let inside = at >= low * NEARLY_1 && at <= high / NEARLY_1;
                if inside && ticks.len() < MAX_TICKS {
                    ticks.push(Tick { at, label: unit.tick(at) });
                }
            }
        }
        Axis { scale: Scale::Log { low, high }, ticks, title: String::new(), unit }
    }

    /// Makes an axis of the percentiles of so many values.
    pub fn tail(count: u64) -> Axis {
        let nines = (count.max(10) as f64).log10().clamp(2.0, f64::from(MAX_NINES));
        let mut ticks = vec![
            Tick { at: 0.0, label: "0\u{a0}%".into() },
            Tick { at: 50.0, label: "50\u{a0}%".into() },
        ];
        for digits in 1..=nines.floor() as i32 {
            let percent = 100.0 * (1.0 - 10f64.powi(-digits));
            let places = (digits - 2).max(0) as usize;
            ticks.push(Tick { at: percent, label: format!("{percent:.places$}\u{a0}%") });
        }
        Axis {
            scale: Scale::Tail { nines },
            ticks,
            title: "percentile".into(),
            unit: Unit::of("%"),
        }
    }

    /// Gives the axis another title.
    pub fn titled(self, title: &str) -> Axis {
        Axis { title: title.into(), ..self }
    }

    /// Writes a value for people.
    pub fn show(&self, value: f64) -> String {
        match self.scale {
            Scale::Tail { .. } => {
                let digits = -(1.0 - value / 100.0).max(1e-12).log10();
                let places = (digits - 1.0 - 1e-6).ceil().clamp(0.0, 8.0) as usize;
                format!("{value:.places$}\u{a0}%")
            }
            _ => self.unit.show(value),
        }
    }
}

/// Returns a round step, so that about so many fit.
fn nice_step(range: f64, about: f64) -> f64 {
    let raw = range / about;
    let power = 10f64.powf(raw.log10().floor());
    let step = NICE.iter().map(|nice| nice * power).find(|step| *step >= raw * NEARLY_1);
    step.unwrap_or(10.0 * power)
}

/// Writes a value with as many decimals as the step has.
fn plain(value: f64, step: f64) -> String {
    let places = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
    format!("{value:.places$}")
}

fn edge_below(value: f64, steps: &[f64]) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let below = steps.iter().rev().map(|step| step * power).find(|edge| *edge <= value / NEARLY_1);
    below.unwrap_or(power)
}

fn edge_above(value: f64, steps: &[f64]) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let above = steps.iter().map(|step| step * power).find(|edge| *edge >= value * NEARLY_1);
    above.unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<String> {
        axis.ticks.iter().map(|tick| tick.label.replace('\u{a0}', " ")).collect()
    }

    #[test]
    fn a_linear_axis_starts_at_zero_and_ends_at_a_round_number() {
        let axis = Axis::from_zero(1_870_000.0, "events/s");
        assert_eq!(labels(&axis), ["0.0", "0.5", "1.0", "1.5", "2.0"]);
        assert_eq!(axis.title, "M events/s");
        assert_eq!(axis.scale, Scale::Linear { low: 0.0, high: 2e6 });
    }

    #[test]
    fn time_is_told_in_a_unit_that_suits_it() {
        assert_eq!(labels(&Axis::time(10.0)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(Axis::time(900.0).title, "minutes since the begin");
        assert_eq!(labels(&Axis::time(900.0)), ["0", "5", "10", "15"]);
    }

    #[test]
    fn latencies_have_their_ticks_at_decades() {
        let axis = Axis::log(38_000.0, 7_200_000.0, "ns");
        assert_eq!(labels(&axis), ["100 µs", "1 ms", "10 ms"]);
        assert_eq!(labels(&Axis::log(21.0, 90.0, "µs")), ["20 µs", "50 µs", "100 µs"]);
    }

    #[test]
    fn percentiles_are_spread_towards_the_tail() {
        let axis = Axis::tail(10_000);
        assert_eq!(labels(&axis), ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
        let steps = [90.0, 99.0, 99.9, 99.99].map(|percent| axis.scale.at(percent));
        for (step, expected) in steps.into_iter().zip([0.25, 0.5, 0.75, 1.0]) {
            assert!((step - expected).abs() < 1e-9, "{step}");
        }
        assert_eq!(axis.show(axis.scale.value(0.75)).replace('\u{a0}', " "), "99.90 %");
    }

    #[test]
    fn numbers_without_sense_make_an_axis_all_the_same() {
        for value in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX] {
            for axis in [
                Axis::from_zero(value, "B"),
                Axis::time(value),
                Axis::log(value, value, "ns"),
                Axis::log(1.0, value, "ns"),
            ] {
                assert!(axis.ticks.len() <= MAX_TICKS, "{value}: {axis:?}");
                let share = axis.scale.at(value);
                assert!(share.is_nan() || (0.0..=1.0).contains(&share), "{value}: {axis:?}");
            }
        }
    }
}
