//! Where the broker listens unless somebody says otherwise, and whether what is
//! there can be ours.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::path::{Path, PathBuf};

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use system::{ACCESS_ADVICE, check_directory};

/// The default socket: `/run/netcluster/default.sock` for root, else
/// `$XDG_RUNTIME_DIR/netcluster/default.sock`, else
/// `/tmp/netcluster-<uid>/default.sock`; on Windows the pipe
/// `\\.\pipe\netcluster-default`. Broker and clients use the same.
pub fn default_socket_path() -> PathBuf {
    system::default_socket_path()
}

/// The one way to write a path: it means the same wherever the process goes.
pub(crate) fn place(path: &Path) -> PathBuf {
    system::place(path)
}

/// Whether this place is the default socket.
pub(crate) fn is_default(place: &Path) -> bool {
    place == default_socket_path()
}
