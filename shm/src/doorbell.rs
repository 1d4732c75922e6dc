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
//! Within one process, for simulations, a bell is a flag that somebody looks at.
//!
//! Invariant: ringing never waits for the other side, whatever it does. The broker writes to
//! no descriptor that a client has too, as whether a write waits is a property of what both
//! would share; and to no pipe, whose lock a client can hold from its own end as long as it
//! likes, by `splice` or by a page fault. It reads none of its ends: what a client sends there,
//! such as descriptors that take long to close, is refused.

#[cfg(target_os = "linux")]
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[cfg(target_os = "linux")]
use rustix::event::EventfdFlags;
#[cfg(target_os = "linux")]
use rustix::net::{AddressFamily, SendFlags, Shutdown, SocketFlags, SocketType};

/// Bytes that silencing reads at a time: more rings than one are rare.
#[cfg(target_os = "linux")]
const SILENCE_BYTES: usize = 256;

/// The bells of one connection.
#[derive(Debug)]
pub struct Bells {
    /// Rung by the client: bytes are in the ring, or descriptors were released.
    pub broker: Doorbell,
    /// Rung by the broker: descriptors are there.
    pub client: Doorbell,
    /// Rung by the broker: the ring has room again.
    pub room: Doorbell,
}

impl Bells {
    /// Bells that both sides have within one process.
    pub fn in_memory() -> Arc<Bells> {
        let [broker, client, room] = [(); 3].map(|()| Doorbell(Kind::Flag(AtomicBool::new(false))));
        Arc::new(Bells { broker, client, room })
    }
}

/// One side of a bell, or both.
#[derive(Debug)]
pub struct Doorbell(Kind);

/// Kind of a bell, as one side has it.
#[derive(Debug)]
enum Kind {
    /// An event descriptor, or one that is only heard.
    #[cfg(target_os = "linux")]
    Event(OwnedFd),
    /// The end of a pair of sockets: ringing is sending.
    #[cfg(target_os = "linux")]
    Socket(OwnedFd),
    /// A flag within one process.
    Flag(AtomicBool),
}

#[cfg(target_os = "linux")]
impl Doorbell {
    /// Makes a bell of which both sides have the same descriptor.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub fn new() -> io::Result<Doorbell> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Doorbell(Kind::Event(rustix::event::eventfd(0, flags)?)))
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
        Ok((Doorbell(Kind::Socket(rings)), Doorbell(Kind::Socket(hears))))
    }

    /// Takes over a bell that the other side made.
    pub fn from_fd(fd: OwnedFd) -> Doorbell {
        Doorbell(Kind::Event(fd))
    }
}

impl Doorbell {
    /// Rings; never waits. A bell that nobody has heard since it was rung very often stays
    /// as it is.
    #[inline]
    pub fn ring(&self) {
        // It fails if the bell is as loud as can be, or nobody is left to hear it.
        match &self.0 {
            #[cfg(target_os = "linux")]
            Kind::Event(fd) => {
                let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
            }
            #[cfg(target_os = "linux")]
            Kind::Socket(fd) => {
                let _ = rustix::net::send(fd, &[1], SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            }
            Kind::Flag(flag) => flag.store(true, Ordering::Release),
        }
    }

    /// Silences the bell, so that waiting for it waits again. Returns whether it had been
    /// rung.
    pub fn silence(&self) -> bool {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Kind::Event(fd) | Kind::Socket(fd) => silence(fd),
            Kind::Flag(flag) => flag.swap(false, Ordering::AcqRel),
        }
    }

    /// Whether a bell within one process was rung and not silenced.
    ///
    /// # Panics
    /// If it has a descriptor, which is to be polled.
    pub fn is_rung(&self) -> bool {
        match &self.0 {
            Kind::Flag(flag) => flag.load(Ordering::Acquire),
            #[cfg(target_os = "linux")]
            _ => panic!("it has a descriptor"),
        }
    }
}

#[cfg(target_os = "linux")]
fn silence(fd: &OwnedFd) -> bool {
    let mut rung = false;
    let mut bytes = [0; SILENCE_BYTES];
    // An event descriptor is silent after one read, whatever it held.
    while let Ok(count) = rustix::io::read(fd, &mut bytes) {
        rung |= count > 0;
        if count < SILENCE_BYTES {
            break;
        }
    }
    rung
}

#[cfg(target_os = "linux")]
impl AsFd for Doorbell {
    /// The descriptor: readable, on the side that hears, while the bell was rung and not
    /// silenced.
    ///
    /// # Panics
    /// If it is a bell within one process: a programmer's error.
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Event(fd) | Kind::Socket(fd) => fd.as_fd(),
            Kind::Flag(_) => panic!("a bell within one process has no descriptor"),
        }
    }
}
