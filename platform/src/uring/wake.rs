//! Waking of the shard by other threads: an event descriptor that the ring reads.
//!
//! Invariant: while `pending` is set, the descriptor was or is about to be
//! written, and the read of it has not been taken notice of; so whoever finds it
//! set need not write again.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use io_uring::{opcode, types};
use rustix::event::{EventfdFlags, eventfd};

use super::UringIo;
use super::token::{Kind, Token};
use crate::WakeTarget;

pub(super) struct WakeEvent {
    fd: OwnedFd,
    pending: AtomicBool,
    writes: AtomicU64,
}

impl WakeEvent {
    pub(super) fn new() -> io::Result<WakeEvent> {
        // Blocking: the ring's read then waits instead of failing.
        let fd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(WakeEvent { fd, pending: AtomicBool::new(false), writes: AtomicU64::new(0) })
    }

    /// Takes notice of a wake-up: later ones write again.
    pub(super) fn rearm(&self) {
        // A swap, so that it is ordered with the waker's: what was done before a
        // `wake` that found `pending` set is seen after this.
        self.pending.swap(false, Ordering::AcqRel);
    }

    pub(super) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }
}

impl WakeTarget for WakeEvent {
    fn wake(&self) {
        if self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        self.writes.fetch_add(1, Ordering::Relaxed);
        // It cannot fail: at most one write is outstanding, so the count is small.
        let _ = rustix::io::write(&self.fd, &1u64.to_ne_bytes());
    }
}

impl UringIo {
    pub(super) fn arm_wake(&mut self) {
        let fd = types::Fd(self.wake.fd.as_raw_fd());
        let value: *mut u64 = &mut *self.wake_value;
        let read = opcode::Read::new(fd, value.cast(), size_of::<u64>() as u32).build();
        // SAFETY: the value and the descriptor are this object's and outlive the
        // read: `drop` cancels it first. Nobody else looks at the value.
        unsafe { self.ring.push(&read.user_data(Token::new(Kind::Wake, 0).bits())) };
    }
}
