//! A bell that wakes the other process: a descriptor that becomes readable.
//!
//! Whoever is about to sleep says so by a word of the control page, looks once more for
//! work, and sleeps; whoever makes work afterwards finds the word, sets it back and
//! rings. So nobody rings while the other side is at work anyway.
//!
//! ```text
//!   client ──▶ broker    an event descriptor, which both have; the broker only watches it
//!   broker ──▶ client    a pipe; the broker has its one end, the client the other one
//! ```
//! Invariant: the broker writes to no descriptor that a client has too. Whether a write
//! waits is a property of what both would share: a client could have the broker wait for
//! ever.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;
use rustix::pipe::PipeFlags;

/// Bytes that silencing reads at a time: more rings than one are rare.
const SILENCE_BYTES: usize = 256;

/// One side of a bell, or both.
#[derive(Debug)]
pub struct Doorbell(OwnedFd);

impl Doorbell {
    /// Makes a bell of which both sides have the same descriptor.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new() -> io::Result<Doorbell> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Doorbell(rustix::event::eventfd(0, flags)?))
    }

    /// Makes a bell of two ends: the one that rings, and the one that hears it.
    ///
    /// # Errors
    /// There is no descriptor left, or the user has too many pipes.
    pub fn pair() -> io::Result<(Doorbell, Doorbell)> {
        let (hears, rings) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // The smallest: a user's pipes are counted by their size. It works with any.
        let _ = rustix::pipe::fcntl_setpipe_size(&rings, 4096);
        Ok((Doorbell(rings), Doorbell(hears)))
    }

    /// Takes over a bell that the other side made.
    pub fn from_fd(fd: OwnedFd) -> Doorbell {
        Doorbell(fd)
    }

    /// Rings; never waits. A bell that nobody has heard since it was rung very often stays
    /// as it is.
    #[inline]
    pub fn ring(&self) {
        // It fails if the bell is as loud as can be, or nobody is left to hear it.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Silences the bell, so that waiting for it waits again. Returns whether it had been
    /// rung.
    pub fn silence(&self) -> bool {
        let mut rung = false;
        let mut bytes = [0; SILENCE_BYTES];
        // An event descriptor is silent after one read, whatever it held.
        while let Ok(count) = rustix::io::read(&self.0, &mut bytes) {
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
        self.0.as_fd()
    }
}
