//! Connections with shared memory: the code of `shared` that all back ends use, over memory
//! of this process.
//!
//! ```text
//!   client ── store ── store ── bell ──▶ flag ──▶ wait: Attachments ──▶ chunks
//!             └─ the test lets time pass between any two ─┘
//! ```
//! What goes by the socket has the faults of any socket. A bell is a flag that a wait looks
//! at, perhaps only the next one.
//!
//! Invariant: a shard that would sleep has asked for its bells: see
//! [`SimIo::is_ready`](super::SimIo::is_ready).

use std::io::{self, IoSlice};
use std::sync::Arc;

use netcluster_shm::{Arena, Bells, Region};

use super::shard::{Inbound, Outbound};
use super::world::World;
use crate::ClientMemory;
use crate::io::{Completion, Conn, ReceiveEnd};
use crate::shared::SharedMemory;
use crate::slice::Slice;

/// The smallest budget of a turn, 64 KiB.
const MIN_BUDGET_BYTES: u64 = 64 << 10;

/// The largest one, 1 MiB.
const MAX_BUDGET_BYTES: u64 = 1 << 20;

/// Chance per thousand that a bell is heard by the next wait only, if things are late at all.
const LATE_BELL_PERMILLE: u32 = 300;

/// Memory that a broker shares with a client in the same process.
#[derive(Clone, Debug)]
pub struct SimMemory {
    /// The broker's memory.
    pub arena: Arc<Arena>,
    /// The connection's memory.
    pub region: Arc<Region>,
    /// The connection's bells.
    pub bells: Arc<Bells>,
}

/// An offer that is on its way to a client.
#[derive(Debug)]
pub(super) struct Offered {
    /// Bytes that are read before all of it is.
    pub(super) before: usize,
    pub(super) memory: SimMemory,
}

impl World {
    /// Uses the shared memory of a shard beside the rest of the world.
    fn with_sharing<T>(
        &mut self,
        shard: usize,
        act: impl FnOnce(&mut World, &mut SharedMemory) -> T,
    ) -> T {
        let mut sharing = std::mem::take(&mut self.shards[shard].sharing);
        let outcome = act(self, &mut sharing);
        self.shards[shard].sharing = sharing;
        outcome
    }

    pub(super) fn offer(
        &mut self,
        shard: usize,
        conn: Conn,
        frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        let arena = Arc::clone(self.shards[shard].sharing.for_offer()?.section().arena());
        if !self.send_whole(shard, conn, frame)? {
            return Ok(false);
        }
        let (region, bells) = (Arc::clone(memory.region()), Arc::clone(memory.bells()));
        let number = self.shards[shard].open(conn).socket;
        let socket = self.socket(number);
        let before = socket.to_client.len();
        socket.offered = Some(Offered { before, memory: SimMemory { arena, region, bells } });
        Ok(true)
    }

    pub(super) fn share(
        &mut self,
        shard: usize,
        conn: Conn,
        frame: &[u8],
        memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        self.shards[shard].sharing.all()?;
        let state = self.shards[shard].open(conn);
        assert!(!state.shared, "{conn:?} shares memory already");
        assert!(!matches!(state.inbound, Inbound::Into { .. }), "{conn:?} fills a buffer");
        if !self.send_whole(shard, conn, frame)? {
            return Ok(false);
        }
        let state = self.shards[shard].open(conn);
        state.shared = true;
        state.starved = false;
        let receives = matches!(state.inbound, Inbound::Stream);
        // What stopped is still reported as such.
        if !matches!(state.inbound, Inbound::Stopping { .. }) {
            state.inbound = Inbound::Idle;
        }
        self.shards[shard].starved.retain(|&starved| starved != conn);
        self.shards[shard].sharing.all()?.add(conn, memory, receives);
        self.schedule_inbound(shard, conn);
        Ok(true)
    }

    /// Sends a frame whole, or not at all.
    fn send_whole(&mut self, shard: usize, conn: Conn, frame: &[u8]) -> io::Result<bool> {
        let state = self.shards[shard].open(conn);
        let sends = matches!(state.outbound, Outbound::Lazy(_) | Outbound::Done(_));
        assert!(!sends, "{conn:?} is told a step while it sends");
        let number = state.socket;
        let limit = self.faults.socket_bytes;
        let is_full = self.random.happens(self.faults.blocked_send_permille, 1000);
        let socket = self.socket(number);
        if socket.client_closed {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if is_full || socket.to_client.len() + frame.len() > limit {
            return Ok(false);
        }
        socket.to_client.extend(frame);
        Ok(true)
    }

    pub(super) fn send_shared<'a>(
        &mut self,
        shard: usize,
        conn: Conn,
        slices: impl Iterator<Item = &'a Slice>,
    ) {
        let number = self.shards[shard].open(conn).socket;
        let watches = self.with_sharing(shard, |world, sharing| {
            let attachments = sharing.any().expect("the connection shares memory");
            attachments.send(conn, |list| world.write_now(number, list), slices)
        });
        if watches {
            self.shards[shard].any(conn).outbound = Outbound::Blocked;
            self.schedule_outbound(shard, conn);
        }
    }

    /// Writes to a socket as much as it takes now.
    fn write_now(&mut self, number: u64, list: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let parts = list.iter().map(|part| &part[..]);
        let taken = self.take_to_client(number, parts);
        match taken {
            None => Err(io::ErrorKind::BrokenPipe.into()),
            Some(0) => Ok(None),
            Some(bytes) => Ok(Some(bytes)),
        }
    }

    /// Looks what became of the socket of a connection that shares memory.
    pub(super) fn look_at_socket(
        &mut self,
        shard: usize,
        conn: Conn,
        completions: &mut Vec<Completion>,
    ) {
        if matches!(self.shards[shard].any(conn).inbound, Inbound::Stopping { .. }) {
            self.end_inbound(shard, conn, ReceiveEnd::Stopped, completions);
        }
        let number = self.shards[shard].any(conn).socket;
        let has_bytes = !self.sockets[&number].to_shard.is_empty();
        if !has_bytes && !self.sockets[&number].written_up() {
            return;
        }
        let end = self.end_of(number);
        self.shards[shard].any(conn).socket_is_over = true;
        let Some(attachments) = self.shards[shard].sharing.any() else { return };
        if has_bytes {
            attachments.on_socket_bytes(conn);
        } else {
            attachments.on_socket_end(conn, end);
        }
    }

    /// Begins a wait.
    pub(super) fn start_sharing(&mut self, shard: usize, completions: &mut Vec<Completion>) {
        let state = &mut self.shards[shard];
        if let Some(pool) = state.pool.in_arena() {
            state.sharing.start(pool, !state.starved.is_empty(), completions);
        }
    }

    /// Hears bells, and takes what is in rings.
    pub(super) fn turn_sharing(&mut self, shard: usize, completions: &mut Vec<Completion>) {
        let Some(attachments) = self.shards[shard].sharing.any() else { return };
        let memory_of = |conn| attachments.memory(conn).map(|memory| (conn, memory));
        let rung: Vec<_> = attachments.rung().into_iter().filter_map(memory_of).collect();
        let late = if self.faults.delay_permille > 0 { LATE_BELL_PERMILLE } else { 0 };
        for (conn, memory) in rung {
            if self.random.happens(late, 1000) {
                continue;
            }
            memory.bells().broker.silence();
            if let Some(attachments) = self.shards[shard].sharing.any() {
                attachments.on_bell(conn, completions);
            }
        }
        let budget = MIN_BUDGET_BYTES + self.random.below(MAX_BUDGET_BYTES - MIN_BUDGET_BYTES);
        self.shards[shard].sharing.turn(budget as usize, completions);
    }

    /// Whether a shard sleeps, as it has nothing to do: it has begun to wait, and has asked for
    /// its bells. What it found then the wait brings that wakes it.
    pub(super) fn sleeps(&mut self, shard: usize) -> bool {
        if self.shards[shard].sleeps {
            return true;
        }
        let mut early = std::mem::take(&mut self.shards[shard].early);
        self.start_sharing(shard, &mut early);
        let state = &mut self.shards[shard];
        state.sleeps = early.is_empty() && state.sharing.may_sleep(!state.starved.is_empty());
        state.early = early;
        state.sleeps
    }
}
