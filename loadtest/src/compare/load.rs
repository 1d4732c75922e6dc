//! A load: who emits how much to whom.

use std::str::FromStr;

use anyhow::{Result, bail, ensure};

use crate::args::within;
use crate::plan::Scenario;
use crate::stamp::MIN_BYTES;

const MAX_PROCESSES: usize = 64;
/// What every peer takes without being told to.
const MAX_BYTES: usize = 1 << 20;
const KIB: usize = 1 << 10;
const DEFAULTS: [&str; 8] =
    ["1-1-16", "1-1-1k", "1-1-64k", "1-8-16", "1-8-1k", "1-8-16k", "4-4-64", "trip-64"];

/// One column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Emitters; if several, each feeds one listener of its own.
    emitters: usize,
    listeners: usize,
    bytes: usize,
    round_trip: bool,
}

impl Load {
    /// Those that brokers are compared by.
    pub fn defaults() -> Vec<Load> {
        DEFAULTS.iter().map(|text| text.parse().expect("they are constants")).collect()
    }

    /// Whether there is one event on the way at a time.
    pub fn is_round_trip(&self) -> bool {
        self.round_trip
    }

    /// Above its column.
    pub fn name(&self) -> String {
        let size = match self.bytes {
            bytes if bytes % KIB == 0 => format!("{} KB", bytes / KIB),
            bytes => format!("{bytes} B"),
        };
        if self.round_trip {
            return format!("round trip {size}");
        }
        format!("{}→{} {size}", self.emitters, self.listeners)
    }

    /// In a sentence.
    pub fn what(&self) -> String {
        let Load { emitters, listeners, bytes, .. } = self;
        if self.round_trip {
            return format!(
                "One emitter and one listener that answers, one event of {bytes} bytes on the way at a time."
            );
        }
        match (emitters, listeners) {
            (1, 1) => format!("One emitter, one listener, events of {bytes} bytes flat out."),
            (1, _) => format!(
                "One emitter, {listeners} listeners of all its events, events of {bytes} bytes flat out."
            ),
            _ => format!(
                "{emitters} emitters, each with an event and a listener of its own, events of {bytes} bytes flat out."
            ),
        }
    }

    /// As it is run.
    pub fn scenario(&self, base: &Scenario) -> Scenario {
        Scenario {
            emitters: self.emitters,
            listeners: self.listeners,
            events: self.emitters,
            size: self.bytes,
            round_trip: self.round_trip,
            ..base.clone()
        }
    }
}

impl FromStr for Load {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Load> {
        let load = match text.split('-').collect::<Vec<_>>()[..] {
            ["trip", bytes] => {
                Load { emitters: 1, listeners: 1, bytes: size(bytes)?, round_trip: true }
            }
            [emitters, listeners, bytes] => Load {
                emitters: emitters.parse()?,
                listeners: listeners.parse()?,
                bytes: size(bytes)?,
                round_trip: false,
            },
            _ => bail!("{text:?} is neither EMITTERS-LISTENERS-BYTES nor trip-BYTES"),
        };
        within("emitters", load.emitters, 1, MAX_PROCESSES)?;
        within("listeners", load.listeners, 1, MAX_PROCESSES)?;
        within("bytes", load.bytes, MIN_BYTES, MAX_BYTES)?;
        ensure!(
            load.emitters == 1 || load.emitters == load.listeners,
            "several emitters need as many listeners"
        );
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
            "round trip 64 B",
        ];
        assert_eq!(names, expected);
        assert!(Load::defaults().iter().all(|load| {
            let scenario = load.scenario(&Scenario::default());
            scenario.suits_relay() && scenario.round_trip == load.is_round_trip()
        }));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in
            ["", "1-1", "1-1-8", "0-1-16", "1-65-16", "2-3-16", "1-1-2000k", "1-1-1m", "trip-", "x"]
        {
            assert!(text.parse::<Load>().is_err(), "{text}");
        }
        assert!("1-1-18446744073709551615k".parse::<Load>().is_err());
    }
}
