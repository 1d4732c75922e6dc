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

use crate::Link;
use crate::announce::Announce;
use crate::discovery::Discovery;
use crate::event::Gone;
use crate::handshake::Handshakes;
use crate::mail::Mail;
use crate::own::OwnStream;
use crate::peer_id::session_tag;
use crate::sending::Sending;

impl Link {
    /// Begins a new session. Peers find this broker anew; listeners here and there
    /// are told that events may be missing.
    pub fn renew(&mut self, now_ns: u64) {
        while let Some(slot) = self.peers.slot_at(0) {
            self.bury(now_ns, slot, Gone::Renewed);
        }
        self.entropy.fill(&mut self.session);
        self.tag = session_tag(&self.session);
        self.egress_config.session = self.session;
        self.mail = Mail::new(&self.config.keys, &self.session);
        self.handshakes = Handshakes::default();
        self.sending = Sending::new(now_ns, self.config.rate);
        self.touched = None;
        let stall_ns = self.config.stall_timeout.as_nanos() as u64;
        for own in &mut self.own {
            *own = OwnStream::new(own.id, &self.egress_config, stall_ns);
        }
        self.fit_streams();
        self.started_ns = now_ns;
        self.announce = Announce::new(now_ns);
        self.discovery = Discovery::new(now_ns, self.config.discovery.as_nanos() as u64);
        self.counters.renewed += 1;
        self.next_ns = now_ns;
    }
}
