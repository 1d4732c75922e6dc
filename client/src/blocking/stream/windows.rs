//! The connection to the broker on Windows: a named pipe.
//!
//! It is `netcluster-platform`'s and not `interprocess`'s, whose reads nobody can
//! bound or end and whose writes always wait.

use std::io::{self, IoSlice};
use std::path::Path;
use std::time::{Duration, Instant};

use netcluster_platform::pipe::{Pipe, pipe_name};

use crate::error::Error;
use crate::memory::{Descriptors, Incoming, Ring};

/// The shortest wait that is asked of the system.
const MIN_WAIT: Duration = Duration::from_millis(1);

/// A connected stream. All methods take `&self`: one thread reads while others
/// write.
#[derive(Debug)]
pub(crate) struct Socket {
    pipe: Pipe,
}

impl Socket {
    /// Connects, waiting for a free instance of the pipe for so long.
    pub(crate) fn connect(path: &Path, timeout: Duration) -> Result<Socket, Error> {
        let connected = pipe_name(path).and_then(|name| Pipe::connect(&name, timeout));
        let pipe = connected.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut => Error::Timeout { waiting_for: "free place", after: timeout },
            _ => Error::connect(path, error),
        })?;
        Ok(Socket { pipe })
    }

    /// Processes of Windows are not forked.
    pub(crate) fn is_foreign(&self) -> bool {
        false
    }

    /// Reads what is there, waiting for at least one byte; 0: the end.
    ///
    /// # Errors
    /// `TimedOut` if nothing came by `deadline`.
    pub(crate) fn read(
        &self,
        space: &mut [u8],
        deadline: Option<Instant>,
        _: Option<&mut Descriptors>,
    ) -> io::Result<usize> {
        let timeout = deadline
            .map(|deadline| deadline.saturating_duration_since(Instant::now()).max(MIN_WAIT));
        self.pipe.read(space, timeout)
    }

    /// Writes at least one byte of these, waiting for room if `wait`; 0: no room.
    pub(crate) fn write(&self, parts: &[IoSlice<'_>], wait: bool) -> io::Result<usize> {
        self.pipe.write(parts, wait)
    }

    /// Pipes have no memory beside them.
    pub(crate) fn wait(&self, incoming: &mut Incoming, _: Duration) -> io::Result<bool> {
        match *incoming {}
    }

    /// Pipes have no memory beside them.
    pub(crate) fn wait_for_room(&self, ring: &mut Ring, _: usize) -> io::Result<()> {
        match *ring {}
    }

    /// Whether something may be left to do after a write that did not wait: the
    /// system forgets that if this process ends.
    pub(crate) const WRITES_BEHIND: bool = true;

    /// Waits until it is done; whether it is.
    pub(crate) fn settle(&self, timeout: Duration) -> io::Result<bool> {
        self.pipe.settle(timeout)
    }

    /// Ends both directions: whoever reads or writes stops.
    pub(crate) fn shut_down(&self) {
        self.pipe.shut_down();
    }
}
