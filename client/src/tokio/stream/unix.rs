//! The connection to the broker: a local socket.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;
use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::blocking::{no_free_place, open, receive};
use crate::error::Error;
use crate::memory::Descriptors;

/// A socket takes what it has room for, whatever it is given.
pub(in crate::tokio) const MAX_WRITE_BYTES: usize = usize::MAX >> 1;

/// The first pause before connecting is tried again because too many clients wait
/// to be accepted: the system does not tell when one fewer does. ...
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// ... Each is twice as long as the one before, up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// A connected stream.
#[derive(Debug)]
pub(in crate::tokio) struct Stream(UnixStream);

impl Stream {
    /// Reads what is there, waiting for at least one byte; 0: the end. Descriptors that come
    /// with the bytes are put `beside` them, or closed. Cancel safe.
    pub(in crate::tokio) async fn read(
        &self,
        space: &mut [u8],
        mut beside: Option<&mut Descriptors>,
    ) -> io::Result<usize> {
        let read = || Ok(receive(self.0.as_fd(), space, beside.as_deref_mut())?);
        self.0.async_io(Interest::READABLE, read).await
    }

    /// Reads what is announced: it is there, also if it was not looked at.
    pub(in crate::tokio) async fn read_announced(&self, space: &mut [u8]) -> io::Result<usize> {
        match receive(self.0.as_fd(), space, None) {
            Err(Errno::AGAIN) => self.read(space, None).await,
            read => Ok(read?),
        }
    }

    /// Writes at least one byte of these. Cancel safe.
    pub(in crate::tokio) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.async_io(Interest::WRITABLE, || self.0.try_write(bytes)).await
    }

    /// Waits until the other end is gone, whatever there is to read.
    #[cfg(target_os = "linux")]
    pub(in crate::tokio) async fn gone(&self) -> io::Result<()> {
        while !self.0.ready(Interest::READABLE).await?.is_read_closed() {
            // What came is announced elsewhere, and read without looking here first.
            let nothing = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
            let _ = self.0.try_io(Interest::READABLE, nothing);
        }
        Ok(())
    }
}

/// Connects, waiting for so long while more clients wait to be accepted than the
/// system queues.
pub(in crate::tokio) async fn connect(path: &Path, timeout: Duration) -> Result<Stream, Error> {
    let start = Instant::now();
    let fail = |error: Errno| Error::connect(path, error.into());
    let address = SocketAddrUnix::new(path).map_err(fail)?;
    let fd = open().map_err(fail)?;
    rustix::io::ioctl_fionbio(&fd, true).map_err(fail)?;
    let mut pause = FIRST_PAUSE;
    loop {
        match rustix::net::connect(&fd, &address) {
            Ok(()) | Err(Errno::ISCONN) => break,
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if start.elapsed() + pause < timeout => {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(Errno::AGAIN) => return Err(no_free_place(timeout)),
            Err(error) => return Err(fail(error)),
        }
    }
    let stream = UnixStream::from_std(fd.into()).map_err(|error| Error::connect(path, error))?;
    Ok(Stream(stream))
}
