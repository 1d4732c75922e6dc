//! Name of the pipe of `netcluster demo`: one that no other pipe has.

use std::path::PathBuf;

use netcluster::internals::random;

use crate::cli::failure::Failure;

/// A pipe, which is gone with its broker.
pub(super) struct Place(PathBuf);

impl Place {
    pub(super) fn new() -> Result<Place, Failure> {
        let name = format!(r"\\.\pipe\netcluster-demo-{:016x}", random());
        Ok(Place(PathBuf::from(name)))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.0.clone()
    }

    /// Nothing is left of a pipe.
    pub(super) fn remove(&self) {}
}
