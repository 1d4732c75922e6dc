//! Queues onto sockets, once per turn, and what is done about laggards.

use std::io;
use std::time::Duration;

use netcluster_platform::{Conn, Io};

use crate::connection::{Lag, State};
use crate::copies::Copies;
use crate::mesh::Message;
use crate::target::Target;
use crate::timers::Timer;

use super::Shard;

/// How often relief is asked for while connections starve for receive buffers.
const STARVED_RETRY: Duration = Duration::from_millis(2);

impl<I: Io> Shard<I> {
    /// One gather-write for each queue that was touched.
    pub(super) fn flush(&mut self) {
        for conn in self.dirty.drain(..) {
            let Some(connection) = self.connections[conn.0 as usize].as_deref_mut() else {
                continue;
            };
            connection.dirty = false;
            if connection.outbound.can_send() && !matches!(connection.state, State::Closed) {
                let rest = connection.outbound.start_send();
                let whole = connection.outbound.whole_slices();
                self.io.send(conn, rest.iter().chain(whole));
            }
        }
    }

    pub(super) fn mark_dirty(&mut self, conn: Conn) {
        let connection = self.at(conn);
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(conn);
        }
    }

    /// A gather-write was carried out.
    pub(super) fn sent(&mut self, conn: Conn, bytes: usize, blocked: bool) {
        self.totals.bytes_out += bytes as u64;
        let lag_bytes = self.lag_bytes;
        let connection = self.at(conn);
        connection.outbound.sent(bytes, blocked);
        let target = connection.target;
        let held_up = connection.holds_up();
        connection.outbound.drained();
        if connection.lag != Lag::None && connection.outbound.queued_bytes() <= lag_bytes / 2 {
            connection.lag = Lag::None;
        }
        let released = held_up && !connection.holds_up();
        // What was taken but is still on its way would be lost by closing now.
        let finished = !blocked && connection.outbound.is_empty() && connection.is_ending();
        if connection.outbound.can_send() {
            self.mark_dirty(conn);
        }
        if released {
            self.release_waiters(target);
        }
        if finished {
            self.all_sent(conn);
        }
    }

    /// A socket that was full has room.
    pub(super) fn writable(&mut self, conn: Conn) {
        let connection = self.at(conn);
        connection.outbound.writable();
        if connection.is_ending() && connection.outbound.is_empty() {
            self.all_sent(conn);
        } else {
            self.mark_dirty(conn);
        }
    }

    /// The other end is gone.
    pub(super) fn send_failed(&mut self, conn: Conn, error: &io::Error) {
        let connection = self.at(conn);
        tracing::debug!(client = connection.target.client, %error, "send failed");
        if !self.ends_later(conn) {
            self.disconnect(conn);
        }
    }

    /// Receive buffers ran short: frees those that laggards pin, here and on the
    /// other shards, so that nobody else waits for a slow reader.
    pub(super) fn relieve_pool(&mut self) {
        self.copy_out_laggards();
        // What is on its way between shards, or just being sent, can still turn out
        // to be held by a laggard: ask again until nobody starves.
        if !self.starved_timer {
            self.starved_timer = true;
            self.timers.set(self.deadline(STARVED_RETRY), Timer::Starved);
            for shard in self.mesh.others() {
                self.mesh.send(shard, Message::CopyOut);
            }
        }
    }

    /// Copies out what blocked queues and incomplete frames of this shard pin.
    pub(super) fn copy_out_laggards(&mut self) {
        let all = self.connections.iter().flatten();
        let blocked: Vec<Target> =
            all.filter(|it| it.outbound.is_blocked()).map(|it| it.target).collect();
        if !self.copy_out(blocked.iter().copied()) {
            self.unpin_partial_frames();
        }
    }

    /// Copies out what these queues pin. Returns whether there was anything.
    pub(super) fn copy_out(&mut self, targets: impl Iterator<Item = Target> + Clone) -> bool {
        let mut copies = Copies::new(self.shared.budget.clone());
        for target in targets.clone() {
            if let Some(connection) = self.find(target) {
                connection.outbound.pooled().for_each(|slice| copies.note(slice));
            }
        }
        for target in targets {
            if let Some(connection) = self.find(target) {
                connection.outbound.copy_out(&mut copies);
            }
        }
        self.totals.copied_out_bytes += copies.copied_bytes;
        copies.copied_bytes > 0
    }

    fn unpin_partial_frames(&mut self) {
        for at in 0..self.connections.len() {
            let Some(connection) = self.connections[at].as_deref_mut() else { continue };
            if connection.inbound.unpin(&self.shared.budget) {
                let conn = Conn(at as u32);
                self.stop_receiving(conn);
            }
        }
    }
}
