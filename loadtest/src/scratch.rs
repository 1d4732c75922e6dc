//! A directory for the run's socket and log, gone when the run is. Only this user may
//! enter it.

#[cfg(feature = "compare")]
use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// An own directory under the system's for temporary files.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Makes one.
    pub fn new() -> Result<Scratch> {
        let made = tempfile::Builder::new().prefix("netcluster-loadtest-").tempdir();
        Ok(Scratch(made.context("cannot make a temporary directory (set TMPDIR?)")?))
    }

    /// The directory.
    #[cfg(feature = "compare")]
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the middle listens.
    pub fn socket(&self) -> PathBuf {
        self.0.path().join("bus.sock")
    }

    /// Where the broker's log goes.
    pub fn log(&self) -> PathBuf {
        self.0.path().join("broker.log")
    }
}
