//! A directory for the run's socket and log, gone when the run is.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
#[cfg(feature = "compare")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

/// Directories of dead processes that are passed over.
const MAX_TRIES: u32 = 10_000;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// An own directory under the system's for temporary files.
#[derive(Debug)]
pub struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one that only this user may enter.
    pub fn new() -> Result<Scratch> {
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("netcluster-loadtest-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Scratch { path }),
                // Left by one that was killed and had this number: in containers it is
                // always the same.
                Err(error) if error.kind() == ErrorKind::AlreadyExists && number < MAX_TRIES => {}
                Err(error) => {
                    let what = format!("cannot make {} (set TMPDIR?)", path.display());
                    return Err(error).context(what);
                }
            }
        }
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
