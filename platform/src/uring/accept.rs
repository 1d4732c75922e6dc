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
    /// Takes the listener's place once the kernel accepts on that no more.
    next: Option<LocalListener>,
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
        if let Some(acceptor) = &mut self.acceptor
            && acceptor.state != State::Paused
        {
            acceptor.next = Some(listener);
            if acceptor.state == State::Armed {
                acceptor.state = State::Stopping;
                self.cancel_accept();
            }
            return Ok(());
        }
        self.acceptor = Some(Acceptor { listener, next: None, state: State::Paused });
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
            State::Stopping => acceptor.next = None,
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
            if !stopping || acceptor.next.is_some() {
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
            let next = acceptor.next.take();
            self.acceptor =
                next.map(|listener| Acceptor { listener, next: None, state: State::Paused });
            self.arm_accept();
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
