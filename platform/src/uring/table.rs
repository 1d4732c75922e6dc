//! The connections of one ring, and which operations the kernel has on each.
//!
//! It issues nothing itself.
//!
//! Invariant: a slot is free only when it has no descriptor and no operation, so
//! that the kernel holds nothing of it and no completion can name it.

use std::os::fd::{AsRawFd, OwnedFd};

use bytes::BytesMut;
use io_uring::types::Fd;

use super::send::SendState;
use crate::{Conn, Peer};

/// A connection. An idle one must cost little: ten thousand of them are normal.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) fd: Option<OwnedFd>,
    pub(super) peer: Peer,
    pub(super) phase: Phase,
    pub(super) receiving: Receiving,
    /// Operations without a final completion.
    pub(super) operations: u8,
    /// Whether it shares memory.
    pub(super) sharing: Sharing,
    /// `stop_receive` was called and `Stopped` not yet reported.
    pub(super) stopping: bool,
    /// A cancellation of the receive or its hang-up poll is under way.
    pub(super) cancelling_receive: bool,
    /// Whether its socket was shut down, so that what waits on it ends.
    pub(super) shut_down: bool,
    /// A cancellation of what has not ended by that is under way.
    pub(super) cancelling_end: bool,
    /// The receive that is armed has brought bytes.
    pub(super) served: bool,
    /// A hang-up poll is armed.
    pub(super) hang_up_armed: bool,
    /// The peer has hung up: a receive that starts now will see it.
    pub(super) hung_up: bool,
    /// A poll for room to write is armed.
    pub(super) writable_armed: bool,
    /// The send under way.
    pub(super) outbound: Option<Box<SendState>>,
    /// The frame's own buffer that is being filled.
    pub(super) fill: Option<Box<Fill>>,
}

const _: () = assert!(std::mem::size_of::<Slot>() <= 64);

/// Phase of a slot's life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// The slot is nobody's.
    #[default]
    Free,
    /// The slot is a connection.
    Open,
    /// `Closed` follows when its operations have ended.
    Closing,
    /// The slot's socket was given away; the slot is free when its operations have ended.
    Released,
}

/// State of a connection's receiving.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Receiving {
    /// The connection receives nothing.
    #[default]
    Idle,
    /// The kernel has a multishot receive.
    Armed,
    /// The connection would receive, but there was no buffer.
    Starved,
    /// The connection fills a frame's own buffer.
    Filling,
}

/// Sharing of memory with a connection: its socket then brings nothing but its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sharing {
    /// There is none.
    #[default]
    No,
    /// The kernel has a poll of the bell.
    Armed,
    /// The poll of the bell has ended.
    Ended,
}

/// A frame's own buffer.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) buffer: BytesMut,
    /// The length at which it is full.
    pub(super) length: usize,
}

/// Table of all connections.
#[derive(Default)]
pub(super) struct Table {
    slots: Vec<Slot>,
    free: Vec<Conn>,
}

impl Table {
    /// Adds a connection.
    pub(super) fn insert(&mut self, fd: OwnedFd, peer: Peer) -> Conn {
        let conn = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            Conn(self.slots.len() as u32 - 1)
        });
        let slot = &mut self.slots[conn.0 as usize];
        debug_assert_eq!(slot.phase, Phase::Free);
        *slot = Slot { fd: Some(fd), peer, phase: Phase::Open, ..Slot::default() };
        conn
    }

    /// Frees a slot that has neither descriptor nor operations.
    pub(super) fn free(&mut self, conn: Conn) {
        let slot = &mut self.slots[conn.0 as usize];
        debug_assert_eq!(slot.operations, 0);
        debug_assert!(slot.fd.is_none());
        slot.phase = Phase::Free;
        self.free.push(conn);
    }

    /// A connection's slot.
    ///
    /// # Panics
    /// If there never was such a connection: a programmer's error.
    #[inline]
    pub(super) fn slot(&mut self, conn: Conn) -> &mut Slot {
        &mut self.slots[conn.0 as usize]
    }

    /// Number of slots that are not free.
    pub(super) fn open(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

impl Slot {
    /// The descriptor, for an operation.
    ///
    /// # Panics
    /// If the connection is closed: a programmer's error.
    #[inline]
    pub(super) fn target(&self) -> Fd {
        Fd(self.open_fd().as_raw_fd())
    }

    /// The descriptor, for a call.
    ///
    /// # Panics
    /// If the connection is closed: a programmer's error.
    #[inline]
    pub(super) fn open_fd(&self) -> &OwnedFd {
        self.fd.as_ref().expect("the connection is open")
    }

    /// Notes that an operation's final completion came.
    #[inline]
    pub(super) fn ended(&mut self) {
        debug_assert!(self.operations > 0);
        self.operations -= 1;
    }

    /// Whether its receive goes on although the peer has hung up.
    pub(super) fn misses_hang_up(&self) -> bool {
        self.hung_up
            && self.receiving == Receiving::Armed
            && !self.stopping
            && !self.cancelling_receive
    }

    /// Whether it shares memory.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        self.sharing != Sharing::No
    }

    /// Whether completions are reported.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }
}
