//! The last moments of a connection that the broker ends with an error: the client
//! must be able to learn why.
//!
//! A socket that is closed while its client writes fails the write, and what the
//! broker said last may never be read. So behind the error only the sending
//! direction ends; what the client still sends is read and thrown away, until it
//! closes, or for the linger time, or up to a limit. A pipe has no such direction, and
//! what was written to it can be read after its close: it is closed.
//!
//! Invariant: bytes that arrive here are not looked at.

use netcluster_platform::{Conn, Io};

use crate::connection::{Receiving, State};

use super::Shard;

/// Bytes that are thrown away for one client, 64 MiB: a write of several large events
/// that was under way comes to its end.
const MAX_DRAINED_BYTES: usize = 64 << 20;

/// Connections of one shard that are drained at a time; those beyond it are closed
/// once the error is sent.
const MAX_DRAINED: usize = 1024;

impl<I: Io> Shard<I> {
    /// Reads on from a connection that is being ended, throwing away what comes, if
    /// not too many others are read from in this way.
    pub(super) fn start_draining(&mut self, conn: Conn) {
        if self.connections.drained >= MAX_DRAINED
            || self.connections.at(conn).receiving == Receiving::Ended
        {
            // Bytes that come are not looked at; stopping would cost more than that.
            return;
        }
        self.connections.drained += 1;
        let connection = self.connections.at(conn);
        connection.state = State::Draining { bytes: 0 };
        connection.inbound.forget();
        self.start_receiving(conn);
    }

    /// Throws away bytes of a connection that is drained.
    pub(super) fn throw_away(&mut self, conn: Conn, count: usize) {
        if let State::Draining { bytes } = &mut self.connections.at(conn).state {
            *bytes += count;
            if *bytes > MAX_DRAINED_BYTES {
                self.close(conn);
            }
        }
    }

    /// Ends the sending direction of a connection that is drained, or closes the
    /// connection, once all that was queued to it is sent.
    pub(super) fn all_sent(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        let is_heard = connection.receiving != Receiving::Ended;
        let is_drained = is_heard && matches!(connection.state, State::Draining { .. });
        // Where only a close shows the end, that comes at once.
        if !is_drained || !self.io.end_sending(conn) {
            self.close(conn);
        }
    }
}
