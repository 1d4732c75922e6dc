//! Directory for the run's socket and log, gone when the run is. Only this user may enter
//! it.

use std::path::Path;
use std::path::PathBuf;

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Directory of this run under the system's for temporary files.
#[derive(Debug)]
pub struct Scratch(TempDir);

impl Scratch {
    /// Makes a directory.
    pub fn new() -> Result<Scratch> {
        let made = tempfile::Builder::new().prefix("netcluster-loadtest-").tempdir();
        Ok(Scratch(made.context("cannot make a temporary directory (set TMPDIR?)")?))
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Leaves the directory where it is, and returns its path.
    pub fn keep(self) -> PathBuf {
        self.0.keep()
    }

    /// Returns the socket at which the middle listens.
    pub fn socket(&self) -> PathBuf {
        self.0.path().join("bus.sock")
    }

    /// Returns the file of the broker's log.
    pub fn log(&self) -> PathBuf {
        self.0.path().join("broker.log")
    }
}
