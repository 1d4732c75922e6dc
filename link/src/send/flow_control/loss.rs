//! Loss of one receiver: numbers noticed missing against numbers sent.
//!
//! Loss is taken over two spans of at least [`SPAN_NS`] each. A receiver is lossy
//! if both together are and the newer one alone is: a single overrun, such as the
//! first moment of a sender that does not yet know the way, is over within one
//! span and is no reason to give up on anybody.
//!
//! Decision: `docs/decisions/020-demotion.md`.

use netcluster_platform::Instant;

/// The shortest span that is judged.
pub const SPAN_NS: u64 = 50_000_000;
/// Fewest numbers that end a span: one lost of three says nothing, and what was sent at
/// once may be lost at once.
const MIN_NUMBERS: u64 = 64;
/// Fewest numbers if most of them are lost: who loses nearly all holds the sender up, and a
/// sender that is held up would take long to send more.
const MIN_NUMBERS_IF_LOST: u64 = 32;
/// Most of them.
const MOST_PERMILLE: u64 = 500;

const _: () = assert!(MIN_NUMBERS_IF_LOST < MIN_NUMBERS);

/// Numbers sent, and how many of them were noticed missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Numbers that were sent in some time.
    pub sent: u64,
    /// Numbers noticed missing in the same time. May exceed `sent` when a report is late.
    pub lost: u64,
}

impl Sample {
    /// Adds another time's numbers.
    pub fn add(&mut self, other: Sample) {
        self.sent = self.sent.saturating_add(other.sent);
        self.lost = self.lost.saturating_add(other.lost);
    }

    /// Number of datagrams that the sample rests on.
    pub fn numbers(&self) -> u64 {
        self.sent.max(self.lost)
    }

    /// The part that was lost, at most 1000.
    pub fn permille(&self) -> u64 {
        match self.numbers() {
            0 => 0,
            numbers => (u128::from(self.lost) * 1000 / u128::from(numbers)) as u64,
        }
    }
}

/// The last two spans of one receiver, and the one that is running.
#[derive(Debug)]
pub struct LossMeter {
    next: u64,
    /// Number at which the receiver began.
    first: u64,
    /// Numbers noticed missing ever; none before the first report.
    seen_lost: Option<u64>,
    begun_at: Instant,
    running: Sample,
    newer: Option<Sample>,
    older: Option<Sample>,
}

impl LossMeter {
    /// Begins to count with the numbers from `next` on.
    pub fn new(now: Instant, next: u64) -> LossMeter {
        LossMeter {
            next,
            first: next,
            seen_lost: None,
            begun_at: now,
            running: Sample::default(),
            newer: None,
            older: None,
        }
    }

    /// Takes in how many the receiver has noticed missing, ever, while `next` is the next
    /// to be sent. Answers what is new, and the loss of the span that this ends.
    pub fn report(&mut self, now: Instant, next: u64, seen_lost: u64) -> (Sample, Option<u64>) {
        // More than there was to lose since it joined is from before: it had joined
        // already, and was forgotten here.
        let is_old = seen_lost > next.saturating_sub(self.first);
        let before = self.seen_lost.unwrap_or(if is_old { seen_lost } else { 0 });
        let sample = Sample {
            sent: next.saturating_sub(self.next),
            // A report that was overtaken by a later one says less: nothing new.
            lost: seen_lost.saturating_sub(before),
        };
        self.next = self.next.max(next);
        self.seen_lost = Some(before.max(seen_lost));
        self.running.add(sample);
        let is_long = now.since(self.begun_at) >= SPAN_NS;
        let enough =
            if self.running.permille() > MOST_PERMILLE { MIN_NUMBERS_IF_LOST } else { MIN_NUMBERS };
        if !is_long || self.running.numbers() < enough {
            return (sample, None);
        }
        let span = std::mem::take(&mut self.running);
        self.begun_at = now;
        self.older = self.newer.replace(span);
        (sample, Some(span.permille()))
    }

    /// The loss over both spans, per mille; none until there are two.
    pub fn permille(&self) -> Option<u64> {
        let mut both = self.older?;
        both.add(self.newer?);
        Some(both.permille())
    }

    /// The loss over both spans, if also the newer one's is above `permille`.
    pub fn lasting_above(&self, permille: u64) -> Option<u64> {
        let both = self.permille()?;
        let newer = self.newer?.permille();
        (both > permille && newer > permille).then_some(both)
    }

    /// Forgets the spans so far, and judges from here on only.
    pub fn forget(&mut self, now: Instant) {
        self.begun_at = now;
        self.running = Sample::default();
        self.newer = None;
        self.older = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::ns;

    #[test]
    fn what_a_receiver_lost_before_it_was_forgotten_does_not_count() {
        let mut meter = LossMeter::new(ns(0), 1000);
        let (first, _) = meter.report(ns(1), 1010, 50_000);
        assert_eq!(first, Sample { sent: 10, lost: 0 });
        let (second, _) = meter.report(ns(2), 1020, 50_003);
        assert_eq!(second, Sample { sent: 10, lost: 3 });
    }

    /// A receiver that lost nine of ten held its sender up for 320 ms, since a sender
    /// that is held up sends too little to fill a span.
    #[test]
    fn a_receiver_that_loses_nearly_all_is_judged_by_fewer_numbers() {
        let span_of = |sent: u64, lost: u64| {
            let mut meter = LossMeter::new(ns(0), 0);
            meter.report(ns(1), 0, 0);
            meter.report(ns(SPAN_NS), sent, lost).1
        };
        assert_eq!(span_of(MIN_NUMBERS_IF_LOST, 28), Some(875));
        assert_eq!(span_of(MIN_NUMBERS_IF_LOST - 1, 28), None);
        assert_eq!(span_of(MIN_NUMBERS - 1, 10), None);
        assert_eq!(span_of(MIN_NUMBERS, 8), Some(125));
    }

    #[test]
    fn what_it_lost_of_the_first_that_it_was_sent_counts() {
        let mut meter = LossMeter::new(ns(0), 1000);
        let (first, _) = meter.report(ns(1), 1010, 4);
        assert_eq!(first, Sample { sent: 10, lost: 4 });
    }
}
