//! The connection to the broker on Unix: a local socket.

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::Duration;

use interprocess::local_socket::traits::Stream as _;
use interprocess::local_socket::{GenericFilePath, Stream, ToFsName};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, sockopt};

use crate::error::Error;

/// What the kernel holds of written bytes: more than its default pays off for
/// large events.
pub(crate) const SEND_BUFFER_BYTES: usize = 512 << 10;

/// To write to a broker that is gone is to be an error, no signal.
#[cfg(not(target_vendor = "apple"))]
const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL;

/// Apple's systems have no such flag; programs of Rust begin without that signal.
#[cfg(target_vendor = "apple")]
const SEND_FLAGS: SendFlags = SendFlags::empty();

/// A connected stream. All methods take `&self`: one thread reads while others
/// write.
#[derive(Debug)]
pub(crate) struct Socket(Stream);

impl Socket {
    /// Connects. That does not wait: a full backlog is an error.
    pub(crate) fn connect(path: &Path, _: Duration) -> Result<Socket, Error> {
        let fail = |error: io::Error| Error::from_connect(path, &error);
        let name = path.to_fs_name::<GenericFilePath>().map_err(fail)?;
        let socket = Socket(Stream::connect(name).map_err(fail)?);
        // Worth a try only: the limit is the system's.
        let _ = sockopt::set_socket_send_buffer_size(socket.fd(), SEND_BUFFER_BYTES);
        Ok(socket)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Stream::UdSocket(stream) => stream.as_fd(),
        }
    }

    /// Reads what is there, waiting for at least one byte; 0: the end.
    pub(crate) fn read(&self, space: &mut [u8]) -> io::Result<usize> {
        let (_, bytes) =
            retry_on_intr(|| rustix::net::recv(self.fd(), &mut *space, RecvFlags::empty()))?;
        Ok(bytes)
    }

    /// Bounds how long [`Socket::read`] waits.
    pub(crate) fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        Ok(sockopt::set_socket_timeout(self.fd(), sockopt::Timeout::Recv, timeout)?)
    }

    /// Writes at least one byte of these, waiting for room if `wait`; 0: no room.
    pub(crate) fn write(&self, parts: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
        let mut flags = SEND_FLAGS;
        if !wait {
            flags |= SendFlags::DONTWAIT;
        }
        let sent = retry_on_intr(|| {
            rustix::net::sendmsg(self.fd(), parts, &mut SendAncillaryBuffer::default(), flags)
        });
        match sent {
            Err(Errno::AGAIN) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Whether something may be left to do after a write that did not wait.
    pub(crate) const WRITES_BEHIND: bool = false;

    /// Waits until it is done.
    pub(crate) fn settle(&self, _: Duration) -> io::Result<bool> {
        Ok(true)
    }

    /// Ends both directions: whoever reads or writes stops.
    pub(crate) fn shut_down(&self) {
        // Fails only if it is over already.
        let _ = rustix::net::shutdown(self.fd(), Shutdown::Both);
    }
}
