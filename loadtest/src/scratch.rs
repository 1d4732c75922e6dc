//! A directory for the run's socket and log, gone when the run is.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
#[cfg(feature = "compare")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An own directory under the system's for temporary files.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one that only this user may enter.
    pub fn new() -> Result<Scratch> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("netcluster-loadtest-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {} (set TMPDIR?)", path.display()))?;
        Ok(Scratch { path })
    }

    /// The directory.
    #[cfg(feature = "compare")]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the middle listens.
    pub fn socket(&self) -> PathBuf {
        self.path.join("bus.sock")
    }

    /// Where the broker's log goes.
    pub fn log(&self) -> PathBuf {
        self.path.join("broker.log")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Left-overs in the directory for temporary files do no harm.
        let _ = fs::remove_dir_all(&self.path);
    }
}
