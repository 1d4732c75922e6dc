//! Giving up on what is asked for again and again and cannot come.
//!
//! A way may drop a datagram each time, for its size as a rule, and let others pass.
//! Then the stream goes on behind it, and its events are told as lost: nothing waits
//! for ever.
//!
//! Decision: `docs/decisions/036-receiver-gives-up.md`.

use netcluster_platform::Instant;

use super::loss_detector::Vain;
use super::{Ingress, Life};

impl Ingress {
    /// Gives up what was asked for in vain for too long, while others arrived; what
    /// that was. Lost events are told by the next [`Ingress::poll_delivery`].
    pub fn give_up_in_vain(&mut self, now: Instant, retransmit_ns: u64) -> Option<Vain> {
        if self.held.is_some() || self.life != Life::Live {
            // While held nothing goes on, whatever comes, and little is kept.
            self.loss_detector.forgive(now);
            return None;
        }
        // What nothing confirms may be sent yet.
        let sent = self.claims.end().number.min(self.known_end());
        let vain = self.loss_detector.in_vain(now, retransmit_ns, sent)?;
        // As if the sender had it no more.
        self.claims.give_up_below(vain.end);
        self.loss_detector.forget_below(vain.end);
        self.counters.given_up += vain.numbers;
        Some(vain)
    }

    /// Lets the time so far not count: this machine slept, or nothing came.
    pub fn forgive(&mut self, now: Instant) {
        self.stall.forget();
        self.forgive_gaps(now);
    }

    /// Forgives what is missing alone.
    pub fn forgive_gaps(&mut self, now: Instant) {
        self.loss_detector.forgive(now);
    }
}
