//! Check of what one listener gets: events, gaps, repeats, broken payloads.
//!
//! One thread records, others read: every counter is an atomic that is stored without
//! read-modify-write, so that recording costs two or three plain moves. Two threads must
//! not record into one check.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Deserialize, Serialize};

use crate::stamp::Template;

/// Check of one listener of one event.
#[derive(Debug)]
pub struct DeliveryCheck {
    event: u16,
    full: bool,
    template: Arc<Template>,
    received: AtomicU64,
    lost: AtomicU64,
    duplicated: AtomicU64,
    corrupt: AtomicU64,
    /// Sequence that comes next, per emitter.
    next: Vec<AtomicU64>,
}

/// Counts that a delivery check comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Whole and new events.
    pub received: u64,
    /// Sequence numbers that were jumped over or never came.
    pub lost: u64,
    /// Sequence numbers that came again.
    pub duplicated: u64,
    /// Payloads that were not as written.
    pub corrupt: u64,
}

/// Number of events of one name that an emitter emitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// Number of the emitter.
    pub emitter: u16,
    /// Number of the event.
    pub event: u16,
    /// Number of events.
    pub count: u64,
}

impl DeliveryCheck {
    /// Makes the check of the listener of `event`, fed by emitters below `emitters`;
    /// `full` compares every byte of every payload.
    pub fn new(event: u16, emitters: usize, template: Arc<Template>, full: bool) -> DeliveryCheck {
        DeliveryCheck {
            event,
            full,
            template,
            received: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            duplicated: AtomicU64::new(0),
            corrupt: AtomicU64::new(0),
            next: (0..emitters).map(|_| AtomicU64::new(0)).collect(),
        }
    }

    /// Returns the event that is listened to.
    pub fn event(&self) -> u16 {
        self.event
    }

    /// Counts one payload; returns whether it was whole and new.
    #[inline]
    pub fn record(&self, payload: &[u8]) -> bool {
        let stamp = match self.template.read(payload, self.full) {
            Some(stamp) if stamp.event == self.event => stamp,
            _ => return bump(&self.corrupt, 1),
        };
        let Some(next) = self.next.get(stamp.emitter as usize) else {
            return bump(&self.corrupt, 1);
        };
        let expected = next.load(Relaxed);
        if stamp.sequence < expected {
            return bump(&self.duplicated, 1);
        }
        if stamp.sequence > expected {
            bump(&self.lost, stamp.sequence - expected);
        }
        next.store(stamp.sequence + 1, Relaxed);
        self.received.store(self.received.load(Relaxed) + 1, Relaxed);
        true
    }

    /// Returns the number of events so far.
    #[inline]
    pub fn received(&self) -> u64 {
        self.received.load(Relaxed)
    }

    /// Returns whether everything up to these totals has come or was jumped over.
    pub fn is_complete(&self, totals: &[Emitted]) -> bool {
        self.missing(totals) == 0
    }

    /// Returns the counts; events that never came after the last one count as lost.
    pub fn counts(&self, totals: &[Emitted]) -> Counts {
        Counts {
            received: self.received(),
            lost: self.lost.load(Relaxed) + self.missing(totals),
            duplicated: self.duplicated.load(Relaxed),
            corrupt: self.corrupt.load(Relaxed),
        }
    }

    fn missing(&self, totals: &[Emitted]) -> u64 {
        let mine = totals.iter().filter(|total| total.event == self.event);
        mine.map(|total| {
            let next = self.next.get(total.emitter as usize).map_or(0, |next| next.load(Relaxed));
            total.count.saturating_sub(next)
        })
        .sum()
    }
}

impl Counts {
    /// Adds the counts of another listener.
    pub fn add(&mut self, other: Counts) {
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.corrupt += other.corrupt;
    }

    /// Returns whether every event came once and whole.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.corrupt == 0
    }
}

/// Counts something rare, out of the way of the loop; returns `false` for the caller to
/// return.
#[cold]
fn bump(counter: &AtomicU64, by: u64) -> bool {
    counter.fetch_add(by, Relaxed);
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stamp::Stamp;

    fn payload(emitter: u16, sequence: u64) -> Vec<u8> {
        Template::new(32).write(Stamp { sequence, emitter, event: 3 }, 0).to_vec()
    }

    fn check() -> DeliveryCheck {
        DeliveryCheck::new(3, 2, Arc::new(Template::new(32)), true)
    }

    fn total(emitter: u16, event: u16, count: u64) -> Emitted {
        Emitted { emitter, event, count }
    }

    #[test]
    fn every_event_once_is_clean() {
        let check = check();
        for sequence in 0..100 {
            assert!(check.record(&payload(0, sequence)));
            assert!(check.record(&payload(1, sequence)));
        }
        let totals = [total(0, 3, 100), total(1, 3, 100), total(0, 4, 1000)];
        assert!(check.is_complete(&totals));
        assert_eq!(check.counts(&totals), Counts { received: 200, ..Counts::default() });
    }

    #[test]
    fn a_gap_counts_every_missing_event() {
        let check = check();
        for sequence in [0, 1, 5, 6] {
            check.record(&payload(0, sequence));
        }
        let counts = check.counts(&[total(0, 3, 7)]);
        assert_eq!((counts.received, counts.lost), (4, 3));
        assert!(!counts.is_clean());
    }

    #[test]
    fn a_missing_tail_and_a_silent_emitter_are_lost() {
        let check = check();
        check.record(&payload(0, 0));
        let totals = [total(0, 3, 3), total(1, 3, 5)];
        assert!(!check.is_complete(&totals));
        assert_eq!(check.counts(&totals).lost, 7);
    }

    #[test]
    fn a_repeat_is_a_duplicate() {
        let check = check();
        for sequence in [0, 1, 1, 0, 2] {
            check.record(&payload(0, sequence));
        }
        let counts = check.counts(&[total(0, 3, 3)]);
        assert_eq!((counts.received, counts.duplicated, counts.lost), (3, 2, 0));
    }

    #[test]
    fn a_broken_payload_another_event_and_a_strange_emitter_are_corrupt() {
        let check = check();
        let mut broken = payload(0, 0);
        broken[30] ^= 1;
        assert!(!check.record(&broken));
        assert!(!check.record(&payload(7, 0)));
        let other =
            Template::new(32).write(Stamp { sequence: 0, emitter: 0, event: 4 }, 0).to_vec();
        assert!(!check.record(&other));
        assert_eq!(check.counts(&[]).corrupt, 3);
    }
}
