//! Events that wait until the clients are back that were here before the broker was
//! restarted; [`crate::returning`] says for whom and how long.
//!
//! Requests go on, so that clients can come back: a connection is read up to its first
//! event, and paused. What had come until the pause took hold is kept, copied, so that
//! no receive buffers are pinned. Later it is taken as if it had just come.
//!
//! Invariant: what a connection sent is taken in its order.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use netcluster_platform::{Conn, Instant, Io, Slice};
use netcluster_wire::control::encode_lost;
use netcluster_wire::{Hello, Kind, LossReason, Source, frame};

use crate::connection::{Blocker, Connection, Receiving};
use crate::inbound::{Run, Step};
use crate::mesh::Message;
use crate::returning::Listening;
use crate::target::ShardId;
use crate::timers::Timer;

use super::Shard;
use super::receive::{Fault, Stop};

/// Shard that counts the clients that are back.
pub(super) const COUNTING_SHARD: ShardId = ShardId(0);

impl<I: Io> Shard<I> {
    /// Has the channel of a client that may have been here before a crash wait for
    /// other clients.
    pub(super) fn hold_for_return(&mut self, hello: &Hello, channel: &Arc<str>) {
        let config = &self.shared.config;
        let placement = self.acceptor.placement.as_ref().expect("a shard that accepts has books");
        let Source { node, client } = hello.previous;
        let of_this_run =
            node == config.node && (placement.is_one_of_many() || placement.has_given(client));
        if hello.previous == Source::NONE || of_this_run || config.awaited.knows(node) {
            return;
        }
        if self.begin_hold(channel) {
            for shard in self.mesh.others() {
                self.mesh.send(shard, Message::Hold(Arc::clone(channel)));
            }
        }
    }

    /// Holds events that are emitted in a channel, after a crash. Returns whether that
    /// is new.
    pub(super) fn begin_hold(&mut self, channel: &Arc<str>) -> bool {
        let until = self.returning.begin(channel, self.now);
        if let Some(until) = until {
            self.timers.set(until, Timer::Hold);
        }
        until.is_some()
    }

    /// Notes that a client's subscription is in force; it may be the last that the
    /// client had before.
    pub(super) fn subscribed_again(&mut self, conn: Conn) {
        let connection = self.connections.at(conn);
        if connection.awaited == 0 {
            return;
        }
        connection.awaited -= 1;
        connection.is_promised &= connection.awaited > 0;
        let Some(channel) = connection.channel.filter(|_| connection.awaited == 0) else { return };
        let previous = connection.previous;
        let channel = Arc::clone(&self.router.channels.get(channel).name);
        if self.id == COUNTING_SHARD {
            self.is_back(&channel, previous);
        } else {
            self.mesh.send(COUNTING_SHARD, Message::IsBack(channel, previous));
        }
    }

    /// Notes that a client is back with all its patterns, which every shard knows.
    pub(super) fn is_back(&mut self, channel: &Arc<str>, previous: Source) {
        if self.returning.is_back(channel, previous) {
            for shard in self.mesh.others() {
                self.mesh.send(shard, Message::Released(Arc::clone(channel)));
            }
            self.release_hold(channel);
        }
    }

    /// Releases the channels whose time is over: clients that are not back are not
    /// waited for.
    pub(super) fn hold_timed_out(&mut self) {
        for channel in self.returning.overdue(self.now) {
            tracing::info!(%channel, "not all clients that were here before are back; events go on");
            for shard in self.mesh.others() {
                self.mesh.send(shard, Message::HoldOver(Arc::clone(&channel)));
            }
            self.hold_is_over(&channel);
        }
    }

    /// Lets events go on in a channel, whoever is not back: who comes back just now is told.
    pub(super) fn hold_is_over(&mut self, channel: &str) {
        for conn in self.break_promises(channel) {
            if self.connections.at(conn).is_open() {
                let lost = encode_lost(LossReason::Disconnected);
                self.reply(conn, &frame::encode(Kind::Lost, Source::NONE, 0, b"", &lost));
            }
        }
        self.release_hold(channel);
    }

    /// Takes back from the clients of a channel that are not back in full what their welcome
    /// promised; returns them.
    fn break_promises(&mut self, channel: &str) -> Vec<Conn> {
        let Some(id) = self.router.channels.find(channel) else { return Vec::new() };
        let late = self.connections.iter().filter(|it| it.is_promised && it.channel == Some(id));
        let late: Vec<Conn> = late.map(|it| it.target.conn).collect();
        late.iter().for_each(|&conn| self.connections.at(conn).is_promised = false);
        late
    }

    /// Releases all channels, as the broker shuts down: who comes back just now has not been
    /// waited for, and learns that from the next broker.
    pub(super) fn release_all_holds(&mut self) {
        for channel in self.returning.overdue(Instant::NEVER) {
            self.break_promises(&channel);
            self.release_hold(&channel);
        }
    }

    /// Lets the emitters go on that wait in a channel.
    pub(super) fn release_hold(&mut self, channel: &str) {
        for emitter in self.returning.release(channel) {
            let conn = emitter.conn;
            let Some(connection) = self.connections.find(emitter) else { continue };
            for chunk in std::mem::take(&mut connection.held) {
                self.take_chunk(conn, &chunk, 0);
            }
            self.unblock_client(emitter, Blocker::Hold);
            let ended = |it: &mut Connection| {
                it.is_open() && it.receiving == Receiving::Ended && !it.is_read_up
            };
            if self.connections.find(emitter).is_some_and(ended) && !self.ends_later(conn) {
                self.disconnect(conn);
            }
        }
        self.let_inherited_go();
    }

    /// Returns whether events of a connection wait.
    pub(super) fn is_held(&mut self, conn: Conn) -> bool {
        if !self.returning.holds_any() {
            return false;
        }
        self.held_channel(conn).is_some()
    }

    /// Returns the channel for whose clients the events of a connection wait: its own, or one
    /// into which they are copied.
    fn held_channel(&mut self, conn: Conn) -> Option<Arc<str>> {
        let channel = self.connections.at(conn).channel?;
        let channel = Arc::clone(&self.router.channels.get(channel).name);
        if self.returning.holds(&channel, self.now) {
            return Some(channel);
        }
        let rules = &self.shared.config.channels;
        self.returning.held().find(|held| rules.reaches(&channel, held)).cloned()
    }

    /// Takes the bytes of a chunk, from `at` on, as [`Shard::walk`] does; while events of
    /// the connection wait, only requests up to the first event: what follows is kept.
    pub(super) fn walk_or_keep(
        &mut self,
        conn: Conn,
        chunk: &Bytes,
        mut at: usize,
    ) -> Result<Option<Stop>, Fault> {
        if !self.connections.at(conn).held.is_empty() {
            self.keep(conn, &[Slice::from(chunk.slice(at..))]);
            return Ok(None);
        }
        let max_payload = self.connections.at(conn).max_payload_bytes;
        let budget = self.shared.budget.clone();
        while self.is_held(conn) {
            let connection = self.connections.at(conn);
            if !connection.is_open() {
                return Ok(None);
            }
            let step = connection.inbound.next(chunk, &mut at, max_payload, &budget);
            match step.map_err(Fault::Frame)? {
                Step::Control(frame) => {
                    if !self.control(conn, &frame) {
                        let frame = Some([Slice::from(frame)].into());
                        return Ok(Some(Stop { at, frame }));
                    }
                }
                Step::Run(Run { start, .. }) => {
                    self.keep(conn, &[Slice::from(chunk.slice(start..))]);
                    return Ok(None);
                }
                Step::Event(mut pieces) => {
                    pieces.push(Slice::from(chunk.slice(at..)));
                    self.keep(conn, &pieces);
                    return Ok(None);
                }
                Step::Gather => self.stop_receiving(conn),
                Step::Done => return Ok(None),
            }
        }
        self.walk(conn, chunk, at)
    }

    /// Keeps what a connection sent, and pauses it.
    pub(super) fn keep(&mut self, conn: Conn, pieces: &[Slice]) {
        let mut kept = BytesMut::with_capacity(pieces.iter().map(Slice::len).sum());
        pieces.iter().for_each(|piece| kept.extend_from_slice(piece.as_bytes()));
        let kept = self.shared.budget.own(kept);
        let held_channel = self.held_channel(conn);
        let connection = self.connections.at(conn);
        connection.held.push(kept);
        let (emitter, channel) = (connection.target, connection.channel);
        let channel = channel.expect("an open connection has a channel");
        // What comes behind bytes that are kept waits with them.
        let channel =
            held_channel.unwrap_or_else(|| Arc::clone(&self.router.channels.get(channel).name));
        if let Some(until) = self.returning.wait(&channel, emitter, self.now) {
            self.timers.set(until, Timer::Hold);
        }
        self.block_client(emitter, Blocker::Hold);
    }

    /// Returns the clients of this shard that listen, for the broker's successor; from the
    /// shard that counts also those that are still waited for.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let mut listening = match self.id {
            COUNTING_SHARD => self.returning.absent(self.now),
            _ => Vec::new(),
        };
        let returning = self.connections.iter().filter(|it| !it.leaves);
        listening.extend(returning.filter_map(|connection| {
            let Connection { source, previous, awaited, patterns, is_promised, .. } = connection;
            let channel = &self.router.channels.get(connection.channel?).name;
            let had = match awaited {
                0 => 0,
                _ => self.shared.config.awaited.patterns_of(channel, *previous),
            };
            Some(Listening {
                channel: Arc::clone(channel),
                source: *source,
                before: if *awaited > 0 { *previous } else { *source },
                patterns: had.max(patterns.len() as u32),
                absent: Duration::ZERO,
                has_missed: *awaited > 0 && !is_promised,
            })
        }));
        listening.retain(|it| it.patterns > 0 || it.source == Source::NONE);
        listening
    }
}
