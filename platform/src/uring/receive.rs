//! Receiving: a multishot receive per connection, out of the shared buffers.
//!
//! ```text
//!            receive              no buffer            a quarter is free
//!   Idle ───────────────▶ Armed ───────────▶ Starved ────────────────────▶ Armed
//!     ▲                    │ cancelled, end, error
//!     └────────────────────┘
//! ```
//! The kernel may end a multishot receive for reasons of its own; then it is armed
//! again and nobody is told. Exactly one `ReceiveEnded` follows each `receive`.
//!
//! A multishot receive may miss the end of a stream: when data and hang-up come
//! close together, kernels count two wake-ups, read the data once and forget the
//! other, and a hung-up socket never wakes again (liburing issue 1549, fixed in
//! part in 6.18.21: under load a 6.18.44 still missed one in some thousands, all
//! data read and the receive waiting on). No probe tells reliably. So each
//! receiving connection also has a poll for the hang-up; when it fires and the receive
//! has not ended by itself right after, that is cancelled and started afresh, and a
//! fresh receive reads what is there up to the end. That costs the kernel about 250 bytes per connection and nothing per
//! message, since arriving data does not match the poll.
//!
//! A large frame is read straight into its own buffer (`Filling`), by single
//! receives that wait for all of it.

use std::io;

use bytes::{Bytes, BytesMut};
use io_uring::{opcode, types};

use super::UringIo;
use super::provided::GROUP;
use super::ring::Event;
use super::table::{Fill, Receiving};
use super::token::{Kind, Token};
use crate::{Completion, Conn, ReceiveEnd};

/// The most that one receive asks for, 1 GiB: the kernel's length is 31 bits.
const MAX_RECEIVE_BYTES: usize = 1 << 30;

impl UringIo {
    pub(super) fn start_receive(&mut self, conn: Conn) {
        let slot = self.table.slot(conn);
        debug_assert!(slot.is_open());
        if slot.is_shared() {
            return self.sharing.receive(conn);
        }
        debug_assert!(slot.receiving == Receiving::Idle, "already receiving");
        debug_assert!(!slot.stopping);
        self.arm_receive(conn);
    }

    /// Watches the socket of a connection with shared memory: for its end, by a receive
    /// that brings nothing else.
    pub(super) fn watch_socket(&mut self, conn: Conn) {
        self.arm_receive(conn);
    }

    fn arm_receive(&mut self, conn: Conn) {
        let watch = self.watch_hang_up;
        let slot = self.table.slot(conn);
        slot.receiving = Receiving::Armed;
        slot.served = false;
        slot.operations += 1;
        let target = slot.target();
        let watch = watch && !slot.hang_up_armed && !slot.hung_up;
        if watch {
            slot.hang_up_armed = true;
            slot.operations += 1;
        }
        let receive = opcode::RecvMulti::new(target, GROUP).build();
        // SAFETY: it points to nothing; its buffers are the pool's, which the ring
        // does not outlive.
        unsafe { self.ring.push(&receive.user_data(Token::new(Kind::Receive, conn.0).bits())) };
        if watch {
            let poll = opcode::PollAdd::new(target, libc::POLLRDHUP as u32).build();
            // SAFETY: it points to nothing.
            unsafe { self.ring.push(&poll.user_data(Token::new(Kind::HangUp, conn.0).bits())) };
        }
    }

    pub(super) fn end_receive(&mut self, conn: Conn) {
        let slot = self.table.slot(conn);
        debug_assert!(slot.is_open());
        if slot.is_shared() {
            return self.sharing.stop_receive(conn);
        }
        match slot.receiving {
            // It has ended; the shard will see or has seen how.
            Receiving::Idle | Receiving::Filling => return,
            _ if slot.stopping => return,
            Receiving::Armed => {}
            Receiving::Starved => {
                slot.receiving = Receiving::Idle;
                self.starved_count -= 1;
            }
        }
        self.table.slot(conn).stopping = true;
        let mut completions = std::mem::take(&mut self.ready);
        self.settle_stop(conn, &mut completions);
        self.ready = completions;
    }

    /// Goes on with `stop_receive`: cancels what is still armed, and reports when
    /// nothing is, so that the connection can be given away.
    fn settle_stop(&mut self, conn: Conn, completions: &mut Vec<Completion>) {
        let slot = self.table.slot(conn);
        if !slot.stopping || !slot.is_open() || slot.cancelling_receive {
            return;
        }
        if slot.receiving == Receiving::Armed {
            self.cancel_receive(conn, Kind::Receive);
        } else if slot.hang_up_armed {
            self.cancel_receive(conn, Kind::HangUp);
        } else {
            slot.stopping = false;
            completions.push(Completion::ReceiveEnded { conn, end: ReceiveEnd::Stopped });
            // It was asked to stop just before its memory was shared.
            if slot.is_shared() {
                self.watch_socket(conn);
            }
        }
    }

    pub(super) fn cancel_receive(&mut self, conn: Conn, kind: Kind) {
        let slot = self.table.slot(conn);
        slot.cancelling_receive = true;
        slot.operations += 1;
        let which = types::CancelBuilder::user_data(Token::new(kind, conn.0).bits());
        let cancel = opcode::AsyncCancel2::new(which).build();
        let token = Token::new(Kind::CancelReceive, conn.0);
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&cancel.user_data(token.bits())) };
    }

    /// A cancellation is through. What it found has ended or is about to; what it
    /// did not find (the kernel was just moving it) is cancelled again.
    pub(super) fn on_cancel_receive(
        &mut self,
        conn: Conn,
        event: Event,
        completions: &mut Vec<Completion>,
    ) {
        let slot = self.table.slot(conn);
        slot.ended();
        slot.cancelling_receive = false;
        if !slot.is_open() {
            self.settle_end(conn);
        } else if slot.stopping {
            let found = event.result >= 0;
            let ending = slot.receiving == Receiving::Armed || slot.hang_up_armed;
            if !(found && ending) {
                self.settle_stop(conn, completions);
            }
        } else if slot.receiving == Receiving::Armed && slot.hung_up && event.result < 0 {
            self.cancel_receive(conn, Kind::Receive);
        }
    }

    /// The peer hung up: a receive that is armed may have missed it. Another one,
    /// started now, will not.
    pub(super) fn on_hang_up(&mut self, conn: Conn, completions: &mut Vec<Completion>) {
        self.ends += 1;
        let slot = self.table.slot(conn);
        slot.ended();
        slot.hang_up_armed = false;
        if !slot.is_open() {
            self.settle_end(conn);
        } else if slot.stopping {
            // Either it was cancelled for that, or the next receive sees the end.
            self.settle_stop(conn, completions);
        } else {
            slot.hung_up = true;
            if slot.misses_hang_up() {
                // Mostly its own end is the next that the kernel tells.
                self.expect_end(conn);
            }
        }
    }

    pub(super) fn on_receive(
        &mut self,
        conn: Conn,
        event: Event,
        completions: &mut Vec<Completion>,
    ) {
        // Always, to keep the count of buffers, even when nobody wants the bytes.
        let chunk = self.provided.received(&event);
        let slot = self.table.slot(conn);
        let open = slot.is_open();
        if let Some(chunk) = chunk.filter(|_| open) {
            if slot.is_shared() {
                self.on_bytes_beside_ring(conn);
            } else {
                self.on_bytes(conn, chunk, completions);
            }
        }
        if event.more() {
            return;
        }
        let slot = self.table.slot(conn);
        slot.ended();
        slot.receiving = Receiving::Idle;
        if !open {
            self.settle_end(conn);
            return;
        }
        let end = match -event.result {
            0 => ReceiveEnd::Eof,
            // The kernel ended it for its own reasons, or it was cancelled.
            i32::MIN..0 | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {
                if slot.stopping {
                    self.settle_stop(conn, completions);
                } else {
                    self.arm_receive(conn);
                }
                return;
            }
            libc::ENOBUFS => {
                if slot.stopping {
                    self.settle_stop(conn, completions);
                } else {
                    // Mostly the budget is used up, and the next wait arms it again,
                    // behind those that got nothing this time.
                    slot.receiving = Receiving::Starved;
                    if slot.served {
                        self.starved.push_back(conn);
                    } else {
                        self.starved.push_front(conn);
                    }
                    self.starved_count += 1;
                    self.stats.starvations += u64::from(self.provided.is_short());
                }
                return;
            }
            errno => ReceiveEnd::Failed(io::Error::from_raw_os_error(errno)),
        };
        if slot.is_shared()
            && let Some(attachments) = self.sharing.any()
        {
            attachments.on_socket_end(conn, end);
            self.settle_stop(conn, completions);
            return;
        }
        slot.stopping = false;
        completions.push(Completion::ReceiveEnded { conn, end });
    }

    fn on_bytes(&mut self, conn: Conn, chunk: Bytes, completions: &mut Vec<Completion>) {
        self.stats.receives += 1;
        self.stats.received_bytes += chunk.len() as u64;
        self.table.slot(conn).served = true;
        completions.push(Completion::Received { conn, chunk });
    }

    #[cold]
    fn on_bytes_beside_ring(&mut self, conn: Conn) {
        if let Some(attachments) = self.sharing.any() {
            attachments.on_socket_bytes(conn);
        }
    }

    /// Lends returned buffers to the kernel and arms starved receives as long as
    /// there are enough. Returns whether some are left for which there are: then
    /// nothing must block.
    pub(super) fn feed_starved(&mut self) -> bool {
        self.provided.lend();
        if self.starved_count == 0 {
            self.starved.clear();
            return false;
        }
        if !self.provided.is_ample() {
            self.provided.pool().want();
            self.provided.lend();
            if !self.provided.is_ample() {
                return false;
            }
        }
        // No more than there are buffers: the rest would only starve again.
        for _ in 0..self.provided.pool().held() {
            let Some(conn) = self.starved.pop_front() else { break };
            let slot = self.table.slot(conn);
            // Not if it was closed or stopped meanwhile.
            if slot.is_open() && slot.receiving == Receiving::Starved {
                self.starved_count -= 1;
                self.arm_receive(conn);
            }
        }
        self.starved_count > 0
    }

    pub(super) fn start_fill(&mut self, conn: Conn, mut buffer: BytesMut, length: usize) {
        let slot = self.table.slot(conn);
        debug_assert!(slot.is_open());
        if slot.is_shared() {
            return self.sharing.receive_into(conn, buffer, length);
        }
        debug_assert!(slot.receiving == Receiving::Idle, "already receiving");
        if buffer.len() >= length {
            self.ready.push(Completion::Filled { conn, buffer });
            return;
        }
        buffer.reserve(length - buffer.len());
        slot.receiving = Receiving::Filling;
        slot.fill = Some(Box::new(Fill { buffer, length }));
        self.arm_fill(conn);
    }

    fn arm_fill(&mut self, conn: Conn) {
        let slot = self.table.slot(conn);
        let target = slot.target();
        let Some(fill) = &mut slot.fill else { return };
        let missing = (fill.length - fill.buffer.len()).min(MAX_RECEIVE_BYTES);
        let spare = fill.buffer.spare_capacity_mut();
        debug_assert!(missing <= spare.len());
        let receive = opcode::Recv::new(target, spare.as_mut_ptr().cast(), missing as u32)
            .flags(libc::MSG_WAITALL)
            .build();
        slot.operations += 1;
        // SAFETY: the buffer is in its slot, untouched, until the completion.
        unsafe { self.ring.push(&receive.user_data(Token::new(Kind::Fill, conn.0).bits())) };
    }

    pub(super) fn on_fill(&mut self, conn: Conn, event: Event, completions: &mut Vec<Completion>) {
        let slot = self.table.slot(conn);
        slot.ended();
        let Some(mut fill) = slot.fill.take() else { return };
        if !slot.is_open() {
            self.settle_end(conn);
            return;
        }
        let end = match -event.result {
            0 => ReceiveEnd::Eof,
            i32::MIN..0 => {
                let received = event.result as usize;
                // SAFETY: the kernel wrote that many bytes to the spare capacity.
                unsafe { fill.buffer.set_len(fill.buffer.len() + received) };
                self.stats.receives += 1;
                self.stats.received_bytes += received as u64;
                if fill.buffer.len() < fill.length {
                    slot.fill = Some(fill);
                    self.arm_fill(conn);
                } else {
                    slot.receiving = Receiving::Idle;
                    completions.push(Completion::Filled { conn, buffer: fill.buffer });
                }
                return;
            }
            libc::EINTR | libc::EAGAIN | libc::ECANCELED => {
                slot.fill = Some(fill);
                self.arm_fill(conn);
                return;
            }
            errno => ReceiveEnd::Failed(io::Error::from_raw_os_error(errno)),
        };
        slot.receiving = Receiving::Idle;
        completions.push(Completion::ReceiveEnded { conn, end });
    }
}
