//! Connections with shared memory: edges of their bells, and what their sockets say. All
//! else is in `crate::shared`.
//!
//! Invariant: a bell is taken from the event queue before its connection is closed: the
//! client has the same descriptor, so that closing it here would not do.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::table::Inbound;
use super::{PollIo, system};
use crate::ClientMemory;
use crate::io::{Completion, Conn, ReceiveEnd};
use crate::shared::offer;
use crate::slice::Slice;

/// The bit that tells the token of a bell from its connection's.
const BELL: usize = 1 << (usize::BITS - 2);

impl PollIo {
    pub(super) fn offer(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        let attachments = self.sharing.for_offer()?;
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
        let socket = self.table.socket(conn).as_fd();
        let watches = attachments.send(conn, |list| offer::send_slices(socket, list), slices);
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
}

fn bell_of(conn: Conn) -> Token {
    Token(conn.0 as usize | BELL)
}
