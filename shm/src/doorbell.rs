//! A bell that wakes the other process: an event descriptor.
//!
//! Whoever is about to sleep says so by a word of the control page, looks once more for
//! work, and sleeps; whoever makes work afterwards finds the word, sets it back and
//! rings. So nobody rings while the other side is at work anyway.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::EventfdFlags;

/// One bell: both sides have the descriptor.
#[derive(Debug)]
pub struct Doorbell(OwnedFd);

impl Doorbell {
    /// Makes a bell.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new() -> io::Result<Doorbell> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Doorbell(rustix::event::eventfd(0, flags)?))
    }

    /// Takes over a bell that the other side made.
    pub fn from_fd(fd: OwnedFd) -> Doorbell {
        Doorbell(fd)
    }

    /// Rings; never waits. A bell that nobody has heard since it was rung very often stays
    /// as it is.
    #[inline]
    pub fn ring(&self) {
        // It fails only if the counter is full: then it is as loud as can be.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Silences the bell, so that waiting for it waits again. Returns whether it had been
    /// rung.
    pub fn silence(&self) -> bool {
        let mut count = [0; 8];
        rustix::io::read(&self.0, &mut count).is_ok()
    }
}

impl AsFd for Doorbell {
    /// The descriptor, readable while the bell was rung and not silenced.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
