//! Unix: signals, numbers of users, permissions of files.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Child;

pub use rustix::process::Signal;

/// Path of a socket that no broker can have.
pub const NO_SOCKET: &str = "/nowhere/s";

/// Returns the name of the loopback interface.
pub fn loopback() -> &'static str {
    "lo"
}

pub fn signal(child: &mut Child, signal: Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// Returns whether tests can send signals.
#[must_use]
pub fn has_signals() -> bool {
    true
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Returns user and group of this process.
pub fn own_user() -> (u32, u32) {
    (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw())
}

pub fn give(path: &Path, user: u32) {
    std::os::unix::fs::chown(path, Some(user), Some(user)).unwrap();
}

pub fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// Returns permissions and group of a file.
pub fn mode_and_group(path: &Path) -> (u32, u32) {
    let metadata = std::fs::metadata(path).unwrap();
    (metadata.mode() & 0o777, metadata.gid())
}

pub fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|it| it.file_type().is_socket())
}
