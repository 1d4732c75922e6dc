//! A key file's permissions, by its mode.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Permissions of users who are neither the owner nor of the group.
const OTHERS: u32 = 0o006;

/// Whether a key with a fault is used all the same.
pub const FAULTS_ARE_TOLERATED: bool = true;

/// A new file for its owner alone.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Tells who else can read or change the file, and what to do about it.
pub fn fault(file: &File, path: &Path) -> io::Result<Option<String>> {
    if file.metadata()?.mode() & OTHERS == 0 {
        return Ok(None);
    }
    let place = path.display();
    Ok(Some(format!(
        "other users can read or change the key file {place}: run `chmod o= {place}`, better \
         make a new key"
    )))
}
