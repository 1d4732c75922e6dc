//! Sending: one nonblocking gather-write per connection at a time.
//!
//! With `MSG_DONTWAIT` the write is done while it is submitted and the kernel
//! keeps nothing of it; many connections' writes go in one call. What a full
//! socket did not take is the shard's again, and a poll tells when there is room.
//!
//! Invariant: a gather list and the slices it points into live, unmoved, until
//! the write's completion.

use std::io;

use io_uring::opcode;

use super::UringIo;
use super::ring::Event;
use super::token::{Kind, Token};
use crate::{Completion, Conn, MAX_SLICES_PER_SEND, Slice};

/// Number of gather lists that are kept for use again.
const MAX_SPARE_STATES: usize = 64;

/// A gather-write under way.
pub(super) struct SendState {
    header: libc::msghdr,
    parts: Vec<libc::iovec>,
    slices: Vec<Slice>,
    bytes: usize,
}

impl std::fmt::Debug for SendState {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("SendState").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

impl SendState {
    fn new() -> SendState {
        SendState {
            // SAFETY: all zeros is a valid, empty header.
            header: unsafe { std::mem::zeroed() },
            parts: Vec::new(),
            slices: Vec::new(),
            bytes: 0,
        }
    }

    fn fill<'a>(&mut self, slices: impl Iterator<Item = &'a Slice>) {
        debug_assert!(self.slices.is_empty());
        self.bytes = 0;
        let slices = slices.filter(|slice| !slice.is_empty());
        for slice in slices.take(MAX_SLICES_PER_SEND) {
            let bytes = slice.as_bytes();
            self.bytes += bytes.len();
            self.parts.push(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
            // A clone is of the same memory, which stays where it is.
            self.slices.push(slice.clone());
        }
        self.header.msg_iov = self.parts.as_mut_ptr();
        self.header.msg_iovlen = self.parts.len() as _;
    }
}

/// Gather lists that are not in use.
#[derive(Default)]
pub(super) struct SendStates {
    // Boxed because the kernel is given their addresses.
    #[expect(clippy::vec_box, reason = "a state must not move between its uses")]
    spare: Vec<Box<SendState>>,
}

impl SendStates {
    fn take(&mut self) -> Box<SendState> {
        self.spare.pop().unwrap_or_else(|| Box::new(SendState::new()))
    }

    fn put(&mut self, mut state: Box<SendState>) {
        // At once, not at the next use: the slices pin receive buffers.
        state.slices.clear();
        state.parts.clear();
        if self.spare.len() < MAX_SPARE_STATES {
            self.spare.push(state);
        }
    }
}

impl UringIo {
    pub(super) fn start_send<'a>(&mut self, conn: Conn, slices: impl Iterator<Item = &'a Slice>) {
        let slot = self.table.slot(conn);
        if slot.is_shared() {
            return self.start_shared_send(conn, slices);
        }
        debug_assert!(slot.is_open());
        debug_assert!(slot.outbound.is_none(), "a send is under way");
        let mut state = self.send_states.take();
        state.fill(slices);
        if state.bytes == 0 {
            self.send_states.put(state);
            self.ready.push(Completion::Sent { conn, bytes: 0, blocked: false });
            return;
        }
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        let send = opcode::SendMsg::new(slot.target(), &state.header).flags(flags as u32).build();
        slot.outbound = Some(state);
        slot.operations += 1;
        // SAFETY: the state is boxed and stays in its slot until the completion.
        unsafe { self.ring.push(&send.user_data(Token::new(Kind::Send, conn.0).bits())) };
    }

    pub(super) fn on_send(&mut self, conn: Conn, event: Event, completions: &mut Vec<Completion>) {
        let slot = self.table.slot(conn);
        slot.ended();
        let Some(state) = slot.outbound.take() else { return };
        let asked = state.bytes;
        let open = slot.is_open();
        self.send_states.put(state);
        if !open {
            self.settle_end(conn);
            return;
        }
        let bytes = match -event.result {
            i32::MIN..=0 => event.result as usize,
            libc::EAGAIN | libc::EINTR | libc::ECANCELED => 0,
            errno => {
                let error = io::Error::from_raw_os_error(errno);
                completions.push(Completion::SendFailed { conn, error });
                return;
            }
        };
        let blocked = bytes < asked;
        self.stats.sends += 1;
        self.stats.sent_bytes += bytes as u64;
        completions.push(Completion::Sent { conn, bytes, blocked });
        if blocked {
            // Short means full, also without EAGAIN.
            self.stats.blocked_sends += 1;
            self.arm_writable(conn);
        }
    }

    pub(super) fn arm_writable(&mut self, conn: Conn) {
        let slot = self.table.slot(conn);
        debug_assert!(!slot.writable_armed);
        slot.writable_armed = true;
        slot.operations += 1;
        let poll = opcode::PollAdd::new(slot.target(), libc::POLLOUT as u32).build();
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&poll.user_data(Token::new(Kind::Writable, conn.0).bits())) };
    }

    pub(super) fn on_writable(&mut self, conn: Conn, completions: &mut Vec<Completion>) {
        let slot = self.table.slot(conn);
        slot.ended();
        slot.writable_armed = false;
        if slot.is_open() {
            self.sharing.on_writable(conn);
            // Also when the poll failed: the next send then says why.
            completions.push(Completion::Writable { conn });
        } else {
            self.settle_end(conn);
        }
    }
}
