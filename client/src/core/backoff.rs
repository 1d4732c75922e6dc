//! Pauses before the next try to reconnect. No clock, no
//! randomness: the caller waits, and supplies a seed.

use std::time::{Duration, Instant};

use netcluster_wire::ErrorCode;

use crate::error::{DisconnectReason, Error};

/// Pauses of the first connection, while a broker is waited for.
const FIRST_CONNECT: Reconnect = Reconnect::Backoff {
    first: Duration::from_millis(20),
    longest: Duration::from_millis(250),
    attempts: None,
};

/// The longest pause while no broker is there, unless the first is longer. A try costs
/// nobody anything then, and the next broker holds events for 500 ms.
const LONGEST_WHILE_ABSENT: Duration = Duration::from_millis(250);

/// Whether and how a lost connection is made again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reconnect {
    /// No reconnecting: the client is finished.
    Never,
    /// Reconnecting after pauses that double from `first` to `longest`, each shortened at
    /// random by up to half so that many clients do not come back at once.
    Backoff {
        /// The first pause.
        first: Duration,
        /// The longest pause. While there is no broker, or one that is about to end, none is
        /// longer than 250 ms, or `first`.
        longest: Duration,
        /// The number of tries in a row after which to give up; `None`: never.
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
    /// The broker's run of the last connection.
    run: u64,
    tries: u32,
    random: u64,
}

impl Backoff {
    pub(crate) fn new(policy: Reconnect, seed: u64) -> Backoff {
        Backoff { policy, run: 0, tries: 0, random: seed | 1 }
    }

    /// There is a connection. Another run of the broker than before is no reason to stay
    /// away from it, however often it restarts.
    pub(crate) fn welcomed(&mut self, run: u64) {
        if self.run != run {
            self.run = run;
            self.reset();
        }
    }

    /// Notes that a connection lasted: the next row starts with the first pause.
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

    /// Computes the pause before the next try, after `last` came of the one before;
    /// `None`: give up.
    pub(crate) fn next(&mut self, last: &Error) -> Option<Duration> {
        let Reconnect::Backoff { first, longest, attempts } = self.policy else { return None };
        let longest =
            if is_absent(last) { longest.min(first.max(LONGEST_WHILE_ABSENT)) } else { longest };
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

/// Whether a try failed because no broker is there, or the one that was is about to end: its
/// successor may be there at any moment.
fn is_absent(last: &Error) -> bool {
    match last {
        Error::BrokerNotRunning { .. } => true,
        Error::ClosedByBroker { code, .. } => *code == ErrorCode::Shutdown,
        Error::Disconnected(reason) => {
            matches!(reason, DisconnectReason::BrokerShutDown | DisconnectReason::ConnectionLost(_))
        }
        _ => false,
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
    pub(crate) fn new(now: Instant, wait: Duration, seed: u64) -> FirstTries {
        FirstTries { deadline: now + wait, backoff: Backoff::new(FIRST_CONNECT, seed) }
    }

    /// Computes the pause after a try that failed; or gives the error, if that was the last.
    pub(crate) fn pause(&mut self, error: Error, now: Instant) -> Result<Duration, Error> {
        let left = self.deadline.saturating_duration_since(now);
        if left.is_zero() || !error.may_pass() {
            return Err(error);
        }
        Ok(self.backoff.next(&error).unwrap_or(left).min(left))
    }
}

#[cfg(test)]
mod tests;
