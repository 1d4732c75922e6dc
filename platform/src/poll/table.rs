//! The connections of one shard, by number.
//!
//! Invariant: a number is on the free list, or stands for an open connection, or
//! for one whose `Closed` has not been reported yet.

use bytes::BytesMut;

use super::system::{STARTS_READABLE, Socket};
use crate::io::Conn;

/// State of a connection's receiving.
#[derive(Debug)]
pub(super) enum Inbound {
    /// The connection receives nothing.
    Idle,
    /// Chunks.
    Stream,
    /// The connection receives nothing, but the completion that says so is not yet
    /// reported.
    Stopping,
    /// Into a buffer of the shard.
    Into(Box<Fill>),
    /// The connection receives nothing any more: the end or an error was reported.
    Ended,
}

/// A buffer of the shard that bytes are read into.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) buffer: BytesMut,
    /// The length at which it is full.
    pub(super) length: usize,
}

/// State of one connection.
#[derive(Debug)]
pub(super) struct ConnState {
    /// `None` once it is closed and only `Closed` is still to report.
    socket: Option<Socket>,
    pub(super) inbound: Inbound,
    /// An edge came, and `recv` has not said since that nothing is left.
    pub(super) readable: bool,
    /// Whether it is on the ready list.
    pub(super) queued: bool,
    /// Whether it is on the starved list.
    pub(super) starved: bool,
    /// A send was carried out and is not yet reported.
    pub(super) sending: bool,
    /// Whether the last send was short, so that `Writable` is owed.
    pub(super) blocked: bool,
    /// Whether it shares memory: its socket then brings nothing but its end.
    pub(super) shared: bool,
}

impl ConnState {
    pub(super) fn is_closing(&self) -> bool {
        self.socket.is_none()
    }

    /// The socket, unless it is closed.
    pub(super) fn socket(&self) -> Option<&Socket> {
        self.socket.as_ref()
    }
}

// An idle connection is this and a descriptor: keep it small.
const _: () = assert!(std::mem::size_of::<Option<ConnState>>() <= 64);

/// Table of a shard's connections.
#[derive(Debug, Default)]
pub(super) struct Table {
    entries: Vec<Option<ConnState>>,
    free: Vec<Conn>,
}

impl Table {
    /// A number that nobody uses, until [`Table::insert`] or [`Table::give_back`].
    pub(super) fn reserve(&mut self) -> Conn {
        self.free.pop().unwrap_or_else(|| {
            self.entries.push(None);
            Conn(self.entries.len() as u32 - 1)
        })
    }

    pub(super) fn insert(&mut self, conn: Conn, socket: Socket) {
        self.entries[conn.0 as usize] = Some(ConnState {
            socket: Some(socket),
            inbound: Inbound::Idle,
            readable: STARTS_READABLE,
            queued: false,
            starved: false,
            sending: false,
            blocked: false,
            shared: false,
        });
    }

    /// Makes a number free again whose entry is removed.
    pub(super) fn give_back(&mut self, conn: Conn) {
        self.free.push(conn);
    }

    /// Takes the socket out to be closed, keeps the number.
    pub(super) fn close(&mut self, conn: Conn) -> Option<Socket> {
        let state = self.any(conn);
        // A fill's buffer is freed here.
        state.inbound = Inbound::Ended;
        state.socket.take()
    }

    /// Removes the entry; the socket, unless it was closed.
    pub(super) fn remove(&mut self, conn: Conn) -> Option<Socket> {
        self.entries[conn.0 as usize].take().and_then(|state| state.socket)
    }

    /// The connection, if the number is in use.
    pub(super) fn find(&mut self, conn: Conn) -> Option<&mut ConnState> {
        self.entries.get_mut(conn.0 as usize)?.as_mut()
    }

    /// A connection that exists, also while it closes.
    ///
    /// # Panics
    /// If the number is not in use: the shard's mistake.
    pub(super) fn any(&mut self, conn: Conn) -> &mut ConnState {
        match self.find(conn) {
            Some(state) => state,
            None => panic!("{conn:?} is not a connection of this shard"),
        }
    }

    /// A connection for an operation on it.
    pub(super) fn open(&mut self, conn: Conn) -> &mut ConnState {
        let state = self.any(conn);
        debug_assert!(!state.is_closing(), "{conn:?} is used after close");
        state
    }

    /// The socket of an open connection.
    ///
    /// # Panics
    /// If it is not open: the shard's mistake.
    pub(super) fn socket(&self, conn: Conn) -> &Socket {
        let state = self.entries[conn.0 as usize].as_ref();
        state.and_then(|state| state.socket.as_ref()).expect("the connection is open")
    }
}
