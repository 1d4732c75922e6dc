//! The simulated machine: time, chance, sockets, shards, and the clients' side.
//!
//! Invariant: every queue of events hangs off a [`Shard`]; the clients' calls only
//! move bytes and schedule.

use std::collections::{BTreeMap, VecDeque};

use super::faults::Faults;
use super::network::Clock;
use super::random::Random;
use super::shard::{Event, Inbound, Outbound, Shard};
use super::sharing::SimMemory;
use super::socket::{Holder, Socket, take};
use crate::io::{Conn, Peer};
use crate::{ArenaSection, Instant};

/// State that a [`SimNet`](super::SimNet) and its parts share.
#[derive(Debug)]
pub(super) struct World {
    /// The time of all machines of the network.
    clock: Clock,
    /// Time by which this machine's clock has jumped ahead of it.
    jumped_ns: u64,
    /// The brokers do not run; their sockets go on.
    is_paused: bool,
    pub(super) random: Random,
    pub(super) faults: Faults,
    pub(super) sockets: BTreeMap<u64, Socket>,
    pub(super) backlog: VecDeque<u64>,
    pub(super) shards: Vec<Shard>,
    pub(super) trace: u64,
    /// Whether connections can move between shards.
    pub(super) hands_over: bool,
    /// The number of the newest listener.
    listener: u64,
    listening: bool,
    next_socket: u64,
    next_tie: u64,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults, clock: Clock) -> World {
        World {
            clock,
            jumped_ns: 0,
            is_paused: false,
            random: Random::new(seed),
            faults,
            sockets: BTreeMap::new(),
            backlog: VecDeque::new(),
            shards: Vec::new(),
            trace: seed,
            hands_over: true,
            listener: 0,
            listening: false,
            next_socket: 1,
            next_tie: 0,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.get()
    }

    /// The time as this machine's shards see it.
    pub(super) fn machine_time(&self) -> Instant {
        self.now().saturating_add(self.jumped_ns)
    }

    pub(super) fn jump_clock(&mut self, duration_ns: u64) {
        self.jumped_ns = self.jumped_ns.saturating_add(duration_ns);
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn set_paused(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    pub(super) fn trace(&self) -> u64 {
        self.trace
    }

    pub(super) fn sockets(&self) -> usize {
        self.sockets.values().filter(|socket| !socket.shard_closed()).count()
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.is_paused {
            return None;
        }
        if self.shards.iter().any(Shard::is_due_now) {
            return Some(self.now());
        }
        let first = |shard: &Shard| shard.due.first_key_value().map(|(&(due_at, _), _)| due_at);
        self.shards.iter().filter_map(first).min().map(|due_at| due_at.max(self.now()))
    }

    /// Whether a shard is to be told something now.
    pub(super) fn is_due(&self, shard: usize) -> bool {
        let state = &self.shards[shard];
        let first = state.due.first_key_value();
        state.is_due_now() || first.is_some_and(|(&(due_at, _), _)| due_at <= self.now())
    }

    pub(super) fn add_shard(&mut self, section: Option<ArenaSection>) -> usize {
        self.shards.push(Shard::new(&self.faults, section));
        self.shards.len() - 1
    }

    /// Puts `event` on the shard's list, late if chance wants it.
    pub(super) fn schedule(&mut self, shard: usize, event: Event) {
        let mut due_at = self.now();
        let mut tie = self.next_tie;
        self.next_tie += 1;
        if self.faults.delay_permille > 0 {
            // Things that are due together come in a random order.
            tie |= self.random.below(1 << 16) << 48;
            if self.random.happens(self.faults.delay_permille, 1000) {
                due_at += self.random.below(self.faults.max_delay_ns) + 1;
            }
        }
        self.shards[shard].due.insert((due_at, tie), event);
    }

    pub(super) fn socket(&mut self, socket: u64) -> &mut Socket {
        self.sockets.get_mut(&socket).expect("a socket lives as long as one of its ends")
    }

    /// Schedules the connection's next inbound event if it has a reason for one.
    pub(super) fn schedule_inbound(&mut self, shard: usize, conn: Conn) {
        let state = self.shards[shard].any(conn);
        if state.closing || state.inbound_scheduled || state.starved {
            return;
        }
        let socket = &self.sockets[&state.socket];
        let has_something = !socket.to_shard.is_empty() || socket.written_up();
        let wanted = match &state.inbound {
            Inbound::Idle | Inbound::Ended => false,
            Inbound::Stream => has_something,
            Inbound::Into { buffer, length } => has_something || buffer.len() == *length,
            Inbound::Stopping { .. } => true,
        };
        // Its bytes come by the ring; its socket has an end.
        let ends = state.shared && has_something && !state.socket_is_over;
        if wanted || ends {
            state.inbound_scheduled = true;
            self.schedule(shard, Event::Inbound(conn));
        }
    }

    /// Schedules `Writable` if it is owed and there is room, or nobody to wait for.
    pub(super) fn schedule_outbound(&mut self, shard: usize, conn: Conn) {
        let limit = self.faults.socket_bytes;
        let state = self.shards[shard].any(conn);
        if state.closing || state.outbound_scheduled || !matches!(state.outbound, Outbound::Blocked)
        {
            return;
        }
        let socket = &self.sockets[&state.socket];
        let room = limit.saturating_sub(socket.to_client.len());
        if socket.client_closed || room * 4 >= limit {
            state.outbound_scheduled = true;
            self.schedule(shard, Event::Outbound(conn));
        }
    }

    pub(super) fn schedule_accept(&mut self, shard: usize) {
        let waiting = !self.backlog.is_empty();
        let state = &mut self.shards[shard];
        let wanted = state.listener.is_some() && !state.accept_paused && !state.accept_scheduled;
        if wanted && waiting {
            state.accept_scheduled = true;
            self.schedule(shard, Event::Accept);
        }
    }

    /// Has the next waiting connection accepted: by whoever accepts, or, if
    /// connections stay where they are, by the shard that chance picks.
    pub(super) fn schedule_accepts(&mut self) {
        if self.hands_over {
            (0..self.shards.len()).for_each(|shard| self.schedule_accept(shard));
            return;
        }
        if self.shards.iter().any(|shard| shard.accept_scheduled) {
            return;
        }
        let is_able = |shard: &Shard| shard.listener.is_some() && !shard.accept_paused;
        let able: Vec<usize> =
            (0..self.shards.len()).filter(|&shard| is_able(&self.shards[shard])).collect();
        if !able.is_empty() {
            let picked = self.random.below(able.len() as u64) as usize;
            self.schedule_accept(able[picked]);
        }
    }

    pub(super) fn listen(&mut self) -> u64 {
        self.listener += 1;
        self.listening = true;
        self.listener
    }

    /// A shard accepts no more on a listener, which is closed with its last shard.
    pub(super) fn leave_listener(&mut self, listener: u64) {
        if self.shards.iter().any(|shard| shard.listener == Some(listener)) {
            self.schedule_accepts();
        } else {
            self.close_listener(listener);
        }
    }

    /// Closes a listener and what waits to be accepted on it.
    pub(super) fn close_listener(&mut self, listener: u64) {
        if listener != self.listener {
            return;
        }
        self.listening = false;
        for socket in std::mem::take(&mut self.backlog) {
            self.close_shard_end(socket);
        }
    }

    /// Closes the broker's end of a socket.
    pub(super) fn close_shard_end(&mut self, socket: u64) {
        let state = self.socket(socket);
        state.holder = Holder::Closed;
        state.to_shard.clear();
        if state.forgotten {
            self.sockets.remove(&socket);
        }
    }

    /// Ends every broker of the machine at once, with all its ends.
    pub(super) fn crash(&mut self) {
        self.close_listener(self.listener);
        let is_held = |socket: &Socket| !matches!(socket.holder, Holder::Closed);
        let held = self.sockets.iter().filter(|(_, socket)| is_held(socket));
        let held: Vec<u64> = held.map(|(&id, _)| id).collect();
        for socket in held {
            self.close_shard_end(socket);
        }
        for shard in &mut self.shards {
            if let Some(attachments) = shard.sharing.any() {
                attachments.vanish();
            }
            shard.clear();
        }
    }

    pub(super) fn next_pid(&self) -> u32 {
        self.next_socket as u32
    }

    pub(super) fn connect(&mut self, peer: Peer) -> u64 {
        let id = self.next_socket;
        self.next_socket += 1;
        let mut socket = Socket::new(peer);
        if self.listening {
            self.backlog.push_back(id);
        } else {
            socket.holder = Holder::Closed;
        }
        self.sockets.insert(id, socket);
        self.schedule_accepts();
        id
    }

    pub(super) fn client_write(&mut self, socket: u64, bytes: &[u8]) -> usize {
        let limit = self.faults.socket_bytes;
        let state = &self.sockets[&socket];
        if state.written_up() || state.shard_closed() {
            return 0;
        }
        let mut count = bytes.len().min(limit.saturating_sub(state.to_shard.len()));
        if self.random.happens(self.faults.short_client_write_permille, 1000) {
            count = self.random.length(count);
        }
        self.socket(socket).to_shard.extend(&bytes[..count]);
        self.notice(socket);
        count
    }

    pub(super) fn client_read(&mut self, socket: u64, memory: &mut Vec<u8>, most: usize) -> usize {
        let state = self.socket(socket);
        if state.client_closed {
            return 0;
        }
        let count = most.min(state.to_client.len());
        take(&mut state.to_client, count, memory);
        if let Some(offered) = &mut state.offered {
            offered.before = offered.before.saturating_sub(count);
        }
        self.notice(socket);
        count
    }

    /// The memory that was offered with what the client has read.
    pub(super) fn client_memory(&mut self, socket: u64) -> Option<SimMemory> {
        let offered = self.socket(socket).offered.take_if(|offered| offered.before == 0);
        offered.map(|offered| offered.memory)
    }

    pub(super) fn client_readable(&self, socket: u64) -> usize {
        self.sockets[&socket].to_client.len()
    }

    pub(super) fn client_is_closed(&self, socket: u64) -> bool {
        let state = &self.sockets[&socket];
        state.client_closed || state.sending_ended || state.shard_closed()
    }

    pub(super) fn client_close(&mut self, socket: u64) {
        let state = self.socket(socket);
        state.client_closed = true;
        state.to_client.clear();
        self.notice(socket);
    }

    pub(super) fn client_reset(&mut self, socket: u64) {
        if self.sockets[&socket].client_closed {
            return;
        }
        let written = self.sockets[&socket].to_shard.len() as u64;
        let kept = self.random.below(written + 1) as usize;
        let state = self.socket(socket);
        state.failed = true;
        state.to_shard.truncate(kept);
        self.client_close(socket);
    }

    pub(super) fn client_forget(&mut self, socket: u64) {
        self.client_close(socket);
        let state = self.socket(socket);
        state.forgotten = true;
        if state.shard_closed() {
            self.sockets.remove(&socket);
        }
    }

    /// The client's end changed: what may its shard report now?
    fn notice(&mut self, socket: u64) {
        if let Holder::Shard(shard, conn) = self.sockets[&socket].holder {
            self.schedule_inbound(shard, conn);
            self.schedule_outbound(shard, conn);
        }
    }
}
