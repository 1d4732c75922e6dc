//! Local sockets.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

pub struct Stream(UnixStream);

impl Stream {
    /// Connects. Reads and writes wait so long at the most.
    pub fn connect(path: &Path, patience: Duration) -> io::Result<Stream> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Stream(stream))
    }

    pub fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        (&self.0).read(room)
    }

    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        (&self.0).write_all(bytes)
    }

    /// Writes as many bytes as there is room for now.
    pub fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.set_nonblocking(true)?;
        let written = (&self.0).write(bytes);
        self.0.set_nonblocking(false)?;
        written
    }

    /// Makes another handle of the stream.
    pub fn another(&self) -> io::Result<Stream> {
        self.0.try_clone().map(Stream)
    }

    /// Ends the direction of writing.
    pub fn shut_write(&self) -> io::Result<()> {
        self.0.shutdown(Shutdown::Write)
    }
}
