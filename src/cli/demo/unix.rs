//! Place of the socket of `netcluster demo`: a directory of its own.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use netcluster::internals::random;
use netcluster_platform::MAX_PATH_BYTES;

use crate::cli::failure::Failure;

const SOCKET: &str = "demo.sock";

/// A directory of its own for the socket, removed at the end.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new() -> Result<Place, Failure> {
        let name = format!("netcluster-demo-{:016x}", random());
        let mut path = std::env::temp_dir().join(&name);
        // Some systems have long names for temporary directories, longer than a
        // socket's may be.
        if path.as_os_str().len() + 1 + SOCKET.len() > MAX_PATH_BYTES {
            path = PathBuf::from("/tmp").join(&name);
        }
        // Fails if it exists, so that nobody else's directory is used.
        DirBuilder::new().mode(0o700).create(&path).map_err(|error| {
            Failure::other(format_args!(
                "cannot create {}: {error}; set TMPDIR to a directory that can be written to",
                path.display()
            ))
        })?;
        Ok(Place(path))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.join(SOCKET)
    }

    /// Removes the directory with all that is in it.
    pub(super) fn remove(&self) {
        // What is left in a temporary directory does no harm.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_private_and_goes() {
        use std::os::unix::fs::PermissionsExt;
        let place = Place::new().unwrap();
        let path = place.0.clone();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
        drop(place);
        assert!(!path.exists());
    }
}
