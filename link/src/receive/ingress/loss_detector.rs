//! Which numbers of a stream are missing, and when to ask for them.
//!
//! ```text
//!   seen to be missing ──100 µs──▶ asked ──wait──▶ asked ──2 × wait──▶ asked …
//!                  wait: max(4 ms, 2 × retransmission time) … 50 ms
//! ```
//! Reordering by less than the first delay costs no request. The retries are
//! slow on purpose: quick ones collapse a link that is already full.
//!
//! What arrives after several requests may be the answer to any of them and is no
//! measurement. If it comes once more, the later requests were too early: then the
//! wait that they ended with is the next gaps' first one, until one of them is
//! measured (as in Karn's algorithm), or retransmissions slower than the first wait
//! never would be. If it does not, a request or a retransmission was lost, and
//! waiting longer would only make the others late.
//!
//! A number that is asked for again and again while others arrive cannot come: the
//! way drops it whenever it is sent, for its size as a rule. It is *in vain*, and
//! given up. A sender serves low numbers first, so the time counts from the last
//! retransmission of a lower one: what merely waits its turn on a slow way is not in vain.
//!
//! Invariant: gaps are in order, not empty, and do not touch or overlap. Times of
//! first requests do not fall from one gap to the next.
//!
//! Decision: `docs/decisions/021-retransmit-requests.md`.

use std::collections::VecDeque;

use netcluster_platform::Instant;
use netcluster_wire::link::Range;
use netcluster_wire::link::limits::MAX_NAK_RANGES;

/// Time that a number may be missing before it is asked for.
pub const FIRST_NAK_NS: u64 = 100_000;

/// The shortest wait between two requests for the same number.
pub const MIN_RETRY_NS: u64 = 4_000_000;

/// The longest wait between two requests for the same number.
pub const MAX_RETRY_NS: u64 = 50_000_000;

/// Time for which a number that is in vain was asked for, while others arrived, …
pub const IN_VAIN_NS: u64 = 2_000_000_000;

/// … or so many times the time of a retransmission if that is longer, …
const IN_VAIN_RETRANSMITS: u64 = 4;

/// … in at least so many requests.
pub const IN_VAIN_REQUESTS: u32 = 16;

/// Time for which gaps are not counted, from the first one on that another broker left.
const EXCUSED_NS: u64 = 20_000_000;

/// Numbers that are remembered as having come after several requests.
const MAX_AMBIGUOUS: usize = 64;

const _: () = assert!(FIRST_NAK_NS < MIN_RETRY_NS);
const _: () = assert!(MIN_RETRY_NS < MAX_RETRY_NS);
const _: () = assert!(IN_VAIN_REQUESTS as u64 * MAX_RETRY_NS < IN_VAIN_NS);

/// Consecutive numbers that share their history of requests.
#[derive(Clone, Copy, Debug)]
struct Gap {
    first: u64,
    end: u64,
    due_at: Instant,
    /// Time at which the gap was last asked for.
    asked_at: Instant,
    /// Wait after the last request; 0 if there was none.
    wait_ns: u64,
    /// Time at which the gap was asked for first, if it was.
    first_asked_at: Instant,
    requests: u32,
    /// Nobody listened when these came: that says nothing of the way.
    is_excused: bool,
    /// Time at which a lower number, above the gap before this one, was retransmitted.
    progress_at: Instant,
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
    /// Number of datagrams that were missing.
    pub numbers: u64,
    /// Number of requests for the datagram that was asked for most.
    pub requests: u32,
}

/// The gaps of one stream.
#[derive(Debug, Default)]
pub(super) struct LossDetector {
    gaps: VecDeque<Gap>,
    missing: u64,
    seen_lost: u64,
    repaired: u64,
    /// Time before which no gap is due.
    due_at: Instant,
    sample_ns: Option<u64>,
    /// Numbers that came after several requests, and the wait after the last one.
    ambiguous: VecDeque<(u64, u64)>,
    /// The shortest first wait, since requests were too early.
    backed_off_ns: u64,
    /// Time up to which gaps are not counted; [`Instant::NEVER`]: it begins with the next one.
    excused_until: Option<Instant>,
    /// Time before which no request for any of them counts as in vain.
    progress_at: Instant,
}

impl LossDetector {
    /// Whether nothing is missing.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.gaps.is_empty()
    }

    /// Counts on from what was noticed missing before. The first gaps do not count: they are of
    /// the time in which nobody listened.
    pub fn resume(&mut self, seen_lost: u64) {
        self.seen_lost = seen_lost;
        self.excused_until = Some(Instant::NEVER);
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
    pub fn notice(&mut self, first: u64, end: u64, now: Instant) {
        if first >= end {
            return;
        }
        let is_excused = self.excused_until.is_some_and(|until| now < until);
        if self.excused_until == Some(Instant::NEVER) {
            self.excused_until = Some(now.saturating_add(EXCUSED_NS));
        }
        let due_at = now.saturating_add(FIRST_NAK_NS);
        self.due_at = if self.gaps.is_empty() { due_at } else { self.due_at.min(due_at) };
        self.gaps.push_back(Gap {
            first,
            end,
            due_at,
            asked_at: Instant::START,
            wait_ns: 0,
            first_asked_at: Instant::START,
            requests: 0,
            is_excused,
            progress_at: Instant::START,
        });
        self.missing += end - first;
    }

    /// Notes that a number is there now.
    pub fn arrived(&mut self, number: u64, now: Instant) {
        let at = self.gaps.partition_point(|gap| gap.end <= number);
        let Some(gap) = self.gaps.get_mut(at).filter(|gap| gap.first <= number) else { return };
        if gap.is_asked_once() {
            self.sample_ns = Some(now.since(gap.asked_at));
            self.backed_off_ns = 0;
        } else if gap.wait_ns > 0 {
            if self.ambiguous.len() == MAX_AMBIGUOUS {
                self.ambiguous.pop_front();
            }
            self.ambiguous.push_back((number, gap.wait_ns));
        }
        self.missing -= 1;
        let is_retransmission = gap.wait_ns > 0;
        self.repaired += u64::from(is_retransmission);
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
        if is_retransmission && let Some(behind) = self.gaps.get_mut(behind) {
            behind.progress_at = now;
        }
    }

    /// Lets requests so far not count as in vain: nothing came at all, or it was refused
    /// here.
    pub fn forgive(&mut self, now: Instant) {
        self.progress_at = now;
    }

    /// Numbers that were asked for in vain, from the first gap on and below `sent`: the
    /// sender does not have others yet.
    pub fn in_vain(&self, now: Instant, retransmit_ns: u64, sent: u64) -> Option<Vain> {
        let patience_ns = retransmit_ns.saturating_mul(IN_VAIN_RETRANSMITS).max(IN_VAIN_NS);
        let mut since = self.progress_at;
        let mut vain: Option<Vain> = None;
        for gap in &self.gaps {
            since = since.max(gap.progress_at);
            let begun_at = since.max(gap.first_asked_at);
            let is_young = now < begun_at.saturating_add(patience_ns);
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

    /// Notes that a number came that was there before.
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

    /// Forgets what is missing below `number`, as it will not come any more.
    pub fn forget_below(&mut self, number: u64) {
        while let Some(gap) = self.gaps.front_mut().filter(|gap| gap.first < number) {
            let gone = gap.end.min(number) - gap.first;
            self.missing -= gone;
            if gap.wait_ns == 0 && !gap.is_excused {
                self.seen_lost += gone;
            }
            if gap.end > number {
                gap.first = number;
                return;
            }
            self.progress_at = self.progress_at.max(gap.progress_at);
            self.gaps.pop_front();
        }
    }

    /// Forgets what is missing from `number` on: it was not sent, it seems.
    pub fn forget_from(&mut self, number: u64) {
        while let Some(gap) = self.gaps.back_mut().filter(|gap| gap.end > number) {
            self.missing -= gap.end - gap.first.max(number);
            if gap.first < number {
                gap.end = number;
                return;
            }
            self.gaps.pop_back();
        }
    }

    /// Time at which [`LossDetector::poll`] has something, at the earliest.
    pub fn next_at(&self) -> Option<Instant> {
        (!self.gaps.is_empty()).then_some(self.due_at)
    }

    /// Asks for nothing before that time.
    pub fn postpone(&mut self, until: Instant) {
        self.due_at = self.due_at.max(until);
    }

    /// Appends what is to be asked for now, at most [`MAX_NAK_RANGES`]; returns
    /// whether that is anything. Again until it returns false.
    pub fn poll(&mut self, now: Instant, retransmit_ns: u64, out: &mut Vec<Range>) -> bool {
        if self.gaps.is_empty() || now < self.due_at {
            return false;
        }
        let first_wait_ns = retransmit_ns.saturating_mul(2).max(self.backed_off_ns);
        let first_wait_ns = first_wait_ns.clamp(MIN_RETRY_NS, MAX_RETRY_NS);
        let before = out.len();
        let mut next_due_at = Instant::NEVER;
        for gap in &mut self.gaps {
            if gap.due_at <= now && out.len() - before < MAX_NAK_RANGES {
                let numbers = gap.end - gap.first;
                out.push(Range {
                    first: gap.first,
                    count: u32::try_from(numbers).unwrap_or(u32::MAX),
                });
                if gap.requests == 0 {
                    self.seen_lost += if gap.is_excused { 0 } else { numbers };
                    gap.first_asked_at = now;
                }
                gap.requests = gap.requests.saturating_add(1);
                gap.wait_ns = match gap.wait_ns {
                    0 => first_wait_ns,
                    wait_ns => (2 * wait_ns).min(MAX_RETRY_NS),
                };
                gap.asked_at = now;
                gap.due_at = now.saturating_add(gap.wait_ns);
            }
            next_due_at = next_due_at.min(gap.due_at);
        }
        self.due_at = next_due_at;
        out.len() > before
    }
}

#[cfg(test)]
mod tests;
