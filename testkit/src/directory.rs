//! A temporary directory of a test, and addresses of sockets that belong to it.
//!
//! Names are short, since paths of sockets are limited. Other users may look into it:
//! some tests run programs as somebody else.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempDir};

/// A longer path of the place for temporary files leaves sockets too little.
const MAX_PARENT_BYTES: usize = 40;

/// A directory that is gone with the test.
#[derive(Debug)]
pub struct Directory(TempDir);

impl Directory {
    /// Makes an empty directory.
    ///
    /// # Panics
    /// If the system does not allow it.
    #[expect(clippy::new_without_default, reason = "a default makes no directory")]
    pub fn new() -> Directory {
        let usual = std::env::temp_dir();
        let is_long = cfg!(unix) && usual.as_os_str().len() > MAX_PARENT_BYTES;
        let parent = if is_long { PathBuf::from("/tmp") } else { usual };
        let mut builder = Builder::new();
        builder.prefix("nc-");
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755));
        Directory(builder.tempdir_in(parent).expect("a temporary directory"))
    }

    /// Returns the path of the directory.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the path of a file in the directory.
    pub fn join(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    /// Returns the address at which a broker of this directory listens: on Windows a
    /// pipe, which is no file.
    pub fn socket(&self, name: &str) -> PathBuf {
        if cfg!(unix) {
            return self.join(name);
        }
        let directory = self.path().file_name().expect("it has a name").to_string_lossy();
        PathBuf::from(format!(r"\\.\pipe\{directory}-{name}"))
    }

    /// Writes a file of the directory and returns its path.
    ///
    /// # Panics
    /// If the file cannot be written.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, text).expect("a file in a directory of its own");
        path
    }
}
