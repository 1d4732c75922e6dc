//! Flush of queues onto sockets, once per turn.

use std::io;

use netcluster_platform::{Conn, Io};

use crate::connection::{Lag, State};

use super::Shard;

impl<I: Io> Shard<I> {
    /// Starts one gather-write for each queue that was touched.
    pub(super) fn flush(&mut self) {
        self.take_sharing_steps();
        for conn in self.fan_out.take_dirty() {
            let Some(connection) = self.connections.get_mut(conn) else { continue };
            connection.dirty = false;
            if connection.outbound.can_send() && !matches!(connection.state, State::Closed) {
                let rest = connection.outbound.start_send();
                let whole = connection.outbound.whole_slices();
                self.io.send(conn, rest.iter().chain(whole));
            }
        }
    }

    pub(super) fn mark_dirty(&mut self, conn: Conn) {
        self.fan_out.mark_dirty(self.connections.at(conn));
    }

    /// Handles a gather-write that was carried out.
    pub(super) fn sent(&mut self, conn: Conn, bytes: usize, blocked: bool) {
        self.totals.bytes_out += bytes as u64;
        let lag_bytes = self.fan_out.lag_bytes;
        let connection = self.connections.at(conn);
        connection.outbound.sent(bytes, blocked);
        let target = connection.target;
        let held_up = connection.holds_up();
        connection.outbound.drained();
        if connection.lag != Lag::None && connection.outbound.queued_bytes() <= lag_bytes / 2 {
            connection.lag = Lag::None;
        }
        let released = held_up && !connection.holds_up();
        // Bytes that were taken but are still on their way would be lost by closing
        // now.
        let is_empty = connection.outbound.is_empty();
        let finished = !blocked && is_empty && connection.is_ending();
        match (is_empty, connection.waits_since) {
            (true, None) => self.delays.add_none(),
            (true, Some(since)) => {
                connection.waits_since = None;
                self.delays.add(self.now.since(since));
            }
            (false, None) => connection.waits_since = Some(self.now),
            (false, Some(_)) => {}
        }
        let is_step_due = connection.sharing.is_step_due();
        let is_sharing_due = connection.sharing.moved(bytes);
        if connection.outbound.can_send() {
            self.mark_dirty(conn);
        }
        if is_step_due {
            self.memories.due.push(conn);
        }
        if released {
            self.release_waiters(target);
        }
        if is_sharing_due {
            self.order_memory(conn);
        }
        // What the other end has not read of shared memory would be lost, too.
        if finished && self.io.is_read(conn) {
            self.all_sent(conn);
        }
    }

    /// Resumes sending on a socket that was full and has room.
    pub(super) fn writable(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        connection.outbound.writable();
        if connection.sharing.is_step_due() {
            self.memories.due.push(conn);
        }
        if connection.is_ending() && connection.outbound.is_empty() {
            if self.io.is_read(conn) {
                self.all_sent(conn);
            }
        } else {
            self.mark_dirty(conn);
        }
    }

    /// Ends a connection whose other end is gone, as a send failed.
    pub(super) fn send_failed(&mut self, conn: Conn, error: &io::Error) {
        let connection = self.connections.at(conn);
        tracing::debug!(client = connection.target.client, %error, "send failed");
        self.broke_shared_memory(conn, error);
        if !self.ends_later(conn) {
            self.disconnect(conn);
        }
    }
}
