//! One receiver of one outbound stream: what it stated, and whether it is waited for.

use netcluster_platform::Instant;

use super::loss::{LossMeter, Sample};
use super::{
    BAD_LOSS_PERMILLE, DEMOTED_POLL_NS, FIRST_WINDOW, GOOD_LOSS_PERMILLE, POLL_NS, RECOVERY_NS,
    Reason, SILENCE_NS, STUCK_NS,
};
use crate::peer_id::PeerId;

/// Path of data to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// The receiver hears the group.
    Multicast,
    /// The receiver is sent copies of its own.
    Unicast,
}

/// Statement of a receiver about one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The next number that it has not received in order.
    pub position: u64,
    /// Numbers below this may be sent.
    pub limit: u64,
    /// Numbers ever noticed missing.
    pub seen_lost: u64,
    /// Listeners of the receiver hold it up.
    pub is_held: bool,
}

/// One receiver.
#[derive(Debug)]
pub struct Receiver {
    /// The peer that receives.
    pub peer: PeerId,
    /// Path by which it is reached.
    pub path: Path,
    /// The next number that it has not received in order.
    pub position: u64,
    /// Numbers below this may be sent to it.
    pub limit: u64,
    /// Listeners of the receiver hold it up.
    pub is_held: bool,
    /// Time at which it last stated anything.
    pub status_at: Instant,
    meter: LossMeter,
    health: Health,
    blocking: Option<Blocking>,
}

#[derive(Debug)]
enum Health {
    Healthy {
        /// The last span may be reason to demote it: to be looked at once.
        is_suspect: bool,
    },
    Demoted {
        /// Time since which it has done well.
        good_since: Instant,
        poll_at: Instant,
    },
}

/// State of a receiver that holds the sender up.
#[derive(Clone, Copy, Debug)]
struct Blocking {
    /// Time since which it has not moved.
    since: Instant,
    /// Time since which its listeners do not hold it up (if they do not).
    free_since: Instant,
    poll_at: Instant,
}

/// Verdict on a receiver: what must happen to it.
pub enum Verdict {
    Fine,
    Poll,
    Demote(Reason),
    /// Demote the receiver if the others do better.
    Lossy(u64),
    Restore,
}

impl Receiver {
    pub(super) fn new(now: Instant, peer: PeerId, number: u64, path: Path) -> Receiver {
        Receiver {
            peer,
            path,
            position: number,
            limit: number.saturating_add(FIRST_WINDOW),
            is_held: false,
            status_at: now,
            meter: LossMeter::new(now, number),
            health: Health::Healthy { is_suspect: false },
            blocking: None,
        }
    }

    /// Whether it is waited for.
    pub fn is_healthy(&self) -> bool {
        matches!(self.health, Health::Healthy { .. })
    }

    /// Loss over the last two spans, per mille, if it is known.
    pub fn loss(&self) -> Option<u64> {
        self.meter.permille()
    }

    /// Whether it is to be judged now, whatever its deadline.
    pub(super) fn is_ripe(&self) -> bool {
        match self.health {
            Health::Healthy { is_suspect } => is_suspect,
            Health::Demoted { good_since, .. } => {
                self.status_at >= good_since.saturating_add(RECOVERY_NS)
            }
        }
    }

    pub(super) fn on_status(&mut self, now: Instant, next: u64, report: &Report) -> Sample {
        // Statuses may overtake each other, but neither value ever falls. What
        // was not sent cannot have been received.
        let position = report.position.min(next).max(self.position);
        let limit = report.limit.max(self.limit);
        let has_moved = position > self.position || limit > self.limit;
        if let Some(blocking) = &mut self.blocking {
            if has_moved {
                blocking.since = now;
                blocking.free_since = now;
            } else if self.is_held && !report.is_held {
                blocking.free_since = now;
            }
            blocking.poll_at = now.saturating_add(POLL_NS);
        }
        let silence_ns = now.since(self.status_at);
        if let Health::Demoted { good_since, poll_at } = &mut self.health {
            *poll_at = now.saturating_add(DEMOTED_POLL_NS);
            if silence_ns >= RECOVERY_NS {
                *good_since = now;
            }
        }
        self.position = position;
        self.limit = limit;
        self.is_held = report.is_held;
        self.status_at = now;
        self.on_loss(now, next, report.seen_lost)
    }

    pub(super) fn on_loss(&mut self, now: Instant, next: u64, seen_lost: u64) -> Sample {
        let (sample, span) = self.meter.report(now, next, seen_lost);
        match (&mut self.health, span) {
            (Health::Healthy { is_suspect }, Some(_)) => {
                *is_suspect = self.meter.lasting_above(BAD_LOSS_PERMILLE).is_some();
            }
            (Health::Demoted { good_since, .. }, Some(loss)) if loss >= GOOD_LOSS_PERMILLE => {
                *good_since = now;
            }
            _ => {}
        }
        sample
    }

    /// Notes whether this receiver keeps the sender from sending `next`.
    pub(super) fn set_blocking(&mut self, now: Instant, next: u64, history: u64) {
        let is_full = next.saturating_sub(self.position) >= history;
        if !self.is_healthy() || (next < self.limit && !is_full) {
            self.blocking = None;
        } else if self.blocking.is_none() {
            let poll_at = now.saturating_add(POLL_NS);
            self.blocking = Some(Blocking { since: now, free_since: now, poll_at });
        }
    }

    pub(super) fn unblock(&mut self) {
        self.blocking = None;
    }

    pub(super) fn demote(&mut self, now: Instant) {
        self.blocking = None;
        self.meter.forget(now);
        let poll_at = now.saturating_add(DEMOTED_POLL_NS);
        self.health = Health::Demoted { good_since: now, poll_at };
    }

    pub(super) fn restore(&mut self) {
        self.health = Health::Healthy { is_suspect: false };
    }

    pub(super) fn judge(
        &mut self,
        now: Instant,
        next: u64,
        history: u64,
        stall_ns: u64,
    ) -> Verdict {
        let status_at = self.status_at;
        match &mut self.health {
            Health::Healthy { is_suspect } => {
                if std::mem::take(is_suspect)
                    && let Some(loss) = self.meter.lasting_above(BAD_LOSS_PERMILLE)
                {
                    return Verdict::Lossy(loss);
                }
                self.judge_blocking(now, stall_ns)
            }
            Health::Demoted { good_since, poll_at } => {
                // Not only within the history but within its newer half, or it
                // would hold the stream up at once.
                let is_near = next.saturating_sub(self.position) <= history / 2;
                if status_at >= good_since.saturating_add(RECOVERY_NS) && is_near {
                    return Verdict::Restore;
                }
                if now < *poll_at {
                    return Verdict::Fine;
                }
                *poll_at = now.saturating_add(DEMOTED_POLL_NS);
                Verdict::Poll
            }
        }
    }

    fn judge_blocking(&mut self, now: Instant, stall_ns: u64) -> Verdict {
        let status_at = self.status_at;
        let is_held = self.is_held;
        let Some(blocking) = &mut self.blocking else { return Verdict::Fine };
        if now >= blocking.silent_at(status_at) {
            return Verdict::Demote(Reason::Silent);
        }
        if now >= blocking.stuck_at(is_held, stall_ns) {
            return Verdict::Demote(Reason::Stuck);
        }
        if now < blocking.poll_at {
            return Verdict::Fine;
        }
        blocking.poll_at = now.saturating_add(POLL_NS);
        Verdict::Poll
    }

    pub(super) fn deadline(&self, stall_ns: u64) -> Option<Instant> {
        if let Health::Demoted { poll_at, .. } = self.health {
            return Some(poll_at);
        }
        let blocking = self.blocking?;
        let stuck_at = blocking.stuck_at(self.is_held, stall_ns);
        Some(blocking.poll_at.min(blocking.silent_at(self.status_at)).min(stuck_at))
    }
}

impl Blocking {
    fn silent_at(&self, status_at: Instant) -> Instant {
        self.since.max(status_at).saturating_add(SILENCE_NS)
    }

    /// Time at which the receiver is stuck. One whose listeners hold it up has the stall
    /// timeout to move. One that says they no longer do must move soon, and saying so again
    /// and again buys no more than the stall timeout either.
    fn stuck_at(&self, is_held: bool, stall_ns: u64) -> Instant {
        let patient_until = self.since.saturating_add(stall_ns).saturating_add(STUCK_NS);
        if is_held {
            patient_until
        } else {
            patient_until.min(self.free_since.saturating_add(STUCK_NS))
        }
    }
}
