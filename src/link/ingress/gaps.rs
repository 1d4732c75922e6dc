//! Which numbers of a stream are missing, and when to ask for them.
//!
//! ```text
//!   seen to be missing ──100 µs──▶ asked ──wait──▶ asked ──2 × wait──▶ asked …
//!                                          wait: max(4 ms, 2 × repair time) … 50 ms
//! ```
//! Reordering by less than the first delay costs no request. The retries are
//! slow on purpose: quick ones collapse a link that is already full.
//!
//! What arrives after several requests may be the answer to any of them and is no
//! measurement. If it comes once more, the later requests were too early: then the
//! wait that they ended with is the next gaps' first one, until one of them is
//! measured (as in Karn's algorithm), or repairs slower than the first wait never
//! would be. If it does not, a request or a repair was lost, and waiting longer
//! would only make the others late.
//!
//! Invariant: gaps are in order, not empty, and do not touch or overlap.

use std::collections::VecDeque;

use netcluster_wire::link::Range;
use netcluster_wire::link::limits::MAX_NAK_RANGES;

/// How long a number may be missing before it is asked for.
pub const FIRST_NAK_NS: u64 = 100_000;

/// The shortest wait between two requests for the same number.
pub const MIN_RETRY_NS: u64 = 4_000_000;

/// The longest.
pub const MAX_RETRY_NS: u64 = 50_000_000;

/// Numbers remembered that came after several requests.
const MAX_AMBIGUOUS: usize = 64;

const _: () = assert!(FIRST_NAK_NS < MIN_RETRY_NS);
const _: () = assert!(MIN_RETRY_NS < MAX_RETRY_NS);

/// Consecutive numbers that share their history of requests.
#[derive(Clone, Copy, Debug)]
struct Gap {
    first: u64,
    end: u64,
    due_ns: u64,
    /// When it was last asked for.
    asked_ns: u64,
    /// The wait after the last request; 0 if there was none.
    wait_ns: u64,
    /// Whether it was asked for exactly once: then its arrival is a measurement.
    is_asked_once: bool,
}

/// The gaps of one stream.
#[derive(Debug, Default)]
pub(super) struct Gaps {
    gaps: VecDeque<Gap>,
    missing: u64,
    seen_lost: u64,
    repaired: u64,
    /// No gap is due before that.
    due_ns: u64,
    sample_ns: Option<u64>,
    /// Numbers that came after several requests, and the wait after the last one.
    ambiguous: VecDeque<(u64, u64)>,
    /// The shortest first wait, since requests were too early.
    backed_off_ns: u64,
}

impl Gaps {
    /// Whether nothing is missing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Numbers missing now.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// Numbers that were asked for, or given up before. What was only reordered
    /// is not in it.
    pub fn seen_lost(&self) -> u64 {
        self.seen_lost
    }

    /// Numbers that were asked for and came.
    pub fn repaired(&self) -> u64 {
        self.repaired
    }

    /// The time from request to arrival, if one was measured since the last call.
    pub fn take_sample(&mut self) -> Option<u64> {
        self.sample_ns.take()
    }

    /// The numbers `first..end`, higher than all known ones, are missing.
    pub fn notice(&mut self, first: u64, end: u64, now_ns: u64) {
        if first >= end {
            return;
        }
        let due_ns = now_ns.saturating_add(FIRST_NAK_NS);
        self.due_ns = if self.gaps.is_empty() { due_ns } else { self.due_ns.min(due_ns) };
        let is_asked_once = false;
        self.gaps.push_back(Gap { first, end, due_ns, asked_ns: 0, wait_ns: 0, is_asked_once });
        self.missing += end - first;
    }

    /// A number is there now.
    pub fn arrived(&mut self, number: u64, now_ns: u64) {
        let at = self.gaps.partition_point(|gap| gap.end <= number);
        let Some(gap) = self.gaps.get_mut(at).filter(|gap| gap.first <= number) else { return };
        if gap.is_asked_once {
            self.sample_ns = Some(now_ns.saturating_sub(gap.asked_ns));
            self.backed_off_ns = 0;
        } else if gap.wait_ns > 0 {
            if self.ambiguous.len() == MAX_AMBIGUOUS {
                self.ambiguous.pop_front();
            }
            self.ambiguous.push_back((number, gap.wait_ns));
        }
        self.missing -= 1;
        self.repaired += u64::from(gap.wait_ns > 0);
        let rest = Gap { first: number + 1, ..*gap };
        gap.end = number;
        match (gap.first < gap.end, rest.first < rest.end) {
            (true, true) => self.gaps.insert(at + 1, rest),
            (true, false) => {}
            (false, true) => *gap = rest,
            (false, false) => drop(self.gaps.remove(at)),
        }
    }

    /// A number came that was there before.
    #[inline]
    pub fn came_again(&mut self, number: u64) {
        if !self.ambiguous.is_empty() {
            self.note_early(number);
        }
    }

    #[cold]
    fn note_early(&mut self, number: u64) {
        let at = self.ambiguous.iter().position(|(other, _)| *other == number);
        if let Some((_, wait_ns)) = at.and_then(|at| self.ambiguous.remove(at)) {
            self.backed_off_ns = self.backed_off_ns.max(wait_ns);
        }
    }

    /// Nothing below `number` will come any more.
    pub fn forget_below(&mut self, number: u64) {
        while let Some(gap) = self.gaps.front_mut().filter(|gap| gap.first < number) {
            let gone = gap.end.min(number) - gap.first;
            self.missing -= gone;
            if gap.wait_ns == 0 {
                self.seen_lost += gone;
            }
            if gap.end > number {
                gap.first = number;
                return;
            }
            self.gaps.pop_front();
        }
    }

    /// When [`Gaps::poll`] has something, at the earliest.
    pub fn next_ns(&self) -> Option<u64> {
        (!self.gaps.is_empty()).then_some(self.due_ns)
    }

    /// Does not ask before that.
    pub fn postpone(&mut self, until_ns: u64) {
        self.due_ns = self.due_ns.max(until_ns);
    }

    /// Appends what is to be asked for now, at most [`MAX_NAK_RANGES`]; returns
    /// whether that is anything. Again until it returns false.
    pub fn poll(&mut self, now_ns: u64, repair_ns: u64, out: &mut Vec<Range>) -> bool {
        if self.gaps.is_empty() || now_ns < self.due_ns {
            return false;
        }
        let first_wait_ns = repair_ns.saturating_mul(2).max(self.backed_off_ns);
        let first_wait_ns = first_wait_ns.clamp(MIN_RETRY_NS, MAX_RETRY_NS);
        let before = out.len();
        let mut next_due_ns = u64::MAX;
        for gap in &mut self.gaps {
            if gap.due_ns <= now_ns && out.len() - before < MAX_NAK_RANGES {
                let numbers = gap.end - gap.first;
                out.push(Range {
                    first: gap.first,
                    count: u32::try_from(numbers).unwrap_or(u32::MAX),
                });
                gap.is_asked_once = gap.wait_ns == 0;
                if gap.is_asked_once {
                    self.seen_lost += numbers;
                }
                gap.wait_ns = match gap.wait_ns {
                    0 => first_wait_ns,
                    wait_ns => (2 * wait_ns).min(MAX_RETRY_NS),
                };
                gap.asked_ns = now_ns;
                gap.due_ns = now_ns.saturating_add(gap.wait_ns);
            }
            next_due_ns = next_due_ns.min(gap.due_ns);
        }
        self.due_ns = next_due_ns;
        out.len() > before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn poll(gaps: &mut Gaps, now_ns: u64, repair_ns: u64) -> Vec<(u64, u32)> {
        let mut out = Vec::new();
        gaps.poll(now_ns, repair_ns, &mut out);
        out.iter().map(|range| (range.first, range.count)).collect()
    }

    #[test]
    fn should_not_nak_when_nothing_is_missing() {
        let mut gaps = Gaps::default();
        assert_eq!(poll(&mut gaps, u64::MAX, 0), []);
        assert_eq!(gaps.next_ns(), None);
        gaps.notice(5, 5, 0);
        assert!(gaps.is_empty());
    }

    #[test]
    fn should_not_nak_before_the_delay_is_over() {
        let mut gaps = Gaps::default();
        gaps.notice(3, 5, 1000);
        assert_eq!(gaps.next_ns(), Some(1000 + FIRST_NAK_NS));
        assert_eq!(poll(&mut gaps, 999 + FIRST_NAK_NS, 0), []);
        assert_eq!(poll(&mut gaps, 1000 + FIRST_NAK_NS, 0), [(3, 2)]);
    }

    #[test]
    fn should_not_nak_what_was_only_reordered() {
        let mut gaps = Gaps::default();
        gaps.notice(3, 5, 0);
        gaps.arrived(4, 50_000);
        gaps.arrived(3, 60_000);
        assert_eq!(poll(&mut gaps, MS, 0), []);
        assert_eq!((gaps.missing(), gaps.seen_lost()), (0, 0));
    }

    #[test]
    fn should_nak_all_gaps_at_once() {
        let mut gaps = Gaps::default();
        for at in 0..5 {
            gaps.notice(at * 10, at * 10 + 2, 0);
        }
        let ranges = [(0, 2), (10, 2), (20, 2), (30, 2), (40, 2)];
        assert_eq!(poll(&mut gaps, FIRST_NAK_NS, 0), ranges);
        assert_eq!((gaps.missing(), gaps.seen_lost()), (10, 10));
    }

    #[test]
    fn should_split_a_gap_by_what_arrives_in_its_middle() {
        let mut gaps = Gaps::default();
        gaps.notice(10, 20, 0);
        gaps.arrived(15, 1);
        gaps.arrived(10, 1);
        gaps.arrived(19, 1);
        gaps.arrived(19, 1);
        gaps.arrived(25, 1);
        assert_eq!(poll(&mut gaps, MS, 0), [(11, 4), (16, 3)]);
        assert_eq!(gaps.missing(), 7);
        gaps.forget_below(13);
        assert_eq!(gaps.missing(), 5);
        gaps.forget_below(100);
        assert!(gaps.is_empty());
        assert_eq!((gaps.missing(), gaps.seen_lost()), (0, 7));
    }

    #[test]
    fn should_retry_ever_more_slowly() {
        let mut gaps = Gaps::default();
        gaps.notice(0, 1, 0);
        let mut asked = Vec::new();
        while asked.len() < 7 {
            let now_ns = gaps.next_ns().unwrap();
            assert_eq!(poll(&mut gaps, now_ns, 0), [(0, 1)]);
            asked.push(now_ns);
        }
        let waits: Vec<u64> = asked.windows(2).map(|pair| (pair[1] - pair[0]) / MS).collect();
        assert_eq!(waits, [4, 8, 16, 32, 50, 50]);
    }

    #[test]
    fn should_wait_for_twice_the_measured_repair_time() {
        let mut gaps = Gaps::default();
        gaps.notice(0, 1, 0);
        poll(&mut gaps, FIRST_NAK_NS, 10 * MS);
        assert_eq!(gaps.next_ns(), Some(FIRST_NAK_NS + 20 * MS));
    }

    #[test]
    fn should_measure_the_repair_of_what_was_asked_for_once() {
        let mut gaps = Gaps::default();
        gaps.notice(0, 2, 0);
        poll(&mut gaps, MS, 0);
        gaps.arrived(0, 3 * MS);
        assert_eq!(gaps.take_sample(), Some(2 * MS));
        assert_eq!(gaps.take_sample(), None);
        poll(&mut gaps, 10 * MS, 0);
        gaps.arrived(1, 11 * MS);
        assert_eq!(gaps.take_sample(), None, "to which request is it the answer?");
    }

    #[test]
    fn should_ask_for_many_gaps_in_several_requests() {
        let mut gaps = Gaps::default();
        for at in 0..MAX_NAK_RANGES as u64 + 3 {
            gaps.notice(at * 2, at * 2 + 1, 0);
        }
        assert_eq!(poll(&mut gaps, MS, 0).len(), MAX_NAK_RANGES);
        assert_eq!(poll(&mut gaps, MS, 0).len(), 3);
        assert_eq!(poll(&mut gaps, MS, 0), []);
    }

    #[test]
    fn should_measure_repairs_that_take_longer_than_the_first_retry() {
        let mut gaps = Gaps::default();
        let (mut repair_ns, mut requests) = (0, Vec::new());
        for round in 0..10 {
            let noticed_ns = round * 1000 * MS;
            let arrives_ns = noticed_ns + FIRST_NAK_NS + 20 * MS;
            gaps.notice(round, round + 1, noticed_ns);
            requests.push(0);
            while let Some(now_ns) = gaps.next_ns().filter(|due_ns| *due_ns < arrives_ns) {
                assert_eq!(poll(&mut gaps, now_ns, repair_ns), [(round, 1)]);
                *requests.last_mut().unwrap() += 1;
            }
            // Each request is answered.
            gaps.arrived(round, arrives_ns);
            (1..*requests.last().unwrap()).for_each(|_| gaps.came_again(round));
            repair_ns = gaps.take_sample().unwrap_or(repair_ns);
        }
        assert_eq!(repair_ns, 20 * MS);
        assert_eq!(requests[0], 3);
        assert_eq!(requests[5..], [1; 5], "{requests:?}");
    }

    #[test]
    fn should_not_wait_longer_because_requests_are_lost() {
        let mut gaps = Gaps::default();
        gaps.notice(0, 1, 0);
        poll(&mut gaps, MS, 0);
        poll(&mut gaps, 5 * MS, 0);
        gaps.arrived(0, 6 * MS);
        gaps.notice(1, 2, 10 * MS);
        poll(&mut gaps, 11 * MS, 0);
        assert_eq!(gaps.next_ns(), Some(11 * MS + MIN_RETRY_NS));
    }
}
