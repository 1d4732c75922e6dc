//! The connection to the broker: a named pipe.

use std::io;
use std::path::Path;
use std::time::Duration;

use interprocess::local_socket::tokio::Stream as AnyStream;
use interprocess::os::windows::named_pipe::local_socket::tokio::Stream as PipeStream;
use netcluster_platform::pipe::{open, pipe_name};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::error::Error;
use crate::memory::Descriptors;

/// A pipe takes whatever it is given to a buffer of its own and says that it is
/// written: what may be lost with the connection without being known is bounded, as
/// it is by a socket's buffer.
pub(in crate::tokio) const MAX_WRITE_BYTES: usize = 64 << 10;

/// A connected stream.
#[derive(Debug)]
pub(in crate::tokio) struct Stream(AnyStream);

impl Stream {
    /// Reads what is there, waiting for at least one byte; 0: the end. Cancel safe.
    pub(in crate::tokio) async fn read(
        &self,
        space: &mut [u8],
        _: Option<&mut Descriptors>,
    ) -> io::Result<usize> {
        (&self.0).read(space).await
    }

    /// Reads what is announced: here nothing is.
    pub(in crate::tokio) async fn read_announced(&self, space: &mut [u8]) -> io::Result<usize> {
        self.read(space, None).await
    }

    /// Writes at least one byte of these. Cancel safe.
    pub(in crate::tokio) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        (&self.0).write(bytes).await
    }
}

/// Connects, waiting for a free instance of the pipe for so long: on a thread for
/// what blocks, if there is none at once.
pub(in crate::tokio) async fn connect(path: &Path, timeout: Duration) -> Result<Stream, Error> {
    let fail = |error: io::Error| match error.kind() {
        io::ErrorKind::TimedOut => Error::Timeout { waiting_for: "free place", after: timeout },
        _ => Error::connect(path, error),
    };
    let name = pipe_name(path).map_err(fail)?;
    let handle = match open(&name, Duration::ZERO) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            tokio::task::spawn_blocking(move || open(&name, timeout))
                .await
                .map_err(|error| fail(io::Error::other(error)))?
        }
        outcome => outcome,
    };
    let pipe = PipeStream::try_from(handle.map_err(fail)?);
    pipe.map(|pipe| Stream(AnyStream::from(pipe)))
        .map_err(|error| fail(io::Error::other(error.to_string())))
}
