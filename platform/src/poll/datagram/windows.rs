//! Watching a socket on Windows: through a second handle of it, which `mio` owns.
//!
//! The event queue reports a state once and forgets that it was asked; `mio` asks
//! again when a receive that it was told of found nothing.

use std::io;
use std::net::UdpSocket;

use mio::{Interest, Registry, Token};
use socket2::Socket;

/// A socket of the link that is registered.
#[derive(Debug)]
pub(super) struct Watch(mio::net::UdpSocket);

impl Watch {
    /// Registers a socket.
    pub(super) fn new(socket: &Socket, registry: &Registry, token: Token) -> io::Result<Watch> {
        let socket = UdpSocket::from(socket.try_clone()?);
        socket.set_nonblocking(true)?;
        let mut socket = mio::net::UdpSocket::from_std(socket);
        registry.register(&mut socket, token, Interest::READABLE)?;
        Ok(Watch(socket))
    }

    /// Waits for something else. Also looks at the socket as it is now.
    pub(super) fn change(
        &mut self,
        registry: &Registry,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        registry.reregister(&mut self.0, token, interest)
    }

    /// Carries out a receive, by either handle. If it finds nothing the next state
    /// is asked for.
    pub(super) fn receive<T>(&self, receive: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.try_io(receive)
    }
}
