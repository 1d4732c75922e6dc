//! A listening socket and its file.
//!
//! Invariant: only the file that was made here is ever removed.

use std::os::fd::OwnedFd;

use rustix::fs::Mode;
use rustix::io::Errno;

use super::place::{Identity, Place};
use super::{BindError, BindOptions, path, refuse_descriptors, stream_socket, users};

/// Number of clients that may wait to be accepted; the system caps it at `somaxconn`.
const BACKLOG: i32 = 4096;

/// A listening socket with a file. Dropping it removes the file.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) fd: OwnedFd,
    pub(super) place: Place,
    /// Identity of the file, to remove only our own; `None`: somebody else made it.
    pub(super) identity: Option<Identity>,
}

impl Bound {
    /// Makes the socket at a place where none is.
    pub(super) fn make(place: Place, options: &BindOptions) -> Result<Bound, BindError> {
        let path = place.path();
        let address = path::address(path)?;
        let group = options.group.as_ref().map(users::group_id).transpose()?;
        let fd = stream_socket().map_err(|error| BindError::system("create a socket", error))?;
        // The file gets these permissions, or less by the process's mask: there is no
        // moment at which it is open to more. Some systems do not know that.
        let mode = Mode::from_raw_mode(options.mode as _);
        let _ = rustix::fs::fchmod(&fd, mode);
        rustix::net::bind(&fd, &address).map_err(|error| match error {
            Errno::ACCESS | Errno::PERM | Errno::ROFS => BindError::permission(path),
            error => BindError::system("bind the socket", error),
        })?;
        let socket = place.own_socket()?;
        let identity = Some(socket.identity());
        // From here on dropping it cleans up.
        let bound = Bound { fd, place, identity };
        refuse_descriptors(&bound.fd);
        // Nobody can connect before `listen`.
        bound.place.adjust(&socket, options.mode, group)?;
        rustix::net::listen(&bound.fd, BACKLOG)
            .map_err(|error| BindError::system("listen on the socket", error))?;
        Ok(bound)
    }

    /// Removes the file if it is still the one that was made here.
    pub(super) fn unlink(&self) {
        if let Some(identity) = self.identity {
            self.place.remove_own(identity);
        }
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.unlink();
    }
}
