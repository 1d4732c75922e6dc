//! One receiver of one own stream: what it stated, and whether it is waited for.

use super::loss::{LossMeter, Sample};
use super::{
    BAD_LOSS_PERMILLE, DEMOTED_POLL_NS, FIRST_WINDOW, GOOD_LOSS_PERMILLE, POLL_NS, RECOVERY_NS,
    Reason, SILENCE_NS, STUCK_NS,
};
use crate::peer_id::PeerId;

/// How data reaches a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// It hears the group.
    Multicast,
    /// It is sent copies of its own.
    Unicast,
}

/// What a receiver states about one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The next number that it has not received in order.
    pub position: u64,
    /// Numbers below this may be sent.
    pub limit: u64,
    /// Numbers ever noticed missing.
    pub seen_lost: u64,
    /// Its listeners hold it up.
    pub is_held: bool,
}

/// One receiver.
#[derive(Debug)]
pub struct Receiver {
    /// Who it is.
    pub peer: PeerId,
    /// How it is reached.
    pub path: Path,
    /// The next number that it has not received in order.
    pub position: u64,
    /// Numbers below this may be sent to it.
    pub limit: u64,
    /// Its listeners hold it up.
    pub is_held: bool,
    /// When it last stated anything.
    pub status_ns: u64,
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
        /// Since when it has done well.
        good_ns: u64,
        poll_ns: u64,
    },
}

/// It holds the sender up.
#[derive(Clone, Copy, Debug)]
struct Blocking {
    /// Since then, without any movement.
    since_ns: u64,
    /// Since then its listeners do not hold it up (if they do not).
    free_ns: u64,
    poll_ns: u64,
}

/// What must happen to a receiver.
pub enum Verdict {
    Fine,
    Poll,
    Demote(Reason),
    /// To be demoted if the others do better.
    Lossy(u64),
    Restore,
}

impl Receiver {
    pub(super) fn new(now_ns: u64, peer: PeerId, number: u64, path: Path) -> Receiver {
        Receiver {
            peer,
            path,
            position: number,
            limit: number.saturating_add(FIRST_WINDOW),
            is_held: false,
            status_ns: now_ns,
            meter: LossMeter::new(now_ns, number),
            health: Health::Healthy { is_suspect: false },
            blocking: None,
        }
    }

    /// Whether it is waited for.
    pub fn is_healthy(&self) -> bool {
        matches!(self.health, Health::Healthy { .. })
    }

    /// Its loss over the last two spans, per mille, if it is known.
    pub fn loss(&self) -> Option<u64> {
        self.meter.permille()
    }

    /// Whether it is to be judged now, whatever its deadline.
    pub(super) fn is_ripe(&self) -> bool {
        match self.health {
            Health::Healthy { is_suspect } => is_suspect,
            Health::Demoted { good_ns, .. } => {
                self.status_ns >= good_ns.saturating_add(RECOVERY_NS)
            }
        }
    }

    pub(super) fn on_status(&mut self, now_ns: u64, next: u64, report: &Report) -> Sample {
        // Statuses may overtake each other, but neither value ever falls. What
        // was not sent cannot have been received.
        let position = report.position.min(next).max(self.position);
        let limit = report.limit.max(self.limit);
        let has_moved = position > self.position || limit > self.limit;
        if let Some(blocking) = &mut self.blocking {
            if has_moved {
                blocking.since_ns = now_ns;
                blocking.free_ns = now_ns;
            } else if self.is_held && !report.is_held {
                blocking.free_ns = now_ns;
            }
            blocking.poll_ns = now_ns.saturating_add(POLL_NS);
        }
        let silence_ns = now_ns.saturating_sub(self.status_ns);
        if let Health::Demoted { good_ns, poll_ns } = &mut self.health {
            *poll_ns = now_ns.saturating_add(DEMOTED_POLL_NS);
            if silence_ns >= RECOVERY_NS {
                *good_ns = now_ns;
            }
        }
        self.position = position;
        self.limit = limit;
        self.is_held = report.is_held;
        self.status_ns = now_ns;
        self.on_loss(now_ns, next, report.seen_lost)
    }

    pub(super) fn on_loss(&mut self, now_ns: u64, next: u64, seen_lost: u64) -> Sample {
        let (sample, span) = self.meter.report(now_ns, next, seen_lost);
        match (&mut self.health, span) {
            (Health::Healthy { is_suspect }, Some(_)) => {
                *is_suspect = self.meter.lasting_above(BAD_LOSS_PERMILLE).is_some();
            }
            (Health::Demoted { good_ns, .. }, Some(loss)) if loss >= GOOD_LOSS_PERMILLE => {
                *good_ns = now_ns;
            }
            _ => {}
        }
        sample
    }

    /// The sender wants to send `next`: does this one keep it from that?
    pub(super) fn set_blocking(&mut self, now_ns: u64, next: u64, history: u64) {
        let is_full = next.saturating_sub(self.position) >= history;
        if !self.is_healthy() || (next < self.limit && !is_full) {
            self.blocking = None;
        } else if self.blocking.is_none() {
            let poll_ns = now_ns.saturating_add(POLL_NS);
            self.blocking = Some(Blocking { since_ns: now_ns, free_ns: now_ns, poll_ns });
        }
    }

    pub(super) fn unblock(&mut self) {
        self.blocking = None;
    }

    pub(super) fn demote(&mut self, now_ns: u64) {
        self.blocking = None;
        self.meter.forget(now_ns);
        let poll_ns = now_ns.saturating_add(DEMOTED_POLL_NS);
        self.health = Health::Demoted { good_ns: now_ns, poll_ns };
    }

    pub(super) fn restore(&mut self) {
        self.health = Health::Healthy { is_suspect: false };
    }

    pub(super) fn judge(&mut self, now_ns: u64, next: u64, history: u64, stall_ns: u64) -> Verdict {
        let status_ns = self.status_ns;
        match &mut self.health {
            Health::Healthy { is_suspect } => {
                if std::mem::take(is_suspect)
                    && let Some(loss) = self.meter.lasting_above(BAD_LOSS_PERMILLE)
                {
                    return Verdict::Lossy(loss);
                }
                self.judge_blocking(now_ns, stall_ns)
            }
            Health::Demoted { good_ns, poll_ns } => {
                // Not only within the history but within its newer half, or it
                // would hold the stream up at once.
                let is_near = next.saturating_sub(self.position) <= history / 2;
                if status_ns >= good_ns.saturating_add(RECOVERY_NS) && is_near {
                    return Verdict::Restore;
                }
                if now_ns < *poll_ns {
                    return Verdict::Fine;
                }
                *poll_ns = now_ns.saturating_add(DEMOTED_POLL_NS);
                Verdict::Poll
            }
        }
    }

    fn judge_blocking(&mut self, now_ns: u64, stall_ns: u64) -> Verdict {
        let status_ns = self.status_ns;
        let is_held = self.is_held;
        let Some(blocking) = &mut self.blocking else { return Verdict::Fine };
        if now_ns >= blocking.silent_ns(status_ns) {
            return Verdict::Demote(Reason::Silent);
        }
        if now_ns >= blocking.stuck_ns(is_held, stall_ns) {
            return Verdict::Demote(Reason::Stuck);
        }
        if now_ns < blocking.poll_ns {
            return Verdict::Fine;
        }
        blocking.poll_ns = now_ns.saturating_add(POLL_NS);
        Verdict::Poll
    }

    pub(super) fn deadline_ns(&self, stall_ns: u64) -> Option<u64> {
        if let Health::Demoted { poll_ns, .. } = self.health {
            return Some(poll_ns);
        }
        let blocking = self.blocking?;
        let stuck_ns = blocking.stuck_ns(self.is_held, stall_ns);
        Some(blocking.poll_ns.min(blocking.silent_ns(self.status_ns)).min(stuck_ns))
    }
}

impl Blocking {
    fn silent_ns(&self, status_ns: u64) -> u64 {
        self.since_ns.max(status_ns).saturating_add(SILENCE_NS)
    }

    /// One whose listeners hold it up has the stall timeout to move. One that says
    /// they no longer do must move soon, and saying so again and again buys no
    /// more than the stall timeout either.
    fn stuck_ns(&self, is_held: bool, stall_ns: u64) -> u64 {
        let patient_ns = self.since_ns.saturating_add(stall_ns).saturating_add(STUCK_NS);
        match is_held {
            true => patient_ns,
            false => patient_ns.min(self.free_ns.saturating_add(STUCK_NS)),
        }
    }
}
