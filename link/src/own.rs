//! One own stream with all that belongs to it.

use std::ops::Range;

use crate::beat::Beat;
use crate::egress::{Egress, EgressConfig};
use crate::flow::Flow;
use crate::repair::Repairs;
use crate::stream::StreamId;

pub(super) struct OwnStream {
    pub id: StreamId,
    pub egress: Egress,
    pub flow: Flow,
    pub repairs: Repairs,
    pub beat: Beat,
    /// Requests for repairs of it.
    pub naks_received: u64,
    /// Datagrams of it that were sent again.
    pub repaired: u64,
    /// What was kept for peers that were looked for was too much.
    pub has_spilt: bool,
}

impl OwnStream {
    pub fn new(id: StreamId, config: &EgressConfig, stall_ns: u64) -> OwnStream {
        let history = (config.history_bytes / config.datagram_bytes) as u64;
        OwnStream {
            id,
            egress: Egress::new(id, config),
            flow: Flow::new(history, if id.is_pressured() { stall_ns } else { 0 }),
            repairs: Repairs::new(),
            beat: Beat::new(),
            naks_received: 0,
            repaired: 0,
            has_spilt: false,
        }
    }

    /// Whether all that are waited for have everything that was sent.
    pub fn is_confirmed(&self) -> bool {
        self.flow.needed() >= self.egress.next().number
    }

    /// What can be sent again.
    pub fn held(&self) -> Range<u64> {
        self.egress.tail()..self.egress.next().number
    }

    /// Receivers came, went or stated how far they are.
    pub fn receivers_changed(&mut self) {
        self.egress.set_needed(self.flow.needed());
        if !self.flow.is_wanted() {
            self.beat.stop();
        }
    }

    /// The last receiver is gone: what is not sent is for nobody.
    pub fn forget_unsent(&mut self) {
        self.egress.discard_unsent();
        self.flow.unblocked();
    }

    /// The history is full of what nobody wants yet: it is given up, and told lost
    /// to who comes later.
    pub fn spill(&mut self) {
        self.forget_unsent();
        self.has_spilt = true;
    }
}
