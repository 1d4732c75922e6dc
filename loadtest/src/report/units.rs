//! Units of a result's numbers, with the prefix that suits the size.

use crate::metric::digits;

const EVENTS: [(f64, &str); 4] =
    [(1.0, "events/s"), (1e3, "k events/s"), (1e6, "M events/s"), (1e9, "G events/s")];
const PER_SECOND: [(f64, &str); 3] = [(1.0, "per s"), (1e3, "k per s"), (1e6, "M per s")];
const BYTES: [(f64, &str); 5] = [(1.0, "B"), (1e3, "kB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")];
const BYTES_PER_SECOND: [(f64, &str); 4] =
    [(1.0, "B/s"), (1e3, "kB/s"), (1e6, "MB/s"), (1e9, "GB/s")];
/// Units of time by seconds.
const TIMES: [(f64, &str); 4] = [(1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s")];
/// Share of the next prefix from which a number has it: 999.6 would be shown as 1000.
const NEARLY: f64 = 0.9995;

/// Unit by its name in the result. Unknown ones are shown as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    name: String,
}

/// Unit with a prefix: a number is divided by the factor to be shown in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaled {
    /// Factor: how much of the unit one of these is.
    pub factor: f64,
    /// Name of the unit with its prefix.
    pub name: String,
}

impl Unit {
    /// Finds a unit by its name.
    pub fn of(name: &str) -> Unit {
        Unit { name: name.into() }
    }

    fn steps(&self) -> Vec<Scaled> {
        let (steps, divisor): (&[(f64, &str)], f64) = match self.name.as_str() {
            "events/s" => (&EVENTS, 1.0),
            "1/s" => (&PER_SECOND, 1.0),
            "B" => (&BYTES, 1.0),
            "B/s" => (&BYTES_PER_SECOND, 1.0),
            "s" => (&TIMES, 1.0),
            "ms" => (&TIMES, 1e-3),
            "µs" | "us" => (&TIMES, 1e-6),
            "ns" => (&TIMES, 1e-9),
            other => (&[(1.0, other)], 1.0),
        };
        let scaled =
            |&(factor, name): &(f64, &str)| Scaled { factor: factor / divisor, name: name.into() };
        steps.iter().map(scaled).collect()
    }

    /// Returns the unit with the prefix that suits a number.
    pub fn scaled(&self, value: f64) -> Scaled {
        let mut steps = self.steps();
        let fits = |step: &Scaled| value.abs() >= step.factor * NEARLY;
        let at = steps.iter().rposition(fits).unwrap_or(0);
        steps.swap_remove(at)
    }

    /// Writes a round number with its unit: without zeros behind the point.
    pub fn tick(&self, value: f64) -> String {
        let shown = self.show(value);
        let Some((number, name)) = shown.split_once('\u{a0}') else { return shown };
        if !number.contains('.') {
            return shown;
        }
        let number = number.trim_end_matches('0').trim_end_matches('.');
        format!("{number}\u{a0}{name}")
    }

    /// Writes a number with its unit.
    pub fn show(&self, value: f64) -> String {
        if value == 0.0 {
            return "0".into();
        }
        let scaled = self.scaled(value);
        let number = value / scaled.factor;
        let number = if (NEARLY..1.0).contains(&number.abs()) { number.round() } else { number };
        // Three digits without zeros that say nothing: 2 cores, 1.25 M events/s.
        let mut text = digits(number);
        if (number - number.round()).abs() < 1e-9 && text.contains('.') {
            text = format!("{number:.0}");
        }
        format!("{text}\u{a0}{}", scaled.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_in_the_unit_that_suits_them() {
        for (unit, value, shown) in [
            ("events/s", 1_254_000.0, "1.25 M events/s"),
            ("events/s", 999_800.0, "1 M events/s"),
            ("events/s", 12.0, "12 events/s"),
            ("B/s", 319e6, "319 MB/s"),
            ("B", 12_300.0, "12.3 kB"),
            ("ns", 45_600.0, "45.6 µs"),
            ("ns", 2e9, "2 s"),
            ("µs", 1_600.0, "1.60 ms"),
            ("s", 0.00823, "8.23 ms"),
            ("cores", 1.5, "1.50 cores"),
            ("cores", 0.0, "0"),
            ("s per million", 0.25, "0.250 s per million"),
        ] {
            assert_eq!(Unit::of(unit).show(value).replace('\u{a0}', " "), shown, "{value} {unit}");
        }
    }
}
