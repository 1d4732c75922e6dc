//! A socket file that is there as long as its broker: whatever removes it (a cleaner of
//! temporary files, an administrator's mistake) leaves a broker that nobody finds.
//!
//! Invariant: only a file that is gone is made again, and only under the lock. Whatever
//! else has taken its place stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::io::Errno;

use super::{BindError, BindOptions, LocalListener, lock, lock_path, path};

/// See the module.
#[derive(Debug)]
pub struct SocketKeeper {
    path: PathBuf,
    options: BindOptions,
    identity: (u64, u64),
    lock: Arc<OwnedFd>,
}

impl SocketKeeper {
    pub(super) fn new(listener: &LocalListener, options: &BindOptions) -> SocketKeeper {
        SocketKeeper {
            path: listener.path.clone(),
            options: options.clone(),
            identity: listener.identity,
            lock: Arc::clone(&listener.lock),
        }
    }

    /// Looks for the file. If it is gone, makes it again: the listener to accept on from
    /// now on.
    ///
    /// # Errors
    /// Why it cannot be made again, or what has taken its place.
    pub fn check(&mut self) -> Result<Option<LocalListener>, BindError> {
        match path::identity(&self.path) {
            Ok(identity) if identity == self.identity => Ok(None),
            Ok(_) => Err(BindError::Replaced { path: self.path.clone() }),
            Err(Errno::NOENT | Errno::NOTDIR) => self.renew().map(Some),
            Err(error) => Err(BindError::system("look at the socket", error)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn renew(&mut self) -> Result<LocalListener, BindError> {
        path::ensure_parent(&self.path, self.options.create_parent)?;
        if !self.is_locked() {
            // The lock file went as well: another broker may have made a new one.
            self.lock = Arc::new(lock(&self.path)?);
        }
        let listener = LocalListener::make(&self.path, &self.options, Arc::clone(&self.lock))?;
        self.identity = listener.identity;
        Ok(listener)
    }

    /// Whether the lock that is held is the file that others would try to lock.
    fn is_locked(&self) -> bool {
        let held = path::open_identity(&self.lock);
        held.is_ok() && path::identity(Path::new(&lock_path(&self.path))) == held
    }
}
