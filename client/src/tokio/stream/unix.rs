//! Connecting to a local socket.

use std::path::Path;
use std::time::{Duration, Instant};

use interprocess::local_socket::tokio::Stream;
use interprocess::os::unix::uds_local_socket::tokio::Stream as UnixStream;
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::blocking::{no_free_place, open};
use crate::error::Error;

/// A socket takes what it has room for, whatever it is given.
pub(in crate::tokio) const MAX_WRITE_BYTES: usize = usize::MAX >> 1;

/// The first pause before connecting is tried again because too many clients wait
/// to be accepted: the system does not tell when one fewer does. ...
const FIRST_PAUSE: Duration = Duration::from_millis(1);
/// ... Each is twice as long as the one before, up to this.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

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
    let stream = UnixStream::try_from(fd).map_err(|error| Error::connect(path, error))?;
    Ok(Stream::UdSocket(stream))
}
