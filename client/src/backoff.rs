//! How long to wait before the next try to reconnect. No clock: the caller waits.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::error::Error;

/// Pauses of the first connection, while a broker is waited for.
const FIRST_CONNECT: Reconnect = Reconnect::Backoff {
    first: Duration::from_millis(20),
    longest: Duration::from_millis(250),
    attempts: None,
};

/// Whether and how a lost connection is made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconnect {
    /// Not at all: the client is finished.
    Never,
    /// After pauses that double from `first` to `longest`, each shortened at
    /// random by up to half so that many clients do not come back at once.
    Backoff {
        /// The first pause.
        first: Duration,
        /// No pause is longer.
        longest: Duration,
        /// Give up after so many tries in a row; `None`: never.
        attempts: Option<u32>,
    },
}

impl Default for Reconnect {
    fn default() -> Reconnect {
        Reconnect::Backoff {
            first: Duration::from_millis(20),
            longest: Duration::from_secs(2),
            attempts: None,
        }
    }
}

/// The pauses of one row of tries.
#[derive(Debug)]
pub(crate) struct Backoff {
    policy: Reconnect,
    tries: u32,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(policy: Reconnect) -> Backoff {
        Backoff::seeded(policy, RandomState::new().hash_one(0))
    }

    fn seeded(policy: Reconnect, seed: u64) -> Backoff {
        Backoff { policy, tries: 0, random: seed | 1 }
    }

    /// A connection lasted: the next row starts with the first pause.
    pub(crate) fn reset(&mut self) {
        self.tries = 0;
    }

    /// The longest pause, after which a connection counts as lasting.
    pub(crate) fn lasting(&self) -> Duration {
        match self.policy {
            Reconnect::Never => Duration::MAX,
            Reconnect::Backoff { longest, .. } => longest,
        }
    }

    /// Whether a lost connection is the end.
    pub(crate) fn is_never(&self) -> bool {
        self.policy == Reconnect::Never
    }

    /// How long to wait before the next try; `None`: give up.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        let Reconnect::Backoff { first, longest, attempts } = self.policy else { return None };
        if attempts.is_some_and(|attempts| self.tries >= attempts) {
            return None;
        }
        let pause = first.saturating_mul(1 << self.tries.min(20)).min(longest);
        self.tries = self.tries.saturating_add(1);
        // xorshift64: any spread will do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let share = (self.random % 512) as u32;
        Some(pause / 2 + pause / 2 * share / 512)
    }
}

/// The tries of a first connection that waits for its broker.
#[derive(Debug)]
pub(crate) struct FirstTries {
    deadline: Instant,
    backoff: Backoff,
}

impl FirstTries {
    /// Tries that begin before `wait` is over.
    pub(crate) fn new(now: Instant, wait: Duration) -> FirstTries {
        FirstTries { deadline: now + wait, backoff: Backoff::new(FIRST_CONNECT) }
    }

    /// How long to wait after a try that failed; or the error, if that was the last.
    pub(crate) fn pause(&mut self, error: Error, now: Instant) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() || !error.may_pass() {
            return Err(error);
        }
        Ok(self.backoff.next().unwrap_or(left).min(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_with_jitter_below() {
        let mut backoff = Backoff::seeded(Reconnect::default(), 7);
        for full in [20, 40, 80, 160, 320, 640, 1280, 2000, 2000] {
            let pause = backoff.next().unwrap();
            let full = Duration::from_millis(full);
            assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
        }
        backoff.reset();
        assert!(backoff.next().unwrap() <= Duration::from_millis(20));
    }

    #[test]
    fn a_first_connection_is_tried_until_its_time_is_over_or_trying_is_vain() {
        let absent = || Error::BrokerNotRunning { path: "x".into() };
        let start = Instant::now();
        let mut tries = FirstTries::new(start, Duration::from_secs(1));
        let mut now = start;
        let mut count = 0;
        while let Ok(pause) = tries.pause(absent(), now) {
            assert!(pause <= Duration::from_millis(250));
            now += pause;
            count += 1;
        }
        assert_eq!(now - start, Duration::from_secs(1), "the last try is at the very end");
        assert!(count >= 6, "{count}");
        let mut tries = FirstTries::new(start, Duration::from_secs(1));
        let refused = Error::PermissionDenied { path: "x".into() };
        assert!(tries.pause(refused, start).is_err());
    }

    #[test]
    fn tries_end_when_told_so() {
        let millisecond = Duration::from_millis(1);
        let policy =
            Reconnect::Backoff { first: millisecond, longest: millisecond, attempts: Some(2) };
        let mut backoff = Backoff::seeded(policy, 1);
        assert!(backoff.next().is_some() && backoff.next().is_some());
        assert_eq!(backoff.next(), None);
        assert_eq!(Backoff::seeded(Reconnect::Never, 1).next(), None);
    }
}
