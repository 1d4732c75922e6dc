//! Checks of a socket's path before and after it is bound.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::place::Place;
use super::{BindError, MAX_PATH_BYTES, PARENT_MODE};

/// Permission bits of a directory in which others may create files: sticky or
/// writable for all.
const SHARED_BITS: u32 = 0o1002;

/// The permission bit of a directory in which everybody can remove and rename only what
/// is his own.
const STICKY_BIT: u32 = 0o1000;

/// Permission bits that let somebody else than the owner replace the socket.
const FOREIGN_WRITE_BITS: u32 = 0o022;

/// Longest time that a socket whose lock is free may still answer.
const DYING_PREDECESSOR: Duration = Duration::from_secs(2);

/// Pause between two looks at such a socket.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

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

/// Makes sure that the directory of `path` is there; with `create` also that it is
/// to be trusted.
pub(super) fn ensure_parent(path: &Path, create: bool) -> Result<(), BindError> {
    let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) else {
        return Ok(());
    };
    let missing = || BindError::MissingDirectory { directory: directory.to_owned() };
    match rustix::fs::stat(directory) {
        Ok(_) if create => return check_trust(directory),
        Ok(_) => return Ok(()),
        Err(Errno::NOENT) if create => {}
        Err(Errno::NOENT | Errno::NOTDIR) => return Err(missing()),
        Err(Errno::ACCESS) => return Err(BindError::permission(path)),
        Err(error) => return Err(BindError::system("look at the socket's directory", error)),
    }
    match rustix::fs::mkdir(directory, Mode::from_raw_mode(PARENT_MODE as _)) {
        Ok(()) => open_up(directory),
        // Another process was faster, or a symbolic link leads nowhere.
        Err(Errno::EXIST) => check_trust(directory),
        Err(Errno::NOENT) => Err(missing()),
        Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Err(BindError::permission(path)),
        Err(error) => Err(BindError::system("create the socket's directory", error)),
    }
}

/// Gives a directory that was just made the permissions that the process's mask
/// withheld. Through a descriptor, so that what may have taken its place meanwhile
/// is not followed elsewhere.
fn open_up(directory: &Path) -> Result<(), BindError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty())
        .and_then(|fd| match rustix::fs::fstat(&fd)?.st_uid {
            own if own == rustix::process::geteuid().as_raw() => {
                rustix::fs::fchmod(fd, Mode::from_raw_mode(PARENT_MODE as _))
            }
            _ => Err(Errno::PERM),
        })
        .map_err(|error| BindError::system("set the permissions of the socket's directory", error))
}

/// Refuses a directory that somebody else may control: whoever does decides who
/// listens at the socket's path. Only where anybody may create directories, as in
/// `/tmp`; elsewhere those who may have decided.
fn check_trust(directory: &Path) -> Result<(), BindError> {
    let around = match directory.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    let look = |error| BindError::system("look at the socket's directory", error);
    let around = rustix::fs::stat(around).map_err(look)?;
    if around.st_mode as u32 & SHARED_BITS == 0 {
        return Ok(());
    }
    let status = rustix::fs::lstat(directory).map_err(look)?;
    let flaw = match FileType::from_raw_mode(status.st_mode) {
        FileType::Symlink => "is a symbolic link".to_owned(),
        FileType::Directory => {
            let own = rustix::process::geteuid().as_raw();
            if status.st_uid != own && status.st_uid != 0 {
                format!("belongs to user {}", status.st_uid)
            } else if status.st_mode as u32 & FOREIGN_WRITE_BITS != 0 {
                "may be written to by others (chmod go-w is enough if it is yours)".to_owned()
            } else {
                return Ok(());
            }
        }
        _ => "is no directory".to_owned(),
    };
    Err(BindError::UntrustedDirectory { directory: directory.to_owned(), flaw })
}

/// Tells who could put another socket in the place of this one: whoever controls a
/// directory
/// on the way to it.
pub(super) fn flaw(path: &Path) -> Option<String> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = std::fs::canonicalize(directory.unwrap_or(Path::new("."))).ok()?;
    let own = rustix::process::geteuid().as_raw();
    let own_group = rustix::process::getegid().as_raw();
    directory.ancestors().find_map(|directory| {
        let status = rustix::fs::stat(directory).ok()?;
        if status.st_uid != own && status.st_uid != 0 {
            return Some(format!("{} belongs to user {}", directory.display(), status.st_uid));
        }
        let mode = status.st_mode as u32;
        // In a sticky one everybody can only do away with what is his own.
        let open_to_all = mode & 0o002 != 0 && mode & STICKY_BIT == 0;
        let open_to_group =
            mode & 0o020 != 0 && mode & STICKY_BIT == 0 && status.st_gid != own_group;
        (open_to_all || open_to_group)
            .then(|| format!("{} may be written to by others", directory.display()))
    })
}

/// Removes the socket that a killed broker left. The lock is held, so nobody who
/// keeps to it listens there; one that does not (another program, or a broker
/// whose lock file was removed) is found by connecting.
pub(super) fn remove_stale(place: &Place, address: &SocketAddrUnix) -> Result<(), BindError> {
    if !place.is_occupied()? {
        return Ok(());
    }
    let path = place.path();
    let start = Instant::now();
    loop {
        let probe =
            super::stream_socket().map_err(|error| BindError::system("create a socket", error))?;
        // Not blocking: a full backlog is a live listener, and not worth waiting for.
        rustix::io::ioctl_fionbio(&probe, true)
            .map_err(|error| BindError::system("set up a socket", error))?;
        match rustix::net::connect(&probe, address) {
            Err(Errno::CONNREFUSED) => break,
            Err(Errno::NOENT) => return Ok(()),
            Err(Errno::ACCESS | Errno::PERM) => return Err(BindError::permission(path)),
            // A broker just killed has let go of its lock, but its ring, which the
            // kernel takes down later, may still hold the listening socket.
            _ if start.elapsed() < DYING_PREDECESSOR => std::thread::sleep(LOOK_AGAIN),
            _ => {
                let pid = super::listening_pid(path);
                return Err(BindError::InUse { path: path.to_owned(), pid });
            }
        }
    }
    place.remove()
}
