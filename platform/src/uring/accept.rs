//! The listener: one multishot accept.
//!
//! A full descriptor table ends it and is reported; trying again is the shard's
//! decision, since only it knows when a descriptor became free.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use io_uring::{opcode, types};

use super::UringIo;
use super::ring::Event;
use super::token::{Kind, Token};
use crate::{Completion, LocalListener, LocalSocket};

/// The listener and whether the kernel accepts on it.
pub(super) struct Acceptor {
    listener: LocalListener,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Armed,
    Paused,
    Stopping,
}

const ACCEPT: Token = Token { kind: Kind::Accept, slot: 0 };
const CANCEL: Token = Token { kind: Kind::CancelAccept, slot: 0 };

impl UringIo {
    pub(super) fn start_accept(&mut self, listener: LocalListener) -> io::Result<()> {
        if self.acceptor.is_some() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "already accepting"));
        }
        self.acceptor = Some(Acceptor { listener, state: State::Paused });
        self.arm_accept();
        Ok(())
    }

    /// Accepts, if it does not already.
    pub(super) fn arm_accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        if acceptor.state != State::Paused {
            return;
        }
        acceptor.state = State::Armed;
        let fd = types::Fd(acceptor.listener.as_fd().as_raw_fd());
        // Close-on-exec, but blocking: see `adopt`.
        let accept = opcode::AcceptMulti::new(fd).flags(libc::SOCK_CLOEXEC).build();
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&accept.user_data(ACCEPT.bits())) };
    }

    pub(super) fn end_accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        match acceptor.state {
            State::Stopping => {}
            State::Paused => self.acceptor = None,
            State::Armed => {
                acceptor.state = State::Stopping;
                // From now on nobody finds the socket; who is connecting at this
                // moment is refused when the descriptor closes.
                acceptor.listener.unlink();
                self.cancel_accept();
            }
        }
    }

    fn cancel_accept(&mut self) {
        let which = types::CancelBuilder::user_data(ACCEPT.bits());
        let cancel = opcode::AsyncCancel2::new(which).build().user_data(CANCEL.bits());
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&cancel) };
    }

    pub(super) fn on_accept(&mut self, event: Event, completions: &mut Vec<Completion>) {
        let Some(acceptor) = &mut self.acceptor else { return };
        let stopping = acceptor.state == State::Stopping;
        if event.result >= 0 {
            // SAFETY: the kernel just made this descriptor for us alone.
            let fd = unsafe { OwnedFd::from_raw_fd(event.result) };
            if !stopping {
                let socket = LocalSocket::accepted(fd);
                self.stats.syscalls += 2;
                let (fd, peer) = socket.into_parts();
                let conn = self.table.insert(fd, peer.clone());
                completions.push(Completion::Accepted { conn, peer });
            }
        }
        if event.more() {
            return;
        }
        if stopping {
            self.acceptor = None;
            return;
        }
        acceptor.state = State::Paused;
        match -event.result {
            // It ended by itself, or one client gave up while connecting.
            i32::MIN..=0 | libc::ECONNABORTED | libc::EINTR | libc::EAGAIN | libc::ECANCELED => {
                self.arm_accept();
            }
            errno => {
                let error = io::Error::from_raw_os_error(errno);
                completions.push(Completion::AcceptPaused { error });
            }
        }
    }
}
