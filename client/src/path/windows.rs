//! Names of the broker's pipe on Windows unless somebody says otherwise.

use std::path::{Path, PathBuf};

use netcluster_platform::pipe::pipe_name;

use crate::error::Error;

/// The advice that gives somebody access.
pub(crate) const ACCESS_ADVICE: &str = "run as the broker's user or as an administrator, or start \
     the broker with --socket-group";

pub(super) fn system_socket_path() -> PathBuf {
    own_socket_path()
}

/// All users of the machine share one pipe.
pub(super) fn own_socket_path() -> PathBuf {
    PathBuf::from(r"\\.\pipe\netcluster-default")
}

/// The one way to write it.
pub(super) fn place(path: &Path) -> PathBuf {
    pipe_name(path).unwrap_or_else(|_| path.to_owned())
}

/// Tells why the system takes no such path for a pipe's.
pub(super) fn flaw_of_form(path: &Path) -> Option<String> {
    pipe_name(path).err().map(|error| error.to_string())
}

/// Pipes have no directory that somebody else could have made. Whoever owns the
/// pipe may ask who this client is, but not act for it.
pub(crate) fn check_directory(_: &Path) -> Result<(), Error> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_default(path: &Path) -> bool {
        super::super::is_default(&place(path))
    }

    #[test]
    fn the_default_pipe_is_known_however_it_is_written() {
        assert!(is_default(Path::new(r"\\.\pipe\netcluster-default")));
        assert!(is_default(Path::new(r"\\?\pipe\netcluster-default")));
        assert!(!is_default(Path::new(r"\\.\pipe\netcluster-other")));
        assert!(!is_default(Path::new("netcluster-default")));
    }
}
