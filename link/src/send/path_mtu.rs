//! Path size: how large datagrams may be on the way to one peer, found by probing, as RFC
//! 8899 does for datagrams of any kind.
//!
//! ```text
//!   begin ──▶ searching ──────────────▶ found ──▶ a little more passes? (every 5 s)
//!              ▲   the whole size first,  │  ▲               │ yes
//!              │   then by halves         │  └───────────────┼─ no
//!              └──────────────────────────┴──────────────────┘
//!                    in doubt: what should pass seems not to
//! ```
//! Until a probe is answered a peer is sent the smallest size, which passes
//! everywhere. A size that is under test is asked for together with one that is known
//! to pass: it fails if that one is answered [`PROOFS`] times and it is not once,
//! whatever else is lost on the way. So no loss, no silence and no flood of anything
//! makes datagrams small, and a size that was found once is used until it is refuted.
//!
//! It sends nothing: the caller does, and brings the answers.
//!
//! Invariant: `passes < fails`, and `passes` is at least the smallest size and at
//! most the limit.
//!
//! Decision: `docs/decisions/035-path-size.md`.

use netcluster_platform::Instant;
use netcluster_wire::link::limits::{MIN_DATAGRAM_BYTES, NONCE_BYTES};

const MS_NS: u64 = 1_000_000;

/// The smallest size, which is not questioned.
pub const BASE_BYTES: usize = MIN_DATAGRAM_BYTES;

/// Time between two rounds of probes.
pub const ROUND_NS: u64 = 50 * MS_NS;

/// Time between two rounds after nothing was answered for [`QUICK_ROUNDS`].
const SLOW_ROUND_NS: u64 = 1000 * MS_NS;

/// Rounds without an answer after which they become slow, see [`SLOW_ROUND_NS`].
const QUICK_ROUNDS: u32 = 40;

/// Answers to the size that passes, and none to the one under test, that refute that one.
/// Where nearly everything is lost, each answer is as likely the one as the other, and
/// chance does the same once in 256 tests; elsewhere less often.
pub const PROOFS: u32 = 8;

/// Distance between what passes and what fails at which the search ends.
pub const STEP_BYTES: usize = 16;

/// Time between two trials whether a little more passes by now.
pub const RAISE_NS: u64 = 5000 * MS_NS;

/// Number that probes and their answers have in common.
pub(crate) type Nonce = [u8; NONCE_BYTES];

/// A size under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Test {
    bytes: usize,
    /// Size that is asked for beside it.
    reference_bytes: usize,
    rounds: u32,
    proofs: u32,
}

/// News for people about a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// No more than so many bytes pass.
    Narrow(usize),
    /// The whole size passes again.
    Whole,
}

/// Search for the largest size that reaches one peer.
#[derive(Debug)]
pub(crate) struct PathMtu {
    /// Size that this broker sends at most.
    limit: usize,
    passes: usize,
    fails: usize,
    test: Option<Test>,
    next_at: Instant,
    nonce: Nonce,
    /// Any probe was answered.
    is_answered: bool,
    /// Size that people were told last; the limit: none.
    told: usize,
}

impl PathMtu {
    /// Begins with nothing known, and asks for nothing before [`PathMtu::begin`].
    pub fn new(limit: usize, nonce: Nonce) -> PathMtu {
        PathMtu {
            limit,
            passes: BASE_BYTES,
            fails: limit + 1,
            test: None,
            next_at: Instant::NEVER,
            nonce,
            is_answered: false,
            told: limit,
        }
    }

    /// The largest datagram that may be sent there.
    pub fn bytes(&self) -> usize {
        self.passes
    }

    /// Whether the way takes less than what this broker sends, as far as was found.
    pub fn is_narrow(&self) -> bool {
        self.test.is_none() && self.is_answered && self.passes < self.limit
    }

    /// Whether many probes were sent, and none of them was answered.
    pub fn is_unanswered(&self) -> bool {
        !self.is_answered && self.test.is_some_and(|test| test.rounds >= QUICK_ROUNDS)
    }

    /// Nonce that probes carry.
    pub fn nonce(&self) -> Nonce {
        self.nonce
    }

    /// Time at which [`PathMtu::poll`] has something.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Looks for what passes on another way, or the first one. The size that passed on the
    /// one before is used meanwhile.
    pub fn begin(&mut self, now: Instant) {
        self.fails = self.limit + 1;
        if self.passes > BASE_BYTES {
            self.start(now, self.passes, BASE_BYTES)
        } else {
            self.search(now)
        }
    }

    /// Sets how much this broker sends from now on at most.
    pub fn set_limit(&mut self, now: Instant, limit: usize) {
        if limit == self.limit {
            return;
        }
        let is_begun = self.next_at < Instant::NEVER || self.is_answered;
        self.limit = limit;
        self.passes = self.passes.min(limit);
        self.fails = limit + 1;
        self.told = limit;
        if is_begun {
            self.search(now);
        }
    }

    /// Puts the size that should pass, and seems not to, to the test, if it is not already.
    pub fn doubt(&mut self, now: Instant) {
        let is_tested = self.test.is_some_and(|test| test.bytes <= self.passes);
        if self.passes > BASE_BYTES && !is_tested {
            self.start(now, self.passes, BASE_BYTES);
        }
    }

    /// The sizes to probe now, the larger one first in every other round, so that
    /// whoever answers so many a second and no more prefers neither.
    pub fn poll(&mut self, now: Instant) -> [Option<usize>; 2] {
        if now < self.next_at {
            return [None; 2];
        }
        let Some(test) = &mut self.test else {
            self.next_at = now + RAISE_NS;
            return [Some((self.passes + STEP_BYTES).min(self.limit)), None];
        };
        let is_slow = !self.is_answered && test.rounds >= QUICK_ROUNDS;
        self.next_at = now + if is_slow { SLOW_ROUND_NS } else { ROUND_NS };
        let round = test.rounds;
        test.rounds = test.rounds.saturating_add(1);
        match (round, round.is_multiple_of(2)) {
            // As a rule it is answered, and no more is needed.
            (0, _) => [Some(test.bytes), None],
            (_, true) => [Some(test.bytes), Some(test.reference_bytes)],
            (_, false) => [Some(test.reference_bytes), Some(test.bytes)],
        }
    }

    /// Takes in that a probe of so many bytes has arrived there. News to be told, if there
    /// are any.
    pub fn answered(&mut self, now: Instant, bytes: usize) -> Option<News> {
        self.is_answered = true;
        let bytes = bytes.min(self.limit);
        let Some(test) = &mut self.test else {
            if bytes > self.passes {
                // The way has changed: it may take a lot more.
                self.passes = bytes;
                self.fails = self.limit + 1;
                self.search(now);
            }
            return self.news();
        };
        if bytes >= test.bytes {
            self.passes = self.passes.max(bytes);
            self.fails = self.fails.max(bytes + 1);
            self.search(now);
        } else if bytes == test.reference_bytes {
            test.proofs += 1;
            if test.proofs >= PROOFS {
                self.fails = test.bytes;
                if test.bytes <= self.passes {
                    self.passes = test.reference_bytes;
                }
                self.search(now);
            }
        }
        self.news()
    }

    /// Goes on with the next size, if there is one.
    fn search(&mut self, now: Instant) {
        let next = if self.fails > self.limit {
            self.limit
        } else {
            usize::midpoint(self.passes, self.fails)
        };
        if next > self.passes && (next == self.limit || self.fails - self.passes > STEP_BYTES) {
            return self.start(now, next, self.passes);
        }
        self.test = None;
        self.next_at = if self.passes < self.limit { now + RAISE_NS } else { Instant::NEVER };
    }

    fn start(&mut self, now: Instant, bytes: usize, reference_bytes: usize) {
        self.test = Some(Test { bytes, reference_bytes, rounds: 0, proofs: 0 });
        self.next_at = now;
    }

    fn news(&mut self) -> Option<News> {
        if self.test.is_some() || self.passes == self.told {
            return None;
        }
        self.told = self.passes;
        Some(if self.passes < self.limit { News::Narrow(self.passes) } else { News::Whole })
    }
}

#[cfg(test)]
mod tests;
