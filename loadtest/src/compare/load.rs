//! Load: which emitters emit how much to which listeners.

use std::str::FromStr;

use anyhow::{Result, bail, ensure};

use crate::args::within;
use crate::pin::Pin;
use crate::plan::Scenario;
use crate::report::html::grouped;
use crate::stamp::MIN_BYTES;

const MAX_PROCESSES: usize = 64;
/// Most connections: each needs a descriptor in two processes.
const MAX_CONNECTIONS: usize = 10_000;
/// Size of payloads on many connections, in bytes.
const MANY_BYTES: usize = 64;
/// Largest payload that every peer takes without being told to, in bytes.
const MAX_BYTES: usize = 1 << 20;
const KIB: usize = 1 << 10;
const DEFAULTS: [&str; 10] = [
    "1-1-16",
    "1-1-1k",
    "1-1-64k",
    "1-8-16",
    "1-8-1k",
    "1-8-16k",
    "4-4-64",
    "trip-64",
    "trip2-64",
    "many-1000",
];

/// Column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    shape: Shape,
    bytes: usize,
}

/// Shape of a load: which emitters emit to which listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Streams at full speed; of several emitters each feeds one listener of its own.
    Streams { emitters: usize, listeners: usize },
    /// Round trips, one event on the way at a time, all processes on these cores.
    RoundTrip(Pin),
    /// Many connections in one process, each with an event of its own.
    Many(usize),
}

impl Load {
    /// Returns the loads that brokers are compared by.
    pub fn defaults() -> Vec<Load> {
        DEFAULTS.iter().map(|text| text.parse().expect("they are constants")).collect()
    }

    /// Returns whether there is one event on the way at a time.
    pub fn is_round_trip(&self) -> bool {
        matches!(self.shape, Shape::RoundTrip(_))
    }

    /// Returns whether the load is about the number of connections.
    pub fn is_many(&self) -> bool {
        matches!(self.shape, Shape::Many(_))
    }

    /// Returns the heading of the load's column.
    pub fn name(&self) -> String {
        let size = match self.bytes {
            bytes if bytes % KIB == 0 => format!("{} KB", bytes / KIB),
            bytes => format!("{bytes} B"),
        };
        match self.shape {
            Shape::Streams { emitters, listeners } => format!("{emitters}→{listeners} {size}"),
            Shape::RoundTrip(pin) => format!("round trip {size}, {pin}"),
            Shape::Many(connections) => format!("{} connections", grouped(connections as u64)),
        }
    }

    /// Describes the load in a sentence.
    pub fn what(&self) -> String {
        let bytes = self.bytes;
        match self.shape {
            Shape::RoundTrip(pin) => format!(
                "One emitter and one listener that answers, one event of {bytes} bytes on the way at a time, {pin}."
            ),
            Shape::Streams { emitters: 1, listeners: 1 } => {
                format!("One emitter, one listener, events of {bytes} bytes flat out.")
            }
            Shape::Streams { emitters: 1, listeners } => format!(
                "One emitter, {listeners} listeners of all its events, events of {bytes} bytes flat out."
            ),
            Shape::Streams { emitters, .. } => format!(
                "{emitters} emitters, each with an event and a listener of its own, events of {bytes} bytes flat out."
            ),
            Shape::Many(connections) => format!(
                "{} listening connections in one process, each to an event of its own; one emitter emits these in turn, {bytes} bytes each, flat out.",
                grouped(connections as u64)
            ),
        }
    }

    /// Returns the scenario that is run for the load.
    pub fn scenario(&self, base: &Scenario) -> Scenario {
        let base = Scenario { size: self.bytes, ..base.clone() };
        match self.shape {
            Shape::Streams { emitters, listeners } => {
                Scenario { emitters, listeners, events: emitters, ..base }
            }
            Shape::RoundTrip(pin) => Scenario { round_trip: true, pin: Some(pin), ..base },
            Shape::Many(connections) => {
                Scenario { connections: Some(connections), events: connections, ..base }
            }
        }
    }
}

impl FromStr for Load {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Load> {
        let load = match text.split('-').collect::<Vec<_>>()[..] {
            ["trip", bytes] => Load { shape: Shape::RoundTrip(Pin::One), bytes: size(bytes)? },
            ["trip2", bytes] => Load { shape: Shape::RoundTrip(Pin::Two), bytes: size(bytes)? },
            ["many", connections] => {
                Load { shape: Shape::Many(connections.parse()?), bytes: MANY_BYTES }
            }
            [emitters, listeners, bytes] => {
                let (emitters, listeners) = (emitters.parse()?, listeners.parse()?);
                Load { shape: Shape::Streams { emitters, listeners }, bytes: size(bytes)? }
            }
            _ => bail!(
                "{text:?} is neither EMITTERS-LISTENERS-BYTES nor trip-BYTES nor trip2-BYTES nor many-CONNECTIONS"
            ),
        };
        match load.shape {
            Shape::Streams { emitters, listeners } => {
                within("emitters", emitters, 1, MAX_PROCESSES)?;
                within("listeners", listeners, 1, MAX_PROCESSES)?;
                ensure!(
                    emitters == 1 || emitters == listeners,
                    "several emitters need as many listeners"
                );
            }
            Shape::RoundTrip(_) => {}
            Shape::Many(connections) => within("connections", connections, 1, MAX_CONNECTIONS)?,
        }
        within("bytes", load.bytes, MIN_BYTES, MAX_BYTES)?;
        Ok(load)
    }
}

fn size(text: &str) -> Result<usize> {
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, KIB),
        None => (text, 1),
    };
    let number: usize = digits.parse()?;
    Ok(number.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_columns_of_the_table() {
        let names: Vec<String> = Load::defaults().iter().map(Load::name).collect();
        let expected = [
            "1→1 16 B",
            "1→1 1 KB",
            "1→1 64 KB",
            "1→8 16 B",
            "1→8 1 KB",
            "1→8 16 KB",
            "4→4 64 B",
            "round trip 64 B, all on one core",
            "round trip 64 B, broker on a core of its own",
            "1,000 connections",
        ];
        assert_eq!(names, expected);
        assert!(Load::defaults().iter().all(|load| {
            let scenario = load.scenario(&Scenario::default());
            scenario.suits_relay() != load.is_many() && scenario.round_trip == load.is_round_trip()
        }));
    }

    #[test]
    fn many_connections_have_an_event_each() {
        let load: Load = "many-10000".parse().unwrap();
        assert_eq!(load.name(), "10,000 connections");
        let scenario = load.scenario(&Scenario::default());
        assert_eq!((scenario.connections, scenario.events), (Some(10_000), 10_000));
        assert_eq!((scenario.emitters, scenario.size), (1, 64));
        assert_eq!("many-50".parse::<Load>().unwrap().name(), "50 connections");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in
            ["", "1-1", "1-1-8", "0-1-16", "1-65-16", "2-3-16", "1-1-2000k", "1-1-1m", "trip-", "x"]
        {
            assert!(text.parse::<Load>().is_err(), "{text}");
        }
        for text in ["many", "many-", "many-0", "many-10001", "many-1k", "many-1-64"] {
            assert!(text.parse::<Load>().is_err(), "{text}");
        }
        assert!("1-1-18446744073709551615k".parse::<Load>().is_err());
    }
}
