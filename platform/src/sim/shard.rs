//! State that the simulator keeps for one shard: its connections and what is due.
//!
//! Invariant: each connection has at most one inbound and one outbound event
//! scheduled, so the completions of one direction keep their order whatever
//! their delays.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;

use super::chunks::ChunkPool;
use super::faults::Faults;
use crate::io::{Completion, Conn, IoStats, WakeTarget};
use crate::shared::SharedMemory;
use crate::slice::Slice;
use crate::{ArenaSection, Instant, Waker};

/// Something that happens at a moment of virtual time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Take the next connection from the backlog.
    Accept,
    /// Bring bytes, the end, or `Stopped`.
    Inbound(Conn),
    /// Report `Writable`.
    Outbound(Conn),
    /// Report `Closed`.
    Close(Conn),
}

impl Event {
    fn conn(self) -> Option<Conn> {
        match self {
            Event::Accept => None,
            Event::Inbound(conn) | Event::Outbound(conn) | Event::Close(conn) => Some(conn),
        }
    }
}

/// State of a connection's receiving.
#[derive(Debug)]
pub(super) enum Inbound {
    /// The connection has nothing to do.
    Idle,
    /// Chunks.
    Stream,
    /// Chunks, at most so many more, then `Stopped`.
    Stopping { chunks: u32 },
    /// Into a buffer of the shard.
    Into { buffer: BytesMut, length: usize },
    /// The connection receives nothing any more: the end or an error was reported.
    Ended,
}

/// State of a connection's sending.
#[derive(Debug)]
pub(super) enum Outbound {
    /// The connection has nothing to do.
    Idle,
    /// The next `wait` carries it out.
    Lazy(Vec<Slice>),
    /// Carried out, the next `wait` reports it.
    Done(SendOutcome),
    /// The last send took less than it was given; `Writable` is owed.
    Blocked,
}

/// Outcome of a send.
#[derive(Clone, Copy, Debug)]
pub(super) enum SendOutcome {
    Took { bytes: usize, blocked: bool },
    PeerGone,
}

/// State of one connection of a shard.
#[derive(Debug)]
pub(super) struct ConnState {
    pub(super) socket: u64,
    pub(super) inbound: Inbound,
    pub(super) inbound_scheduled: bool,
    pub(super) starved: bool,
    pub(super) outbound: Outbound,
    pub(super) outbound_scheduled: bool,
    pub(super) closing: bool,
    /// Memory is shared: bytes come by the ring, and go by descriptors.
    pub(super) shared: bool,
    /// The end of a socket beside shared memory, or what may not come there, was seen.
    pub(super) socket_is_over: bool,
}

/// The flag that stands behind a simulated waker.
#[derive(Debug, Default)]
pub(super) struct WakeFlag(AtomicBool);

impl WakeFlag {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::AcqRel)
    }
}

impl WakeTarget for WakeFlag {
    fn wake(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// State of one shard of the simulated broker.
#[derive(Debug)]
pub(super) struct Shard {
    conns: Vec<Option<ConnState>>,
    free: Vec<Conn>,
    /// Connections whose send the next `wait` reports, in the order of the calls.
    pub(super) sending: Vec<Conn>,
    /// Connections that want a pool buffer.
    pub(super) starved: Vec<Conn>,
    /// Events that are due, by time and then by a number that breaks ties.
    pub(super) due: BTreeMap<(Instant, u64), Event>,
    pub(super) wake: Arc<WakeFlag>,
    pub(super) pool: ChunkPool,
    /// The connections with shared memory.
    pub(super) sharing: SharedMemory,
    /// Whether it has begun to wait: whoever shares memory with it must ring.
    pub(super) sleeps: bool,
    /// Completions that it found when it began to.
    pub(super) early: Vec<Completion>,
    /// The listener that this shard accepts on.
    pub(super) listener: Option<u64>,
    pub(super) accept_paused: bool,
    pub(super) accept_scheduled: bool,
    pub(super) stats: IoStats,
}

impl Shard {
    pub(super) fn new(faults: &Faults, section: Option<ArenaSection>) -> Shard {
        let wake: Arc<WakeFlag> = Arc::default();
        let pool = ChunkPool::new(faults.pool_buffers, section.as_ref());
        let waker = Waker::new(Arc::<WakeFlag>::clone(&wake));
        Shard {
            conns: Vec::new(),
            free: Vec::new(),
            sending: Vec::new(),
            starved: Vec::new(),
            due: BTreeMap::new(),
            wake,
            pool,
            sharing: SharedMemory::new(section, waker),
            sleeps: false,
            early: Vec::new(),
            listener: None,
            accept_paused: false,
            accept_scheduled: false,
            stats: IoStats::default(),
        }
    }

    /// Forgets its connections, its listener and all that is due: its process is
    /// gone.
    pub(super) fn clear(&mut self) {
        self.conns.clear();
        self.free.clear();
        self.sending.clear();
        self.starved.clear();
        self.due.clear();
        // A late wake must not look like something that is due.
        self.wake = Arc::default();
        self.listener = None;
        self.accept_scheduled = false;
        self.sharing = SharedMemory::default();
        self.early.clear();
    }

    /// A number for `socket`.
    pub(super) fn insert(&mut self, socket: u64) -> Conn {
        let state = ConnState {
            socket,
            inbound: Inbound::Idle,
            inbound_scheduled: false,
            starved: false,
            outbound: Outbound::Idle,
            outbound_scheduled: false,
            closing: false,
            shared: false,
            socket_is_over: false,
        };
        if let Some(conn) = self.free.pop() {
            self.conns[conn.0 as usize] = Some(state);
            return conn;
        }
        self.conns.push(Some(state));
        Conn(self.conns.len() as u32 - 1)
    }

    /// The state of `conn`, also while it closes.
    ///
    /// # Panics
    /// If the number is not in use: the shard's mistake.
    pub(super) fn any(&mut self, conn: Conn) -> &mut ConnState {
        match self.conns.get_mut(conn.0 as usize) {
            Some(Some(state)) => state,
            _ => panic!("{conn:?} is not a connection of this shard"),
        }
    }

    /// The state of `conn` for an operation on it.
    ///
    /// # Panics
    /// If the number is not in use or `close` was called: the shard's mistake.
    pub(super) fn open(&mut self, conn: Conn) -> &mut ConnState {
        let state = self.any(conn);
        assert!(!state.closing, "{conn:?} is used after close");
        state
    }

    /// Forgets everything that is scheduled for `conn`.
    pub(super) fn unschedule(&mut self, conn: Conn) {
        self.due.retain(|_, event| event.conn() != Some(conn));
        self.starved.retain(|&starved| starved != conn);
        self.sending.retain(|&sending| sending != conn);
        let state = self.any(conn);
        state.inbound_scheduled = false;
        state.outbound_scheduled = false;
        state.starved = false;
    }

    /// Frees the number; returns the socket that it named.
    pub(super) fn remove(&mut self, conn: Conn) -> u64 {
        self.unschedule(conn);
        let socket = self.any(conn).socket;
        self.conns[conn.0 as usize] = None;
        self.free.push(conn);
        socket
    }

    /// The sockets of all connections, in the order of their numbers.
    pub(super) fn sockets(&self) -> Vec<u64> {
        self.conns.iter().flatten().map(|state| state.socket).collect()
    }

    /// Whether `wait` has something to do at once, whatever the time.
    pub(super) fn is_due_now(&self) -> bool {
        let rearms = !self.starved.is_empty() && self.pool.quarter_is_free();
        let shares = self.sharing.has_work() || self.sharing.is_rung() || !self.early.is_empty();
        self.wake.is_set() || !self.sending.is_empty() || rearms || shares
    }
}
