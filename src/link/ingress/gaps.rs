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
//! A number that is asked for again and again while others arrive cannot come: the
//! way drops it whenever it is sent, for its size as a rule. It is *in vain*, and
//! given up. A sender serves low numbers first, so the time counts from the last
//! repair of a lower one: what merely waits its turn on a slow way is not in vain.
//!
//! Invariant: gaps are in order, not empty, and do not touch or overlap. Times of
//! first requests do not fall from one gap to the next.

use std::collections::VecDeque;

use netcluster_wire::link::Range;
use netcluster_wire::link::limits::MAX_NAK_RANGES;

/// How long a number may be missing before it is asked for.
pub const FIRST_NAK_NS: u64 = 100_000;

/// The shortest wait between two requests for the same number.
pub const MIN_RETRY_NS: u64 = 4_000_000;

/// The longest.
pub const MAX_RETRY_NS: u64 = 50_000_000;

/// A number that was asked for since then, while others arrived, is in vain …
pub const IN_VAIN_NS: u64 = 2_000_000_000;

/// … if a repair does not take so long that this many of them take longer, …
const IN_VAIN_REPAIRS: u64 = 4;

/// … and if it was asked for at least so often.
pub const IN_VAIN_REQUESTS: u32 = 16;

/// Numbers remembered that came after several requests.
const MAX_AMBIGUOUS: usize = 64;

const _: () = assert!(FIRST_NAK_NS < MIN_RETRY_NS);
const _: () = assert!(MIN_RETRY_NS < MAX_RETRY_NS);
const _: () = assert!(IN_VAIN_REQUESTS as u64 * MAX_RETRY_NS < IN_VAIN_NS);

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
    /// When it was asked for first, if it was.
    first_asked_ns: u64,
    requests: u32,
    /// When a lower number, above the gap before this one, was repaired.
    progress_ns: u64,
}

impl Gap {
    /// Whether it was asked for exactly once: then its arrival is a measurement.
    fn is_asked_once(&self) -> bool {
        self.requests == 1
    }
}

/// Numbers that were given up although the sender may still have them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vain {
    /// Numbers below this are not waited for.
    pub end: u64,
    /// How many were missing.
    pub numbers: u64,
    /// How often the one that was asked for most was.
    pub requests: u32,
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
    /// Before that, no request for any of them counts as in vain.
    progress_ns: u64,
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
        self.gaps.push_back(Gap {
            first,
            end,
            due_ns,
            asked_ns: 0,
            wait_ns: 0,
            first_asked_ns: 0,
            requests: 0,
            progress_ns: 0,
        });
        self.missing += end - first;
    }

    /// A number is there now.
    pub fn arrived(&mut self, number: u64, now_ns: u64) {
        let at = self.gaps.partition_point(|gap| gap.end <= number);
        let Some(gap) = self.gaps.get_mut(at).filter(|gap| gap.first <= number) else { return };
        if gap.is_asked_once() {
            self.sample_ns = Some(now_ns.saturating_sub(gap.asked_ns));
            self.backed_off_ns = 0;
        } else if gap.wait_ns > 0 {
            if self.ambiguous.len() == MAX_AMBIGUOUS {
                self.ambiguous.pop_front();
            }
            self.ambiguous.push_back((number, gap.wait_ns));
        }
        self.missing -= 1;
        let is_repair = gap.wait_ns > 0;
        self.repaired += u64::from(is_repair);
        let rest = Gap { first: number + 1, ..*gap };
        gap.end = number;
        let behind = match (gap.first < gap.end, rest.first < rest.end) {
            (true, true) => {
                self.gaps.insert(at + 1, rest);
                at + 1
            }
            (true, false) => at + 1,
            (false, true) => {
                *gap = rest;
                at
            }
            (false, false) => {
                self.gaps.remove(at);
                at
            }
        };
        if is_repair && let Some(behind) = self.gaps.get_mut(behind) {
            behind.progress_ns = now_ns;
        }
    }

    /// Whatever was asked for in vain so far, it was not for the way: nothing came
    /// at all, or it was refused here.
    pub fn forgive(&mut self, now_ns: u64) {
        self.progress_ns = now_ns;
    }

    /// What was asked for in vain, from the first gap on: of the numbers below `sent`,
    /// as others the sender does not have yet.
    pub fn in_vain(&self, now_ns: u64, repair_ns: u64, sent: u64) -> Option<Vain> {
        let patience_ns = repair_ns.saturating_mul(IN_VAIN_REPAIRS).max(IN_VAIN_NS);
        let mut since_ns = self.progress_ns;
        let mut vain: Option<Vain> = None;
        for gap in &self.gaps {
            since_ns = since_ns.max(gap.progress_ns);
            let begun_ns = since_ns.max(gap.first_asked_ns);
            let is_young = now_ns < begun_ns.saturating_add(patience_ns);
            if gap.requests < IN_VAIN_REQUESTS || is_young || gap.first >= sent {
                break;
            }
            let end = gap.end.min(sent);
            let (numbers, requests) = vain.map_or((0, 0), |vain| (vain.numbers, vain.requests));
            vain = Some(Vain {
                end,
                numbers: numbers + end - gap.first,
                requests: requests.max(gap.requests),
            });
        }
        vain
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
            self.progress_ns = self.progress_ns.max(gap.progress_ns);
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
                if gap.requests == 0 {
                    self.seen_lost += numbers;
                    gap.first_asked_ns = now_ns;
                }
                gap.requests = gap.requests.saturating_add(1);
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

    /// Asks for all that is due until then.
    fn ask_until(gaps: &mut Gaps, end_ns: u64) {
        while let Some(now_ns) = gaps.next_ns().filter(|due_ns| *due_ns < end_ns) {
            poll(gaps, now_ns, 0);
        }
    }

    #[test]
    fn should_give_up_what_was_asked_for_in_vain() {
        let mut gaps = Gaps::default();
        gaps.notice(3, 5, 0);
        gaps.notice(9, 10, 500 * MS);
        let end_ns = FIRST_NAK_NS + IN_VAIN_NS;
        ask_until(&mut gaps, end_ns);
        assert_eq!(gaps.in_vain(end_ns - 1, 0, 10), None);
        let vain = gaps.in_vain(end_ns, 0, 10).unwrap();
        assert_eq!((vain.end, vain.numbers), (5, 2), "the younger one has its time");
        assert!(vain.requests >= IN_VAIN_REQUESTS);
        assert_eq!(gaps.in_vain(end_ns, 0, 4).unwrap().end, 4, "the other was not sent");
        assert_eq!(gaps.in_vain(end_ns, 0, 3), None);
        assert_eq!(gaps.in_vain(end_ns, IN_VAIN_NS, 10), None, "a way that is so slow");
        ask_until(&mut gaps, end_ns + 500 * MS);
        let both = gaps.in_vain(end_ns + 500 * MS, 0, 10).unwrap();
        assert_eq!((both.end, both.numbers), (10, 3));
    }

    #[test]
    fn should_not_give_up_what_waits_for_its_turn() {
        let mut gaps = Gaps::default();
        gaps.notice(0, 1000, 0);
        // One number after the other is repaired, slowly.
        for number in 0..100 {
            let now_ns = (number + 1) * 100 * MS;
            ask_until(&mut gaps, now_ns);
            gaps.arrived(number, now_ns);
            assert_eq!(gaps.in_vain(now_ns, 0, 1000), None);
        }
        // Then no more of these, but one of the last.
        ask_until(&mut gaps, 11_900 * MS);
        gaps.arrived(900, 11_900 * MS);
        let vain = gaps.in_vain(12_000 * MS, 0, 1000).unwrap();
        assert_eq!((vain.end, vain.numbers), (900, 800));
    }

    #[test]
    fn should_not_give_up_what_nobody_could_send_or_take() {
        let mut gaps = Gaps::default();
        gaps.notice(0, 2, 0);
        ask_until(&mut gaps, IN_VAIN_NS);
        gaps.forgive(IN_VAIN_NS);
        ask_until(&mut gaps, 2 * IN_VAIN_NS);
        assert_eq!(gaps.in_vain(2 * IN_VAIN_NS - 1, 0, 2), None);
        assert_eq!(gaps.in_vain(2 * IN_VAIN_NS, 0, 2).unwrap().numbers, 2);
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
