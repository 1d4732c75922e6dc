//! Turn of a shard's connections with shared memory in each wait.
//!
//! ```text
//!   bell, receive ──▶ ready ──▶ one chunk each ──▶ ready, if there may be more
//!                       ▲            │ nothing there
//!                       └── looked ──┴──▶ idle ──▶ about to sleep: its bell is asked for
//! ```
//! Invariant: a connection that receives is on the ready list, idle, starved, or has asked
//! for its bell.

use super::arena::RING_BUFFER_BYTES;
use super::attachment::{Inbound, Taken, fault_error};
use super::attachments::{Attachments, conn_of};
use crate::io::{Completion, Conn, ReceiveEnd};

/// Connections whose empty rings are looked at in each wait; the bells of those that were
/// empty for longer are asked for at once.
const MAX_IDLE: usize = 16;

/// Connections whose releases are looked at in each wait.
const LOOKS_PER_WAIT: usize = 8;

impl Attachments {
    /// Begins a wait: reports what is done, gives up what can no longer be put back, looks
    /// at releases and at rings that were empty.
    pub(crate) fn start(&mut self, completions: &mut Vec<Completion>) {
        self.turn += 1;
        self.report_done(completions);
        for conn in std::mem::take(&mut self.recent) {
            let Some(attachment) = self.find(conn) else { continue };
            attachment.settle();
            if attachment.receives() && attachment.has_bytes().is_ok_and(|has| has) {
                self.fronts.push(conn);
            } else {
                attachment.unpin_front();
            }
        }
        for _ in 0..LOOKS_PER_WAIT.min(self.in_flight.len()) {
            self.look_at_next_releases(completions);
        }
        self.feed_starved(completions);
        self.look_at_idle();
        self.report_done(completions);
    }

    fn report_done(&mut self, completions: &mut Vec<Completion>) {
        for completion in self.done.drain(..) {
            let Some(conn) = conn_of(&completion) else { continue };
            let Some(attachment) = self.table[conn.0 as usize].as_deref_mut() else { continue };
            match &completion {
                Completion::Sent { .. } | Completion::SendFailed { .. } => {
                    attachment.outbound.sending = false;
                }
                Completion::ReceiveEnded { end: ReceiveEnd::Stopped, .. } => {
                    attachment.inbound = Inbound::Idle;
                }
                _ => {}
            }
            completions.push(completion);
        }
    }

    fn look_at_next_releases(&mut self, completions: &mut Vec<Completion>) {
        let Some(conn) = self.in_flight.pop_front() else { return };
        self.look_at_releases(conn, completions);
        let Some(attachment) = self.find(conn) else { return };
        attachment.listed.in_flight = attachment.outbound.is_in_flight();
        if attachment.listed.in_flight {
            self.in_flight.push_back(conn);
        }
    }

    pub(super) fn look_at_releases(&mut self, conn: Conn, completions: &mut Vec<Completion>) {
        let Some(attachment) = self.find(conn).filter(|it| it.fault.is_none()) else { return };
        match attachment.outbound.settle() {
            Ok(false) => {}
            Ok(true) => completions.push(Completion::Writable { conn }),
            Err(fault) => self.fail(conn, fault.to_string()),
        }
    }

    /// Looks at all that is in flight, because buffers are short.
    pub(crate) fn look_at_all_releases(&mut self, completions: &mut Vec<Completion>) {
        for _ in 0..self.in_flight.len() {
            self.look_at_next_releases(completions);
        }
    }

    /// Has whoever pins a buffer ring when something is released, because this shard is
    /// about to sleep without one. False if something was.
    pub(crate) fn ask_for_releases(&mut self) -> bool {
        for place in 0..self.in_flight.len() {
            let conn = self.in_flight[place];
            let Some(attachment) = self.find(conn).filter(|it| it.fault.is_none()) else {
                continue;
            };
            if attachment.outbound.is_in_flight() && !attachment.outbound.ask_for(1) {
                return false;
            }
        }
        true
    }

    /// Lets starved connections take again once there are buffers.
    fn feed_starved(&mut self, completions: &mut Vec<Completion>) {
        if self.starved_count == 0 {
            self.starved.clear();
            return;
        }
        self.look_at_all_releases(completions);
        if !self.buffers.is_ample() {
            return;
        }
        self.starved_count = 0;
        for conn in std::mem::take(&mut self.starved) {
            let Some(attachment) = self.find(conn) else { continue };
            if std::mem::take(&mut attachment.listed.starved) {
                self.make_ready(conn);
            }
        }
    }

    /// Looks at the rings that were empty; the longest of too many asks for its bell.
    fn look_at_idle(&mut self) {
        for _ in 0..self.idle.len() {
            let asks = self.idle.len() > MAX_IDLE;
            let Some(conn) = self.idle.pop_front() else { return };
            let Some(attachment) = self.find(conn) else { continue };
            attachment.listed.idle = false;
            if !attachment.receives() || attachment.listed.ready {
                continue;
            }
            let is_empty =
                if asks { attachment.wait() } else { attachment.has_bytes().map(|it| !it) };
            match is_empty {
                Ok(true) if asks => {}
                Ok(true) => {
                    attachment.listed.idle = true;
                    self.idle.push_back(conn);
                }
                Ok(false) => self.make_ready(conn),
                Err(text) => self.fail(conn, text),
            }
        }
    }

    /// Whether there is something to do without anybody's ringing.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty() || !self.done.is_empty()
    }

    /// Asks for the bells of all rings, which are empty as far as is known. Returns whether
    /// they are: then the shard may sleep.
    pub(crate) fn may_sleep(&mut self) -> bool {
        if self.has_work() {
            return false;
        }
        while let Some(conn) = self.idle.pop_front() {
            let Some(attachment) = self.find(conn) else { continue };
            attachment.listed.idle = false;
            if !attachment.receives() || attachment.listed.ready {
                continue;
            }
            match attachment.wait() {
                Ok(true) => {}
                Ok(false) => self.make_ready(conn),
                Err(text) => self.fail(conn, text),
            }
        }
        !self.has_work() && (self.starved_count == 0 || self.ask_for_releases())
    }

    /// Takes from each ring that is ready, as far as the budget goes. Returns how many
    /// bytes came.
    pub(crate) fn turn(&mut self, budget: usize, completions: &mut Vec<Completion>) -> usize {
        let turn = self.turn;
        let mut bytes = 0;
        // The budget of a turn grows with the number of clients, so that a send to each takes
        // several frames.
        let rounds = (budget / RING_BUFFER_BYTES).max(1) as u32;
        for _ in 0..rounds {
            for _ in 0..self.ready.len() {
                if bytes >= budget {
                    break;
                }
                let Some(conn) = self.ready.pop_front() else { break };
                let Some(attachment) = self.find(conn) else { continue };
                if !std::mem::take(&mut attachment.listed.ready) {
                    continue;
                }
                if std::mem::replace(&mut attachment.turn, turn) != turn {
                    attachment.served = 0;
                }
                if attachment.served >= rounds {
                    self.make_ready(conn);
                    continue;
                }
                attachment.served += 1;
                bytes += self.serve(conn, completions);
            }
        }
        // Who was not served lets go of his front: it must not keep a buffer from others.
        for conn in std::mem::take(&mut self.fronts) {
            if let Some(attachment) = self.find(conn).filter(|it| it.turn != turn) {
                attachment.unpin_front();
            }
        }
        self.report_done(completions);
        bytes
    }

    fn serve(&mut self, conn: Conn, completions: &mut Vec<Completion>) -> usize {
        let Attachments { table, buffers, .. } = self;
        let Some(attachment) = table[conn.0 as usize].as_deref_mut() else { return 0 };
        if let Some(text) = &attachment.fault {
            if matches!(attachment.inbound, Inbound::Stream | Inbound::Filling(..)) {
                let end = ReceiveEnd::Failed(fault_error(text));
                attachment.inbound = Inbound::Ended;
                completions.push(Completion::ReceiveEnded { conn, end });
            }
            return 0;
        }
        let mut taken = attachment.take(buffers);
        if let Ok(Taken::Starved) = taken {
            self.look_at_all_releases(completions);
            let Attachments { table, buffers, .. } = self;
            let Some(attachment) = table[conn.0 as usize].as_deref_mut() else { return 0 };
            taken = attachment.take(buffers);
        }
        let (stats, attachment) = (&mut self.stats, self.table[conn.0 as usize].as_deref_mut());
        let Some(attachment) = attachment else { return 0 };
        let bytes = match taken {
            Ok(Taken::Chunk(chunk, bytes)) => {
                completions.push(Completion::Received { conn, chunk });
                self.recent.push(conn);
                bytes
            }
            Ok(Taken::Filled(bytes, buffer)) => {
                completions.extend(buffer.map(|buffer| Completion::Filled { conn, buffer }));
                bytes
            }
            Ok(Taken::Nothing) => {
                if attachment.receives() && !attachment.listed.idle {
                    attachment.listed.idle = true;
                    self.idle.push_back(conn);
                }
                return 0;
            }
            Ok(Taken::Starved) if self.buffers.buffers() == 0 => {
                self.fail(conn, "there is no memory for what comes by its ring".to_owned());
                return 0;
            }
            Ok(Taken::Starved) => {
                stats.starvations += 1;
                attachment.listed.starved = true;
                self.starved.push(conn);
                self.starved_count += 1;
                return 0;
            }
            Ok(Taken::End(end)) => {
                completions.push(Completion::ReceiveEnded { conn, end });
                return 0;
            }
            Err(text) => {
                self.fail(conn, text);
                return 0;
            }
        };
        stats.receives += 1;
        stats.received_bytes += bytes as u64;
        self.make_ready(conn);
        bytes
    }
}
