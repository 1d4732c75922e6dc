//! The end of a connection: shut down, wait until the kernel holds nothing, close.
//!
//! ```text
//!   close ──▶ shutdown(2) ──▶ receive, fill and polls end ──▶ descriptor closed, `Closed`
//!                                  │ one does not
//!                                  └──▶ late ──▶ cancelled by its token
//! ```
//! A shut-down socket wakes whatever waits on it, at a cost that does not grow with
//! the other connections. Cancelling by descriptor is the obvious way, but the kernel
//! then walks all operations of the ring: thousands of endings became a minute.
//! Cancelling by token is a look-up in a hash table of at most 256 chains, which is
//! good enough for the few that miss their end: see `receive`.

use std::time::Duration;

use io_uring::{opcode, types};
use rustix::net::Shutdown;

use super::UringIo;
use super::table::{Phase, Receiving, Slot};
use super::token::{Kind, Token};
use crate::{Conn, LocalSocket};

/// An operation that has not ended after this time, although its socket woke it, is
/// cancelled; before, only when the kernel has nothing else to tell.
const LATE: Duration = Duration::from_secs(1);

impl UringIo {
    pub(super) fn start_close(&mut self, conn: Conn) {
        let slot = self.table.slot(conn);
        debug_assert!(slot.is_open(), "closed twice");
        if !slot.is_open() {
            return;
        }
        slot.phase = Phase::Closing;
        if slot.receiving == Receiving::Starved {
            slot.receiving = Receiving::Idle;
            self.starved_count -= 1;
        }
        if slot.is_shared() {
            self.end_sharing(conn);
        }
        self.settle_end(conn);
    }

    pub(super) fn give_away(&mut self, conn: Conn) -> LocalSocket {
        let slot = self.table.slot(conn);
        debug_assert!(slot.is_open());
        debug_assert!(slot.receiving == Receiving::Idle);
        debug_assert!(slot.outbound.is_none());
        debug_assert!(!slot.is_shared(), "shared memory stays with its shard");
        let socket = (slot.fd.take(), std::mem::take(&mut slot.peer));
        slot.phase = Phase::Released;
        if slot.operations == 0 {
            self.table.free(conn);
        } else if slot.writable_armed {
            // The poll has its own hold on the socket, which is alive elsewhere, so
            // it would never end by itself.
            self.cancel_ending(conn, Kind::Writable);
        }
        let (fd, peer) = socket;
        LocalSocket::from_parts(fd.expect("an open connection has a descriptor"), peer)
    }

    /// Cancels an operation of a connection that ends.
    fn cancel_ending(&mut self, conn: Conn, kind: Kind) {
        let slot = self.table.slot(conn);
        slot.operations += 1;
        slot.cancelling_end = true;
        let which = types::CancelBuilder::user_data(Token::new(kind, conn.0).bits());
        let cancel = opcode::AsyncCancel2::new(which).build();
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&cancel.user_data(Token::new(Kind::CancelEnd, conn.0).bits())) };
    }

    /// Goes on with a connection that ends, after each of its completions.
    pub(super) fn settle_end(&mut self, conn: Conn) {
        self.ends += 1;
        let slot = self.table.slot(conn);
        match slot.phase {
            Phase::Free | Phase::Open => {}
            Phase::Closing if slot.operations == 0 => {
                // The last operation has ended: the descriptor's number cannot be
                // mistaken for its successor's by anything under way.
                slot.fd = None;
                slot.fill = None;
                self.stats.syscalls += 1;
                self.closed.push(conn);
            }
            // A send that waits to be submitted is still carried out.
            Phase::Closing if !slot.shut_down && slot.outbound.is_none() => {
                slot.shut_down = true;
                if let Some(fd) = &slot.fd {
                    // It fails if the other end is gone, and then all has been woken.
                    let _ = rustix::net::shutdown(fd, Shutdown::Both);
                }
                self.stats.syscalls += 1;
                self.expect_end(conn);
            }
            Phase::Released if slot.operations == 0 => self.table.free(conn),
            Phase::Closing | Phase::Released => {}
        }
    }

    /// Notes that operations of a connection are to end by themselves very soon.
    pub(super) fn expect_end(&mut self, conn: Conn) {
        self.late.push_back((self.start.elapsed() + LATE, conn));
    }

    /// Cancels what has missed its end: all that was to end by itself, if the kernel
    /// has nothing else to tell (`quiet`), else what is overdue.
    pub(super) fn chase_late(&mut self, quiet: bool) {
        let now = self.start.elapsed();
        // Not those that come back while this runs.
        for _ in 0..self.late.len() {
            let Some(&(deadline, conn)) = self.late.front() else { return };
            if !quiet && deadline > now {
                return;
            }
            self.late.pop_front();
            let slot = self.table.slot(conn);
            if slot.is_open() {
                if slot.misses_hang_up() {
                    self.cancel_receive(conn, Kind::Receive);
                }
            } else if slot.phase == Phase::Closing
                && !slot.cancelling_end
                && let Some(kind) = under_way(slot)
            {
                self.cancel_ending(conn, kind);
            }
        }
    }

    /// A cancellation may find nothing because the operation is just moving between
    /// two of the kernel's lists; then the next try finds it.
    pub(super) fn on_cancel_end(&mut self, conn: Conn) {
        let slot = self.table.slot(conn);
        slot.ended();
        slot.cancelling_end = false;
        let again = slot.phase == Phase::Closing && slot.operations > 0;
        self.settle_end(conn);
        if again {
            self.expect_end(conn);
        }
    }
}

/// An operation of a connection that waits on its socket.
fn under_way(slot: &Slot) -> Option<Kind> {
    match slot {
        Slot { receiving: Receiving::Armed, .. } => Some(Kind::Receive),
        Slot { hang_up_armed: true, .. } => Some(Kind::HangUp),
        Slot { fill: Some(_), .. } => Some(Kind::Fill),
        Slot { writable_armed: true, .. } => Some(Kind::Writable),
        _ => None,
    }
}
