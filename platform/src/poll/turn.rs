//! Turn of one `wait`: report what is done, fetch edges, accept, read.
//!
//! Bytes are read into the current pool buffer, one behind another, whoever they
//! come from: a small read does not pin a buffer of its own.
//!
//! Invariant: a turn reads at most half the pool, so that its chunks alone do
//! not starve the connections behind them.

use std::io;
use std::time::{Duration, Instant};

use super::table::Inbound;
use super::{LISTENER_TOKEN, PollIo, WAKE_TOKEN, system};
use crate::io::{Completion, Conn, MAX_ACCEPTS_PER_WAIT, ReceiveEnd};
use crate::pool::BufferIndex;

/// Largest amount that one connection may bring in one turn, 256 KiB.
const READ_BUDGET_BYTES: usize = 256 << 10;

/// Largest amount that all connections together may bring in one turn, 1 MiB.
pub(super) const TURN_BUDGET_BYTES: usize = 1 << 20;

/// A buffer with less room than this, 4 KiB, is not read into again.
const MIN_READ_BYTES: usize = 4 << 10;

/// Reason for which reading from a connection stopped for now.
enum Pause {
    /// The socket has nothing left.
    Drained,
    /// The buffer is full, or the budget used up.
    Full,
    /// The peer closed.
    Eof,
    /// The socket failed.
    Failed(io::Error),
}

impl PollIo {
    fn starvations(&self) -> u64 {
        self.stats.starvations + self.sharing.starvations()
    }

    /// Waits until `deadline`, without end if there is none.
    pub(super) fn turn(
        &mut self,
        completions: &mut Vec<Completion>,
        deadline: Option<Instant>,
    ) -> io::Result<()> {
        let first = completions.len();
        let starvations = self.starvations();
        loop {
            if system::SENDS_ARE_COPIED && self.has_sent() {
                // Most are over by now, and then the shard need not wait for them.
                self.fetch_edges(completions, Some(Duration::ZERO))?;
            }
            self.report_done(completions);
            let starves = self.starved_count > 0;
            self.sharing.start(&mut self.pool, starves, completions);
            self.rearm_starved();
            let has_news = completions.len() > first;
            let has_work = !self.ready.is_empty()
                || self.can_accept()
                || self.can_read_datagrams()
                || self.sharing.has_work();
            // A shard that has just sent comes here once more for the `Sent`
            // alone; looking for edges then would double its system calls. Only
            // every other time, or a shard that sends on and on would not read.
            if has_news && !has_work && !self.skipped {
                self.skipped = true;
                return Ok(());
            }
            self.skipped = false;
            let looks = || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let sleeps = !has_news
                && !has_work
                && (looks() || self.sharing.may_sleep(self.starved_count > 0));
            let timeout = match deadline {
                _ if !sleeps => Some(Duration::ZERO),
                Some(deadline) => Some(deadline.saturating_duration_since(Instant::now())),
                None => None,
            };
            self.fetch_edges(completions, timeout)?;
            self.accept_all(completions);
            self.read_datagrams(completions);
            // Sockets that are ready have their part.
            let half = if self.ready.is_empty() { 1 } else { 2 };
            let bytes = self.sharing.turn(self.turn_budget / half, completions);
            self.read_ready(bytes, completions);
            let is_over = deadline.is_some_and(|deadline| Instant::now() >= deadline);
            // The shard must know that somebody starves: only it can free buffers.
            let starving = self.starvations() > starvations;
            if completions.len() > first || starving || is_over {
                return Ok(());
            }
        }
    }

    /// Reports what operations completed, but for connections closed since.
    fn report_done(&mut self, completions: &mut Vec<Completion>) {
        let mut done = std::mem::take(&mut self.done);
        for mut completion in done.drain(..) {
            match &mut completion {
                Completion::Closed { conn } => {
                    self.table.remove(*conn);
                    self.table.give_back(*conn);
                }
                Completion::Sent { conn, blocked, .. } if system::SENDS_ARE_COPIED => {
                    let state = self.table.any(*conn);
                    state.sending = false;
                    let Some(socket) = state.socket() else { continue };
                    state.blocked = system::is_sending(socket);
                    let has_room = *blocked && !state.blocked;
                    *blocked |= state.blocked;
                    self.stats.blocked_sends += u64::from(*blocked);
                    if has_room {
                        let conn = *conn;
                        completions.extend([completion, Completion::Writable { conn }]);
                        continue;
                    }
                }
                Completion::Sent { conn, .. } | Completion::SendFailed { conn, .. } => {
                    let state = self.table.any(*conn);
                    state.sending = false;
                    if state.is_closing() {
                        continue;
                    }
                }
                Completion::ReceiveEnded { conn, .. } | Completion::Filled { conn, .. } => {
                    let state = self.table.any(*conn);
                    if state.is_closing() {
                        continue;
                    }
                    state.inbound = Inbound::Idle;
                }
                _ => {}
            }
            completions.push(completion);
        }
        // Its memory serves again.
        self.done = done;
    }

    /// Whether a send is to be reported.
    fn has_sent(&self) -> bool {
        self.done.iter().any(|done| matches!(done, Completion::Sent { .. }))
    }

    /// Lets starved connections read once a quarter of the pool is free; until
    /// then asks the pool to wake this shard.
    fn rearm_starved(&mut self) {
        if self.starved_count == 0 {
            self.starved.clear();
            return;
        }
        self.pool.want();
        self.pool.collect();
        if self.pool.free() < self.pool.buffers().div_ceil(4) {
            return;
        }
        self.starved_count = 0;
        for conn in std::mem::take(&mut self.starved) {
            // It may have been closed, and its number given to another, which may even
            // starve itself and be here twice.
            let Some(state) = self.table.find(conn) else { continue };
            if std::mem::take(&mut state.starved) {
                self.make_ready(conn);
            }
        }
    }

    fn fetch_edges(
        &mut self,
        completions: &mut Vec<Completion>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.stats.syscalls += 1;
        self.events.clear();
        system::wait(&mut self.poll, &mut self.events, timeout)?;
        let events = std::mem::replace(&mut self.events, mio::Events::with_capacity(0));
        for event in &events {
            match event.token() {
                WAKE_TOKEN => {
                    if self.wake.take() {
                        completions.push(Completion::Woken);
                    }
                }
                LISTENER_TOKEN => {
                    if let Some(acceptor) = &mut self.acceptor {
                        acceptor.ready = true;
                    }
                }
                token if self.take_bell(token, completions) => {}
                token => {
                    let is_over = event.is_error() || event.is_read_closed();
                    let reads = event.is_readable() || is_over;
                    let writes = event.is_writable() || event.is_write_closed() || event.is_error();
                    if !self.take_datagram_edge(token, reads, writes, completions) {
                        self.handle_edge(Conn(token.0 as u32), reads, writes, completions);
                    }
                }
            }
        }
        self.events = events;
        self.rearm_starved();
        Ok(())
    }

    fn handle_edge(
        &mut self,
        conn: Conn,
        reads: bool,
        writes: bool,
        completions: &mut Vec<Completion>,
    ) {
        let Some(state) = self.table.find(conn) else { return };
        let Some(socket) = state.socket() else { return };
        let has_room = writes && system::has_room(socket);
        state.readable |= reads;
        let shared = state.shared;
        if has_room && std::mem::take(&mut state.blocked) {
            self.stats.syscalls += 1;
            // If it fails there are edges more than needed, no less.
            let _ = system::watch_room(self.poll.registry(), self.table.socket(conn), conn, false);
            if shared {
                self.sharing.on_writable(conn);
            }
            completions.push(Completion::Writable { conn });
        }
        if shared {
            return self.look_at_socket(conn);
        }
        self.make_ready(conn);
    }

    fn can_accept(&self) -> bool {
        self.acceptor.as_ref().is_some_and(|acceptor| acceptor.ready && !acceptor.paused)
    }

    fn accept_all(&mut self, completions: &mut Vec<Completion>) {
        for _ in 0..MAX_ACCEPTS_PER_WAIT {
            let Some(acceptor) = self.acceptor.as_mut().filter(|it| it.ready && !it.paused) else {
                return;
            };
            // One more to set the send buffer, one to ask for the peer.
            self.stats.syscalls += 3;
            let registry = self.poll.registry();
            let accepted = match system::accept(&mut acceptor.incoming, registry) {
                Ok(socket) => {
                    let peer = socket.peer();
                    self.insert(socket).map(|conn| (conn, peer))
                }
                Err(error) => Err(error),
            };
            match accepted {
                Ok((conn, peer)) => completions.push(Completion::Accepted { conn, peer }),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.set_acceptor(false, false),
                    // The client gave up while it waited.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        self.set_acceptor(true, true);
                        completions.push(Completion::AcceptPaused { error });
                    }
                },
            }
        }
    }

    fn set_acceptor(&mut self, ready: bool, paused: bool) {
        if let Some(acceptor) = &mut self.acceptor {
            (acceptor.ready, acceptor.paused) = (ready, paused);
        }
    }

    /// Serves each connection of the ready list once, as far as the turn's
    /// budget goes, of which so much is used.
    fn read_ready(&mut self, before: usize, completions: &mut Vec<Completion>) {
        let pool_bytes = self.pool.buffers() * self.pool.buffer_bytes();
        let budget = self.turn_budget.min(pool_bytes / 2);
        let mut bytes = before;
        for _ in 0..self.ready.len() {
            if bytes >= budget {
                return;
            }
            let Some(conn) = self.ready.pop_front() else { return };
            // It may have been closed, and the number given to another, since it
            // was put on the list.
            let Some(state) = self.table.find(conn) else { continue };
            if !std::mem::take(&mut state.queued) {
                continue;
            }
            bytes += match &state.inbound {
                Inbound::Stream => self.read_stream(conn, completions),
                Inbound::Into(_) => self.read_into(conn, completions),
                Inbound::Idle | Inbound::Stopping | Inbound::Ended => 0,
            };
            // What is left comes in the next turn, behind the others.
            if self.table.find(conn).is_some() {
                self.make_ready(conn);
            }
        }
    }

    /// Reads chunks; returns how many bytes.
    fn read_stream(&mut self, conn: Conn, completions: &mut Vec<Completion>) -> usize {
        let mut total = 0;
        while total < READ_BUDGET_BYTES {
            let Some(index) = self.current_buffer() else {
                self.stats.starvations += 1;
                self.table.any(conn).starved = true;
                self.starved.push(conn);
                self.starved_count += 1;
                return total;
            };
            let (bytes, pause) = self.fill_buffer(conn, index, READ_BUDGET_BYTES - total);
            total += bytes;
            if bytes > 0 {
                let left = self.pool.unfilled_bytes(index) - bytes;
                let chunk = if left < MIN_READ_BYTES {
                    self.current = None;
                    self.pool.last_chunk(index, bytes)
                } else {
                    self.pool.chunk(index, bytes)
                };
                completions.push(Completion::Received { conn, chunk });
            }
            if !self.handle_pause(conn, pause, completions) {
                return total;
            }
        }
        total
    }

    /// Reads to the end of one buffer, or of what there is. The pieces lie one
    /// behind another, so they become one chunk.
    fn fill_buffer(&mut self, conn: Conn, index: BufferIndex, limit: usize) -> (usize, Pause) {
        let socket = self.table.socket(conn);
        let target = self.pool.unfilled(index);
        let mut bytes = 0;
        let pause = loop {
            if bytes == target.len() || bytes >= limit {
                break Pause::Full;
            }
            self.stats.syscalls += 1;
            match system::receive(socket, &mut target[bytes..]) {
                Ok(0) => break Pause::Eof,
                Ok(more) => {
                    bytes += more;
                    self.stats.receives += 1;
                    self.stats.received_bytes += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Pause::Drained,
                Err(error) => break Pause::Failed(error),
            }
        };
        (bytes, pause)
    }

    /// Reads into the shard's own buffer; returns how many bytes.
    fn read_into(&mut self, conn: Conn, completions: &mut Vec<Completion>) -> usize {
        let state = self.table.any(conn);
        let Inbound::Into(mut fill) = std::mem::replace(&mut state.inbound, Inbound::Idle) else {
            return 0;
        };
        let socket = self.table.socket(conn);
        let mut bytes = 0;
        let pause = loop {
            let missing = fill.length - fill.buffer.len();
            if missing == 0 || bytes >= READ_BUDGET_BYTES {
                break Pause::Full;
            }
            self.stats.syscalls += 1;
            match system::receive_into(socket, &mut fill.buffer, missing) {
                Ok(0) => break Pause::Eof,
                Ok(more) => {
                    bytes += more;
                    self.stats.receives += 1;
                    self.stats.received_bytes += more as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Pause::Drained,
                Err(error) => break Pause::Failed(error),
            }
        };
        if fill.buffer.len() == fill.length {
            completions.push(Completion::Filled { conn, buffer: fill.buffer });
        } else {
            self.table.any(conn).inbound = Inbound::Into(fill);
            self.handle_pause(conn, pause, completions);
        }
        bytes
    }

    /// Takes note of why reading paused; whether to read on.
    fn handle_pause(
        &mut self,
        conn: Conn,
        pause: Pause,
        completions: &mut Vec<Completion>,
    ) -> bool {
        let state = self.table.any(conn);
        let end = match pause {
            Pause::Full => return true,
            Pause::Drained => {
                state.readable = false;
                return false;
            }
            Pause::Eof => ReceiveEnd::Eof,
            Pause::Failed(error) => ReceiveEnd::Failed(error),
        };
        state.inbound = Inbound::Ended;
        completions.push(Completion::ReceiveEnded { conn, end });
        false
    }

    fn current_buffer(&mut self) -> Option<BufferIndex> {
        if self.current.is_none() {
            self.current = self.pool.take();
        }
        if self.current.is_none() {
            self.pool.collect();
            self.current = self.pool.take();
        }
        self.current
    }
}
