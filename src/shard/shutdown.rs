//! Shutdown of a shard: nothing more is received, events under way arrive, clients and
//! other brokers are told, connections close.

use std::sync::atomic::Ordering;
use std::time::Duration;

use netcluster_platform::{Conn, Instant, Io, Slice};
use netcluster_wire::bye::Bye;
use netcluster_wire::{ErrorCode, Kind, Source, frame};

use crate::connection::{Receiving, State};
use crate::mesh::Message;
use crate::request::Drain;
use crate::returning::{Listening, MAX_HOLD, Record};
use crate::target::{LINK_HOME, Target};
use crate::timers::Timer;
use crate::will::Will;

use super::Shard;
use super::bequest::Bequeathing;
use super::requests::DONE;

const SHUTTING_DOWN: &str = "the broker is shutting down";

/// Time that a late goodbye to the other brokers may take: it is said three times
/// within 20 ms.
const GOODBYE_TIME: Duration = Duration::from_millis(100);

/// Longest time from what clients are told to the end that they are told of.
const MAX_NOTICE: Duration = Duration::from_secs(3600);

/// The shutdown of one shard.
pub(super) struct Shutdown {
    phase: Phase,
    /// Clients that listen as the broker ends, as far as they are known here.
    left: Record,
    /// Time at which it begins, whoever is not back yet.
    latest_start: Option<Instant>,
    /// The client that asked for this broker's place. Its connection ends when the link has
    /// been left: so it knows.
    pub(super) claimant: Option<Target>,
    /// Way of the link's session to an heir.
    pub(super) bequeathing: Bequeathing,
    /// The link has been left, and the shards know.
    is_link_left: bool,
    /// Clients were told that the broker will end, and nobody is to take its place.
    is_draining: bool,
}

impl Shutdown {
    /// Returns the state before a shutdown of the broker with this node id, which found
    /// this record.
    pub fn new(node: u32, found: &Record) -> Shutdown {
        let mut left = Record::of(node);
        left.add_nodes(found);
        Shutdown {
            phase: Phase::None,
            left,
            latest_start: None,
            claimant: None,
            bequeathing: Bequeathing::No,
            is_link_left: false,
            is_draining: false,
        }
    }

    /// Returns whether the shutdown is complete.
    pub fn is_done(&self) -> bool {
        matches!(self.phase, Phase::Done)
    }
}

/// Phase of the shutdown.
#[derive(Debug)]
enum Phase {
    /// No shutdown was asked for.
    None,
    /// Receiving stops; then what is on the way between shards is awaited.
    Quieting {
        /// Emitters that wait for a full queue are waited for as well.
        patient: bool,
        /// This shard has told the others that nothing more will come from here.
        said: bool,
        /// Number of other shards that have said so.
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

/// Encodes the goodbye of this broker, which nobody asked for.
fn goodbye(source: Source, confirmed: u64, has_successor: bool) -> Vec<u8> {
    let bye = Bye { confirmed, has_successor };
    frame::encode(Kind::Bye, source, 0, b"", &bye.encode())
}

impl<I: Io> Shard<I> {
    /// Returns whether nothing is to be received any more.
    pub(super) fn is_quiet(&self) -> bool {
        !matches!(self.shutdown.phase, Phase::None)
    }

    /// Returns whether the broker will end and clients know it.
    pub(super) fn is_draining(&self) -> bool {
        self.shutdown.is_draining
    }

    /// Handles the wish that the broker tell its clients and end.
    pub(super) fn drain_wanted(
        &mut self,
        target: Target,
        request: u64,
        drain: &Drain,
    ) -> Result<(), String> {
        let notice = Duration::from_millis(drain.notice_ms);
        if notice > MAX_NOTICE {
            return Err(format!("notice_ms is at most {}", MAX_NOTICE.as_millis()));
        }
        if self.is_draining() || self.shared.shutdown.load(Ordering::Relaxed) {
            return Err("the broker is about to end already".to_owned());
        }
        tracing::info!(client = target.client, ?notice, "draining: the broker will end");
        self.answer_request(target, request, Ok(DONE));
        for shard in self.mesh.others() {
            self.mesh.send(shard, Message::DrainWanted(notice));
        }
        self.begin_draining(notice);
        Ok(())
    }

    /// Tells the clients of this shard that the broker will end, and ends it after the
    /// notice.
    pub(super) fn begin_draining(&mut self, notice: Duration) {
        if std::mem::replace(&mut self.shutdown.is_draining, true) {
            return;
        }
        let text =
            format!("the broker ends in {} ms, and none takes its place", notice.as_millis());
        for conn in self.connections.places() {
            if self.connections.at(conn).is_open() {
                self.reply_error(conn, ErrorCode::Draining, 0, &text);
            }
        }
        self.timers.set(self.deadline(notice), Timer::Notice);
    }

    /// Ends the broker, as the clients have been told long enough.
    pub(super) fn notice_timed_out(&mut self) {
        // Other shards have a timer of their own.
        self.shared.shutdown.store(true, Ordering::Relaxed);
    }

    /// Does one step of the shutdown; called every turn once it was asked for. It begins
    /// once nobody is waited for that was here before, so that what those would miss finds
    /// them, or as long later as they are waited for.
    pub(super) fn drain(&mut self) {
        if matches!(self.shutdown.phase, Phase::None) && self.returning.is_awaiting(self.now) {
            // Who comes to an heir's heir was told to come; in the end nobody is waited for long.
            let hold = self.shared.config.hold;
            let hold = if self.shared.heir.is_there() { hold } else { hold.min(MAX_HOLD) };
            let latest = self.deadline(hold);
            let latest = *self.shutdown.latest_start.get_or_insert_with(|| {
                self.timers.set(latest, Timer::Quiet);
                latest
            });
            if self.now < latest {
                return;
            }
        }
        self.drain_now();
    }

    fn drain_now(&mut self) {
        match self.shutdown.phase {
            Phase::None => {
                self.release_all_holds();
                self.shutdown.phase = Phase::Quieting { patient: true, said: false, heard: 0 };
                let timeout = self.shared.config.drain_timeout;
                self.timers.set(self.deadline(timeout / 2), Timer::Quiet);
                self.timers.set(self.deadline(timeout), Timer::Drain);
                for conn in self.connections.places() {
                    let connection = self.connections.at(conn);
                    let all_sent = connection.outbound.is_empty();
                    match connection.state {
                        State::Open => {
                            self.lift_pace(conn);
                            self.read_up(conn);
                        }
                        State::Hello | State::Moving(_) => {
                            self.turn_away(conn);
                        }
                        State::Draining { .. } if all_sent && self.io.is_read(conn) => {
                            self.close(conn)
                        }
                        State::Closing | State::Draining { .. } | State::Closed => {}
                    }
                }
                self.drain_now();
            }
            Phase::Quieting { patient, said, heard } => {
                let receiving = self.connections.iter().any(|connection| {
                    connection.is_open()
                        && match connection.receiving {
                            _ if connection.postponed.is_some() => true,
                            Receiving::Stopping => true,
                            Receiving::Ended => false,
                            Receiving::Off => connection.is_read_up && patient,
                            Receiving::On | Receiving::Filling => connection.is_read_up,
                        }
                });
                if !said && !receiving && self.pause_link() {
                    let listening = self.listening();
                    self.shutdown.left.add(&listening);
                    for shard in self.mesh.others() {
                        self.mesh.send(shard, Message::Quiet(listening.clone()));
                    }
                    self.shutdown.phase = Phase::Quieting { patient, said: true, heard };
                    return self.drain_now();
                }
                if said && heard == self.mesh.others().count() && self.is_link_confirmed() {
                    self.part();
                }
            }
            Phase::Goodbye => {
                if self.link_has_left() {
                    self.shutdown.phase = Phase::Parting { late: true };
                    self.drain_now();
                }
            }
            Phase::Parting { late } => {
                self.tell_link_left();
                let sent = late || !self.mesh.has_overflow() && self.link_has_left();
                if sent && self.connections.is_empty() {
                    self.shutdown.phase = Phase::Done;
                }
            }
            Phase::Done => {}
        }
    }

    pub(super) fn other_is_quiet(&mut self, listening: &[Listening]) {
        self.shutdown.left.add(listening);
        // Another shard may have seen the shutdown first.
        if matches!(self.shutdown.phase, Phase::None) {
            self.drain_now();
        }
        if let Phase::Quieting { heard, .. } = &mut self.shutdown.phase {
            *heard += 1;
        }
    }

    /// Has a client write no more, and reads what it has written: an emitter cannot
    /// know how much of that arrived, and does not send it again.
    pub(super) fn read_up(&mut self, conn: Conn) {
        if self.connections.at(conn).receiving == Receiving::Ended {
            return;
        }
        self.refuse_ring(conn);
        if self.io.end_receiving(conn) {
            self.connections.at(conn).is_read_up = true;
            self.start_receiving(conn);
        } else {
            self.stop_receiving(conn);
        }
    }

    /// Waits no longer for emitters that wait for a full queue.
    pub(super) fn quiet_timed_out(&mut self) {
        if let Phase::Quieting { patient, .. } = &mut self.shutdown.phase {
            *patient = false;
        }
    }

    /// Says goodbye to every client; each closes once it has read what is queued.
    fn part(&mut self) {
        self.shutdown.phase = Phase::Parting { late: false };
        let will = self.bequeath_link();
        self.leave_socket(will.as_ref());
        self.leave_link();
        let has_successor = self.shared.heir.is_there();
        for conn in self.connections.places() {
            let connection = self.connections.at(conn);
            let is_claimant = self.shutdown.claimant == Some(connection.target);
            if connection.is_open() && !is_claimant {
                self.part_with(conn, has_successor);
            }
        }
        self.drain_now();
    }

    /// Says goodbye to a client. Nothing more of it is read: what it emitted behind that did
    /// not arrive.
    pub(super) fn part_with(&mut self, conn: Conn, has_successor: bool) {
        let connection = self.connections.at(conn);
        let bye = goodbye(connection.source, connection.last_sequence, has_successor);
        self.reply(conn, &bye);
        self.finish(conn, self.shared.config.drain_timeout);
    }

    /// Tells the one who asked for this broker's place, on whatever shard, that the link has
    /// been left.
    fn tell_link_left(&mut self) {
        let is_due = self.id == LINK_HOME && !self.shutdown.is_link_left && self.link_has_left();
        if is_due && self.shared.heir.is_there() {
            for shard in self.mesh.others() {
                self.mesh.send(shard, Message::LinkLeft);
            }
            self.link_left();
        }
    }

    /// Ends the connection of the one who asked for this broker's place.
    pub(super) fn link_left(&mut self) {
        self.shutdown.is_link_left = true;
        let Some(claimant) = self.shutdown.claimant.take() else { return };
        let Some(connection) = self.connections.find_open(claimant) else { return };
        let (conn, source) = (claimant.conn, connection.source);
        self.reply(conn, &goodbye(source, 0, true));
        self.finish(conn, self.shared.config.linger);
    }

    /// Gives the socket up to a successor, which finds who is to come back, and perhaps the
    /// link's session.
    fn leave_socket(&mut self, will: Option<&Will>) {
        if std::mem::take(&mut self.acceptor.is_accepting) {
            // Who waits to be accepted is told of an heir.
            let has_heir = self.shared.heir.is_there();
            if has_heir || !self.shutdown.is_draining {
                self.shared.successor.leave(&self.shutdown.left, will);
            }
            if !has_heir {
                self.io.stop_accept();
            }
        }
    }

    /// Ends a connection that has said nothing yet, or is on its way between shards: with an
    /// heir it begins anew there.
    pub(super) fn turn_away(&mut self, conn: Conn) {
        if !self.shared.heir.is_there() {
            return self.close_with_error(conn, ErrorCode::Shutdown, SHUTTING_DOWN);
        }
        let connection = self.connections.at(conn);
        if connection.is_ending() || matches!(connection.state, State::Closed) {
            return;
        }
        let bye = goodbye(connection.source, 0, true);
        connection.outbound.push(&Slice::from(bytes::Bytes::from(bye)));
        self.finish(conn, self.shared.config.linger);
        self.start_draining(conn);
    }

    /// Disconnects all clients, as the shutdown has waited long enough, and says a last
    /// goodbye to the other brokers, which else would wait for this one; when the time
    /// for that is over too, ends without it.
    pub(super) fn drain_timed_out(&mut self) {
        self.leave_socket(None);
        for conn in self.connections.places() {
            self.disconnect(conn);
        }
        let is_last = self.link_has_left() || matches!(self.shutdown.phase, Phase::Goodbye);
        if is_last {
            self.shutdown.phase = Phase::Parting { late: true };
            return;
        }
        self.shutdown.phase = Phase::Goodbye;
        self.leave_link_within(Duration::ZERO);
        self.timers.set(self.deadline(GOODBYE_TIME), Timer::Drain);
    }
}
