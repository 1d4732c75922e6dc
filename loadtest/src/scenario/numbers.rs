//! Numbers of a scenario with their limits: rates, arrivals, seconds, shares.
//!
//! A number out of its range is refused while the file is read, so that the error names
//! the line.

use std::fmt;

use serde::de::{Deserializer, Error, Visitor};
use serde::{Deserialize, Serialize, Serializer};

use super::MAX_SECONDS;

/// Least rate of events: less is a matter of days.
const MIN_PER_S: f64 = 0.001;
/// Highest rate of events: a clock of nanoseconds tells no more apart.
const MAX_PER_S: f64 = 1e9;
/// Highest rate of connections: more than any machine opens.
const MAX_CONNECTS_PER_S: f64 = 100_000.0;
/// Least loss, and the step of losses.
const MIN_LOSS_PERCENT: f64 = 0.1;
/// Words for the losses that there can be.
pub const LOSSES: &str = "percent must be 0, or from 0.1 to 100";
/// Largest share: beyond it a phase is not a share of the load any more.
const MAX_SHARE: f64 = 1000.0;

/// Events per second of one connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rate {
    /// Rate as high as it goes.
    Max,
    /// So many events (open loop): latency counts from when each was due.
    PerS(f64),
}

/// Spread of events over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Arrivals at equal distances.
    #[default]
    Constant,
    /// Arrivals at random, as of many independent sources.
    Poisson,
}

impl Rate {
    /// Returns the number, if there is one.
    pub fn per_s(self) -> Option<f64> {
        match self {
            Rate::Max => None,
            Rate::PerS(rate) => Some(rate),
        }
    }

    /// Makes the rate so many times as high; one that is as high as it goes stays so.
    pub fn scale(&mut self, factor: f64) {
        if let Rate::PerS(rate) = self {
            *rate = (*rate * factor).clamp(MIN_PER_S, MAX_PER_S);
        }
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Rate::Max => serializer.serialize_str("max"),
            Rate::PerS(rate) => serializer.serialize_f64(*rate),
        }
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Rate, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("events per second, or \"max\" for as fast as it goes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
                match text {
                    "max" => Ok(Rate::Max),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_i64<E: Error>(self, rate: i64) -> Result<Rate, E> {
                self.visit_f64(rate as f64)
            }

            fn visit_f64<E: Error>(self, rate: f64) -> Result<Rate, E> {
                within(rate, MIN_PER_S, MAX_PER_S, "events per second").map(Rate::PerS)
            }
        }
        deserializer.deserialize_any(Word)
    }
}

/// Number that may be written without a point.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Number, E> {
                Ok(Number(number as f64))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Number, E> {
                Ok(Number(number))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

fn within<E: Error>(value: f64, least: f64, most: f64, what: &str) -> Result<f64, E> {
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(E::custom(format_args!("{value}: {what} must be from {least} to {most}")))
}

fn number<'de, D: Deserializer<'de>>(
    deserializer: D,
    least: f64,
    most: f64,
    what: &str,
) -> Result<f64, D::Error> {
    within(Number::deserialize(deserializer)?.0, least, most, what)
}

/// Reads seconds, more than none.
pub fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, 0.05, MAX_SECONDS, "seconds")
}

/// Reads seconds, perhaps none.
pub fn seconds_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, 0.0, MAX_SECONDS, "seconds")
}

/// Reads the percent of packets that are lost: none, or as many as can be set.
pub fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    let percent = Number::deserialize(deserializer)?.0;
    if is_loss(percent) {
        Ok(percent)
    } else {
        Err(D::Error::custom(format_args!("{percent}: {LOSSES}")))
    }
}

/// Returns whether so many percent of the packets can be lost.
pub fn is_loss(percent: f64) -> bool {
    percent == 0.0 || (MIN_LOSS_PERCENT..=100.0).contains(&percent)
}

/// Reads a share of a rate.
pub fn share<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, 0.0, MAX_SHARE, "the load, where 1 is all of it,")
}

/// Reads a share of a rate that may be missing.
pub fn share_or_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    share(deserializer).map(Some)
}

/// Reads connections per second.
pub fn connects<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    number(deserializer, MIN_PER_S, MAX_CONNECTS_PER_S, "connections per second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_told_the_same_rates() {
        for rate in [Rate::Max, Rate::PerS(200.0), Rate::PerS(0.125)] {
            let told = serde_json::to_string(&rate).unwrap();
            assert_eq!(serde_json::from_str::<Rate>(&told).unwrap(), rate);
        }
    }
}
