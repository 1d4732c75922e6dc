//! Watching a socket on Unix: by its descriptor.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use socket2::Socket;

/// A socket of the link that is registered. Closing the socket ends it, too.
#[derive(Debug)]
pub(super) struct Watch(RawFd);

impl Watch {
    /// Registers a socket, which outlives this.
    pub(super) fn new(socket: &Socket, registry: &Registry, token: Token) -> io::Result<Watch> {
        let fd = socket.as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        Ok(Watch(fd))
    }

    /// Waits for something else. Also looks at the socket as it is now.
    pub(super) fn change(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        registry.reregister(&mut SourceFd(&self.0), token, interest)
    }

    /// Carries out a receive. The next edge comes by itself.
    pub(super) fn receive<T>(&self, receive: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        receive()
    }
}
