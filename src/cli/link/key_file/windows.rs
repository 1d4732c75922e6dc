//! A key file's permissions, by its list of who may do what.

use std::fs::File;
use std::io;
use std::path::Path;

use netcluster_platform::private_file;

/// Whether a key with a fault is used all the same: files are readable for all users
/// here unless somebody sees to it, so that a warning would be overlooked.
pub const FAULTS_ARE_TOLERATED: bool = false;

/// A new file for its owner, administrators, the system and its services.
pub fn create(path: &Path) -> io::Result<File> {
    private_file::create(path)
}

/// Tells who else can read or change the file, and what to do about it.
pub fn fault(file: &File, path: &Path) -> io::Result<Option<String>> {
    let Some(group) = private_file::shared_with(file)? else { return Ok(None) };
    let place = path.display();
    Ok(Some(format!(
        "{group} can read or change the key file {place}: make a new key with `netcluster link \
         keygen`, or keep them out: `icacls \"{place}\" /inheritance:r /grant:r \
         *S-1-5-32-544:F *S-1-5-18:F *S-1-5-19:R`"
    )))
}
