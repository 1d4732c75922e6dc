//! The connection to the broker on Unix: a local socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketType,
    sockopt,
};

use crate::error::Error;
use crate::memory::{Descriptors, Incoming, Ring};

/// Bytes that the kernel holds of what was written: more than its default pays off for
/// large events.
pub(crate) const SEND_BUFFER_BYTES: usize = 512 << 10;

/// The shortest wait that is asked of the system, which takes zero for ever.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// To write to a broker that is gone is to be an error, no signal.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;

/// Apple's systems have no such flag; programs of Rust begin without that signal.
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();

/// A connected stream. All methods take `&self`: one thread reads while others
/// write.
///
/// It belongs to the process that connected: a child that was forked has the same
/// descriptor, and neither writes to it nor ends it.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    process: u32,
    /// The last read found less than it had room for.
    drained: AtomicBool,
}

impl Socket {
    /// Connects, waiting for so long while more clients wait to be accepted than
    /// the system queues.
    pub(crate) fn connect(path: &Path, timeout: Duration) -> Result<Socket, Error> {
        let deadline = Instant::now() + timeout;
        let fail = |error: Errno| Error::connect(path, error.into());
        let address = SocketAddrUnix::new(path).map_err(fail)?;
        let fd = open().map_err(fail)?;
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(MIN_WAIT);
            sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, Some(left)).map_err(fail)?;
            match rustix::net::connect(&fd, &address) {
                Ok(()) | Err(Errno::ISCONN) => break,
                Err(Errno::INTR) if Instant::now() < deadline => {}
                Err(Errno::AGAIN | Errno::INTR) => return Err(no_free_place(timeout)),
                Err(error) => return Err(fail(error)),
            }
        }
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Send, None).map_err(fail)?;
        // Worth a try only: the limit is the system's.
        let _ = sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER_BYTES);
        Ok(Socket::new(fd, std::process::id()))
    }

    /// Whether another process connected, of which this one was forked.
    pub(crate) fn is_foreign(&self) -> bool {
        self.process != std::process::id()
    }

    fn new(fd: OwnedFd, process: u32) -> Socket {
        Socket { fd, process, drained: AtomicBool::new(true) }
    }

    /// Reads what is there, waiting for at least one byte; 0: the end. Descriptors that come
    /// with the bytes are put `beside` them, or closed.
    ///
    /// Waits by `poll`: who waits in `recv` is woken whenever the broker has read
    /// something, too, to no purpose.
    ///
    /// # Errors
    /// `TimedOut` if nothing came by `deadline`.
    pub(crate) fn read(
        &self,
        space: &mut [u8],
        deadline: Option<Instant>,
        beside: Option<&mut Descriptors>,
    ) -> io::Result<usize> {
        let mut beside = beside;
        let mut wait = self.drained.load(Ordering::Relaxed);
        loop {
            if wait {
                self.wait_until_readable(deadline)?;
            }
            match receive(self.fd.as_fd(), space, beside.as_deref_mut()) {
                Ok(bytes) => {
                    self.drained.store(bytes < space.len(), Ordering::Relaxed);
                    return Ok(bytes);
                }
                Err(Errno::AGAIN) => wait = true,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn wait_until_readable(&self, deadline: Option<Instant>) -> io::Result<()> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // One that is too long for the system is none.
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut [PollFd::new(&self.fd, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(_) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes at least one byte of these, waiting for room if `wait`; 0: no room.
    pub(crate) fn write(&self, parts: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
        if self.is_foreign() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let mut flags = SEND_FLAGS;
        if !wait {
            flags |= SendFlags::DONTWAIT;
        }
        let sent = retry_on_intr(|| {
            rustix::net::sendmsg(&self.fd, parts, &mut SendAncillaryBuffer::default(), flags)
        });
        match sent {
            Err(Errno::AGAIN) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Waits until something is in the broker's memory, at first by looking for it, so
    /// long; whether the connection is gone.
    pub(crate) fn wait(&self, incoming: &mut Incoming, spin: Duration) -> io::Result<bool> {
        incoming.wait(self.as_fd(), spin)
    }

    /// Waits until a ring has room for so many bytes.
    ///
    /// # Errors
    /// The connection is gone.
    pub(crate) fn wait_for_room(&self, ring: &mut Ring, bytes: usize) -> io::Result<()> {
        ring.wait_for_room(bytes, self.as_fd())
    }

    /// Whether something may be left to do after a write that did not wait.
    pub(crate) const WRITES_BEHIND: bool = false;

    /// Waits until it is done.
    pub(crate) fn settle(&self, _: Duration) -> io::Result<bool> {
        Ok(true)
    }

    /// Ends both directions: whoever reads or writes stops.
    pub(crate) fn shut_down(&self) {
        if !self.is_foreign() {
            // Fails only if it is over already.
            let _ = rustix::net::shutdown(&self.fd, Shutdown::Both);
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Receives what is there without waiting.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    space: &mut [u8],
    beside: Option<&mut Descriptors>,
) -> Result<usize, Errno> {
    #[cfg(target_os = "linux")]
    if let Some(descriptors) = beside {
        return crate::memory::receive(socket, space, descriptors);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = beside;
    let flags = RecvFlags::DONTWAIT;
    retry_on_intr(|| rustix::net::recv(socket, &mut *space, flags)).map(|(_, bytes)| bytes)
}

/// The error of a connection that waited in vain to be queued for the broker.
pub(crate) fn no_free_place(after: Duration) -> Error {
    Error::Timeout { waiting_for: "free place", after }
}

/// A local stream socket that child processes do not inherit.
#[cfg(not(target_vendor = "apple"))]
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    let flags = rustix::net::SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
}

/// A local stream socket that child processes do not inherit.
#[cfg(target_vendor = "apple")]
pub(crate) fn open() -> Result<OwnedFd, Errno> {
    let fd = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use netcluster_wire::{Encoding, Source};

    use super::*;
    use crate::blocking::outbox::Outbox;
    use crate::core::Port;

    /// A socket as the child of the process that connected has it, and its other end.
    fn inherited() -> (Socket, UnixStream) {
        let (here, there) = UnixStream::pair().unwrap();
        (Socket::new(here.into(), std::process::id() + 1), there)
    }

    #[test]
    fn a_forked_child_neither_writes_to_its_parents_connection_nor_ends_it() {
        let (socket, mut there) = inherited();
        assert!(socket.write(&[IoSlice::new(b"x")], true).is_err());
        socket.shut_down();
        let other_owner = socket.fd.try_clone().unwrap();
        rustix::io::write(&other_owner, b"parent").unwrap();
        let mut heard = [0; 6];
        there.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"parent");
    }

    #[test]
    fn what_a_forked_child_emits_is_refused() {
        let (socket, _there) = inherited();
        let outbox = Outbox::new(1 << 20, Duration::from_secs(5));
        outbox.attach(&Arc::new(socket));
        outbox.with(|outgoing| outgoing.open(Source { node: 1, client: 1 }, 1 << 20));
        assert!(matches!(outbox.emit("a", Encoding::Bytes, b"x"), Err(Error::Forked)));
        assert!(matches!(outbox.emit("a", Encoding::Bytes, b"x"), Err(Error::Forked)));
        assert!(matches!(outbox.flush(None), Err(Error::Forked)));
    }
}
