//! A bell that wakes the other process: a descriptor that becomes readable.
//!
//! Whoever is about to sleep says so by a word of the control page, looks once more for
//! work, and sleeps; whoever makes work afterwards finds the word, sets it back and
//! rings. So nobody rings while the other side is at work anyway.
//!
//! ```text
//!   client ──▶ broker    an event descriptor, which both have; the broker only watches it
//!   broker ──▶ client    a pair of sockets; the broker has its one end, the client the other
//! ```
//! Invariant: ringing never waits for the other side, whatever it does. The broker writes to
//! no descriptor that a client has too, as whether a write waits is a property of what both
//! would share; and to no pipe, whose lock a client can hold from its own end as long as it
//! likes, by `splice` or by a page fault. It reads none of its ends: what a client sends there,
//! such as descriptors that take long to close, is refused.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType};

/// Bytes that silencing reads at a time: more rings than one are rare.
const SILENCE_BYTES: usize = 256;

/// One side of a bell, or both.
#[derive(Debug)]
pub struct Doorbell {
    fd: OwnedFd,
    /// Whether ringing is sending.
    is_socket: bool,
}

impl Doorbell {
    /// Makes a bell of which both sides have the same descriptor.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new() -> io::Result<Doorbell> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Doorbell { fd: rustix::event::eventfd(0, flags)?, is_socket: false })
    }

    /// Makes a bell of two ends: the one that rings, and the one that hears it.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn pair() -> io::Result<(Doorbell, Doorbell)> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (rings, hears) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::shutdown(&rings, Shutdown::Read)?;
        Ok((Doorbell { fd: rings, is_socket: true }, Doorbell { fd: hears, is_socket: true }))
    }

    /// Takes over a bell that the other side made.
    pub fn from_fd(fd: OwnedFd) -> Doorbell {
        Doorbell { fd, is_socket: false }
    }

    /// Rings; never waits. A bell that nobody has heard since it was rung very often stays
    /// as it is.
    #[inline]
    pub fn ring(&self) {
        // It fails if the bell is as loud as can be, or nobody is left to hear it.
        let _ = if self.is_socket {
            rustix::net::send(&self.fd, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
        } else {
            rustix::io::write(&self.fd, &1u64.to_ne_bytes())
        };
    }

    /// Silences the bell, so that waiting for it waits again. Returns whether it had been
    /// rung.
    pub fn silence(&self) -> bool {
        let mut rung = false;
        let mut bytes = [0; SILENCE_BYTES];
        // An event descriptor is silent after one read, whatever it held.
        while let Ok(count) = rustix::io::read(&self.fd, &mut bytes) {
            rung |= count > 0;
            if count < SILENCE_BYTES {
                break;
            }
        }
        rung
    }
}

impl AsFd for Doorbell {
    /// The descriptor: readable, on the side that hears, while the bell was rung and not
    /// silenced.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
