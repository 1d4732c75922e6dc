//! Leaving in order: what was emitted is sent, then all are told where the
//! streams end.

use std::time::Duration;

use netcluster_platform::Instant;

use crate::Link;

const MS_NS: u64 = 1_000_000;

/// Time between two looks whether the receivers have everything.
const LOOK_NS: u64 = 5 * MS_NS;

/// Times that goodbye is said, since nobody confirms it.
const GOODBYES: u32 = 3;

const GOODBYE_INTERVAL_NS: u64 = 10 * MS_NS;

#[derive(Default)]
pub(crate) enum LeaveState {
    /// Leaving has not begun.
    #[default]
    Live,
    /// The rest is sent, and to be confirmed.
    Draining { until: Instant, next_at: Instant },
    /// Goodbye is being said.
    Saying { times: u32, next_at: Instant },
    /// All is said.
    Over,
}

impl LeaveState {
    /// Whether leaving has begun.
    pub fn is_leaving(&self) -> bool {
        !matches!(self, LeaveState::Live)
    }

    pub fn next_at(&self) -> Instant {
        match self {
            LeaveState::Live | LeaveState::Over => Instant::NEVER,
            LeaveState::Draining { next_at, .. } | LeaveState::Saying { next_at, .. } => *next_at,
        }
    }
}

impl Link {
    /// Begins to leave: the rest is sent, until it is confirmed or this time has passed;
    /// then all peers are told. Nothing may be emitted any more. Called again, it lets
    /// leaving take no longer than this from then on.
    pub fn leave(&mut self, now: Instant, within: Duration) {
        let until = now.saturating_add(within.as_nanos() as u64);
        match &mut self.membership.leave {
            LeaveState::Live => {}
            LeaveState::Draining { until: before, next_at } => {
                *before = until.min(*before);
                *next_at = now;
                return self.timer.due(now);
            }
            LeaveState::Saying { .. } | LeaveState::Over => return,
        }
        self.is_paused = false;
        self.membership.leave = LeaveState::Draining { until, next_at: now };
        // Heartbeats begin anew, and ask for statuses.
        self.outbound.restart_heartbeats(now);
        self.timer.due(now);
    }

    /// Whether leaving is over, and the sockets may be closed.
    pub fn has_left(&self) -> bool {
        matches!(self.membership.leave, LeaveState::Over)
            && self.control.queue.is_empty()
            && !self.scheduler.has_post()
    }

    pub(crate) fn run_leave(&mut self, now: Instant) {
        if let LeaveState::Draining { until, next_at } = self.membership.leave {
            if now < next_at {
                return;
            }
            let is_drained = self.membership.discovery.is_over() && self.outbound.is_drained();
            if !is_drained && now < until {
                let next_at = until.min(now + LOOK_NS);
                self.membership.leave = LeaveState::Draining { until, next_at };
                return;
            }
            self.membership.leave = LeaveState::Saying { times: 0, next_at: now };
        }
        if let LeaveState::Saying { times, next_at } = self.membership.leave
            && now >= next_at
        {
            self.outbound.say_goodbye(&self.peers, &self.local, &mut self.control);
            let next_at = now + GOODBYE_INTERVAL_NS;
            self.membership.leave = if times + 1 < GOODBYES {
                LeaveState::Saying { times: times + 1, next_at }
            } else {
                LeaveState::Over
            };
        }
    }
}
