//! Events that a listener received, held against those that were emitted.
//!
//! ```text
//!   emitted    1   2   3   4   5   6        of its channel and patterns
//!   owed           └───────────────▶        from its cluster's answer on
//!   received       2   lost(≥2)    5   6    in this order, each once
//! ```
//! Invariant: between two events of an emitter nothing owed is missing, or a `lost` of
//! its node stands there and covers at least as much.

use netcluster_wire::{LossReason, Pattern, Source};

/// Event that was emitted.
#[derive(Clone, Debug)]
pub struct Emission {
    pub name: String,
    pub bytes: usize,
}

/// Client that emits, in the eyes of the check.
#[derive(Clone, Debug)]
pub struct Emitted {
    pub machine: usize,
    pub source: Source,
    pub channel: String,
    /// Events of the client by sequence, from 1 on.
    pub events: Vec<Emission>,
}

/// Event or notice that a listener received.
#[derive(Clone, Debug)]
pub enum Item {
    Event { emitter: usize, sequence: u64 },
    Lost { source: Source, count: u64, reason: LossReason },
}

/// Events and notices that a listener received, and what it is owed.
#[derive(Clone, Debug, Default)]
pub struct Log {
    pub items: Vec<Item>,
    /// Sequence from which on everything is owed, per emitter; `None`: nothing is.
    pub owed: Vec<Option<u64>>,
    /// Number of items that were looked at, and the place of each emitter behind them.
    pub checked: usize,
    pub places: Vec<Place>,
}

/// Fault of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An event is missing that can still come.
    Missing(String),
    /// The log is wrong whatever comes.
    Broken(String),
}

/// Place of one emitter's events in a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    last: u64,
    /// Events that the notices since the last event cover.
    covered: u64,
}

impl Log {
    /// Checks the order of everything new, and that nothing owed is missing.
    pub fn check(
        &mut self,
        patterns: &[Pattern],
        channel: &str,
        all: &[Emitted],
    ) -> Result<(), Fault> {
        let mut places = std::mem::take(&mut self.places);
        places.resize(all.len(), Place::default());
        for at in self.checked..self.items.len() {
            let item = &self.items[at];
            match *item {
                Item::Event { emitter, sequence } => {
                    let place = &mut places[emitter];
                    let from = &all[emitter];
                    let describe = || {
                        format!(
                            "item {at}: event {sequence} of emitter {emitter} ({:?} on machine {}) \
                             after its event {}",
                            from.source, from.machine, place.last
                        )
                    };
                    if sequence <= place.last {
                        return Err(Fault::Broken(format!("{}: twice or late", describe())));
                    }
                    let name = &from.events[sequence as usize - 1].name;
                    if from.channel != channel
                        || !patterns.iter().any(|pattern| pattern.matches(name.as_bytes()))
                    {
                        return Err(Fault::Broken(format!("{}: not asked for", describe())));
                    }
                    let missing =
                        self.owed_between(patterns, channel, emitter, from, place.last, sequence);
                    if missing.len() as u64 > place.covered {
                        return Err(Fault::Broken(format!(
                            "{}: {} missing ({:?}..), notices there cover {}",
                            describe(),
                            missing.len(),
                            missing.first(),
                            place.covered
                        )));
                    }
                    *place = Place { last: sequence, covered: 0 };
                }
                Item::Lost { source, count, .. } => {
                    let covers = if count == 0 { u64::MAX } else { count };
                    for (place, from) in places.iter_mut().zip(all) {
                        let is_its = source == Source::NONE
                            || source.node == from.source.node
                                && (source.client == 0 || source.client == from.source.client);
                        if is_its {
                            place.covered = place.covered.saturating_add(covers);
                        }
                    }
                }
            }
        }
        self.checked = self.items.len();
        self.places = places;
        for (emitter, from) in all.iter().enumerate() {
            let place = self.places[emitter];
            let end = from.events.len() as u64 + 1;
            let missing = self.owed_between(patterns, channel, emitter, from, place.last, end);
            if missing.len() as u64 > place.covered {
                return Err(Fault::Missing(format!(
                    "{} of emitter {emitter} ({:?} on machine {}) missing at the end: {:?}..{:?}, \
                     the last that came is {}, notices behind it cover {}",
                    missing.len(),
                    from.source,
                    from.machine,
                    missing.first(),
                    missing.last(),
                    place.last,
                    place.covered
                )));
            }
        }
        Ok(())
    }

    /// Counts the events of one emitter that are owed between two sequences.
    fn owed_between(
        &self,
        patterns: &[Pattern],
        channel: &str,
        emitter: usize,
        from: &Emitted,
        after: u64,
        before: u64,
    ) -> Vec<u64> {
        let Some(Some(owed)) = self.owed.get(emitter).copied() else { return Vec::new() };
        if from.channel != channel {
            return Vec::new();
        }
        let wanted = |sequence: &u64| {
            let name = from.events[*sequence as usize - 1].name.as_bytes();
            patterns.iter().any(|pattern| pattern.matches(name))
        };
        if after + 1 == before {
            Vec::new()
        } else {
            (owed.max(after + 1)..before).filter(wanted).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emitted(count: usize) -> Vec<Emitted> {
        let events = vec![Emission { name: "a".into(), bytes: 8 }; count];
        let source = Source { node: 1, client: 2 };
        vec![Emitted { machine: 0, source, channel: "c".into(), events }]
    }

    fn check(items: &[Item], count: usize) -> Result<(), Fault> {
        let mut log = Log { owed: vec![Some(2)], ..Log::default() };
        log.items = items.to_vec();
        log.check(&[Pattern::new(b"**").unwrap()], "c", &emitted(count))
    }

    fn event(sequence: u64) -> Item {
        Item::Event { emitter: 0, sequence }
    }

    fn lost(count: u64) -> Item {
        let source = Source { node: 1, client: 0 };
        Item::Lost { source, count, reason: LossReason::Link }
    }

    #[test]
    fn what_is_owed_must_come_once_in_order_or_be_told_lost_in_its_place() {
        assert_eq!(check(&[event(2), event(3)], 3), Ok(()));
        assert_eq!(check(&[event(1), event(2)], 2), Ok(()));
        assert_eq!(check(&[event(2), lost(2), event(5)], 5), Ok(()));
        assert_eq!(check(&[event(2), lost(0)], 9), Ok(()));
        assert!(matches!(check(&[event(2)], 3), Err(Fault::Missing(_))));
        assert!(matches!(check(&[event(2), event(4)], 4), Err(Fault::Broken(_))));
        assert!(matches!(check(&[event(2), lost(1), event(5)], 5), Err(Fault::Broken(_))));
        assert!(matches!(check(&[event(2), event(4), lost(1)], 4), Err(Fault::Broken(_))));
        assert!(matches!(check(&[event(2), event(2)], 2), Err(Fault::Broken(_))));
        assert!(matches!(check(&[event(3), lost(9), event(2)], 3), Err(Fault::Broken(_))));
    }
}
