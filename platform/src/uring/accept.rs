//! The listener: a poll, and so many accepts for each wait.
//!
//! ```text
//!   Waiting ──connections──▶ Ready ──none left──▶ Waiting
//!                             │ refused: out of descriptors
//!                             └──▶ Paused, until the shard tries again
//! ```
//! A multishot accept would be one operation for all, but the kernel goes on with it
//! as long as there are connections: whoever connects fast enough would keep the shard
//! from everybody else.
//!
//! A full descriptor table is reported; trying again is the shard's decision, since
//! only it knows when a descriptor became free.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::{opcode, types};

use super::UringIo;
use super::token::{Kind, Token};
use crate::io::MAX_ACCEPTS_PER_WAIT;
use crate::{Completion, LocalListener};

const ACCEPT: Token = Token { kind: Kind::Accept, slot: 0 };
const CANCEL: Token = Token { kind: Kind::CancelAccept, slot: 0 };

/// The listener and how it is watched.
pub(super) struct Acceptor {
    listener: LocalListener,
    /// Takes the listener's place once that is watched no more.
    next: Option<LocalListener>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The kernel tells when there are connections.
    Waiting,
    /// There may be connections to accept.
    Ready,
    /// Connections cannot be accepted for now.
    Paused,
    /// The listener ends with its poll.
    Stopping,
}

impl UringIo {
    pub(super) fn start_accept(&mut self, listener: LocalListener) -> io::Result<()> {
        // There is no flag for a single accept that must not block.
        rustix::io::ioctl_fionbio(&listener, true)?;
        match &mut self.acceptor {
            Some(acceptor) if acceptor.state == State::Waiting => {
                acceptor.state = State::Stopping;
                acceptor.next = Some(listener);
                self.cancel_accept();
            }
            Some(acceptor) if acceptor.state == State::Stopping => acceptor.next = Some(listener),
            _ => self.acceptor = Some(Acceptor { listener, next: None, state: State::Ready }),
        }
        Ok(())
    }

    pub(super) fn retry_accept(&mut self) {
        if let Some(acceptor) = self.acceptor.as_mut().filter(|it| it.state == State::Paused) {
            acceptor.state = State::Ready;
        }
    }

    pub(super) fn end_accept(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        match acceptor.state {
            State::Stopping => acceptor.next = None,
            State::Paused | State::Ready => self.acceptor = None,
            State::Waiting => {
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

    /// Whether there may be connections to accept.
    pub(super) fn can_accept(&self) -> bool {
        self.acceptor.as_ref().is_some_and(|acceptor| acceptor.state == State::Ready)
    }

    /// Accepts those that are there, as far as one wait may. Whole buffers are few: no
    /// more than can be read from, or a crowd that speaks at once seems to be silent.
    pub(super) fn accept_some(&mut self, completions: &mut Vec<Completion>) {
        let readable = if self.provided.is_incremental() {
            MAX_ACCEPTS_PER_WAIT
        } else {
            self.provided.pool().held().max(1)
        };
        for _ in 0..readable.min(MAX_ACCEPTS_PER_WAIT) {
            let Some(acceptor) = &mut self.acceptor else { return };
            if acceptor.state != State::Ready {
                return;
            }
            // One more to set the send buffer, one to ask for the peer.
            self.stats.syscalls += 3;
            match acceptor.listener.accept() {
                Ok(socket) => {
                    let (fd, peer) = socket.into_parts();
                    let conn = self.table.insert(fd, peer.clone());
                    completions.push(Completion::Accepted { conn, peer });
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.watch_listener(),
                    // The client gave up while it waited.
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        acceptor.state = State::Paused;
                        completions.push(Completion::AcceptPaused { error });
                    }
                },
            }
        }
    }

    fn watch_listener(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        acceptor.state = State::Waiting;
        let fd = types::Fd(acceptor.listener.as_fd().as_raw_fd());
        let poll = opcode::PollAdd::new(fd, libc::POLLIN as u32).build();
        // SAFETY: it points to nothing.
        unsafe { self.ring.push(&poll.user_data(ACCEPT.bits())) };
    }

    pub(super) fn on_acceptable(&mut self) {
        let Some(acceptor) = &mut self.acceptor else { return };
        if acceptor.state == State::Stopping {
            let next = acceptor.next.take();
            self.acceptor =
                next.map(|listener| Acceptor { listener, next: None, state: State::Ready });
        } else {
            acceptor.state = State::Ready;
        }
    }
}
