//! Address at which a peer listens, and a blocking stream to it.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::net::sockopt::set_socket_send_buffer_size;
use rustix::net::{RecvFlags, recv};
use serde::{Deserialize, Serialize};

use crate::domain::Domain;

/// Send buffer of a socket, in bytes: as our client sets it, so that both are as good as
/// sockets get. TCP sizes its buffers by itself, and better.
const SEND_BUFFER_BYTES: usize = 512 * 1024;

/// Address on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port of the loopback interface.
    Tcp(u16),
    /// A domain of shared memory, which is nothing to connect to.
    Domain(Domain),
}

/// A connected stream.
#[derive(Debug)]
pub enum Stream {
    /// Stream over a unix socket.
    Unix(UnixStream),
    /// Stream over TCP without delay.
    Tcp(TcpStream),
}

impl Address {
    /// Connects to the address.
    pub fn connect(&self) -> Result<Stream> {
        Ok(match self {
            Address::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES)?;
                Stream::Unix(stream)
            }
            Address::Tcp(port) => {
                let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                stream.set_nodelay(true)?;
                Stream::Tcp(stream)
            }
            Address::Domain(_) => {
                return Err(Error::new(ErrorKind::Unsupported, "shared memory has no stream"));
            }
        })
    }
}

impl Stream {
    /// Sets how long a read waits at most.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_read_timeout(timeout),
            Stream::Tcp(stream) => stream.set_read_timeout(timeout),
        }
    }

    /// Sets whether calls return at once.
    pub fn set_nonblocking(&self, nonblocking: bool) -> Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_nonblocking(nonblocking),
            Stream::Tcp(stream) => stream.set_nonblocking(nonblocking),
        }
    }

    /// Sets how long a write waits at most.
    pub fn set_write_timeout(&self, timeout: Option<Duration>) -> Result<()> {
        match self {
            Stream::Unix(stream) => stream.set_write_timeout(timeout),
            Stream::Tcp(stream) => stream.set_write_timeout(timeout),
        }
    }
}

impl Stream {
    /// Reads the bytes that are there; `None` if there are none.
    pub fn read_waiting(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        let read = match self {
            Stream::Unix(stream) => recv(stream, buffer, RecvFlags::DONTWAIT),
            Stream::Tcp(stream) => recv(stream, buffer, RecvFlags::DONTWAIT),
        };
        match read {
            Ok((read, _)) => Ok(Some(read)),
            Err(error) if ErrorKind::WouldBlock == error.kind() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        match self {
            Stream::Unix(stream) => stream.read(buffer),
            Stream::Tcp(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        match self {
            Stream::Unix(stream) => stream.write(bytes),
            Stream::Tcp(stream) => stream.write(bytes),
        }
    }

    /// Does nothing: no byte is held back.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
