//! Leaving in order: what was emitted is sent, then all are told where the
//! streams end.

use std::time::Duration;

use crate::Link;

const MS_NS: u64 = 1_000_000;

/// How often it is looked whether they have.
const LOOK_NS: u64 = 5 * MS_NS;

/// A goodbye is said so many times, since nobody confirms it.
const GOODBYES: u32 = 3;

const GOODBYE_INTERVAL_NS: u64 = 10 * MS_NS;

#[derive(Default)]
pub(crate) enum LeaveState {
    /// Not yet.
    #[default]
    Live,
    /// Waiting for what was sent to be confirmed.
    Draining { until_ns: u64, next_ns: u64 },
    /// Saying goodbye.
    Saying { times: u32, next_ns: u64 },
    /// All is said.
    Over,
}

impl LeaveState {
    /// Whether leaving has begun.
    pub fn is_leaving(&self) -> bool {
        !matches!(self, LeaveState::Live)
    }

    pub fn next_ns(&self) -> u64 {
        match self {
            LeaveState::Live | LeaveState::Over => u64::MAX,
            LeaveState::Draining { next_ns, .. } | LeaveState::Saying { next_ns, .. } => *next_ns,
        }
    }
}

impl Link {
    /// Begins to leave: the rest is sent, until it is confirmed or this time has
    /// passed; then all peers are told. Nothing may be emitted any more. Again: it
    /// may take no longer than this from now on.
    pub fn leave(&mut self, now_ns: u64, within: Duration) {
        let until_ns = now_ns.saturating_add(within.as_nanos() as u64);
        match &mut self.membership.leave {
            LeaveState::Live => {}
            LeaveState::Draining { until_ns: before_ns, next_ns } => {
                *before_ns = until_ns.min(*before_ns);
                *next_ns = now_ns;
                return self.timer.due(now_ns);
            }
            LeaveState::Saying { .. } | LeaveState::Over => return,
        }
        self.membership.leave = LeaveState::Draining { until_ns, next_ns: now_ns };
        // Heartbeats begin anew, and ask for statuses.
        self.outbound.restart_heartbeats(now_ns);
        self.timer.due(now_ns);
    }

    /// Whether leaving is over, and the sockets may be closed.
    pub fn has_left(&self) -> bool {
        matches!(self.membership.leave, LeaveState::Over)
            && self.control.queue.is_empty()
            && !self.scheduler.has_post()
    }

    pub(crate) fn run_leave(&mut self, now_ns: u64) {
        if let LeaveState::Draining { until_ns, next_ns } = self.membership.leave {
            if now_ns < next_ns {
                return;
            }
            let is_drained = self.membership.discovery.is_over() && self.outbound.is_drained();
            if !is_drained && now_ns < until_ns {
                let next_ns = until_ns.min(now_ns + LOOK_NS);
                self.membership.leave = LeaveState::Draining { until_ns, next_ns };
                return;
            }
            self.membership.leave = LeaveState::Saying { times: 0, next_ns: now_ns };
        }
        if let LeaveState::Saying { times, next_ns } = self.membership.leave
            && now_ns >= next_ns
        {
            self.outbound.say_goodbye(&self.peers, &self.local, &mut self.control);
            let next_ns = now_ns + GOODBYE_INTERVAL_NS;
            self.membership.leave = if times + 1 < GOODBYES {
                LeaveState::Saying { times: times + 1, next_ns }
            } else {
                LeaveState::Over
            };
        }
    }
}
