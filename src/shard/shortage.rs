//! Relief when receive buffers or the memory budget run short: laggards let go of what
//! they pin, so that nobody else waits for a slow reader.

use std::time::Duration;

use netcluster_platform::{Conn, Io};
use netcluster_wire::ErrorCode;

use crate::connection::{Blocker, Receiving};
use crate::copies::Copies;
use crate::mesh::Message;
use crate::outbound::EXHAUSTED_LIMIT_BYTES;
use crate::target::Target;
use crate::timers::Timer;

use super::Shard;

/// Time after which an emitter that waits for memory looks again. Nobody waits unless
/// `--max-memory` is used up.
const MEMORY_RETRY: Duration = Duration::from_millis(10);

/// Time between two requests for relief while connections starve for receive buffers.
const STARVED_RETRY: Duration = Duration::from_millis(2);

/// Shortage of memory or of buffers on one shard.
#[derive(Default)]
pub(super) struct Shortage {
    /// Emitters whose large frame has no room in the memory budget.
    memory_waiters: Vec<Target>,
    /// Receive buffers ran short, and the other shards were asked for relief.
    pub is_relief_asked: bool,
}

impl<I: Io> Shard<I> {
    /// Pauses an emitter whose large frame has no room in the memory budget.
    pub(super) fn wait_for_memory(&mut self, conn: Conn) {
        let target = self.connections.at(conn).target;
        self.block_client(target, Blocker::Memory);
        self.shortage.memory_waiters.push(target);
        if self.shortage.memory_waiters.len() == 1 {
            self.timers.set(self.deadline(MEMORY_RETRY), Timer::Memory);
        }
    }

    /// Lets emitters that wait for memory try again; those in vain wait again.
    pub(super) fn memory_timed_out(&mut self) {
        self.squeeze();
        for shard in self.mesh.others() {
            self.mesh.send(shard, Message::MemoryWanted);
        }
        for target in std::mem::take(&mut self.shortage.memory_waiters) {
            self.unblock_client(target, Blocker::Memory);
        }
    }

    /// Gives clients that hold memory the stall timeout to let go of it, as somebody
    /// waits for it. Queues behind a full socket count as full, however short (`latest`
    /// ones lose all but the newest events first); a frame that its sender does not
    /// complete ends its connection.
    pub(super) fn squeeze(&mut self) {
        let stall = self.shared.config.stall_timeout;
        let now = self.now;
        let mut overdue = Vec::new();
        for connection in self.connections.iter_mut() {
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

    /// Frees receive buffers that laggards pin, here and on the other shards, as they
    /// ran short, so that nobody else waits for a slow reader.
    pub(super) fn relieve_pool(&mut self) {
        self.copy_out_laggards();
        // What is on its way between shards, or just being sent, can still turn out
        // to be held by a laggard: ask again until nobody starves.
        if !self.shortage.is_relief_asked {
            self.shortage.is_relief_asked = true;
            self.timers.set(self.deadline(STARVED_RETRY), Timer::Starved);
            for shard in self.mesh.others() {
                self.mesh.send(shard, Message::CopyOut);
            }
        }
    }

    /// Copies out what blocked queues and incomplete frames of this shard pin.
    pub(super) fn copy_out_laggards(&mut self) {
        let all = self.connections.iter();
        let blocked: Vec<Target> =
            all.filter(|it| it.outbound.is_blocked()).map(|it| it.target).collect();
        if !self.copy_out(blocked.iter().copied()) {
            self.unpin_partial_frames();
        }
    }

    /// Copies out what these queues pin. Returns whether there was anything.
    pub(super) fn copy_out(&mut self, targets: impl Iterator<Item = Target> + Clone) -> bool {
        let mut copies = Copies::new(self.shared.budget.clone());
        for target in targets.clone() {
            if let Some(connection) = self.connections.find(target) {
                connection.outbound.pooled().for_each(|slice| copies.note(slice));
            }
        }
        for target in targets {
            if let Some(connection) = self.connections.find(target) {
                connection.outbound.copy_out(&mut copies);
            }
        }
        self.totals.copied_out_bytes += copies.copied_bytes;
        copies.copied_bytes > 0
    }

    fn unpin_partial_frames(&mut self) {
        for conn in self.connections.places() {
            if self.connections.at(conn).inbound.unpin(&self.shared.budget) {
                self.stop_receiving(conn);
            }
        }
    }
}
