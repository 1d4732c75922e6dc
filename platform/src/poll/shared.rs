//! Connections with shared memory: edges of their bells, and what their sockets say. All
//! else is in `crate::shared`.
//!
//! Invariant: a bell is taken from the event queue before its connection is closed: the
//! client has the same descriptor, so that closing it here would not do.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::table::Inbound;
use super::{PollIo, system};
use crate::io::{Completion, Conn, IoStats, ReceiveEnd};
use crate::shared::{Attachments, offer};
use crate::slice::Slice;
use crate::{ArenaSection, ClientMemory, MemoryUse, Waker};

/// The bit that tells the token of a bell from its connection's.
const BELL: usize = 1 << (usize::BITS - 2);

/// The connections, if this broker has memory to share.
#[derive(Debug)]
pub(super) struct SharedMemory {
    attachments: Option<Box<Attachments>>,
}

impl SharedMemory {
    pub(super) fn new(section: Option<ArenaSection>, waker: Waker) -> SharedMemory {
        let attachments = section.map(|section| Box::new(Attachments::new(section, waker)));
        SharedMemory { attachments }
    }

    /// The connections, if there are any.
    fn any(&mut self) -> Option<&mut Attachments> {
        self.attachments.as_deref_mut().filter(|it| !it.is_empty())
    }

    fn all(&mut self) -> io::Result<&mut Attachments> {
        let text = "this broker has no memory to share";
        let missing = || io::Error::new(io::ErrorKind::Unsupported, text);
        self.attachments.as_deref_mut().ok_or_else(missing)
    }

    pub(super) fn receive(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.receive(conn);
        }
    }

    pub(super) fn stop_receive(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.stop_receive(conn);
        }
    }

    pub(super) fn receive_into(&mut self, conn: Conn, buffer: BytesMut, length: usize) {
        if let Some(attachments) = self.any() {
            attachments.receive_into(conn, buffer, length);
        }
    }

    pub(super) fn end_receiving(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.end_receiving(conn);
        }
    }

    pub(super) fn put_back(
        &mut self,
        conn: Conn,
        chunk: &Bytes,
        bytes: usize,
        frame_bytes: usize,
    ) -> bool {
        self.any().is_some_and(|it| it.put_back(conn, chunk, bytes, frame_bytes))
    }

    pub(super) fn is_read(&mut self, conn: Conn) -> bool {
        self.any().is_none_or(|it| it.is_read(conn))
    }

    pub(super) fn allow_largest_ring(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.allow_largest_ring(conn);
        }
    }

    pub(super) fn on_writable(&mut self, conn: Conn) {
        if let Some(attachments) = self.any() {
            attachments.on_writable(conn);
        }
    }

    pub(super) fn arena_bytes(&self) -> usize {
        self.attachments.as_ref().map_or(0, |it| it.section().arena_bytes())
    }

    pub(super) fn usage(&self, conn: Conn) -> Option<MemoryUse> {
        self.attachments.as_ref()?.usage(conn)
    }

    pub(super) fn has_work(&self) -> bool {
        self.attachments.as_ref().is_some_and(|it| it.has_work())
    }

    pub(super) fn starved(&self) -> bool {
        self.attachments.as_ref().is_some_and(|it| it.starved())
    }

    pub(super) fn add_stats(&self, stats: &mut IoStats) {
        if let Some(attachments) = &self.attachments {
            attachments.add_stats(stats);
        }
    }

    fn starvations(&self) -> u64 {
        self.attachments.as_ref().map_or(0, |it| it.starvations())
    }
}

impl PollIo {
    pub(super) fn offer(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        let attachments = self.sharing.all()?;
        debug_assert!(!self.table.open(conn).sending, "a send is under way");
        self.stats.syscalls += 1;
        let socket = self.table.socket(conn).as_fd();
        offer::offer(socket, frame, attachments.section(), memory)
    }

    pub(super) fn share(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        let attachments = self.sharing.all()?;
        let state = self.table.open(conn);
        debug_assert!(!state.shared);
        debug_assert!(!state.sending, "a send is under way");
        debug_assert!(!matches!(state.inbound, Inbound::Into(_)), "a large frame is received");
        self.stats.syscalls += 2;
        let bell = memory.bells().broker.as_fd().as_raw_fd();
        let registry = self.poll.registry();
        // First, since it can be undone.
        registry.register(&mut SourceFd(&bell), bell_of(conn), Interest::READABLE)?;
        let sent = offer::send_frame(self.table.socket(conn).as_fd(), frame);
        if !matches!(sent, Ok(true)) {
            let _ = registry.deregister(&mut SourceFd(&bell));
            return sent;
        }
        let state = self.table.open(conn);
        state.shared = true;
        // What stopped is still reported as such.
        let receives = matches!(state.inbound, Inbound::Stream);
        let is_stopping = matches!(state.inbound, Inbound::Stopping);
        if !is_stopping {
            state.inbound = Inbound::Idle;
        }
        let readable = state.readable;
        attachments.add(conn, memory, receives);
        self.forget_starved(conn);
        if readable {
            self.look_at_socket(conn);
        }
        Ok(true)
    }

    pub(super) fn end_sharing(&mut self, conn: Conn) {
        let memory = self.sharing.any().and_then(|it| it.remove(conn));
        if let Some(bells) = memory.as_ref().map(|memory| memory.bells()) {
            self.stats.syscalls += 1;
            let bell = bells.broker.as_fd().as_raw_fd();
            // It fails only for what is not registered; this one is.
            let _ = self.poll.registry().deregister(&mut SourceFd(&bell));
        }
    }

    pub(super) fn send_shared<'a>(&mut self, conn: Conn, slices: impl Iterator<Item = &'a Slice>) {
        let Some(attachments) = self.sharing.any() else { return };
        let watches = attachments.send(conn, &mut self.table.socket(conn).as_fd(), slices);
        if watches {
            self.stats.syscalls += 1;
            // If it fails, which only a lack of memory does, the next look at the socket's
            // end is the connection's.
            let _ = self.watch_room(conn);
        }
    }

    /// Looks whether a socket of which an edge came has ended: no bytes may come by it.
    pub(super) fn look_at_socket(&mut self, conn: Conn) {
        let state = self.table.open(conn);
        if !std::mem::take(&mut state.readable) {
            return;
        }
        self.stats.syscalls += 1;
        let outcome = system::receive(self.table.socket(conn), &mut [0]);
        let Some(attachments) = self.sharing.any() else { return };
        match outcome {
            Ok(0) => attachments.on_socket_end(conn, ReceiveEnd::Eof),
            Ok(_) => attachments.on_socket_bytes(conn),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => attachments.on_socket_end(conn, ReceiveEnd::Failed(error)),
        }
    }

    /// Takes note of an edge if it is a bell's.
    pub(super) fn take_bell(&mut self, token: Token, completions: &mut Vec<Completion>) -> bool {
        // The link's sockets, the listener and the waker have all upper bits set.
        let is_bell = token.0 & BELL != 0 && token.0 & (BELL << 1) == 0;
        if is_bell && let Some(attachments) = self.sharing.any() {
            attachments.on_bell(Conn((token.0 & !BELL) as u32), completions);
        }
        is_bell
    }

    pub(super) fn start_shared(&mut self, completions: &mut Vec<Completion>) {
        let starves = self.starved_count > 0;
        let Some(attachments) = self.sharing.any() else { return };
        attachments.tell_pressure(self.pool.pinned() * 2 > self.pool.buffers());
        if starves {
            attachments.look_at_all_releases(completions);
        }
        attachments.start(completions);
    }

    /// Whether the shard may block: rings are empty, and their bells ring.
    pub(super) fn may_sleep(&mut self) -> bool {
        let starves = self.starved_count > 0;
        self.sharing.any().is_none_or(|it| it.may_sleep() && (!starves || it.ask_for_releases()))
    }

    /// Takes what is in rings. Returns how many bytes came.
    pub(super) fn take_shared(&mut self, completions: &mut Vec<Completion>) -> usize {
        // Sockets that are ready have their part.
        let budget = if self.ready.is_empty() { self.turn_budget } else { self.turn_budget / 2 };
        self.sharing.any().map_or(0, |it| it.turn(budget, completions))
    }

    pub(super) fn starvations(&self) -> u64 {
        self.stats.starvations + self.sharing.starvations()
    }
}

fn bell_of(conn: Conn) -> Token {
    Token(conn.0 as usize | BELL)
}
