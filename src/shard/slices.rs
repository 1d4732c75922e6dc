//! Work that a client can make as large as it likes, done in slices: a bounded part in
//! each turn, so that nobody else waits for the whole.
//!
//! - look-ups among many patterns: what a client has sent is postponed until the route
//!   is found, in its order, and it is paused meanwhile;
//! - ending the connections whose other end is gone, when those are many;
//! - taking the patterns of a client that is gone out of all routes;
//! - dropping what was queued for a client that is gone;
//! - putting listeners into the routes that other rules of channels want;
//! - counting connections, for `status` and the like.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use netcluster_platform::{Conn, Io, Slice};
use netcluster_wire::{Header, Kind};

use crate::connection::{Blocker, Connection, Receiving, State};
use crate::inbound::Pieces;
use crate::mesh::Message;
use crate::outbound::Remains;
use crate::pattern_set::PatternSet;
use crate::target::Target;

use super::Shard;
use super::count::Count;
use super::interest::Heard;
use super::receive::{Fault, Stop};
use super::relisten::Relisten;

/// Connections that a turn ends because their other end is gone. Each costs the system
/// more than it costs to hear of it, and others have business here meanwhile.
const ENDINGS_PER_TURN: usize = 128;

/// Patterns that a turn takes out of routes.
const PATTERNS_PER_TURN: usize = 1024;

/// Patterns that one message asks another shard to take out.
const PATTERNS_PER_MESSAGE: usize = 64;

/// Ranges of queues that a turn drops.
const RANGES_PER_TURN: usize = 16 * 1024;

/// Bytes that a connection has sent and that wait for routes, oldest first.
#[derive(Debug, Default)]
pub struct Postponed {
    waiting: VecDeque<Waiting>,
    /// The other end is gone: the connection ends when its bytes are done.
    pub hung_up: bool,
}

/// Part of what is postponed, in memory of its own: receive buffers are few.
#[derive(Debug)]
enum Waiting {
    Frame(Slice),
    Chunk(Bytes, usize),
}

/// Patterns of a client that is gone.
struct Departure {
    /// Channels in whose routes they stand, whatever the rules are by then.
    channels: Heard,
    target: Target,
    patterns: PatternSet,
}

/// A connection whose other end is gone.
struct Ending {
    target: Target,
    /// A large frame's own buffer was being filled.
    was_filling: bool,
    error: Option<io::Error>,
}

/// Work that is left for later turns.
pub(super) struct Slices {
    /// Connections of which something is postponed, in the order in which they go on.
    postponed: Vec<Target>,
    endings: VecDeque<Ending>,
    departures: VecDeque<Departure>,
    remains: VecDeque<Remains>,
    /// Clients on their way to other rules of channels.
    pub relisten: Option<Box<Relisten>>,
    /// Counts of connections that are going on, the oldest first.
    pub counts: VecDeque<Box<Count>>,
    /// Connections that may yet be ended in this turn.
    endings_left: usize,
    /// Patterns that may yet be taken out in this turn.
    patterns_left: usize,
}

impl Default for Slices {
    fn default() -> Slices {
        Slices {
            postponed: Vec::new(),
            endings: VecDeque::new(),
            departures: VecDeque::new(),
            remains: VecDeque::new(),
            relisten: None,
            counts: VecDeque::new(),
            endings_left: ENDINGS_PER_TURN,
            patterns_left: PATTERNS_PER_TURN,
        }
    }
}

impl Slices {
    /// Returns whether another turn has something to do at once.
    pub fn is_empty(&self) -> bool {
        self.postponed.is_empty()
            && self.endings.is_empty()
            && self.departures.is_empty()
            && self.remains.is_empty()
            && self.relisten.is_none()
            && self.counts.is_empty()
    }

    /// Gives back the room of work that is done.
    pub fn shrink(&mut self) {
        self.postponed.shrink_to_fit();
        self.endings.shrink_to_fit();
        self.departures.shrink_to_fit();
        self.remains.shrink_to_fit();
        self.counts.shrink_to_fit();
    }
}

impl<I: Io> Shard<I> {
    /// Keeps what a connection has sent from `stop` on until its route is found.
    #[cold]
    pub(super) fn postpone(&mut self, conn: Conn, chunk: &Bytes, stop: Stop) {
        if let Some(pieces) = stop.frame {
            let frame = self.own_frame(&pieces);
            self.postpone_one(conn, Waiting::Frame(frame));
        }
        if stop.at < chunk.len() {
            let rest = self.shared.budget.own(BytesMut::from(&chunk[stop.at..]));
            self.postpone_one(conn, Waiting::Chunk(rest, 0));
        }
    }

    fn own_frame(&self, pieces: &Pieces) -> Slice {
        match &pieces[..] {
            // A control frame, or the own buffer of a large event.
            [whole] if !whole.is_pooled() => whole.clone(),
            pieces => {
                let mut bytes = BytesMut::with_capacity(pieces.iter().map(Slice::len).sum());
                pieces.iter().for_each(|piece| bytes.extend_from_slice(piece.as_bytes()));
                Slice::from(self.shared.budget.own(bytes))
            }
        }
    }

    /// Notes that the other end of a connection is gone. Returns whether the connection
    /// ends later, once its postponed events are delivered.
    pub(super) fn ends_later(&mut self, conn: Conn) -> bool {
        let postponed = self.connections.at(conn).postponed.as_mut();
        postponed.map(|postponed| postponed.hung_up = true).is_some()
    }

    fn postpone_one(&mut self, conn: Conn, waiting: Waiting) {
        let connection = self.connections.at(conn);
        let target = connection.target;
        let is_first = connection.postponed.is_none();
        connection.postponed.get_or_insert_default().waiting.push_back(waiting);
        if is_first {
            self.slices.postponed.push(target);
            self.block_client(target, Blocker::Routes);
        }
    }

    /// Goes on with connections whose events wait for routes, as far as this turn's
    /// effort reaches. A connection that got on stands behind those that did not.
    pub(super) fn resume_postponed(&mut self) {
        if self.slices.postponed.is_empty() {
            return;
        }
        let mut behind = Vec::new();
        let mut before = std::mem::take(&mut self.slices.postponed);
        before.retain(|&target| match self.resume_one(target) {
            Resumed::Done => false,
            Resumed::Waits => true,
            Resumed::GotOn => {
                behind.push(target);
                false
            }
        });
        before.append(&mut behind);
        // Connections that were postponed by something in between.
        before.append(&mut self.slices.postponed);
        self.slices.postponed = before;
    }

    fn resume_one(&mut self, target: Target) -> Resumed {
        let conn = target.conn;
        let mut resumed = Resumed::Waits;
        loop {
            let Some(connection) = self.connections.find(target) else { return Resumed::Done };
            let Some(postponed) = &mut connection.postponed else { return Resumed::Done };
            let Some(waiting) = postponed.waiting.pop_front() else {
                self.caught_up(conn);
                return Resumed::Done;
            };
            let result = match &waiting {
                Waiting::Frame(frame) => {
                    let found = self.take_frame(conn, frame);
                    found.map(|is_found| (!is_found).then_some(Stop { at: 0, frame: None }))
                }
                Waiting::Chunk(chunk, at) => self.walk_or_keep(conn, chunk, *at),
            };
            let stop = match result {
                Ok(None) => {
                    resumed = Resumed::GotOn;
                    continue;
                }
                Ok(Some(stop)) => stop,
                Err(fault) => {
                    self.fault(conn, &fault);
                    return Resumed::Done;
                }
            };
            let frame = stop.frame.map(|pieces| Waiting::Frame(self.own_frame(&pieces)));
            let rest = match waiting {
                Waiting::Frame(frame) => Some(Waiting::Frame(frame)),
                Waiting::Chunk(chunk, at) => {
                    if stop.at > at {
                        resumed = Resumed::GotOn;
                    }
                    (stop.at < chunk.len()).then_some(Waiting::Chunk(chunk, stop.at))
                }
            };
            let Some(postponed) = &mut self.connections.at(conn).postponed else {
                return Resumed::Done;
            };
            for waiting in rest.into_iter().chain(frame) {
                postponed.waiting.push_front(waiting);
            }
            return resumed;
        }
    }

    /// Takes one whole frame; returns false if its route is not found yet.
    fn take_frame(&mut self, conn: Conn, frame: &Slice) -> Result<bool, Fault> {
        let kind = Header::read(frame.as_bytes()).map(|header| header.kind);
        let is_event = kind.and_then(Kind::from_byte) == Some(Kind::Event);
        if !self.connections.at(conn).held.is_empty() || is_event && self.is_held(conn) {
            self.keep(conn, std::slice::from_ref(frame));
            return Ok(true);
        }
        if is_event {
            return self.deliver_event(conn, std::slice::from_ref(frame));
        }
        Ok(self.control(conn, frame.chunk()))
    }

    /// Unblocks a connection of which nothing is postponed any more, and ends it if its
    /// other end is gone.
    fn caught_up(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        let target = connection.target;
        let postponed = connection.postponed.take();
        self.unblock_client(target, Blocker::Routes);
        if postponed.is_some_and(|it| it.hung_up) {
            self.hung_up(conn, false, None);
        }
    }

    /// Ends a connection whose other end closed, or whose process died: now, unless so
    /// many did that it must wait for a later turn.
    pub(super) fn receive_ended(&mut self, conn: Conn, error: Option<io::Error>) {
        let connection = self.connections.at(conn);
        let target = connection.target;
        let before = std::mem::replace(&mut connection.receiving, Receiving::Ended);
        let was_filling = before == Receiving::Filling;
        if self.slices.endings_left > 0 && self.slices.endings.is_empty() {
            self.slices.endings_left -= 1;
            self.hung_up(conn, was_filling, error);
        } else {
            self.slices.endings.push_back(Ending { target, was_filling, error });
        }
    }

    /// Ends connections that had to wait, as many as belong to this turn.
    fn end_some(&mut self) {
        while self.slices.endings_left > 0
            && let Some(ending) = self.slices.endings.pop_front()
        {
            let Ending { target, was_filling, error } = ending;
            // The connection may have been closed for another reason meanwhile.
            let is_closed = |it: &mut Connection| matches!(it.state, State::Closed);
            if !self.connections.find(target).is_none_or(is_closed) {
                self.slices.endings_left -= 1;
                self.hung_up(target.conn, was_filling, error);
            }
        }
        self.slices.endings_left = ENDINGS_PER_TURN;
    }

    /// Takes the patterns of a client that is gone out of every shard's routes: now, if
    /// there are few, else in later turns. Until then they name nobody.
    pub(super) fn depart(&mut self, channel: Arc<str>, target: Target, patterns: PatternSet) {
        if patterns.is_empty() {
            return;
        }
        for (channels, patterns) in self.departing(target, &channel, patterns) {
            if !patterns.is_empty() {
                self.slices.departures.push_back(Departure { channels, target, patterns });
            }
        }
        self.unroute_departed();
    }

    fn unroute_departed(&mut self) {
        while self.slices.patterns_left > 0
            && let Some(departure) = self.slices.departures.front_mut()
        {
            let count = self.slices.patterns_left.min(PATTERNS_PER_MESSAGE);
            let patterns = departure.patterns.take(count);
            let (channels, target) = (departure.channels.clone(), departure.target);
            if departure.patterns.is_empty() {
                self.slices.departures.pop_front();
            }
            self.slices.patterns_left -= patterns.len();
            self.unroute(&channels, target, &patterns);
        }
    }

    /// Drops what was queued for a client that is gone.
    pub(super) fn discard(&mut self, remains: Remains) {
        if !remains.is_empty() {
            self.slices.remains.push_back(remains);
        }
    }

    /// Does this turn's part of what is to be taken apart.
    pub(super) fn take_apart(&mut self) {
        self.end_some();
        self.count_some();
        self.relisten_some();
        let mut ranges = RANGES_PER_TURN;
        while ranges > 0
            && let Some(remains) = self.slices.remains.front_mut()
        {
            ranges -= remains.drop_some(ranges);
            if remains.is_empty() {
                self.slices.remains.pop_front();
            }
        }
        if self.slices.patterns_left < PATTERNS_PER_TURN {
            self.slices.patterns_left = PATTERNS_PER_TURN;
            self.unroute_departed();
        }
    }
}

/// Progress of a postponed connection.
enum Resumed {
    Waits,
    GotOn,
    Done,
}

/// Returns the weight of a message among those that a turn takes from another shard.
pub(super) fn weight<S>(message: &Message<S>) -> usize {
    match message {
        Message::Unsubscribe { patterns, .. } => 1 + patterns.len() / 4,
        _ => 1,
    }
}
