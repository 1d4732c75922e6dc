//! Life cycle of connections: placing, disconnecting, closing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use netcluster_platform::{Conn, Io, Slice};
use netcluster_wire::control::encode_error;
use netcluster_wire::{ErrorCode, Hello, Kind, Source, frame};

use crate::connection::{Moving, Receiving, State};
use crate::mesh::Message;
use crate::pattern_set::PatternSet;
use crate::placement::{Reason, Told};
use crate::target::{ShardId, Target};
use crate::timers::Timer;

use super::Shard;

/// The shard that accepts, where connections can move to others.
const ACCEPTING_SHARD: ShardId = ShardId(0);

impl<I: Io> Shard<I> {
    /// Finds a shard for a client that said hello. Returns whether it is open
    /// here now.
    pub(super) fn place(
        &mut self,
        conn: Conn,
        hello: Hello,
        channel: Arc<str>,
        rest: &[u8],
    ) -> bool {
        self.hold_for_return(&hello, &channel);
        let peer = self.connections.at(conn).peer.clone();
        let placement = self.acceptor.books();
        let shard = placement.place(&channel);
        let reason = placement.take_reason(hello.previous, &peer);
        if let Some(seat) = &mut self.connections.at(conn).seat {
            seat.spoke();
        }
        if shard == self.id {
            self.open(conn, hello, &channel, reason);
            return true;
        }
        let rest = rest.to_vec();
        let moving = Moving { shard, hello, channel, rest, reason };
        self.connections.at(conn).state = State::Moving(Box::new(moving));
        self.stop_receiving(conn);
        false
    }

    /// Notes in this shard's books, if it has any, that a client is gone.
    pub(super) fn departed(&mut self, channel: &str, shard: ShardId, client: u32) {
        if let Some(placement) = &mut self.acceptor.placement {
            placement.departed(channel, shard, client);
        }
    }

    /// Reports that a client of this shard is gone, to its own books or those of the
    /// accepting shard.
    pub(super) fn report_departed(&mut self, channel: &Arc<str>, client: u32) {
        if self.acceptor.placement.is_some() {
            self.departed(channel, self.id, client);
        } else {
            self.mesh.send(ACCEPTING_SHARD, Message::Departed(Arc::clone(channel), client));
        }
    }

    /// Disconnects a client and tells it why. What is queued is dropped, but for
    /// the frame that is half sent; it has a moment to read the reason.
    pub(super) fn close_with_error(&mut self, conn: Conn, code: ErrorCode, text: &str) {
        let connection = self.connections.at(conn);
        if connection.is_ending() || matches!(connection.state, State::Closed) {
            return;
        }
        let source = connection.source;
        let remains = connection.outbound.truncate();
        let payload = encode_error(code, text);
        let error = frame::encode(Kind::Error, source, 0, b"", &payload);
        connection.outbound.push(&Slice::from(bytes::Bytes::from(error)));
        self.discard(remains);
        self.note_disconnected(conn, code, text);
        self.finish(conn, self.shared.config.linger);
        self.start_draining(conn);
    }

    /// Tells the log, the status and the client's successor why a client is disconnected.
    pub(super) fn note_disconnected(&mut self, conn: Conn, code: ErrorCode, text: &str) {
        let connection = self.connections.at(conn);
        let (target, source) = (connection.target, connection.source);
        let (peer, pid) = (connection.peer.clone(), connection.peer.pid);
        tracing::warn!(client = target.client, pid, kind = ?code, "disconnected: {text}");
        self.reports.note_closed(target.client, text);
        if source != Source::NONE {
            let (text, told) = (text.to_owned(), Told::default());
            self.note_reason(Reason { source, peer, code, text, told });
        }
    }

    /// Reports why a client was disconnected to the shards on which it may come back.
    fn note_reason(&mut self, reason: Reason) {
        let elsewhere: Vec<ShardId> = match &mut self.acceptor.placement {
            Some(placement) => {
                placement.note_reason(reason.clone());
                let is_one_of_many = placement.is_one_of_many();
                self.mesh.others().filter(|_| is_one_of_many).collect()
            }
            None => vec![ACCEPTING_SHARD],
        };
        for shard in elsewhere {
            self.mesh.send(shard, Message::ClosedByBroker(Box::new(reason.clone())));
        }
    }

    /// Looks at nothing more from a client and queues nothing more to it; closes once
    /// what is queued is sent, or after `linger`. Receiving is not stopped: for thousands
    /// that end at once that would be work, and for one that goes on it is over soon.
    pub(super) fn finish(&mut self, conn: Conn, linger: Duration) {
        self.leave(conn);
        let connection = self.connections.at(conn);
        connection.state = State::Closing;
        let target = connection.target;
        self.timers.set(self.deadline(linger), Timer::Linger(target));
        self.mark_dirty(conn);
    }

    /// Takes a connection out of routes and books, and frees who waits for it.
    fn leave(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        let target = connection.target;
        connection.postponed = None;
        if let Some(seat) = &mut connection.seat {
            seat.spoke();
        }
        match &connection.state {
            State::Moving(moving) => {
                let (channel, shard) = (Arc::clone(&moving.channel), moving.shard);
                self.departed(&channel, shard, target.client);
            }
            State::Hello => {
                if let Some(placement) = &mut self.acceptor.placement {
                    placement.forget(target.client);
                }
            }
            State::Open | State::Closing | State::Draining { .. } | State::Closed => {}
        }
        self.release_waiters(target);
        if let Some(channel) = self.connections.at(conn).channel.take() {
            let name = Arc::clone(&self.router.channels.get(channel).name);
            let nothing = PatternSet::new(&self.shared.budget);
            let connection = self.connections.at(conn);
            let patterns = std::mem::replace(&mut connection.patterns, nothing);
            let events = (connection.events_in, connection.events_out);
            self.depart(Arc::clone(&name), target, patterns);
            self.router.channels.leave(channel, events);
            self.channel_unused(&name);
            self.report_departed(&name, target.client);
            self.totals.clients -= 1;
            self.clients_changed();
        }
    }

    /// Handles the end of what a connection sends; a large frame's own buffer was being
    /// filled, or not.
    pub(super) fn hung_up(&mut self, conn: Conn, was_filling: bool, error: Option<io::Error>) {
        let connection = self.connections.at(conn);
        if connection.is_read_up && connection.is_open() && error.is_none() {
            // A frame that the client had not written as a whole it still has.
            return connection.inbound.forget();
        }
        if connection.is_open() && !connection.held.is_empty() {
            // The connection ends once its held bytes are taken.
            return;
        }
        if let Some(error) = error {
            tracing::debug!(client = connection.target.client, %error, "receiving failed");
            self.broke_shared_memory(conn, &error);
        }
        let connection = self.connections.at(conn);
        if was_filling || connection.inbound.held_bytes() > 0 {
            self.totals.truncated += 1;
        }
        if self.ends_later(conn) {
            return;
        }
        let connection = self.connections.at(conn);
        if connection.is_ending() && !connection.outbound.is_empty() {
            // The client may have shut down only its sending side and still read why.
            return;
        }
        self.disconnect(conn);
    }

    /// Ends a connection at once.
    pub(super) fn disconnect(&mut self, conn: Conn) {
        self.leave(conn);
        self.close(conn);
    }

    /// Closes a connection that has left.
    pub(super) fn close(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        if !matches!(connection.state, State::Closed) {
            let was_drained = matches!(connection.state, State::Draining { .. });
            connection.state = State::Closed;
            connection.receiving = Receiving::Ended;
            self.connections.drained -= usize::from(was_drained);
            self.io.close(conn);
        }
    }

    /// Frees the place of a connection that the back end has closed.
    pub(super) fn closed(&mut self, conn: Conn) {
        if let Some(connection) = self.connections.remove(conn) {
            self.discard(connection.outbound.into_remains());
        }
        self.resume_accept();
    }

    pub(super) fn linger_timed_out(&mut self, target: Target) {
        if let Some(connection) = self.connections.find(target)
            && connection.is_ending()
        {
            self.close(target.conn);
        }
    }
}
