//! A broker in the place of another, without a moment at which nobody listens.
//!
//! ```text
//!   successor                              predecessor, which holds the lock
//!     listens at .PID.new, beside
//!     ── asks it to be succeeded ────────▶  SocketKeeper::hand_over
//!                                             .PID.new becomes the socket: from here on
//!                                             clients queue at the successor
//!                                           ends, leaves its note, lets the lock go
//!     own: has the lock, serves
//! ```
//! The lock says who owns the path, and the kernel lets it go with its holder: so a
//! predecessor that is killed at any moment is succeeded all the same, and of one that
//! goes on the successor has taken nothing.
//!
//! Invariant: the name changes in one step, under the lock.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;

use super::bound::Bound;
use super::place::Place;
use super::{BindError, BindOptions, LocalListener, SocketKeeper, path};

/// Time between two looks whether the lock is free: what clients wait on the average twice.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// A socket that listens beside that of a broker whose place it is to take. Nobody is
/// accepted yet. Dropping it removes its file.
#[derive(Debug)]
pub struct HeirListener {
    socket: Bound,
    target: Place,
}

impl HeirListener {
    /// Listens beside `path`, where another broker does.
    ///
    /// # Errors
    /// As for [`LocalListener::bind`].
    pub fn bind(path: &Path, options: &BindOptions) -> Result<HeirListener, BindError> {
        path::address(path)?;
        let target = Place::open(path)?;
        target.is_occupied()?;
        let beside = path.with_file_name(heir_name(std::process::id()));
        let place = Place::open(&beside)?;
        // One that a process of this number left as it was killed.
        let address = path::address(&beside)?;
        path::remove_stale(&place, &address)?;
        Ok(HeirListener { socket: Bound::make(place, options)?, target })
    }

    /// Name of its file, in the directory of the other broker's socket.
    pub fn name(&self) -> &OsStr {
        self.socket.place.name()
    }

    /// Waits, so long, until the other broker has left the path or is gone, and takes it.
    ///
    /// # Errors
    /// It does not leave, or something else has taken its place.
    pub fn own(self, within: Duration) -> Result<LocalListener, BindError> {
        let HeirListener { mut socket, target } = self;
        let start = Instant::now();
        let lock = loop {
            if let Some(lock) = target.try_lock()? {
                break lock;
            }
            if start.elapsed() >= within {
                let pid = super::listening_pid(target.path());
                return Err(BindError::InUse { path: target.path().to_owned(), pid });
            }
            std::thread::sleep(LOOK_AGAIN);
        };
        if target.identity()? != socket.identity {
            // It was killed before it gave its name away.
            let address = path::address(target.path())?;
            path::remove_stale(&target, &address)?;
            socket.place.rename(target.name())?;
        }
        socket.place = target;
        Ok(LocalListener { socket, lock: Arc::new(lock) })
    }
}

impl SocketKeeper {
    /// Gives the socket's name to the socket of a successor, a file beside it. Clients
    /// connect there from now on, and this keeper has nothing more to keep.
    ///
    /// # Errors
    /// Nothing has changed: nobody listens there, or somebody who may not.
    pub fn hand_over(&mut self, heir: &OsStr) -> Result<(), BindError> {
        let place = Place::open(self.path())?;
        if !place.is_locked_by(&self.lock) {
            return Err(BindError::Replaced { path: self.path().to_owned() });
        }
        let beside = self.path().with_file_name(heir);
        // Before anything is looked at: no other file is meant.
        if !is_heir_name(heir) {
            return Err(BindError::NotASocket { path: beside });
        }
        let from = Place::open(&beside)?;
        from.own_socket()?;
        if super::listening_pid(&beside).is_none() {
            return Err(BindError::NotASocket { path: beside });
        }
        from.rename(place.name())
    }
}

impl super::Note {
    /// Leaves this, and lets the path's lock go: whoever waits for it goes on.
    ///
    /// # Errors
    /// What the system says.
    pub fn leave(&self, note: &[u8]) -> std::io::Result<()> {
        let written = self.write(note);
        unlock(self.descriptor())?;
        written
    }
}

/// Lets a lock go, for all descriptors of it.
fn unlock(lock: &OwnedFd) -> std::io::Result<()> {
    Ok(rustix::fs::flock(lock, rustix::fs::FlockOperation::Unlock)?)
}

fn heir_name(pid: u32) -> OsString {
    format!(".{pid}.new").into()
}

/// Whether a file has a name as [`heir_name`] makes it: no other file is renamed.
fn is_heir_name(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(".new"));
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}
