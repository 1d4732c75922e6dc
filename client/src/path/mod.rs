//! Sockets where the broker listens unless somebody says otherwise, and whether what is
//! there can be ours.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

pub(crate) use system::ACCESS_ADVICE;

use crate::error::Error;

/// The environment variable that names the broker's socket, for brokers and clients.
pub const SOCKET_VARIABLE: &str = "NETCLUSTER_SOCKET";

/// Where a broker of this user listens unless it is told otherwise: at the path in
/// `NETCLUSTER_SOCKET`; else at `/run/netcluster/default.sock` for root, else
/// `$XDG_RUNTIME_DIR/netcluster/default.sock`, else
/// `/tmp/netcluster-<uid>/default.sock`; on Windows at the pipe
/// `\\.\pipe\netcluster-default`.
///
/// ```
/// println!("{}", netcluster_client::default_socket_path().display());
/// ```
#[must_use]
pub fn default_socket_path() -> PathBuf {
    named().unwrap_or_else(system::own_socket_path)
}

/// Where clients look for the machine's broker, in this order: the path in
/// `NETCLUSTER_SOCKET` and no other; else the user's own socket, then the system's,
/// `/run/netcluster/default.sock`.
///
/// ```
/// let own = netcluster_client::default_socket_path();
/// assert_eq!(netcluster_client::default_socket_paths()[0], own);
/// ```
#[must_use]
pub fn default_socket_paths() -> Vec<PathBuf> {
    if let Some(path) = named() {
        return vec![path];
    }
    let mut paths = vec![system::own_socket_path(), system::system_socket_path()];
    paths.dedup();
    paths
}

/// The socket that the environment names. An empty name is none.
fn named() -> Option<PathBuf> {
    std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// The one way to write a path: it means the same wherever the process goes.
pub(crate) fn place(path: &Path) -> PathBuf {
    system::place(path)
}

/// Whether there can be a socket at this place at all.
///
/// # Errors
/// [`Error::Connect`], with the flaw and what to do as its reason.
pub(crate) fn check_form(place: &Path) -> Result<(), Error> {
    let flaw = if place.as_os_str().is_empty() {
        Some("the path is empty: give that of a broker's socket".to_owned())
    } else {
        system::flaw_of_form(place)
    };
    flaw.map_or(Ok(()), |flaw| {
        let source = Arc::new(io::Error::new(io::ErrorKind::InvalidInput, flaw));
        Err(Error::Connect { path: place.to_owned(), source })
    })
}

/// Whether a connection to this place may be made: none to a default socket in a
/// directory that may be a stranger's.
///
/// # Errors
/// [`Error::UntrustedSocket`].
pub(crate) fn check(place: &Path) -> Result<(), Error> {
    if is_default(place) { system::check_directory(place) } else { Ok(()) }
}

/// Whether this place is one of the default sockets.
fn is_default(place: &Path) -> bool {
    place == system::own_socket_path() || place == system::system_socket_path()
}
