//! Connections with shared memory: a multishot poll for each bell, and what their sockets
//! say. All else is in `shared`.
//!
//! ```text
//!   bell ──▶ poll ──▶ Attachments ──▶ chunks        socket ──▶ its end, or a fault
//! ```
//! The receive of such a connection's socket stays armed, for it ends with the socket; no
//! bytes may come by it.
//!
//! Invariant: while a bell's poll is armed, its slot is not free.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;

use io_uring::{opcode, types};

use super::UringIo;
use super::ring::Event;
use super::table::{Receiving, Sharing};
use super::token::{Kind, Token};
use crate::shared::offer;
use crate::{ClientMemory, Completion, Conn, Slice};

impl UringIo {
    pub(super) fn offer(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        let attachments = self.sharing.for_offer()?;
        let slot = self.table.slot(conn);
        debug_assert!(slot.outbound.is_none(), "a send is under way");
        self.stats.syscalls += 1;
        offer::offer(slot.open_fd().as_fd(), frame, attachments.section(), memory)
    }

    pub(super) fn share(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        let attachments = self.sharing.all()?;
        let slot = self.table.slot(conn);
        debug_assert!(slot.is_open() && !slot.is_shared());
        debug_assert!(slot.outbound.is_none(), "a send is under way");
        debug_assert!(slot.fill.is_none(), "a large frame is received");
        self.stats.syscalls += 1;
        let bell = memory.bells().broker.as_fd().as_raw_fd();
        if !offer::send_frame(slot.open_fd().as_fd(), frame)? {
            return Ok(false);
        }
        let receives =
            matches!(slot.receiving, Receiving::Armed | Receiving::Starved) && !slot.stopping;
        let is_watched = slot.receiving != Receiving::Idle || slot.stopping;
        attachments.add(conn, memory, receives);
        self.arm_bell(conn, bell);
        if !is_watched {
            self.watch_socket(conn);
        }
        Ok(true)
    }

    fn arm_bell(&mut self, conn: Conn, bell: RawFd) {
        let poll = opcode::PollAdd::new(types::Fd(bell), libc::POLLIN as u32).multi(true).build();
        let slot = self.table.slot(conn);
        slot.sharing = Sharing::Armed;
        slot.operations += 1;
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&poll.user_data(Token::new(Kind::Bell, conn.0).bits())) };
    }

    pub(super) fn on_bell(&mut self, conn: Conn, event: Event, completions: &mut Vec<Completion>) {
        let is_open = self.table.slot(conn).is_open();
        if is_open && let Some(attachments) = self.sharing.any() {
            attachments.on_bell(conn, completions);
        }
        if event.more() {
            return;
        }
        let slot = self.table.slot(conn);
        slot.sharing = Sharing::Ended;
        slot.ended();
        // The kernel ends it when it has no room for completions.
        let memory = self.sharing.any().and_then(|it| it.memory(conn));
        let bell = memory.as_ref().map(|it| it.bells().broker.as_fd().as_raw_fd());
        match bell {
            Some(bell) if is_open => self.arm_bell(conn, bell),
            _ => self.settle_end(conn),
        }
    }

    pub(super) fn on_cancel_bell(&mut self, conn: Conn, event: Event) {
        let slot = self.table.slot(conn);
        slot.ended();
        // If it was not found, the kernel was just moving it.
        if event.result < 0 && slot.sharing == Sharing::Armed {
            self.cancel_bell(conn);
        } else {
            self.settle_end(conn);
        }
    }

    fn cancel_bell(&mut self, conn: Conn) {
        self.table.slot(conn).operations += 1;
        let which = types::CancelBuilder::user_data(Token::new(Kind::Bell, conn.0).bits());
        let cancel = opcode::AsyncCancel2::new(which).build();
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&cancel.user_data(Token::new(Kind::CancelBell, conn.0).bits())) };
    }

    /// Ends the sharing of a connection that is closed.
    pub(super) fn end_sharing(&mut self, conn: Conn) {
        if let Some(attachments) = self.sharing.any() {
            attachments.remove(conn);
        }
        if self.table.slot(conn).sharing == Sharing::Armed {
            self.cancel_bell(conn);
        }
    }

    /// Starts to send by descriptors.
    pub(super) fn start_shared_send<'a>(
        &mut self,
        conn: Conn,
        slices: impl Iterator<Item = &'a Slice>,
    ) {
        let Some(attachments) = self.sharing.any() else { return };
        let slot = self.table.slot(conn);
        debug_assert!(slot.is_open());
        let socket = slot.open_fd().as_fd();
        if attachments.send(conn, |list| offer::send_slices(socket, list), slices) {
            self.arm_writable(conn);
        }
    }
}
