//! The readiness back end, on `mio`: for systems without io_uring, and for
//! machines that forbid it.
//!
//! ```text
//!   epoll (edges) ──▶ readable / room again ──▶ ready list ──▶ recv ──▶ chunks
//!   send  ──▶ sendmsg at once ──▶ its `Sent` waits in `done` for the next `wait`
//! ```
//! An edge is reported once, so each connection remembers that it is readable
//! until `recv` says that nothing is left: not even a short read may count as
//! that, since the end of the stream behind it brings no second edge. What the
//! budget of a turn leaves over stays on the ready list for the next one.
//!
//! What differs by system (reading, writing, accepting, registering) lies in `unix`
//! and `windows`, which have the same items.
//!
//! Invariant: a connection that receives and is readable is on the ready list or
//! starved; so a `wait` that sleeps has nothing to read.

mod datagram;
#[cfg(target_os = "linux")]
mod shared;
#[cfg(not(target_os = "linux"))]
#[path = "unshared.rs"]
mod shared;
mod table;
mod turn;
#[cfg(unix)]
mod unix;
mod wake;
#[cfg(windows)]
mod windows;

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mio::{Events, Poll, Token};

use crate::datagram::DatagramStats;
use crate::io::{Completion, Conn, Io, IoStats, MAX_SLICES_PER_SEND, ReceiveEnd, Waker};
use crate::pool::{BufferIndex, BufferPool};
use crate::shared::SharedMemory;
use crate::slice::Slice;
use crate::{ArenaSection, ClientMemory, MemoryUse};
use table::{Fill, Inbound, Table};
#[cfg(unix)]
use unix as system;
use wake::{PoolWake, ShardWake, WakeState};
#[cfg(windows)]
use windows as system;

/// Number of events that one system call fetches.
const MAX_EVENTS: usize = 1024;

const WAKE_TOKEN: Token = Token(usize::MAX);
const LISTENER_TOKEN: Token = Token(usize::MAX - 1);

/// Settings of a [`PollIo`].
#[derive(Clone, Debug)]
pub struct PollConfig {
    /// Number of the shard's receive buffers.
    pub buffers: usize,
    /// Bytes of one; a multiple of [`PAGE_BYTES`](crate::PAGE_BYTES).
    pub buffer_bytes: usize,
    /// The part of the broker's arena that is received to; without, no memory is shared.
    pub arena: Option<ArenaSection>,
}

impl Default for PollConfig {
    /// 2 MiB in all: a larger pool falls out of the cache.
    fn default() -> PollConfig {
        PollConfig { buffers: 32, buffer_bytes: 64 << 10, arena: None }
    }
}

/// Back end of one shard, on readiness events.
#[derive(Debug)]
pub struct PollIo {
    poll: Poll,
    events: Events,
    wake: Arc<WakeState>,
    pool: BufferPool,
    /// The buffer that receives are appended to.
    current: Option<BufferIndex>,
    table: Table,
    /// The connections with shared memory.
    sharing: SharedMemory,
    acceptor: Option<Acceptor>,
    /// The sockets of the link.
    datagrams: Option<datagram::LinkSockets>,
    /// Counters of a link that is closed.
    datagram_stats: DatagramStats,
    /// Buffer in which a system without gather-writes joins slices.
    scratch: system::Scratch,
    /// Completions of operations that ended at once, for the next `wait`.
    done: Vec<Completion>,
    /// Whether the last `wait` reported `done` without looking at the system.
    skipped: bool,
    /// Connections to read from.
    ready: VecDeque<Conn>,
    /// Connections that want a pool buffer; entries may be stale.
    starved: Vec<Conn>,
    /// Number of connections on that list that still starve.
    starved_count: usize,
    /// Bytes that one turn reads, all connections together.
    turn_budget: usize,
    stats: IoStats,
}

/// The listener and what is known of it.
#[derive(Debug)]
struct Acceptor {
    incoming: system::Incoming,
    /// Whether there may be a connection to accept.
    ready: bool,
    /// `AcceptPaused` was reported.
    paused: bool,
}

impl PollIo {
    /// A back end with its receive buffers.
    ///
    /// # Errors
    /// What the system says of making the event queue.
    ///
    /// # Panics
    /// If the sizes are not what [`BufferPool::new`] takes.
    pub fn new(config: PollConfig) -> io::Result<PollIo> {
        let poll = Poll::new()?;
        let wake = Arc::new(WakeState::new(mio::Waker::new(poll.registry(), WAKE_TOKEN)?));
        let pool_waker = Waker::new(Arc::new(PoolWake(Arc::clone(&wake))));
        let pool = match &config.arena {
            Some(section) => {
                BufferPool::in_arena(section.receive_range(), config.buffers, config.buffer_bytes)
            }
            None => BufferPool::new(config.buffers, config.buffer_bytes),
        };
        pool.set_waker(pool_waker.clone());
        let sharing = SharedMemory::new(config.arena, pool_waker);
        Ok(PollIo {
            poll,
            events: Events::with_capacity(MAX_EVENTS),
            wake,
            pool,
            current: None,
            table: Table::default(),
            sharing,
            acceptor: None,
            datagrams: None,
            datagram_stats: DatagramStats::default(),
            scratch: system::Scratch::default(),
            done: Vec::new(),
            skipped: false,
            ready: VecDeque::new(),
            starved: Vec::new(),
            starved_count: 0,
            turn_budget: turn::TURN_BUDGET_BYTES,
            stats: IoStats::default(),
        })
    }

    /// Registers a socket and gives it a number.
    fn insert(&mut self, mut socket: system::Socket) -> io::Result<Conn> {
        let conn = self.table.reserve();
        self.stats.syscalls += 1;
        match system::register(self.poll.registry(), &mut socket, conn) {
            Ok(()) => {
                self.table.insert(conn, socket);
                Ok(conn)
            }
            Err(error) => {
                self.table.give_back(conn);
                Err(error)
            }
        }
    }

    /// Puts a connection on the ready list if it has something to read.
    fn make_ready(&mut self, conn: Conn) {
        let state = self.table.any(conn);
        let wants = matches!(state.inbound, Inbound::Stream | Inbound::Into(_));
        if wants && state.readable && !state.queued && !state.starved {
            state.queued = true;
            self.ready.push_back(conn);
        }
    }

    fn forget_starved(&mut self, conn: Conn) {
        // Its entry goes with all others: looking for each would make many endings
        // cost the square of their number.
        self.starved_count -= usize::from(std::mem::take(&mut self.table.any(conn).starved));
    }

    /// Sends now; what the caller makes of the outcome.
    fn send_now(&mut self, conn: Conn, list: &[IoSlice<'_>]) -> Completion {
        let given: usize = list.iter().map(|slice| slice.len()).sum();
        self.stats.syscalls += 1;
        let bytes = match system::send(&mut self.scratch, self.table.socket(conn), list) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Completion::SendFailed { conn, error },
        };
        self.stats.sends += 1;
        self.stats.sent_bytes += bytes as u64;
        let blocked = bytes < given;
        // Where sends are copied, `wait` looks how far this one is.
        if blocked && !system::SENDS_ARE_COPIED {
            self.stats.blocked_sends += 1;
            self.stats.syscalls += 1;
            // Changing the registration also looks at the socket as it is now, so
            // room that came meanwhile is reported although its edge has passed.
            if let Err(error) = self.watch_room(conn) {
                return Completion::SendFailed { conn, error };
            }
        }
        Completion::Sent { conn, bytes, blocked }
    }

    /// Watches a socket for room: `Writable` follows.
    fn watch_room(&mut self, conn: Conn) -> io::Result<()> {
        system::watch_room(self.poll.registry(), self.table.socket(conn), conn, true)?;
        self.table.any(conn).blocked = true;
        Ok(())
    }
}

impl Io for PollIo {
    type Socket = system::Socket;
    type Listener = system::Listener;

    fn name(&self) -> &'static str {
        "poll"
    }

    fn hands_over(&self) -> bool {
        system::HANDS_OVER
    }

    fn accept(&mut self, listener: system::Listener) -> io::Result<()> {
        // Closing the one before also removes it from the event queue.
        self.acceptor = None;
        self.stats.syscalls += 2;
        let incoming = system::listen(self.poll.registry(), listener, LISTENER_TOKEN)?;
        self.acceptor = Some(Acceptor { incoming, ready: true, paused: false });
        Ok(())
    }

    fn resume_accept(&mut self) {
        if let Some(acceptor) = &mut self.acceptor {
            acceptor.paused = false;
            acceptor.ready = true;
        }
    }

    fn stop_accept(&mut self) {
        // Closing what it accepts on also removes that from the event queue.
        self.acceptor = None;
    }

    fn adopt(&mut self, socket: system::Socket) -> io::Result<Conn> {
        self.insert(socket)
    }

    fn release(&mut self, conn: Conn) -> system::Socket {
        let state = self.table.open(conn);
        debug_assert!(matches!(state.inbound, Inbound::Idle), "released while it receives");
        debug_assert!(!state.sending, "released while it sends");
        self.stats.syscalls += 1;
        let mut socket = self.table.remove(conn).expect("it is not closing");
        // It fails only for a socket that is not registered; this one is.
        let _ = system::deregister(self.poll.registry(), &mut socket);
        self.table.give_back(conn);
        socket
    }

    fn receive(&mut self, conn: Conn) {
        let state = self.table.open(conn);
        if state.shared {
            return self.sharing.receive(conn);
        }
        debug_assert!(matches!(state.inbound, Inbound::Idle), "it receives already, or has ended");
        state.inbound = Inbound::Stream;
        self.make_ready(conn);
    }

    fn stop_receive(&mut self, conn: Conn) {
        let state = self.table.open(conn);
        if state.shared {
            return self.sharing.stop_receive(conn);
        }
        debug_assert!(!matches!(state.inbound, Inbound::Into(_)), "a fill cannot be stopped");
        // Otherwise its end is in the batch that the shard is still reading.
        if matches!(state.inbound, Inbound::Stream) {
            state.inbound = Inbound::Stopping;
            self.forget_starved(conn);
            self.done.push(Completion::ReceiveEnded { conn, end: ReceiveEnd::Stopped });
        }
    }

    fn receive_into(&mut self, conn: Conn, mut buffer: BytesMut, length: usize) {
        let state = self.table.open(conn);
        if state.shared {
            return self.sharing.receive_into(conn, buffer, length);
        }
        debug_assert!(matches!(state.inbound, Inbound::Idle), "it receives already, or has ended");
        if buffer.len() >= length {
            debug_assert!(buffer.len() == length, "the buffer holds more than it is to hold");
            state.inbound = Inbound::Stopping;
            self.done.push(Completion::Filled { conn, buffer });
            return;
        }
        buffer.reserve(length - buffer.len());
        state.inbound = Inbound::Into(Box::new(Fill { buffer, length }));
        self.make_ready(conn);
    }

    fn send<'a>(&mut self, conn: Conn, slices: impl Iterator<Item = &'a Slice>) {
        let state = self.table.open(conn);
        if state.shared {
            return self.send_shared(conn, slices);
        }
        debug_assert!(!state.sending, "it sends twice at a time");
        debug_assert!(!state.blocked, "it sends before it is writable");
        state.sending = true;
        let mut list = [IoSlice::new(&[]); MAX_SLICES_PER_SEND];
        let mut count = 0;
        let slices = slices.filter(|slice| !slice.is_empty());
        for (entry, slice) in list.iter_mut().zip(slices) {
            *entry = IoSlice::new(slice.as_bytes());
            count += 1;
        }
        let completion = match count {
            0 => Completion::Sent { conn, bytes: 0, blocked: false },
            _ => self.send_now(conn, &list[..count]),
        };
        self.done.push(completion);
    }

    fn end_sending(&mut self, conn: Conn) -> bool {
        self.stats.syscalls += 1;
        crate::local::end_sending(self.table.socket(conn))
    }

    fn end_receiving(&mut self, conn: Conn) -> bool {
        if self.table.open(conn).shared {
            self.sharing.end_receiving(conn);
            return true;
        }
        self.stats.syscalls += 1;
        crate::local::end_receiving(self.table.socket(conn))
    }

    fn arena_bytes(&self) -> usize {
        self.sharing.arena_bytes()
    }

    fn offer_memory(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        self.offer(conn, frame, memory)
    }

    fn share_memory(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        self.share(conn, frame, memory)
    }

    fn put_back(&mut self, conn: Conn, chunk: &Bytes, bytes: usize, frame_bytes: usize) -> bool {
        self.sharing.put_back(conn, chunk, bytes, frame_bytes)
    }

    fn is_read(&mut self, conn: Conn) -> bool {
        self.sharing.is_read(conn)
    }

    fn allow_largest_ring(&mut self, conn: Conn) {
        self.sharing.allow_largest_ring(conn);
    }

    fn memory_use(&self, conn: Conn) -> Option<MemoryUse> {
        self.sharing.usage(conn)
    }

    fn close(&mut self, conn: Conn) {
        if self.table.open(conn).shared {
            self.end_sharing(conn);
        }
        self.forget_starved(conn);
        self.stats.syscalls += 1;
        let socket = self.table.close(conn);
        system::close(self.poll.registry(), socket);
        self.done.push(Completion::Closed { conn });
    }

    fn wait(
        &mut self,
        completions: &mut Vec<Completion>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        self.turn(completions, deadline)
    }

    fn waker(&self) -> Waker {
        Waker::new(Arc::new(ShardWake(Arc::clone(&self.wake))))
    }

    fn now(&self) -> crate::Instant {
        system::now()
    }

    fn starved(&self) -> bool {
        self.starved_count > 0 || self.sharing.starved()
    }

    fn set_receive_budget(&mut self, bytes: usize) {
        self.turn_budget = bytes;
    }

    fn stats(&self) -> IoStats {
        let mut stats = IoStats {
            buffers: self.pool.buffers() as u64,
            pinned_buffers: self.pool.pinned() as u64,
            buffer_bytes: self.pool.buffer_bytes() as u64,
            ..self.stats
        };
        self.sharing.add_stats(&mut stats);
        stats
    }
}
