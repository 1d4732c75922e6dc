//! The end of a connection: cancel, wait until the kernel holds nothing, close.

use io_uring::{opcode, types};

use super::UringIo;
use super::table::{Phase, Receiving};
use super::token::{Kind, Token};
use crate::{Conn, LocalSocket};

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
        self.settle_end(conn);
    }

    pub(super) fn give_away(&mut self, conn: Conn) -> LocalSocket {
        let slot = self.table.slot(conn);
        debug_assert!(slot.is_open());
        debug_assert!(slot.receiving == Receiving::Idle);
        debug_assert!(slot.outbound.is_none());
        let socket = (slot.fd.take(), std::mem::take(&mut slot.peer));
        slot.phase = Phase::Released;
        let writable = slot.writable_armed.then(|| Token::new(Kind::Writable, conn.0));
        if slot.operations == 0 {
            self.table.free(conn);
        } else if let Some(writable) = writable {
            // The poll has its own hold on the socket, which is alive elsewhere, so
            // it would never end by itself.
            self.cancel(conn, types::CancelBuilder::user_data(writable.bits()));
        }
        let (fd, peer) = socket;
        LocalSocket::from_parts(fd.expect("an open connection has a descriptor"), peer)
    }

    fn cancel(&mut self, conn: Conn, which: types::CancelBuilder) {
        let slot = self.table.slot(conn);
        slot.operations += 1;
        slot.cancelling_all = true;
        let cancel = opcode::AsyncCancel2::new(which).build();
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&cancel.user_data(Token::new(Kind::CancelAll, conn.0).bits())) };
    }

    /// Goes on with a connection that ends, after each of its completions.
    pub(super) fn settle_end(&mut self, conn: Conn) {
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
            Phase::Closing if !slot.cancelling_all => {
                let which = types::CancelBuilder::fd(slot.target()).all();
                self.cancel(conn, which);
            }
            Phase::Released if slot.operations == 0 => self.table.free(conn),
            Phase::Closing | Phase::Released => {}
        }
    }

    /// A cancellation may find nothing because the operation is just moving between
    /// two of the kernel's lists; then the next try finds it. If it found some,
    /// their completions come and each asks again.
    pub(super) fn on_cancel_all(&mut self, conn: Conn) {
        let slot = self.table.slot(conn);
        slot.ended();
        slot.cancelling_all = false;
        self.settle_end(conn);
    }
}
