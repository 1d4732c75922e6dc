//! Named pipes.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use netcluster_platform::pipe::Pipe;

pub struct Stream {
    pipe: Arc<Pipe>,
    patience: Duration,
}

impl Stream {
    /// Connects. Reads wait so long at the most.
    pub fn connect(path: &Path, patience: Duration) -> io::Result<Stream> {
        Ok(Stream { pipe: Arc::new(Pipe::connect(path, patience)?), patience })
    }

    pub fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        self.pipe.read(room, Some(self.patience))
    }

    pub fn write_all(&self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.pipe.write(&[IoSlice::new(rest)], true)?..];
        }
        Ok(())
    }

    /// Writes as many bytes as there is room for now.
    pub fn write_some(&self, bytes: &[u8]) -> io::Result<usize> {
        self.pipe.write(&[IoSlice::new(bytes)], false)
    }

    /// Makes another handle of the stream.
    pub fn another(&self) -> io::Result<Stream> {
        Ok(Stream { pipe: Arc::clone(&self.pipe), patience: self.patience })
    }

    /// Does nothing: a pipe cannot be ended in one direction.
    pub fn shut_write(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
