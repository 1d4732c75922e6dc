//! What has to be right about a socket's path before and after it is bound.

use std::ffi::CString;
use std::path::Path;

use rustix::fs::{FileType, Mode};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::{BindError, Group, MAX_PATH_BYTES, PARENT_MODE};

/// The room for a group's entry; a longer one makes the system ask for more.
const GROUP_ENTRY_BYTES: usize = 16 << 10;

/// The most room for a group's entry, 1 MiB: tens of thousands of members.
const MAX_GROUP_ENTRY_BYTES: usize = 1 << 20;

/// The address of a path, checked.
pub(super) fn address(path: &Path) -> Result<SocketAddrUnix, BindError> {
    if path.as_os_str().len() > MAX_PATH_BYTES {
        return Err(BindError::PathTooLong { path: path.to_owned() });
    }
    let invalid = || BindError::PathInvalid { path: path.to_owned() };
    if path.file_name().is_none() {
        return Err(invalid());
    }
    SocketAddrUnix::new(path).map_err(|_| invalid())
}

/// Makes sure that the directory of `path` is there.
pub(super) fn ensure_parent(path: &Path, create: bool) -> Result<(), BindError> {
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    let missing = || BindError::MissingDirectory { directory: directory.to_owned() };
    match rustix::fs::stat(directory) {
        Ok(_) => return Ok(()),
        Err(Errno::NOENT) if create => {}
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
        Err(Errno::ACCESS) => return Err(BindError::permission(path)),
        Err(error) => return Err(BindError::system("look at the socket's directory", error)),
    }
    match rustix::fs::mkdir(directory, Mode::from_raw_mode(PARENT_MODE as _)) {
        // Another process may have been faster.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => Err(missing()),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Err(BindError::permission(path)),
        Err(error) => Err(BindError::system("create the socket's directory", error)),
    }
}

/// Removes the socket that a killed broker left. The lock is held, so nobody who
/// keeps to it listens there; one that does not (another program, or a broker
/// whose lock file was removed) is found by connecting.
pub(super) fn remove_stale(path: &Path, address: &SocketAddrUnix) -> Result<(), BindError> {
    let status = match rustix::fs::lstat(path) {
        Ok(status) => status,
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(BindError::system("look at the socket path", error)),
    };
    if FileType::from_raw_mode(status.st_mode) != FileType::Socket {
        return Err(BindError::NotASocket { path: path.to_owned() });
    }
    let probe =
        super::stream_socket().map_err(|error| BindError::system("create a socket", error))?;
    // Not blocking: a full backlog is a live listener, and not worth waiting for.
    rustix::io::ioctl_fionbio(&probe, true)
        .map_err(|error| BindError::system("set up a socket", error))?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => {}
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ACCESS | Errno::PERM) => return Err(BindError::permission(path)),
        _ => return Err(BindError::InUse { path: path.to_owned() }),
    }
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Err(BindError::permission(path)),
        Err(error) => Err(BindError::system("remove the stale socket", error)),
    }
}

/// Device and inode of the file at `path`.
pub(super) fn identity(path: &Path) -> Result<(u64, u64), Errno> {
    let status = rustix::fs::lstat(path)?;
    Ok((status.st_dev as u64, status.st_ino as u64))
}

/// The number of a group.
pub(super) fn group_id(group: &Group) -> Result<u32, BindError> {
    let name = match group {
        Group::Id(id) => return Ok(*id),
        Group::Name(name) => name,
    };
    let unknown = || BindError::UnknownGroup { name: name.clone() };
    let c_name = CString::new(name.as_str()).map_err(|_| unknown())?;
    let mut room = GROUP_ENTRY_BYTES;
    loop {
        // SAFETY: an all-zero `group` is a valid value: null pointers and zeros.
        let mut entry: libc::group = unsafe { std::mem::zeroed() };
        let mut strings = vec![0; room];
        let mut found = std::ptr::null_mut();
        // SAFETY: the name is terminated, and all results are valid for writing
        // with the length given.
        let error = unsafe {
            libc::getgrnam_r(
                c_name.as_ptr(),
                &mut entry,
                strings.as_mut_ptr(),
                strings.len(),
                &mut found,
            )
        };
        match error {
            0 if found.is_null() => return Err(unknown()),
            0 => return Ok(entry.gr_gid),
            libc::ERANGE if room < MAX_GROUP_ENTRY_BYTES => room *= 4,
            _ => return Err(unknown()),
        }
    }
}
