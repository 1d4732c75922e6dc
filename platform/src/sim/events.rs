//! Work of a shard's `wait`: sends are carried out, due events become
//! completions.
//!
//! Nothing here waits; an event that is not yet due stays where it is.

use std::io;

use super::random::Random;
use super::shard::{Event, Inbound, Outbound, SendOutcome};
use super::socket::{Holder, take};
use super::world::World;
use crate::io::{Completion, Conn, ReceiveEnd};
use crate::slice::Slice;

/// The most events of one `wait`, so that it ends whatever becomes due meanwhile.
const MAX_EVENTS_PER_WAIT: usize = 256;

/// "Too many open files", as Unix numbers it.
const TOO_MANY_OPEN_FILES: i32 = 24;

impl World {
    /// Appends what `shard` is to be told now of its clients.
    pub(super) fn deliver(&mut self, shard: usize, completions: &mut Vec<Completion>) {
        self.shards[shard].stats.syscalls += 1;
        if self.shards[shard].wake.take() {
            completions.push(Completion::Woken);
        }
        let now = self.now();
        self.shards[shard].sleeps = false;
        completions.append(&mut self.shards[shard].early);
        self.start_sharing(shard, completions);
        let sends_come_last = self.random.happens(self.faults.lazy_send_permille, 2000);
        if !sends_come_last {
            self.finish_sends(shard, completions);
        }
        self.rearm_starved(shard);
        for _ in 0..MAX_EVENTS_PER_WAIT {
            let state = &mut self.shards[shard];
            let is_due = state.due.first_key_value().is_some_and(|(key, _)| key.0 <= now);
            if !is_due {
                break;
            }
            let (_, event) = state.due.pop_first().expect("there is a first one");
            match event {
                Event::Accept => self.handle_accept(shard, completions),
                Event::Inbound(conn) => self.handle_inbound(shard, conn, completions),
                Event::Outbound(conn) => self.handle_outbound(shard, conn, completions),
                Event::Close(conn) => self.handle_close(shard, conn, completions),
            }
        }
        if sends_come_last {
            self.finish_sends(shard, completions);
        }
        self.turn_sharing(shard, completions);
    }

    /// Adds to the digest of the run what a shard was told.
    pub(super) fn note(&mut self, shard: usize, completions: &[Completion]) {
        for completion in completions {
            self.trace = digest(self.trace, shard, completion);
        }
    }

    /// Gives the socket what it takes of `slices`.
    pub(super) fn carry_out_send(&mut self, socket: u64, slices: &[Slice]) -> SendOutcome {
        let given: usize = slices.iter().map(Slice::len).sum();
        let Some(bytes) = self.take_to_client(socket, slices.iter().map(Slice::as_bytes)) else {
            return SendOutcome::PeerGone;
        };
        let is_held = self.random.happens(self.faults.held_send_permille, 1000);
        self.socket(socket).held = if is_held { bytes } else { 0 };
        SendOutcome::Took { bytes, blocked: bytes < given || is_held }
    }

    /// Takes what a socket has room for; how many bytes. `None`: the client is gone.
    pub(super) fn take_to_client<'a>(
        &mut self,
        socket: u64,
        parts: impl Iterator<Item = &'a [u8]> + Clone,
    ) -> Option<usize> {
        let limit = self.faults.socket_bytes;
        let state = self.sockets.get_mut(&socket).expect("the shard holds its end");
        if state.client_closed {
            return None;
        }
        let given: usize = parts.clone().map(<[u8]>::len).sum();
        let mut bytes = given.min(limit.saturating_sub(state.to_client.len()));
        if self.random.happens(self.faults.blocked_send_permille, 1000) {
            bytes = 0;
        } else if self.random.happens(self.faults.short_send_permille, 1000) {
            bytes = self.random.length(bytes);
        }
        let mut left = bytes;
        for part in parts {
            let count = left.min(part.len());
            state.to_client.extend(&part[..count]);
            left -= count;
        }
        Some(bytes)
    }

    fn finish_sends(&mut self, shard: usize, completions: &mut Vec<Completion>) {
        for conn in std::mem::take(&mut self.shards[shard].sending) {
            let state = self.shards[shard].any(conn);
            let socket = state.socket;
            let outcome = match std::mem::replace(&mut state.outbound, Outbound::Idle) {
                Outbound::Done(outcome) => outcome,
                Outbound::Lazy(slices) => self.carry_out_send(socket, &slices),
                Outbound::Idle | Outbound::Blocked => unreachable!("a send is under way"),
            };
            let shard_state = &mut self.shards[shard];
            match outcome {
                SendOutcome::Took { bytes, blocked } => {
                    shard_state.stats.sends += 1;
                    shard_state.stats.sent_bytes += bytes as u64;
                    shard_state.stats.blocked_sends += u64::from(blocked);
                    if blocked {
                        shard_state.any(conn).outbound = Outbound::Blocked;
                        self.schedule_outbound(shard, conn);
                    }
                    completions.push(Completion::Sent { conn, bytes, blocked });
                }
                SendOutcome::PeerGone => {
                    let error = io::ErrorKind::BrokenPipe.into();
                    completions.push(Completion::SendFailed { conn, error });
                }
            }
        }
    }

    fn rearm_starved(&mut self, shard: usize) {
        if self.shards[shard].starved.is_empty() || !self.shards[shard].pool.quarter_is_free() {
            return;
        }
        for conn in std::mem::take(&mut self.shards[shard].starved) {
            self.shards[shard].any(conn).starved = false;
            self.schedule_inbound(shard, conn);
        }
    }

    fn handle_accept(&mut self, shard: usize, completions: &mut Vec<Completion>) {
        self.shards[shard].accept_scheduled = false;
        if self.random.happens(self.faults.accept_failure_permille, 1000) {
            self.shards[shard].accept_paused = true;
            if !self.hands_over {
                self.schedule_accepts();
            }
            let error = io::Error::from_raw_os_error(TOO_MANY_OPEN_FILES);
            completions.push(Completion::AcceptPaused { error });
            return;
        }
        let Some(socket) = self.backlog.pop_front() else { return };
        let conn = self.shards[shard].insert(socket);
        let state = self.socket(socket);
        state.holder = Holder::Shard(shard, conn);
        let peer = state.peer.clone();
        completions.push(Completion::Accepted { conn, peer });
        self.schedule_accepts();
    }

    fn handle_inbound(&mut self, shard: usize, conn: Conn, completions: &mut Vec<Completion>) {
        let socket = {
            let state = self.shards[shard].any(conn);
            state.inbound_scheduled = false;
            state.socket
        };
        if self.random.happens(self.faults.reset_per_million, 1_000_000) {
            self.client_reset(socket);
        }
        // `client_reset` schedules what it changed; this event stands for that too.
        self.shards[shard].due.retain(|_, event| *event != Event::Inbound(conn));
        self.shards[shard].any(conn).inbound_scheduled = false;
        if self.shards[shard].any(conn).shared {
            return self.look_at_socket(shard, conn, completions);
        }
        match self.shards[shard].any(conn).inbound {
            Inbound::Stopping { chunks: 0 } => {
                self.end_inbound(shard, conn, ReceiveEnd::Stopped, completions);
            }
            Inbound::Stream | Inbound::Stopping { .. } => {
                self.receive_chunk(shard, conn, socket, completions);
            }
            Inbound::Into { .. } => self.receive_piece(shard, conn, socket, completions),
            Inbound::Idle | Inbound::Ended => unreachable!("a receive is under way"),
        }
        self.schedule_inbound(shard, conn);
    }

    fn receive_chunk(
        &mut self,
        shard: usize,
        conn: Conn,
        socket: u64,
        completions: &mut Vec<Completion>,
    ) {
        let available = self.sockets[&socket].to_shard.len();
        let is_stopping = matches!(self.shards[shard].any(conn).inbound, Inbound::Stopping { .. });
        if available == 0 {
            let end = if self.sockets[&socket].written_up() {
                self.end_of(socket)
            } else if is_stopping {
                ReceiveEnd::Stopped
            } else {
                return;
            };
            return self.end_inbound(shard, conn, end, completions);
        }
        if self.shards[shard].pool.is_empty() {
            if is_stopping {
                return self.end_inbound(shard, conn, ReceiveEnd::Stopped, completions);
            }
            let state = &mut self.shards[shard];
            state.stats.starvations += 1;
            state.starved.push(conn);
            state.any(conn).starved = true;
            return;
        }
        if self.random.happens(self.faults.multishot_end_permille, 1000) {
            // Armed anew, it reports the same bytes later.
            self.shards[shard].stats.syscalls += 1;
            return;
        }
        let count = self.draw_count(available.min(self.faults.buffer_bytes.max(1)));
        let pad = self.random.below(8) as usize;
        let mut memory = vec![0; pad];
        memory.reserve_exact(count);
        take(&mut self.socket(socket).to_shard, count, &mut memory);
        let state = &mut self.shards[shard];
        state.stats.receives += 1;
        state.stats.received_bytes += count as u64;
        let chunk = state.pool.chunk(memory, pad);
        if let Inbound::Stopping { chunks } = &mut state.any(conn).inbound {
            *chunks -= 1;
        }
        completions.push(Completion::Received { conn, chunk });
    }

    fn receive_piece(
        &mut self,
        shard: usize,
        conn: Conn,
        socket: u64,
        completions: &mut Vec<Completion>,
    ) {
        let available = self.sockets[&socket].to_shard.len();
        let state = self.shards[shard].any(conn);
        let Inbound::Into { mut buffer, length } =
            std::mem::replace(&mut state.inbound, Inbound::Idle)
        else {
            unreachable!("the caller looked");
        };
        let missing = length.saturating_sub(buffer.len());
        let count = self.draw_count(available.min(missing));
        let mut piece = Vec::with_capacity(count);
        take(&mut self.socket(socket).to_shard, count, &mut piece);
        buffer.extend_from_slice(&piece);
        let state = &mut self.shards[shard];
        state.stats.receives += u64::from(count > 0);
        state.stats.received_bytes += count as u64;
        if count == missing {
            completions.push(Completion::Filled { conn, buffer });
        } else if available == 0 && self.sockets[&socket].written_up() {
            let end = self.end_of(socket);
            self.end_inbound(shard, conn, end, completions);
        } else {
            state.any(conn).inbound = Inbound::Into { buffer, length };
        }
    }

    fn draw_count(&mut self, most: usize) -> usize {
        if self.random.happens(self.faults.short_read_permille, 1000) {
            return self.random.length(most);
        }
        most
    }

    pub(super) fn end_of(&mut self, socket: u64) -> ReceiveEnd {
        if self.sockets[&socket].failed {
            return ReceiveEnd::Failed(io::ErrorKind::ConnectionReset.into());
        }
        ReceiveEnd::Eof
    }

    pub(super) fn end_inbound(
        &mut self,
        shard: usize,
        conn: Conn,
        end: ReceiveEnd,
        completions: &mut Vec<Completion>,
    ) {
        let stopped = matches!(end, ReceiveEnd::Stopped);
        let state = self.shards[shard].any(conn);
        state.inbound = if stopped { Inbound::Idle } else { Inbound::Ended };
        completions.push(Completion::ReceiveEnded { conn, end });
    }

    fn handle_outbound(&mut self, shard: usize, conn: Conn, completions: &mut Vec<Completion>) {
        let state = self.shards[shard].any(conn);
        state.outbound_scheduled = false;
        state.outbound = Outbound::Idle;
        let socket = state.socket;
        if state.shared {
            self.shards[shard].sharing.on_writable(conn);
        }
        self.socket(socket).held = 0;
        completions.push(Completion::Writable { conn });
    }

    fn handle_close(&mut self, shard: usize, conn: Conn, completions: &mut Vec<Completion>) {
        let socket = self.shards[shard].remove(conn);
        let state = self.socket(socket);
        let arrived = state.to_client.len().saturating_sub(state.held);
        state.to_client.truncate(arrived);
        self.close_shard_end(socket);
        completions.push(Completion::Closed { conn });
    }
}

/// Folds one completion into a digest of the run.
fn digest(trace: u64, shard: usize, completion: &Completion) -> u64 {
    let (kind, conn, detail) = match completion {
        Completion::Accepted { conn, .. } => (1, conn.0, 0),
        Completion::AcceptPaused { .. } => (2, 0, 0),
        Completion::Received { conn, chunk } => (3, conn.0, chunk.len()),
        Completion::ReceiveEnded { conn, end: ReceiveEnd::Eof } => (4, conn.0, 0),
        Completion::ReceiveEnded { conn, end: ReceiveEnd::Stopped } => (4, conn.0, 1),
        Completion::ReceiveEnded { conn, end: ReceiveEnd::Failed(_) } => (4, conn.0, 2),
        Completion::Filled { conn, buffer } => (5, conn.0, buffer.len()),
        Completion::Sent { conn, bytes, .. } => (6, conn.0, *bytes),
        Completion::Writable { conn } => (7, conn.0, 0),
        Completion::SendFailed { conn, .. } => (8, conn.0, 0),
        Completion::Closed { conn } => (9, conn.0, 0),
        Completion::Woken => (10, 0, 0),
        Completion::Datagrams(train) => {
            let cut = train.segment << 17;
            (11, u32::from(train.from.port()), train.chunk.len() ^ cut)
        }
        Completion::DatagramsWritable => (12, 0, 0),
    };
    let fields = (shard as u64) << 56 | kind << 48 | u64::from(conn);
    Random::new(trace ^ Random::new(fields ^ ((detail as u64) << 24)).next()).next()
}
