//! Receiving: chunks become runs of frames, which go to [`super::fan_out`].
//!
//! Decision: `docs/decisions/004-turn-receives-256-kib.md`.

use bytes::{Bytes, BytesMut};

use netcluster_platform::{Conn, Io, Slice};
use netcluster_wire::header::FrameError;
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;
use netcluster_wire::{ErrorCode, NameError};

use crate::connection::{Blocker, Receiving, State};
use crate::inbound::{Buffer, Pieces, Run, Step};
use crate::routes::{RouteId, Unfound};
use crate::target::Target;
use crate::timers::Timer;

use super::Shard;

/// Bytes that a client may send between its hello and its welcome: it should send none,
/// but a client that does is told so by the failure of its requests, not by a crash.
const MAX_MOVING_BYTES: usize = 64 * 1024;

const _: () = assert!(MAX_MOVING_BYTES > MAX_CONTROL_PAYLOAD_BYTES);

/// Adjacent runs with the same targets, not yet fanned out.
struct Pending {
    route: RouteId,
    start: usize,
    end: usize,
    frames: usize,
}

impl Pending {
    #[inline]
    fn new(route: RouteId, run: &Run<'_>) -> Pending {
        Pending { route, start: run.start, end: run.end, frames: run.frames }
    }

    /// Takes a run in that continues this one. Returns whether it does.
    #[inline]
    fn joins(&mut self, route: RouteId, run: &Run<'_>) -> bool {
        let is_same = self.route == route && self.end == run.start;
        if is_same {
            self.end = run.end;
            self.frames += run.frames;
        }
        is_same
    }
}

/// Result of a step that is no run of events.
enum Taken {
    /// The frame is taken: the walk goes on.
    All,
    /// The chunk has no more frames.
    End,
    /// The route of this frame is not found yet.
    Stopped(Pieces),
}

/// Place where a walk stopped because a route could not be found in this turn.
pub(super) struct Stop {
    /// Offset of the first byte of the chunk that is not taken.
    pub at: usize,
    /// The frame before it, if that is a control frame, or lay in several chunks.
    pub frame: Option<Pieces>,
}

/// Reason why a connection cannot go on.
pub(super) enum Fault {
    Frame(FrameError),
    Name(NameError),
    Source,
}

impl<I: Io> Shard<I> {
    /// Takes bytes that arrived on a connection.
    pub(super) fn received(&mut self, conn: Conn, chunk: &Bytes) {
        self.totals.bytes_in += chunk.len() as u64;
        let mut at = 0;
        let connection = self.connections.at(conn);
        if !connection.is_open() {
            match self.received_early(conn, chunk) {
                Some(used) => at = used,
                None => return,
            }
        }
        self.take_chunk(conn, chunk, at);
        self.charge_pace(conn, chunk.len());
    }

    /// Has a client wait that has emitted more than its channel lets it, if that is limited.
    #[inline]
    fn charge_pace(&mut self, conn: Conn, bytes: usize) {
        let Some(connection) = self.connections.get_mut(conn) else { return };
        let Some(pace) = &mut connection.pace else { return };
        let events = connection.events_in + connection.forbidden;
        let target = connection.target;
        if let Some(until) = pace.charge(self.now, bytes, events)
            && self.block_client(target, Blocker::Rate)
        {
            self.timers.set(until, Timer::Rate(target));
        }
    }

    /// Lets a client emit as much as it likes: the broker ends, and what the client has
    /// written is to arrive.
    pub(super) fn lift_pace(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        let target = connection.target;
        if connection.pace.take().is_some() {
            self.unblock_client(target, Blocker::Rate);
        }
    }

    /// Lets a client go on that has waited for what it emitted.
    pub(super) fn rate_timed_out(&mut self, target: Target) {
        self.unblock_client(target, Blocker::Rate);
    }

    /// Takes the bytes of a chunk, from `at` on, of a connection that is open.
    pub(super) fn take_chunk(&mut self, conn: Conn, chunk: &Bytes, at: usize) {
        if self.connections.at(conn).postponed.is_some() {
            return self.postpone(conn, chunk, Stop { at, frame: None });
        }
        let walked = if self.returning.holds_any() {
            self.walk_or_keep(conn, chunk, at)
        } else {
            self.walk(conn, chunk, at)
        };
        match walked {
            Ok(None) => self.after_chunk(conn, chunk),
            Ok(Some(stop)) => self.postpone(conn, chunk, stop),
            Err(fault) => self.fault(conn, &fault),
        }
    }

    #[inline]
    fn after_chunk(&mut self, conn: Conn, chunk: &Bytes) {
        let sharing = &mut self.connections.at(conn).sharing;
        if sharing.is_on() {
            self.after_shared_chunk(conn, chunk);
        } else if sharing.moved(chunk.len()) {
            self.order_memory(conn);
        }
    }

    /// Takes the frames of a chunk, from `at` on, of a connection that is open. Returns
    /// the place where it had to stop, if so.
    pub(super) fn walk(
        &mut self,
        conn: Conn,
        chunk: &Bytes,
        mut at: usize,
    ) -> Result<Option<Stop>, Fault> {
        let max_payload = self.connections.at(conn).max_payload_bytes;
        let mut pending: Option<Pending> = None;
        if let Some(channel) = self.connections.at(conn).channel {
            self.router.make_room(channel);
        }
        loop {
            let connection = self.connections.at(conn);
            // A control frame before may have ended the connection.
            let (State::Open, Some(channel)) = (&connection.state, connection.channel) else {
                return Ok(None);
            };
            let step = connection.inbound.next(chunk, &mut at, max_payload, &self.shared.budget);
            let Ok(Step::Run(run)) = step else {
                self.deliver_pending(conn, chunk, pending.take());
                match self.take_step(conn, step.map_err(Fault::Frame)?)? {
                    Taken::All => continue,
                    Taken::End => return Ok(None),
                    Taken::Stopped(frame) => return Ok(Some(Stop { at, frame: Some(frame) })),
                }
            };
            if run.source != connection.source.to_u64() {
                self.deliver_pending(conn, chunk, pending.take());
                return Err(Fault::Source);
            }
            if !connection.may_emit(run.name) {
                connection.last_sequence = run.last_sequence;
                self.deliver_pending(conn, chunk, pending.take());
                self.refuse_events(conn, run.name, run.frames);
                continue;
            }
            match self.router.find_now(channel, run.name) {
                Ok(route) => {
                    connection.last_sequence = run.last_sequence;
                    if let Some(last) = &mut pending
                        && last.joins(route, &run)
                    {
                        continue;
                    }
                    let before = pending.replace(Pending::new(route, &run));
                    self.deliver_pending(conn, chunk, before);
                }
                Err(unfound) => {
                    // Before a cache is emptied: its ids are no longer true then.
                    at = run.start;
                    self.deliver_pending(conn, chunk, pending.take());
                    match unfound {
                        Unfound::Name(error) => return Err(Fault::Name(error)),
                        Unfound::NotYet if self.router.make_room(channel) => {}
                        Unfound::NotYet => return Ok(Some(Stop { at, frame: None })),
                    }
                }
            }
        }
    }

    /// Takes a step that is no run of events.
    fn take_step(&mut self, conn: Conn, step: Step<'_>) -> Result<Taken, Fault> {
        match step {
            Step::Event(pieces) => {
                if !self.deliver_event(conn, &pieces)? {
                    return Ok(Taken::Stopped(pieces));
                }
            }
            Step::Control(frame) => {
                if !self.control(conn, &frame) {
                    return Ok(Taken::Stopped(Pieces::from_buf([Slice::from(frame)])));
                }
            }
            Step::Gather => self.stop_receiving(conn),
            Step::Run(_) | Step::Done => return Ok(Taken::End),
        }
        Ok(Taken::All)
    }

    #[inline]
    fn deliver_pending(&mut self, conn: Conn, chunk: &Bytes, pending: Option<Pending>) {
        if let Some(Pending { route, start, end, frames }) = pending {
            let slice = Slice::pooled(chunk.clone(), start, end);
            self.fan_out(conn, route, std::slice::from_ref(&slice), frames);
        }
    }

    /// Delivers one event that lay in several chunks, or in its own buffer; returns
    /// false if its route is not found yet.
    pub(super) fn deliver_event(&mut self, conn: Conn, pieces: &[Slice]) -> Result<bool, Fault> {
        let connection = self.connections.at(conn);
        let (source, channel) = (connection.source, connection.channel);
        let head = pieces[0].as_bytes();
        let header = netcluster_wire::Header::read(head).expect("the head is whole");
        if header.source() != source {
            return Err(Fault::Source);
        }
        let sequence = header.sequence.get();
        let name = &head[netcluster_wire::limits::HEADER_BYTES..][..header.name_len.get() as usize];
        let channel = channel.expect("an open connection has a channel");
        if !connection.may_emit(name) {
            connection.last_sequence = sequence;
            self.refuse_events(conn, name, 1);
            return Ok(true);
        }
        let Some(route) = self.router.find(channel, name).map_err(Fault::Name)? else {
            return Ok(false);
        };
        self.connections.at(conn).last_sequence = sequence;
        self.fan_out(conn, route, pieces, 1);
        Ok(true)
    }

    /// Takes bytes of a connection that is not open. Returns how many were used if it
    /// is open now.
    fn received_early(&mut self, conn: Conn, chunk: &Bytes) -> Option<usize> {
        let max_payload = self.shared.config.max_payload_bytes;
        let budget = self.shared.budget.clone();
        let connection = self.connections.at(conn);
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

    /// Delivers a large frame that is complete.
    pub(super) fn filled(&mut self, conn: Conn, buffer: BytesMut) {
        let connection = self.connections.at(conn);
        connection.receiving = Receiving::Off;
        if !connection.is_open() {
            return self.start_receiving(conn);
        }
        let rest = buffer.len() - self.connections.at(conn).filling_from;
        self.totals.bytes_in += rest as u64;
        let pieces = self.connections.at(conn).inbound.filled(buffer);
        if self.is_held(conn) {
            return self.keep(conn, &pieces);
        }
        let delivered = self.deliver_event(conn, &pieces);
        self.charge_pace(conn, rest);
        match delivered {
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
        let connection = self.connections.at(conn);
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

    /// Asks the back end to stop receiving; late chunks are still taken.
    pub(super) fn stop_receiving(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        if connection.receiving == Receiving::On {
            connection.receiving = Receiving::Stopping;
            self.io.stop_receive(conn);
        }
    }

    /// Hands a moving connection over, or receives again, once the back end has stopped
    /// receiving.
    pub(super) fn stopped(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
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
