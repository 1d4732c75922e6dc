//! How connections come and go, and how the shard ends.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use netcluster_platform::{Conn, Io, Slice};
use netcluster_wire::control::encode_error;
use netcluster_wire::{ErrorCode, Hello, Kind, Source, frame};

use crate::connection::{Connection, Moving, Receiving, State};
use crate::mesh::Message;
use crate::pattern_set::PatternSet;
use crate::placement::{Reason, Told};
use crate::returning::Listening;
use crate::status::ClosedClient;
use crate::target::{ShardId, Target};
use crate::timers::Timer;

use super::Shard;

/// What a late goodbye to the other brokers may take: it is said three times within
/// 20 ms.
const GOODBYE_TIME: Duration = Duration::from_millis(100);

/// The shard that accepts, where connections can move to others.
const ACCEPTING_SHARD: ShardId = ShardId(0);

pub(super) const SHUTTING_DOWN: &str = "the broker is shutting down";

/// Disconnected clients that `status` still shows.
const MAX_CLOSED_SHOWN: usize = 16;

/// How far the shutdown is.
#[derive(Debug)]
pub(super) enum Draining {
    /// There is none.
    No,
    /// Receiving stops; then what is on the way between shards is awaited.
    Quieting {
        /// Those that wait for a full queue are waited for as well.
        patient: bool,
        /// Told the others that nothing more will come from here.
        said: bool,
        /// How many others have said so.
        heard: usize,
    },
    /// Clients are sent what is queued and a goodbye; other shards what waits for
    /// room in a ring, unless it is too late for that.
    Parting {
        /// The shutdown waited long enough.
        late: bool,
    },
    /// The shutdown waited long enough, and the other brokers are told so: what
    /// they do not have is lost, but nobody has to look for this one.
    Goodbye,
    /// All connections are closed.
    Done,
}

impl<I: Io> Shard<I> {
    /// Puts a connection into the table.
    pub(super) fn insert(&mut self, connection: Connection) {
        let at = connection.target.conn.0 as usize;
        if self.connections.len() <= at {
            self.connections.resize_with(at + 1, || None);
        }
        assert!(self.connections[at].is_none(), "a place is used once at a time");
        self.connections[at] = Some(Box::new(connection));
        self.present += 1;
    }

    /// Takes a connection out of the table.
    pub(super) fn take(&mut self, conn: Conn) -> Option<Box<Connection>> {
        let connection = self.connections[conn.0 as usize].take();
        self.present -= usize::from(connection.is_some());
        connection
    }

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
        let peer = self.at(conn).peer.clone();
        let placement = self.placement.as_mut().expect("a shard that accepts has books");
        let shard = placement.place(&channel);
        let reason = placement.take_reason(hello.previous, &peer);
        if let Some(seat) = &mut self.at(conn).seat {
            seat.spoke();
        }
        if shard == self.id {
            self.open(conn, hello, &channel, reason);
            return true;
        }
        let rest = rest.to_vec();
        let moving = Moving { shard, hello, channel, rest, reason };
        self.at(conn).state = State::Moving(Box::new(moving));
        self.stop_receiving(conn);
        false
    }

    /// For this shard's books, if it has any.
    pub(super) fn departed(&mut self, channel: &str, shard: ShardId, client: u32) {
        if let Some(placement) = &mut self.placement {
            placement.departed(channel, shard, client);
        }
    }

    /// Has it noted that a client of this shard is gone: in its own books, or those
    /// of the accepting shard.
    pub(super) fn report_departed(&mut self, channel: &Arc<str>, client: u32) {
        if self.placement.is_some() {
            self.departed(channel, self.id, client);
        } else {
            self.mesh.send(ACCEPTING_SHARD, Message::Departed(Arc::clone(channel), client));
        }
    }

    /// Disconnects a client and tells it why. What is queued is dropped, but for
    /// the frame that is half sent; it has a moment to read the reason.
    pub(super) fn close_with_error(&mut self, conn: Conn, code: ErrorCode, text: &str) {
        let connection = self.at(conn);
        if connection.is_ending() || matches!(connection.state, State::Closed) {
            return;
        }
        let (target, source) = (connection.target, connection.source);
        let (peer, pid) = (connection.peer.clone(), connection.peer.pid);
        tracing::warn!(client = target.client, pid, kind = ?code, "disconnected: {text}");
        let remains = connection.outbound.truncate();
        let payload = encode_error(code, text);
        let error = frame::encode(Kind::Error, source, 0, b"", &payload);
        connection.outbound.push(&Slice::from(bytes::Bytes::from(error)));
        self.discard(remains);
        if self.closed_by_broker.len() == MAX_CLOSED_SHOWN {
            self.closed_by_broker.remove(0);
        }
        self.closed_by_broker.push(ClosedClient { client: target.client, reason: text.to_owned() });
        if source != Source::NONE {
            let (text, told) = (text.to_owned(), Told::default());
            self.note_reason(Reason { source, peer, code, text, told });
        }
        self.finish(conn, self.shared.config.linger);
        self.start_draining(conn);
    }

    /// Has it noted, wherever the client may come back, why it was disconnected.
    fn note_reason(&mut self, reason: Reason) {
        let elsewhere: Vec<ShardId> = match &mut self.placement {
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
        let connection = self.at(conn);
        connection.state = State::Closing;
        let target = connection.target;
        self.timers.set(self.deadline(linger), Timer::Linger(target));
        self.mark_dirty(conn);
    }

    /// Takes a connection out of routes and books, and frees who waits for it.
    fn leave(&mut self, conn: Conn) {
        let connection = self.at(conn);
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
                if let Some(placement) = &mut self.placement {
                    placement.forget(target.client);
                }
            }
            State::Open | State::Closing | State::Draining { .. } | State::Closed => {}
        }
        self.release_waiters(target);
        if let Some(channel) = self.at(conn).channel.take() {
            let name = Arc::clone(&self.channels.get(channel).name);
            let nothing = PatternSet::new(&self.shared.budget);
            let patterns = std::mem::replace(&mut self.at(conn).patterns, nothing);
            self.depart(Arc::clone(&name), target, patterns);
            self.channels.leave(channel);
            self.channel_unused(&name);
            self.report_departed(&name, target.client);
            self.totals.clients -= 1;
            self.clients_changed();
        }
    }

    /// The other end closed, or its process died.
    pub(super) fn hung_up(&mut self, conn: Conn, error: Option<io::Error>) {
        let connection = self.at(conn);
        let filling = connection.receiving == Receiving::Filling;
        connection.receiving = Receiving::Ended;
        if connection.is_read_up && connection.is_open() && error.is_none() {
            // What it had not written as a whole it still has.
            return connection.inbound.forget();
        }
        if connection.is_open() && !connection.held.is_empty() {
            // It ends once that is taken.
            return;
        }
        if let Some(error) = error {
            tracing::debug!(client = connection.target.client, %error, "receiving failed");
        }
        if filling || connection.inbound.held_bytes() > 0 {
            self.totals.truncated += 1;
        }
        if self.ends_later(conn) {
            return;
        }
        let connection = self.at(conn);
        if connection.is_ending() && !connection.outbound.is_empty() {
            // It may have shut down only its sending side and still read why.
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
        let connection = self.at(conn);
        if !matches!(connection.state, State::Closed) {
            let was_drained = matches!(connection.state, State::Draining { .. });
            connection.state = State::Closed;
            connection.receiving = Receiving::Ended;
            self.drained -= usize::from(was_drained);
            self.io.close(conn);
        }
    }

    /// It is closed, and its place free.
    pub(super) fn closed(&mut self, conn: Conn) {
        if let Some(connection) = self.take(conn) {
            self.discard(connection.outbound.into_remains());
        }
        self.resume_accept();
    }

    pub(super) fn linger_timed_out(&mut self, target: Target) {
        if let Some(connection) = self.find(target)
            && connection.is_ending()
        {
            self.close(target.conn);
        }
    }

    /// Whether nothing is to be received any more.
    pub(super) fn is_quiet(&self) -> bool {
        !matches!(self.draining, Draining::No)
    }

    /// One step of the shutdown; called every turn once it was asked for.
    pub(super) fn drain(&mut self) {
        match self.draining {
            Draining::No => {
                self.release_all_holds();
                self.draining = Draining::Quieting { patient: true, said: false, heard: 0 };
                let timeout = self.shared.config.drain_timeout;
                self.timers.set(self.deadline(timeout / 2), Timer::Quiet);
                self.timers.set(self.deadline(timeout), Timer::Drain);
                for conn in self.all() {
                    let connection = self.at(conn);
                    let all_sent = connection.outbound.is_empty();
                    match connection.state {
                        State::Open => self.read_up(conn),
                        State::Hello | State::Moving(_) => {
                            self.close_with_error(conn, ErrorCode::Shutdown, SHUTTING_DOWN);
                        }
                        State::Draining { .. } if all_sent => self.close(conn),
                        State::Closing | State::Draining { .. } | State::Closed => {}
                    }
                }
                self.drain();
            }
            Draining::Quieting { patient, said, heard } => {
                let receiving = self.connections.iter().flatten().any(|connection| {
                    connection.is_open()
                        && match connection.receiving {
                            _ if connection.postponed.is_some() => true,
                            Receiving::Stopping => true,
                            Receiving::Ended => false,
                            Receiving::Off => connection.is_read_up && patient,
                            Receiving::On | Receiving::Filling => connection.is_read_up,
                        }
                });
                if !said && !receiving {
                    let listening = self.listening();
                    self.left.add(&listening);
                    for shard in self.mesh.others() {
                        self.mesh.send(shard, Message::Quiet(listening.clone()));
                    }
                    self.draining = Draining::Quieting { patient, said: true, heard };
                    return self.drain();
                }
                if said && heard == self.mesh.others().count() {
                    self.part();
                }
            }
            Draining::Goodbye => {
                if self.link_has_left() {
                    self.draining = Draining::Parting { late: true };
                    self.drain();
                }
            }
            Draining::Parting { late } => {
                let sent = late || !self.mesh.has_overflow() && self.link_has_left();
                if sent && self.present == 0 {
                    self.draining = Draining::Done;
                }
            }
            Draining::Done => {}
        }
    }

    pub(super) fn other_is_quiet(&mut self, listening: &[Listening]) {
        self.left.add(listening);
        // Another shard may have seen the shutdown first.
        if matches!(self.draining, Draining::No) {
            self.drain();
        }
        if let Draining::Quieting { heard, .. } = &mut self.draining {
            *heard += 1;
        }
    }

    /// Has a client write no more, and reads what it has written: an emitter cannot
    /// know what of that arrived, and does not send it again.
    fn read_up(&mut self, conn: Conn) {
        if self.at(conn).receiving == Receiving::Ended {
            return;
        }
        if self.io.end_receiving(conn) {
            self.at(conn).is_read_up = true;
            self.start_receiving(conn);
        } else {
            self.stop_receiving(conn);
        }
    }

    /// Emitters that wait for a full queue are waited for no longer.
    pub(super) fn quiet_timed_out(&mut self) {
        if let Draining::Quieting { patient, .. } = &mut self.draining {
            *patient = false;
        }
    }

    /// Says goodbye to every client; each closes once it has read what is queued.
    fn part(&mut self) {
        self.draining = Draining::Parting { late: false };
        self.leave_socket();
        self.leave_link();
        let linger = self.shared.config.drain_timeout;
        for conn in self.all() {
            let connection = self.at(conn);
            if connection.is_open() {
                let source = connection.source;
                let bye = frame::encode(Kind::Bye, source, 0, b"", b"");
                self.reply(conn, &bye);
                self.finish(conn, linger);
            }
        }
        self.drain();
    }

    /// Gives the socket up to a successor, which finds who is to come back.
    fn leave_socket(&mut self) {
        if std::mem::take(&mut self.accepting) {
            self.shared.successor.leave(&self.left);
            self.io.stop_accept();
        }
    }

    /// The shutdown has waited long enough: for clients, and then also for the
    /// goodbye to the other brokers, which else would wait for this one.
    pub(super) fn drain_timed_out(&mut self) {
        self.leave_socket();
        for conn in self.all() {
            self.disconnect(conn);
        }
        let is_last = self.link_has_left() || matches!(self.draining, Draining::Goodbye);
        if is_last {
            self.draining = Draining::Parting { late: true };
            return;
        }
        self.draining = Draining::Goodbye;
        self.leave_link_within(Duration::ZERO);
        self.timers.set(self.deadline(GOODBYE_TIME), Timer::Drain);
    }

    fn all(&self) -> Vec<Conn> {
        self.connections.iter().flatten().map(|connection| connection.target.conn).collect()
    }
}
