//! A new session while the broker runs: what was random once may be used by
//! somebody else, or was used before.
//!
//! A machine that is restored from a snapshot goes back to counters and numbers that
//! it has used, under the same keys; a clone uses the same ones as the other. So all
//! that belongs to the session is made anew, as after a restart; channels and wishes
//! of the clients stay.
//!
//! Invariant: nothing that the old session has numbered is sent any more.
//!
//! Decision: `docs/decisions/042-renewal-after-restore.md`.

use netcluster_platform::Instant;

use crate::Link;
use crate::control::control_sender::ControlSender;
use crate::event::Gone;
use crate::send::scheduler::Scheduler;

impl Link {
    /// Begins a new session. Peers find this broker anew; listeners here and there
    /// are told that events may be missing.
    pub fn renew(&mut self, now: Instant) {
        while let Some(slot) = self.peers.slot_at(0) {
            self.bury(now, slot, Gone::Renewed);
        }
        self.local.renew(now);
        self.membership.renew(now, &self.local.config);
        self.control = ControlSender::new(&self.local.config.keys, &self.local.session);
        self.scheduler = Scheduler::new(now, self.local.config.rate);
        self.inbound.touched = None;
        self.outbound.renew(self.local.session, &self.peers);
        self.counters.renewed += 1;
        self.timer.due(now);
    }
}
