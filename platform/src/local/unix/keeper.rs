//! A socket file that is there as long as its broker: whatever removes it (a cleaner of
//! temporary files, an administrator's mistake) leaves a broker that nobody finds.
//!
//! Invariant: only a file that is gone is made again, and only under the lock. Whatever
//! else has taken its place stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::OwnedFd;

use super::place::{Identity, Place};
use super::{BindError, BindOptions, LocalListener, path};

/// Keeper of a socket's file: the module says how.
#[derive(Debug)]
pub struct SocketKeeper {
    path: PathBuf,
    options: BindOptions,
    identity: Identity,
    pub(super) lock: Arc<OwnedFd>,
}

impl SocketKeeper {
    pub(super) fn new(
        listener: &LocalListener,
        options: &BindOptions,
        identity: Identity,
    ) -> SocketKeeper {
        SocketKeeper {
            path: listener.path().to_owned(),
            options: options.clone(),
            identity,
            lock: Arc::clone(&listener.lock),
        }
    }

    /// Looks for the file. If it is gone, makes it again: the listener to accept on from
    /// now on.
    ///
    /// # Errors
    /// Why it cannot be made again, or what has taken its place.
    pub fn check(&mut self) -> Result<Option<LocalListener>, BindError> {
        match Place::open(&self.path).and_then(|place| place.identity()) {
            Ok(Some(identity)) if identity == self.identity => Ok(None),
            Ok(Some(_)) => Err(BindError::Replaced { path: self.path.clone() }),
            Ok(None) | Err(BindError::MissingDirectory { .. }) => self.renew().map(Some),
            Err(error) => Err(error),
        }
    }

    /// Path of the socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn renew(&mut self) -> Result<LocalListener, BindError> {
        path::ensure_parent(&self.path, self.options.create_parent)?;
        let place = Place::open(&self.path)?;
        if !place.is_locked_by(&self.lock) {
            // The lock file went as well: another broker may have made a new one.
            self.lock = Arc::new(place.lock()?);
        }
        let listener = LocalListener::make(place, &self.options, Arc::clone(&self.lock))?;
        self.identity = listener.socket.identity.unwrap_or(self.identity);
        Ok(listener)
    }
}
