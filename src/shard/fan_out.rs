//! Fan-out: runs of events go onto the queues of their targets, and emitters pause when
//! one is full.
//!
//! An emitter that feeds a full queue is paused whole: nothing more is received
//! from it until every queue that blocks it has drained to half. Emitters that
//! feed no full queue are never touched. A fan-out is never cut short: what has
//! arrived goes onto every queue, and the pause takes hold behind it. So a queue
//! exceeds its mark by at most what was received before the pause took hold: the
//! shard's receive pool, and what the rings between shards hold.

use std::sync::Arc;

use netcluster_platform::{Conn, Io, IoStats, Slice};

use crate::connection::{Blocker, Connection, Lag};
use crate::histogram::FanOutHistogram;
use crate::inbound::Pieces;
use crate::mesh::Message;
use crate::routes::{Route, RouteId};
use crate::target::{Emitter, LINK_HOME, Queue, ShardId, Target};
use crate::timers::Timer;
use netcluster_link::receive::ingress::CHUNK_BYTES;

use super::Shard;
use super::slow_listener::LAG_GRACE_NS;

/// Ranges of a queue that does not drain from which on what comes from the link is
/// copied for it: together they pin 16 MiB at the most.
const MAX_LINK_RANGES: usize = (16 << 20) / CHUNK_BYTES;

/// Length in bytes below which ranges are copied at once for a client that does not
/// read.
const SMALL_SLICE_BYTES: usize = 16 << 10;

/// State of queueing to the clients of one shard.
pub(super) struct FanOut {
    /// Connections whose queues were touched and not flushed yet.
    dirty: Vec<Conn>,
    /// Memory for the targets of one run that hold its emitter up.
    full: Vec<Target>,
    /// Bytes behind a full socket from which a queue lags: a quarter of the pool,
    /// so that several laggards leave buffers for everybody else.
    pub lag_bytes: usize,
    /// Number of clients that each run went to.
    pub targets: FanOutHistogram,
}

impl FanOut {
    /// Returns the state for a back end with this pool.
    pub fn new(pool: &IoStats) -> FanOut {
        let lag_bytes = (pool.buffers * pool.buffer_bytes / 4) as usize;
        FanOut { dirty: Vec::new(), full: Vec::new(), lag_bytes, targets: Default::default() }
    }

    /// Marks a connection, so that its queue is flushed at the end of the turn.
    #[inline]
    pub fn mark_dirty(&mut self, connection: &mut Connection) {
        if !connection.dirty {
            connection.dirty = true;
            self.dirty.push(connection.target.conn);
        }
    }

    /// Returns whether any queue is to be flushed.
    pub fn has_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Takes the connections whose queues are to be flushed.
    pub fn take_dirty(&mut self) -> std::vec::Drain<'_, Conn> {
        self.dirty.drain(..)
    }

    /// Gives back what a flood took.
    pub fn shrink(&mut self) {
        self.dirty.shrink_to_fit();
        self.full.shrink_to_fit();
    }
}

impl<I: Io> Shard<I> {
    /// Queues whole frames, in one slice, or one frame in several, to all
    /// targets of a route.
    #[inline]
    pub(super) fn fan_out(&mut self, from: Conn, id: RouteId, pieces: &[Slice], frames: usize) {
        let connection = self.connections.at(from);
        connection.events_in += frames as u64;
        self.totals.events_in += frames as u64;
        let (emitter, echo) = (connection.target, connection.echo);
        let channel = connection.channel.expect("an emitter has a channel");
        let routes = &self.router.channels.get(channel).routes;
        let route = routes.get(id).clone();
        self.fan_out.targets.add(route.clients().len());
        if route.clients().is_empty() {
            self.totals.events_unheard += frames as u64;
            if route.link().is_none() {
                return;
            }
        }
        let skip = if echo { None } else { Some(emitter) };
        self.queue_here(&route, Emitter::Client(emitter), skip, pieces, frames);
        self.queue_to_link(&route, emitter, pieces, frames);
        if !route.is_within(self.id) || route.link().is_some() {
            self.send_across(&route, emitter, pieces, frames);
        }
    }

    /// Queues to the targets that this shard owns.
    pub(super) fn queue_here(
        &mut self,
        route: &Route,
        emitter: Emitter,
        skip: Option<Target>,
        pieces: &[Slice],
        frames: usize,
    ) {
        let from_link = emitter.stream();
        let mut full = std::mem::take(&mut self.fan_out.full);
        for &target in route.of_shard(self.id) {
            if Some(target) == skip {
                continue;
            }
            let Some(connection) = self.connections.find_open(target) else { continue };
            if !emitter.yields() && connection.outbound.is_full() {
                // Pressure stays on its machine: the link waits for nobody here.
                connection.outbound.miss(pieces);
                self.totals.dropped += frames as u64;
                continue;
            }
            match pieces {
                [slice] if from_link.is_some() && pins_too_much(connection, slice.len()) => {
                    let copy = self.shared.budget.own(slice.as_bytes().into());
                    connection.outbound.push(&Slice::from(copy));
                }
                [slice] => connection.outbound.push(slice),
                pieces => connection.outbound.push_pieces(pieces),
            }
            connection.events_out += frames as u64;
            self.totals.events_out += frames as u64;
            self.fan_out.mark_dirty(connection);
            if connection.latest {
                self.totals.dropped += connection.trim_latest(&self.shared.budget);
                continue;
            }
            if connection.outbound.fills(&self.shared.budget) {
                let stall = self.shared.config.stall_timeout;
                self.timers.watch_full(connection, self.now, stall);
            }
            if connection.lags(self.fan_out.lag_bytes) {
                connection.lag = Lag::Grace;
                self.timers.set(self.now + LAG_GRACE_NS, Timer::Lag(target));
            }
            if connection.holds_up() {
                full.push(target);
            }
        }
        for target in full.drain(..) {
            if emitter.yields() {
                self.pause_for(emitter, target);
            }
        }
        self.fan_out.full = full;
    }

    /// Sends one message to each other shard that owns clients of the route or drives
    /// the link.
    fn send_across(
        &mut self,
        route: &Arc<Route>,
        emitter: Target,
        pieces: &[Slice],
        frames: usize,
    ) {
        // The shard that drives the link gets one run for both: it has the lowest id, so its
        // clients stand first.
        let is_for_link = route.link().is_some() && self.id != LINK_HOME;
        let has_clients_there = route.clients().first().is_some_and(|it| it.shard == LINK_HOME);
        let link_home = (is_for_link && !has_clients_there).then_some(LINK_HOME);
        for shard in route.other_shards(self.id).chain(link_home) {
            let message = Message::Run {
                route: route.clone(),
                emitter: Emitter::Client(emitter),
                pieces: Pieces::from(pieces),
                frames,
            };
            self.tell(shard, emitter, message);
        }
    }

    /// Sends a message that a client of this shard has caused. If it must wait
    /// for room, the client pauses.
    pub(super) fn tell(&mut self, shard: ShardId, cause: Target, message: Message<I::Socket>) {
        if self.mesh.send(shard, message) && self.block_client(cause, Blocker::Shard(shard)) {
            self.mesh.wait_for(shard, Emitter::Client(cause));
        }
    }

    /// Has the emitter, of whichever shard, wait for a full queue of this shard.
    pub(super) fn pause_for(&mut self, emitter: Emitter, queue: Target) {
        let connection = self.connections.find(queue).expect("it was just queued to");
        if connection.waiters.contains(&emitter) {
            return;
        }
        connection.waiters.push(emitter);
        self.pause(emitter, Queue::Client(queue));
    }

    /// Pauses an emitter, of whichever shard, that is on the queue's list.
    pub(super) fn pause(&mut self, emitter: Emitter, queue: Queue) {
        if emitter.home() == self.id {
            self.block(emitter, Blocker::Queue(queue));
        } else {
            self.mesh.send(emitter.home(), Message::Pause { emitter, by: queue });
        }
    }

    /// Pauses an emitter whose home is this shard. Returns whether this is news.
    pub(super) fn block(&mut self, emitter: Emitter, blocker: Blocker) -> bool {
        match emitter {
            Emitter::Client(client) => self.block_client(client, blocker),
            Emitter::Stream(peer, stream) => self.hold_stream(peer, stream, blocker),
        }
    }

    /// Pauses a client of this shard as an emitter. Returns whether this is news.
    pub(super) fn block_client(&mut self, client: Target, blocker: Blocker) -> bool {
        let Some(connection) = self.connections.find(client) else { return false };
        // A client that is going has nothing to be paused; its messages may still
        // cross.
        if !connection.is_open() || connection.blocked_by.contains(&blocker) {
            return false;
        }
        connection.blocked_by.push(blocker);
        self.totals.pauses += 1;
        self.stop_receiving(client.conn);
        true
    }

    /// Removes a reason for an emitter to pause.
    pub(super) fn unblock(&mut self, emitter: Emitter, blocker: Blocker) {
        match emitter {
            Emitter::Client(client) => self.unblock_client(client, blocker),
            Emitter::Stream(peer, stream) => self.release_stream(peer, stream, blocker),
        }
    }

    /// Removes a reason for a client to pause.
    pub(super) fn unblock_client(&mut self, client: Target, blocker: Blocker) {
        let Some(connection) = self.connections.find(client) else { return };
        connection.blocked_by.retain(|other| *other != blocker);
        if connection.blocked_by.is_empty() {
            self.start_receiving(client.conn);
        }
    }

    /// Lets the emitters go on that waited for a queue: it has drained to half, or is
    /// gone.
    pub(super) fn release_waiters(&mut self, queue: Target) {
        let Some(connection) = self.connections.find(queue) else { return };
        let waiters = std::mem::take(&mut connection.waiters);
        self.resume(waiters, Queue::Client(queue));
    }

    /// Lets these emitters go on: they need not wait for this queue any more.
    pub(super) fn resume(&mut self, emitters: Vec<Emitter>, queue: Queue) {
        for emitter in emitters {
            if emitter.home() == self.id {
                self.unblock(emitter, Blocker::Queue(queue));
            } else {
                self.mesh.send(emitter.home(), Message::Resume { emitter, by: queue });
            }
        }
    }
}

/// Returns whether a range from the link is copied for this connection: it does not
/// read, and each of its ranges pins a whole chunk that the link received.
#[inline]
fn pins_too_much(connection: &Connection, bytes: usize) -> bool {
    connection.outbound.is_blocked()
        && (bytes < SMALL_SLICE_BYTES || connection.outbound.ranges() >= MAX_LINK_RANGES)
}
