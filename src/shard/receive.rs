//! Chunks into runs of frames, and runs to [`super::fan_out`].
//!
//! Decision: `docs/decisions/004-turn-receives-256-kib.md`.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use netcluster_platform::{Conn, Io, Slice};
use netcluster_wire::header::FrameError;
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;
use netcluster_wire::{ErrorCode, NameError};

use crate::channels::ChannelId;
use crate::connection::{Blocker, Receiving, State};
use crate::inbound::{Buffer, Pieces, Step};
use crate::mesh::Message;
use crate::outbound::EXHAUSTED_LIMIT_BYTES;
use crate::routes::{RouteId, Unfound};
use crate::timers::Timer;

use super::Shard;

/// What a client may send between its hello and its welcome: nothing, but a
/// client that does is told so by what it asked for failing, not by a crash.
const MAX_MOVING_BYTES: usize = 64 * 1024;

const _: () = assert!(MAX_MOVING_BYTES > MAX_CONTROL_PAYLOAD_BYTES);

/// How often an emitter that waits for memory looks again. Nobody waits unless
/// `--max-memory` is used up.
const MEMORY_RETRY: Duration = Duration::from_millis(10);

/// Adjacent runs with the same targets, not yet fanned out.
struct Pending {
    route: RouteId,
    start: usize,
    end: usize,
    frames: usize,
}

/// Where a walk stopped because a route could not be found in this turn.
pub(super) struct Stop {
    /// The first byte of the chunk that is not done.
    pub at: usize,
    /// The frame before it, if that is a control frame, or lay in several chunks.
    pub frame: Option<Pieces>,
}

/// Why a connection cannot go on.
pub(super) enum Fault {
    Frame(FrameError),
    Name(NameError),
    Source,
}

impl<I: Io> Shard<I> {
    /// Bytes arrived.
    pub(super) fn received(&mut self, conn: Conn, chunk: &Bytes) {
        self.totals.bytes_in += chunk.len() as u64;
        let mut at = 0;
        let connection = self.at(conn);
        if !connection.is_open() {
            match self.received_early(conn, chunk) {
                Some(used) => at = used,
                None => return,
            }
        }
        self.take_chunk(conn, chunk, at);
    }

    /// Takes the bytes of a chunk, from `at` on, of a connection that is open.
    pub(super) fn take_chunk(&mut self, conn: Conn, chunk: &Bytes, at: usize) {
        if self.at(conn).postponed.is_some() {
            return self.postpone(conn, chunk, Stop { at, frame: None });
        }
        let walked = if self.returning.holds_any() {
            self.walk_or_keep(conn, chunk, at)
        } else {
            self.walk(conn, chunk, at)
        };
        match walked {
            Ok(None) => {}
            Ok(Some(stop)) => self.postpone(conn, chunk, stop),
            Err(fault) => self.fault(conn, &fault),
        }
    }

    /// Takes the frames of a chunk, from `at` on, of a connection that is open. Returns
    /// where it had to stop, if so.
    pub(super) fn walk(
        &mut self,
        conn: Conn,
        chunk: &Bytes,
        mut at: usize,
    ) -> Result<Option<Stop>, Fault> {
        let max_payload = self.shared.config.max_payload_bytes;
        let mut pending: Option<Pending> = None;
        if let Some(channel) = self.at(conn).channel
            && self.channels.get(channel).routes.is_overgrown()
        {
            self.channels.relieve(channel);
        }
        loop {
            let connection =
                self.connections[conn.0 as usize].as_deref_mut().expect("it is receiving");
            // A control frame before may have ended the connection.
            let (State::Open, Some(channel)) = (&connection.state, connection.channel) else {
                return Ok(None);
            };
            let step = connection.inbound.next(chunk, &mut at, max_payload, &self.shared.budget);
            let step = match step {
                Ok(step) => step,
                Err(error) => {
                    self.deliver_pending(conn, chunk, pending.take());
                    return Err(Fault::Frame(error));
                }
            };
            match step {
                Step::Run { start, end, name, frames, source, last_sequence } => {
                    let routes = &mut self.channels.get_mut(channel).routes;
                    let fault = if source != connection.source.to_u64() {
                        Fault::Source
                    } else {
                        match routes.find(name, &mut self.effort) {
                            Ok(route) => {
                                connection.last_sequence = last_sequence;
                                match &mut pending {
                                    Some(run) if run.route == route && run.end == start => {
                                        run.end = end;
                                        run.frames += frames;
                                    }
                                    _ => {
                                        let next = Pending { route, start, end, frames };
                                        let before = pending.replace(next);
                                        self.deliver_pending(conn, chunk, before);
                                    }
                                }
                                continue;
                            }
                            Err(Unfound::Name(error)) => Fault::Name(error),
                            Err(Unfound::NotYet) => {
                                self.deliver_pending(conn, chunk, pending.take());
                                at = start;
                                if self.make_room_for_route(channel) {
                                    continue;
                                }
                                return Ok(Some(Stop { at, frame: None }));
                            }
                        }
                    };
                    self.deliver_pending(conn, chunk, pending.take());
                    return Err(fault);
                }
                Step::Event(pieces) => {
                    self.deliver_pending(conn, chunk, pending.take());
                    if !self.deliver_event(conn, &pieces)? {
                        return Ok(Some(Stop { at, frame: Some(pieces) }));
                    }
                }
                Step::Control(frame) => {
                    self.deliver_pending(conn, chunk, pending.take());
                    if !self.control(conn, &frame) {
                        let frame = Pieces::from_buf([Slice::from(frame)]);
                        return Ok(Some(Stop { at, frame: Some(frame) }));
                    }
                }
                Step::Gather => self.stop_receiving(conn),
                Step::Done => {
                    self.deliver_pending(conn, chunk, pending.take());
                    return Ok(None);
                }
            }
        }
    }

    #[inline]
    fn deliver_pending(&mut self, conn: Conn, chunk: &Bytes, pending: Option<Pending>) {
        if let Some(Pending { route, start, end, frames }) = pending {
            let slice = Slice::pooled(chunk.clone(), start, end);
            self.fan_out(conn, route, std::slice::from_ref(&slice), frames);
        }
    }

    /// A route was not found: empties the cache if it was for want of room there.
    #[cold]
    fn make_room_for_route(&mut self, channel: ChannelId) -> bool {
        let is_overgrown = self.channels.get(channel).routes.is_overgrown();
        if is_overgrown {
            self.channels.relieve(channel);
        }
        is_overgrown
    }

    /// Delivers one event that lay in several chunks, or in its own buffer; false if its
    /// route is not found yet.
    pub(super) fn deliver_event(&mut self, conn: Conn, pieces: &[Slice]) -> Result<bool, Fault> {
        let connection = self.at(conn);
        let (source, channel) = (connection.source, connection.channel);
        let head = pieces[0].as_bytes();
        let header = netcluster_wire::Header::read(head).expect("the head is whole");
        if header.source() != source {
            return Err(Fault::Source);
        }
        let sequence = header.sequence.get();
        let name = &head[netcluster_wire::limits::HEADER_BYTES..][..header.name_len.get() as usize];
        let channel = channel.expect("an open connection has a channel");
        let Some(route) = self.find_route(channel, name).map_err(Fault::Name)? else {
            return Ok(false);
        };
        self.at(conn).last_sequence = sequence;
        self.fan_out(conn, route, pieces, 1);
        Ok(true)
    }

    /// The route of a name, if it can be found in this turn.
    #[inline]
    pub(super) fn find_route(
        &mut self,
        channel: ChannelId,
        name: &[u8],
    ) -> Result<Option<RouteId>, NameError> {
        loop {
            match self.channels.get_mut(channel).routes.find(name, &mut self.effort) {
                Ok(route) => return Ok(Some(route)),
                Err(Unfound::Name(error)) => return Err(error),
                Err(Unfound::NotYet) if self.make_room_for_route(channel) => {}
                Err(Unfound::NotYet) => return Ok(None),
            }
        }
    }

    /// Bytes of a connection that is not open. Returns how many were used if it
    /// is open now.
    fn received_early(&mut self, conn: Conn, chunk: &Bytes) -> Option<usize> {
        let max_payload = self.shared.config.max_payload_bytes;
        let budget = self.shared.budget.clone();
        let connection = self.at(conn);
        match &mut connection.state {
            State::Hello => {
                let mut at = 0;
                match connection.inbound.next(chunk, &mut at, max_payload, &budget) {
                    Ok(Step::Control(frame)) => {
                        self.hello(conn, &frame, &chunk[at..]).then_some(at)
                    }
                    Ok(Step::Done) => None,
                    Ok(_) => {
                        self.refuse(conn, ErrorCode::Protocol, "the first frame must be a hello");
                        None
                    }
                    Err(error) => {
                        self.fault(conn, &Fault::Frame(error));
                        None
                    }
                }
            }
            State::Moving(moving) => {
                if moving.rest.len() + chunk.len() > MAX_MOVING_BYTES {
                    self.refuse(conn, ErrorCode::Protocol, "wait for the welcome before sending");
                } else {
                    moving.rest.extend_from_slice(chunk);
                }
                None
            }
            State::Open => Some(0),
            State::Draining { .. } => {
                self.throw_away(conn, chunk.len());
                None
            }
            State::Closing | State::Closed => None,
        }
    }

    /// A large frame is complete.
    pub(super) fn filled(&mut self, conn: Conn, buffer: BytesMut) {
        let connection = self.at(conn);
        connection.receiving = Receiving::Off;
        if !connection.is_open() {
            return self.start_receiving(conn);
        }
        let rest = buffer.len() - self.at(conn).filling_from;
        self.totals.bytes_in += rest as u64;
        let pieces = self.at(conn).inbound.filled(buffer);
        if self.is_held(conn) {
            return self.keep(conn, &pieces);
        }
        match self.deliver_event(conn, &pieces) {
            Ok(true) => self.start_receiving(conn),
            Ok(false) => self.postpone(conn, &Bytes::new(), Stop { at: 0, frame: Some(pieces) }),
            Err(fault) => self.fault(conn, &fault),
        }
    }

    /// Starts to receive, unless the connection is paused or not to be heard.
    pub(super) fn start_receiving(&mut self, conn: Conn) {
        let quiet = self.is_quiet();
        let now = self.now;
        let budget = self.shared.budget.clone();
        let connection = self.at(conn);
        let wanted = match connection.state {
            State::Hello | State::Draining { .. } => true,
            State::Open => connection.blocked_by.is_empty() && (!quiet || connection.is_read_up),
            State::Moving(_) | State::Closing | State::Closed => false,
        };
        if connection.receiving != Receiving::Off || !wanted {
            return;
        }
        match connection.inbound.take_buffer(&budget) {
            Buffer::Fill(buffer, length) => {
                connection.receiving = Receiving::Filling;
                connection.filling_since = now;
                connection.filling_from = buffer.len();
                self.io.receive_into(conn, buffer, length);
            }
            Buffer::NotWanted => {
                connection.receiving = Receiving::On;
                self.io.receive(conn);
            }
            Buffer::NoMemory => self.wait_for_memory(conn),
        }
    }

    /// Pauses an emitter whose large frame has no room in the memory budget.
    fn wait_for_memory(&mut self, conn: Conn) {
        let target = self.at(conn).target;
        self.block_client(target, Blocker::Memory);
        self.memory_waiters.push(target);
        if self.memory_waiters.len() == 1 {
            self.timers.set(self.deadline(MEMORY_RETRY), Timer::Memory);
        }
    }

    /// Emitters that wait for memory try again; those in vain wait again.
    pub(super) fn memory_timed_out(&mut self) {
        self.squeeze();
        for shard in self.mesh.others() {
            self.mesh.send(shard, Message::MemoryWanted);
        }
        for target in std::mem::take(&mut self.memory_waiters) {
            self.unblock_client(target, Blocker::Memory);
        }
    }

    /// Somebody waits for memory: those who hold it get the stall timeout to let
    /// go of it. Queues behind a full socket count as full, however short
    /// (`latest` ones lose all but the newest events first); a frame that its
    /// sender does not complete ends its connection.
    pub(super) fn squeeze(&mut self) {
        let stall = self.shared.config.stall_timeout;
        let now = self.now;
        let mut overdue = Vec::new();
        for connection in self.connections.iter_mut().flatten() {
            if connection.outbound.is_blocked() {
                if connection.latest {
                    self.totals.dropped +=
                        connection.outbound.drop_oldest_to(EXHAUSTED_LIMIT_BYTES);
                }
                // What is left of a `latest` one may be a large event, half sent.
                let holds = !connection.latest
                    || connection.outbound.queued_bytes() > EXHAUSTED_LIMIT_BYTES;
                if holds && connection.outbound.declare_full() {
                    self.timers.watch_full(connection, now, stall);
                }
            }
            let since = connection.filling_since;
            if connection.receiving == Receiving::Filling
                && now.since(since) > stall.as_nanos() as u64
            {
                overdue.push(connection.target.conn);
            }
        }
        for conn in overdue {
            let text = "memory is short and a large event was left incomplete";
            self.close_with_error(conn, ErrorCode::Busy, text);
        }
    }

    /// Asks the back end to stop; late chunks are still taken.
    pub(super) fn stop_receiving(&mut self, conn: Conn) {
        let connection = self.at(conn);
        if connection.receiving == Receiving::On {
            connection.receiving = Receiving::Stopping;
            self.io.stop_receive(conn);
        }
    }

    /// It has stopped.
    pub(super) fn stopped(&mut self, conn: Conn) {
        let connection = self.at(conn);
        connection.receiving = Receiving::Off;
        if matches!(connection.state, State::Moving(_)) {
            self.hand_over(conn);
        } else {
            self.start_receiving(conn);
        }
    }

    /// Disconnects a client that broke the protocol.
    pub(super) fn fault(&mut self, conn: Conn, fault: &Fault) {
        self.totals.protocol_errors += 1;
        let (code, text) = match fault {
            Fault::Frame(error @ FrameError::PayloadTooLarge { .. }) => {
                (ErrorCode::PayloadTooLarge, error.to_string())
            }
            Fault::Frame(error) => (ErrorCode::Protocol, error.to_string()),
            Fault::Name(error) => (ErrorCode::Name, error.to_string()),
            Fault::Source => {
                (ErrorCode::Source, "a frame carries another source than the welcome gave".into())
            }
        };
        self.close_with_error(conn, code, &text);
    }
}
