//! Messages from other shards, and the emitters that wait for the rings between them.

use bytes::Bytes;

use netcluster_platform::{Conn, Io};

use crate::connection::{Blocker, Connection};
use crate::mesh::{Adoption, Message};
use crate::target::{Emitter, ShardId, Target};

use super::slices::weight;
use super::{MESSAGES_PER_TURN, Shard};

impl<I: Io> Shard<I> {
    /// Handles messages from other shards, a bounded number each turn.
    pub(super) fn take_messages(&mut self) {
        self.more_messages = false;
        for from in self.mesh.others() {
            let mut taken = 0;
            while taken < MESSAGES_PER_TURN {
                let Some(message) = self.mesh.receive(from) else { break };
                taken += weight(&message);
                self.handle(from, message);
            }
            if taken > 0 {
                self.last_active = self.now;
                self.mesh.taken(from);
            }
            self.more_messages |= taken >= MESSAGES_PER_TURN;
        }
    }

    /// Hands over what this turn has for other shards, and lets emitters go on
    /// that waited for room.
    pub(super) fn publish(&mut self) {
        for (emitter, shard) in self.mesh.publish() {
            self.unblock(emitter, Blocker::Shard(shard));
        }
    }

    fn handle(&mut self, from: ShardId, message: Message<I::Socket>) {
        match message {
            Message::Run { route, emitter, pieces, frames } => {
                self.queue_here(&route, emitter, None, &pieces, frames);
                if let Emitter::Client(client) = emitter {
                    self.queue_to_link(&route, client, &pieces, frames);
                }
            }
            Message::Subscribe { channel, pattern, target } => {
                self.route(&channel, &pattern, target);
            }
            Message::Unsubscribe { channel, patterns, target } => {
                self.unroute_here(&channel, &patterns, target);
            }
            Message::ChannelUsed(channel) => self.channel_used(&channel),
            Message::ChannelUnused(channel) => self.channel_unused(&channel),
            Message::LinkLost(lost) => self.tell_lost(lost),
            Message::LinkWanted { target, request, options } => {
                self.open_link(target, request, options);
            }
            Message::LinkAnswered { target, request, text } => {
                self.link_answered(target, request, &text);
            }
            Message::Asked(number, inquiry) => self.asked(from, number, *inquiry),
            Message::Answered(number, part) => self.part_arrived(number, *part),
            Message::DrainWanted(notice) => {
                self.begin_draining(notice);
            }
            Message::LinkOpened(streams) => self.link_opened(streams),
            Message::ClusterWanted { target, request, wait } => {
                self.wait_for_cluster(target, request, wait);
            }
            Message::ClusterAnswered { target, request, missing } => {
                self.cluster_answered(target, request, &missing);
            }
            Message::AudienceWanted { target, request, clients, channel } => {
                self.count_elsewhere(target, request, clients, channel);
            }
            Message::AudienceCounted { target, request, audience } => {
                self.audience_counted(target, request, audience);
            }
            Message::Barrier(number) => {
                self.mesh.send(from, Message::Passed(number));
            }
            Message::Passed(number) => self.barrier_passed(number),
            Message::Pause { emitter, by } => {
                self.block(emitter, Blocker::Queue(by));
            }
            Message::Resume { emitter, by } => self.unblock(emitter, Blocker::Queue(by)),
            Message::CopyOut => self.copy_out_laggards(),
            Message::MemoryWanted => self.squeeze(),
            Message::FloodOver => self.give_back(),
            Message::Adopt(adoption) => self.adopt(*adoption),
            Message::Departed(channel, client) => self.departed(&channel, from, client),
            Message::ClosedByBroker(reason) => {
                if let Some(placement) = &mut self.acceptor.placement {
                    placement.note_reason(*reason);
                }
            }
            Message::Hold(channel) => {
                self.begin_hold(&channel);
            }
            Message::IsBack(channel, previous) => self.is_back(&channel, previous),
            Message::Released(channel) => self.release_hold(&channel),
            Message::LinkLeft => self.link_left(),
            Message::HoldOver(channel) => self.hold_is_over(&channel),
            Message::Quiet(listening) => self.other_is_quiet(&listening),
        }
    }

    fn barrier_passed(&mut self, number: u64) {
        if let Some(after) = self.barriers.passed(number) {
            self.passed(after);
        }
    }

    /// Takes over a connection from the accepting shard.
    fn adopt(&mut self, adoption: Adoption<I::Socket>) {
        let Adoption { socket, peer, seat, client, hello, channel, rest, reason } = adoption;
        let conn = match self.io.adopt(socket) {
            Ok(conn) => conn,
            Err(error) => {
                tracing::warn!(%error, client, "a connection could not be handed over");
                self.report_departed(&channel, client);
                return;
            }
        };
        let target = Target { shard: self.id, conn, client };
        let max_queue = self.shared.config.max_queue_bytes;
        let budget = &self.shared.budget;
        let mut connection = Connection::new(target, peer, max_queue, budget);
        connection.seat = seat;
        self.connections.insert(connection);
        self.open(conn, hello, &channel, reason);
        if !rest.is_empty() {
            self.received(conn, &Bytes::from(rest));
        }
        self.start_receiving(conn);
    }

    /// Gives a connection whose receiving has stopped to its shard.
    pub(super) fn hand_over(&mut self, conn: Conn) {
        let connection = self.connections.remove(conn).expect("it is moving");
        let socket = self.io.release(conn);
        let crate::connection::State::Moving(moving) = connection.state else {
            unreachable!("only moving connections are handed over");
        };
        let adoption = Adoption {
            socket,
            peer: connection.peer,
            seat: connection.seat,
            client: connection.target.client,
            hello: moving.hello,
            channel: moving.channel,
            rest: moving.rest,
            reason: moving.reason,
        };
        self.mesh.send(moving.shard, Message::Adopt(Box::new(adoption)));
    }
}
