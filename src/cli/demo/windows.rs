//! Where the demo's broker is: a pipe with a name of its own, which needs no directory.

use std::path::PathBuf;

use crate::cli::failure::Failure;
use crate::cli::serve;

/// The name of a pipe.
pub struct Place(PathBuf);

impl Place {
    /// A name that nobody else has.
    pub fn new() -> Result<Place, Failure> {
        let name = format!(r"\\.\pipe\netcluster-demo-{:08x}", serve::random_node());
        Ok(Place(name.into()))
    }

    /// The pipe.
    pub fn socket(&self) -> PathBuf {
        self.0.clone()
    }
}
