//! Account of one listener: what it heard of each emitter, what it was told is missing, and
//! what is missing without a word.
//!
//! ```text
//!   heard 5   lost: 2 of it   heard 8        6 and 7 are accounted for
//!   heard 8                   heard 10       9 is missing without a word
//! ```
//! A notice counts for the place at which it came: for what is missing of a source between
//! the event before it and the event behind it; one that names a broker alone (client 0), for
//! each emitter there. Numbers of an emitter go on through all its connections, each of which
//! is another source.

use std::collections::{BTreeMap, HashMap};

use netcluster_client::Source;
use serde::{Deserialize, Serialize};

/// Gaps that are remembered, to tell what comes late from what comes twice.
const MAX_REMEMBERED: usize = 256;
/// Notices of sources that never emitted here, such as clients beside the measured ones.
const MAX_STRANGERS: usize = 4096;

/// Events of an emitter that did not come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Number of the emitter.
    pub emitter: u16,
    /// First one that is missing.
    pub from: u64,
    /// First one behind that is not.
    pub to: u64,
    /// Events that the listener was told of at this place; `None`: any number.
    pub told: Option<u64>,
}

/// Account since the last settlement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Events that came.
    pub received: u64,
    /// Events that came a second time.
    pub repeated: u64,
    /// Events that came after a later one, or after they were told as lost.
    pub late: u64,
    /// Events whose bytes were changed.
    pub corrupt: u64,
    /// Events that are missing.
    pub gaps: Vec<Gap>,
    /// Notices by reason, and the events that they told of.
    pub notices: BTreeMap<String, (u64, u64)>,
    /// Times the listener's connection was made again.
    pub reconnects: u64,
    /// Errors that the client told of.
    pub errors: Vec<String>,
}

/// Credit for events that may be missing at this place.
#[derive(Clone, Copy, Debug, Default)]
struct Credit {
    events: u64,
    any: bool,
}

impl Credit {
    fn add(&mut self, other: Credit) {
        self.events += other.events;
        self.any |= other.any;
    }

    fn told(self) -> Option<u64> {
        (!self.any).then_some(self.events)
    }
}

/// Account of one listener.
#[derive(Debug)]
pub struct Ledger {
    next: Vec<u64>,
    credit: Vec<Credit>,
    emitter_of: HashMap<Source, u16>,
    current: Vec<Option<Source>>,
    /// Notices of sources of which nothing came yet.
    strangers: HashMap<Source, Credit>,
    remembered: Vec<Gap>,
    tally: Tally,
}

impl Ledger {
    /// Opens the account of so many emitters, each of which begins with number 0.
    pub fn new(emitters: usize) -> Ledger {
        Ledger {
            next: vec![0; emitters],
            credit: vec![Credit::default(); emitters],
            emitter_of: HashMap::new(),
            current: vec![None; emitters],
            strangers: HashMap::new(),
            remembered: Vec::new(),
            tally: Tally::default(),
        }
    }

    /// Books an event that is whole; an emitter that nobody knows makes it a corrupt one.
    pub fn heard(&mut self, source: Source, emitter: u16, number: u64) {
        let at = usize::from(emitter);
        let Some(&next) = self.next.get(at) else { return self.corrupt() };
        self.tally.received += 1;
        if self.emitter_of.insert(source, emitter).is_none() {
            let was_there = self.current[at].is_some_and(|it| it.node == source.node);
            let broker = Source { client: 0, ..source };
            let of_broker = self.strangers.get(&broker).copied().filter(|_| !was_there);
            let told = [self.strangers.remove(&source), of_broker];
            told.into_iter().flatten().for_each(|credit| self.credit[at].add(credit));
        }
        self.current[at] = Some(source);
        if number < next {
            let is_late =
                |gap: &Gap| gap.emitter == emitter && (gap.from..gap.to).contains(&number);
            if self.remembered.iter().any(is_late) {
                self.tally.late += 1;
            } else {
                self.tally.repeated += 1;
            }
            return;
        }
        if number > next {
            self.missing(emitter, next, number);
        }
        self.next[at] = number + 1;
        self.credit[at] = Credit::default();
    }

    /// Books an event whose bytes were changed.
    pub fn corrupt(&mut self) {
        self.tally.corrupt += 1;
    }

    /// Books a notice of loss; without a source it counts for every emitter.
    pub fn told(&mut self, source: Option<Source>, count: Option<u64>, reason: &str) {
        let (notices, events) = self.tally.notices.entry(reason.to_owned()).or_default();
        *notices += 1;
        *events += count.unwrap_or(0);
        let credit = Credit { events: count.unwrap_or(0), any: count.is_none() };
        let Some(source) = source else {
            let any = Credit { any: true, ..credit };
            return self.credit.iter_mut().for_each(|of| of.add(any));
        };
        if let Some(&emitter) = self.emitter_of.get(&source) {
            return self.credit[usize::from(emitter)].add(credit);
        }
        if source.client == 0 {
            let is_there =
                |current: &Option<Source>| current.is_some_and(|it| it.node == source.node);
            let all = self.credit.iter_mut().zip(&self.current);
            all.filter(|(_, current)| is_there(current)).for_each(|(of, _)| of.add(credit));
        }
        if self.strangers.len() < MAX_STRANGERS {
            self.strangers.entry(source).or_default().add(credit);
        }
    }

    /// Books that the connection was made again.
    pub fn reconnected(&mut self) {
        self.tally.reconnects += 1;
    }

    /// Books an error that the client told of.
    pub fn failed(&mut self, error: String) {
        self.tally.errors.push(error);
    }

    /// Returns whether everything has come: these are the emitters' totals.
    pub fn is_complete(&self, totals: &[u64]) -> bool {
        self.next.iter().zip(totals).all(|(next, total)| next >= total)
    }

    /// Closes the account: these were emitted, and nothing is on the way any more.
    pub fn settle(&mut self, totals: &[u64]) -> Tally {
        for (emitter, &total) in totals.iter().enumerate() {
            let next = self.next[emitter];
            if next < total {
                self.missing(emitter as u16, next, total);
                self.next[emitter] = total;
            }
            self.credit[emitter] = Credit::default();
        }
        self.strangers.clear();
        let current = &self.current;
        self.emitter_of.retain(|source, at| current[usize::from(*at)] == Some(*source));
        std::mem::take(&mut self.tally)
    }

    fn missing(&mut self, emitter: u16, from: u64, to: u64) {
        let told = self.credit[usize::from(emitter)].told();
        let gap = Gap { emitter, from, to, told };
        if self.remembered.len() == MAX_REMEMBERED {
            self.remembered.remove(0);
        }
        self.remembered.push(gap.clone());
        self.tally.gaps.push(gap);
    }
}

impl Gap {
    /// Counts the events that are missing without a word: neither was the listener told, nor
    /// did the emitter know that they may not arrive (`doubtful`, in order).
    pub fn unaccounted(&self, doubtful: &[(u64, u64)]) -> u64 {
        let Some(told) = self.told else { return 0 };
        let within = |&(from, to): &(u64, u64)| to.min(self.to).saturating_sub(from.max(self.from));
        let in_doubt: u64 = doubtful.iter().map(within).sum();
        (self.to - self.from).saturating_sub(in_doubt).saturating_sub(told)
    }

    /// Counts the events.
    pub fn events(&self) -> u64 {
        self.to - self.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn source(client: u32) -> Source {
        Source { node: 1, client }
    }

    fn unaccounted(tally: &Tally) -> u64 {
        tally.gaps.iter().map(|gap| gap.unaccounted(&[])).sum()
    }

    #[test]
    fn what_comes_once_and_in_order_leaves_nothing_open() {
        let mut ledger = Ledger::new(2);
        for number in 0..5 {
            ledger.heard(source(1), 0, number);
            ledger.heard(source(2), 1, number);
        }
        assert!(ledger.is_complete(&[5, 5]) && !ledger.is_complete(&[5, 6]));
        assert_eq!(ledger.settle(&[5, 5]), Tally { received: 10, ..Tally::default() });
    }

    #[test]
    fn a_gap_is_accounted_for_by_a_notice_at_its_place_alone() {
        let mut ledger = Ledger::new(2);
        ledger.heard(source(1), 0, 0);
        ledger.told(Some(source(1)), Some(2), "Slow");
        ledger.heard(source(1), 0, 3);
        assert_eq!(unaccounted(&ledger.settle(&[4, 0])), 0);
        // It was for that place; and it was for two.
        ledger.heard(source(1), 0, 5);
        ledger.told(Some(source(1)), Some(2), "Slow");
        ledger.heard(source(1), 0, 9);
        assert_eq!(unaccounted(&ledger.settle(&[10, 0])), 1 + 1);
        // Of another source.
        ledger.told(Some(source(2)), Some(5), "Slow");
        ledger.heard(source(1), 0, 12);
        assert_eq!(unaccounted(&ledger.settle(&[13, 0])), 2);
    }

    #[test]
    fn a_notice_without_a_number_counts_for_any_and_one_without_a_source_for_all() {
        let mut ledger = Ledger::new(2);
        ledger.heard(source(1), 0, 0);
        ledger.heard(source(2), 1, 0);
        ledger.told(None, None, "Peer");
        ledger.heard(source(1), 0, 9);
        ledger.heard(source(3), 1, 4);
        let tally = ledger.settle(&[10, 5]);
        assert_eq!((tally.gaps.len(), unaccounted(&tally)), (2, 0));
        assert_eq!(tally.notices["Peer"], (1, 0));
    }

    #[test]
    fn a_notice_of_a_connection_that_was_never_heard_counts_once_it_is() {
        let mut ledger = Ledger::new(1);
        ledger.heard(source(1), 0, 0);
        ledger.told(Some(source(7)), Some(3), "Link");
        ledger.heard(source(7), 0, 4);
        assert_eq!(unaccounted(&ledger.settle(&[5])), 0);
    }

    #[test]
    fn a_notice_of_a_broker_counts_for_each_emitter_there() {
        let mut ledger = Ledger::new(3);
        let there = |client| Source { node: 7, client };
        ledger.heard(there(1), 0, 0);
        ledger.heard(there(2), 1, 0);
        ledger.heard(source(1), 2, 0);
        ledger.told(Some(there(0)), None, "Peer");
        ledger.heard(there(1), 0, 5);
        ledger.heard(there(3), 1, 9);
        ledger.heard(source(1), 2, 3);
        assert_eq!(unaccounted(&ledger.settle(&[6, 10, 4])), 2);
    }

    #[test]
    fn what_is_missing_at_the_end_and_what_the_emitter_doubts_is_counted() {
        let mut ledger = Ledger::new(1);
        ledger.heard(source(1), 0, 0);
        let tally = ledger.settle(&[4]);
        assert_eq!(tally.gaps, [Gap { emitter: 0, from: 1, to: 4, told: Some(0) }]);
        assert_eq!(tally.gaps[0].unaccounted(&[]), 3);
        assert_eq!(tally.gaps[0].unaccounted(&[(0, 2), (3, 9)]), 1);
    }

    #[test]
    fn what_comes_again_is_told_from_what_comes_late() {
        let mut ledger = Ledger::new(1);
        for number in [0, 3, 3, 1] {
            ledger.heard(source(1), 0, number);
        }
        let tally = ledger.settle(&[4]);
        assert_eq!((tally.repeated, tally.late), (1, 1));
        ledger.heard(source(1), 9, 0);
        assert_eq!(ledger.settle(&[4]).corrupt, 1);
    }
}
