//! Place of a socket's file: a directory that is held open, and a name in it.
//!
//! The directory may be somebody else's, who can put anything in the place of anything
//! there at any moment, and links to places elsewhere. So the path is followed once, what
//! is done to a file is done to what was opened and looked at, and nothing is done to what
//! is not this process's own.
//!
//! Invariant: whatever others do in the directory, no file outside of it is touched, and
//! in it only this process's socket and lock, and a stale socket.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, FlockOperation, Gid, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::BindError;

/// Flags that open the directory: for names in it alone, where the system knows that.
#[cfg(any(target_os = "linux", target_os = "android"))]
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Number of times that a lock of somebody else is replaced before giving up.
const LOCK_TRIES: usize = 8;

/// The time for which a lock is waited for behind which nobody listens: a process that was
/// forked while a broker ran in it has that broker's lock, too, until it executes its program.
const FORKED_HOLDER: Duration = Duration::from_millis(500);

/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Permissions with which others could take the lock.
const FOREIGN_LOCK: Mode = Mode::RGRP.union(Mode::WGRP).union(Mode::ROTH).union(Mode::WOTH);

/// A directory and a name in it.
#[derive(Debug)]
pub(super) struct Place {
    directory: OwnedFd,
    name: OsString,
    path: PathBuf,
}

/// Device and inode of a file.
pub(super) type Identity = (u64, u64);

impl Place {
    /// The place of a path that has a file name.
    pub(super) fn open(path: &Path) -> Result<Place, BindError> {
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let missing = || BindError::MissingDirectory { directory: directory.to_owned() };
        let opened = rustix::fs::open(directory, DIRECTORY, Mode::empty());
        let directory = opened.map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => missing(),
            Errno::ACCESS => BindError::permission(path),
            error => BindError::system("open the socket's directory", error),
        })?;
        let name = path.file_name().unwrap_or_default().to_owned();
        Ok(Place { directory, name, path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The name in the directory.
    pub(super) fn name(&self) -> &OsStr {
        &self.name
    }

    /// Gives the file another name in the directory, in one step, whatever has that name.
    pub(super) fn rename(&self, name: &OsStr) -> Result<(), BindError> {
        let renamed = rustix::fs::renameat(&self.directory, &self.name, &self.directory, name);
        renamed.map_err(|error| BindError::system("rename the socket", error))
    }

    /// The file that is there.
    pub(super) fn identity(&self) -> Result<Option<Identity>, BindError> {
        match self.look(&self.name) {
            Ok(status) => Ok(Some(identity(&status))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(BindError::system("look at the socket", error)),
        }
    }

    /// Whether this lock is the file that others would try to lock.
    pub(super) fn is_locked_by(&self, lock: &OwnedFd) -> bool {
        let held = rustix::fs::fstat(lock).map(|status| identity(&status));
        held.is_ok() && self.look(&self.lock_name()).map(|status| identity(&status)) == held
    }

    fn lock_name(&self) -> OsString {
        let mut name = self.name.clone();
        name.push(".lock");
        name
    }

    /// Whether there is a socket, live or stale; anything else is refused.
    pub(super) fn is_occupied(&self) -> Result<bool, BindError> {
        match self.look(&self.name) {
            Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::Socket => Ok(true),
            Ok(_) => Err(BindError::NotASocket { path: self.path.clone() }),
            Err(Errno::NOENT) => Ok(false),
            Err(Errno::ACCESS | Errno::PERM) => Err(BindError::permission(&self.path)),
            Err(error) => Err(BindError::system("look at the socket path", error)),
        }
    }

    /// Removes the stale socket.
    pub(super) fn remove(&self) -> Result<(), BindError> {
        match rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                Err(BindError::permission(&self.path))
            }
            Err(error) => Err(BindError::system("remove the stale socket", error)),
        }
    }

    /// Removes the socket if it is still this one.
    pub(super) fn remove_own(&self, own: Identity) {
        if self.look(&self.name).is_ok_and(|status| identity(&status) == own) {
            let _ = rustix::fs::unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }

    /// Takes the lock that belongs to the socket.
    pub(super) fn lock(&self) -> Result<OwnedFd, BindError> {
        let name = self.lock_name();
        for _ in 0..LOCK_TRIES {
            let Some(fd) = self.open_lock(&name)? else { continue };
            self.take_lock(&fd)?;
            // Somebody may have put another one in its place meanwhile.
            let mine = rustix::fs::fstat(&fd).map_err(lock_error)?;
            if self.look(&name).is_ok_and(|there| identity(&there) == identity(&mine)) {
                return Ok(fd);
            }
        }
        Err(self.foreign_lock(&name))
    }

    /// Takes the lock if nobody has it.
    pub(super) fn try_lock(&self) -> Result<Option<OwnedFd>, BindError> {
        let name = self.lock_name();
        let Some(fd) = self.open_lock(&name)? else { return Ok(None) };
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(self.is_locked_by(&fd).then_some(fd)),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(lock_error(error)),
        }
    }

    /// Takes the lock of an open file, unless somebody listens who has it.
    fn take_lock(&self, fd: &OwnedFd) -> Result<(), BindError> {
        let start = Instant::now();
        loop {
            match rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(()),
                Err(Errno::WOULDBLOCK) => {}
                Err(error) => return Err(lock_error(error)),
            }
            let pid = super::listening_pid(&self.path);
            if pid.is_some() || start.elapsed() >= FORKED_HOLDER {
                return Err(BindError::InUse { path: self.path.clone(), pid });
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// Opens the lock file, or makes it; nothing if it changed meanwhile. One that others
    /// could hold is removed if the system allows that.
    fn open_lock(&self, name: &OsStr) -> Result<Option<OwnedFd>, BindError> {
        let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let open =
            |flags| rustix::fs::openat(&self.directory, name, flags, Mode::RUSR | Mode::WUSR);
        match open(flags | OFlags::CREATE | OFlags::EXCL) {
            Ok(fd) => return Ok(Some(fd)),
            Err(Errno::EXIST) => {}
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                return Err(BindError::permission(&self.path));
            }
            Err(error) => return Err(lock_error(error)),
        }
        let status = match self.look(name) {
            Ok(status) => status,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(lock_error(error)),
        };
        if !is_private(&status) {
            return match rustix::fs::unlinkat(&self.directory, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(None),
                Err(_) => Err(self.foreign_lock(name)),
            };
        }
        match open(flags) {
            Ok(fd) => {
                let status = rustix::fs::fstat(&fd).map_err(lock_error)?;
                Ok(is_private(&status).then_some(fd))
            }
            Err(Errno::NOENT | Errno::LOOP) => Ok(None),
            Err(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                Err(BindError::permission(&self.path))
            }
            Err(error) => Err(lock_error(error)),
        }
    }

    fn foreign_lock(&self, name: &OsStr) -> BindError {
        let owner = self.look(name).map_or(u32::MAX, |status| status.st_uid);
        BindError::ForeignLock { path: self.path.with_file_name(name), owner }
    }

    fn look(&self, name: &OsStr) -> Result<Stat, Errno> {
        rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW)
    }

    /// The socket that this process has just bound here.
    pub(super) fn own_socket(&self) -> Result<OwnSocket, BindError> {
        let look = |error| BindError::system("look at the new socket", error);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let fd = {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&self.directory, &self.name, flags, Mode::empty()).map_err(look)?
        };
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let status = rustix::fs::fstat(&fd).map_err(look)?;
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let status = self.look(&self.name).map_err(look)?;
        let is_own = FileType::from_raw_mode(status.st_mode) == FileType::Socket
            && status.st_uid == rustix::process::geteuid().as_raw()
            && status.st_nlink == 1;
        if !is_own {
            return Err(BindError::Replaced { path: self.path.clone() });
        }
        Ok(OwnSocket {
            status,
            #[cfg(any(target_os = "linux", target_os = "android"))]
            fd,
        })
    }

    /// Gives that socket its permissions, if the process's mask withheld some, and group.
    pub(super) fn adjust(
        &self,
        socket: &OwnSocket,
        mode: u32,
        group: Option<u32>,
    ) -> Result<(), BindError> {
        if let Some(group) = group {
            let refused = |_| BindError::GroupRefused { path: self.path.clone(), group };
            self.set_group(socket, Gid::from_raw(group)).map_err(refused)?;
        }
        let mode = Mode::from_raw_mode(mode as _);
        if Mode::from_raw_mode(socket.status.st_mode) != mode {
            let failed = |error| BindError::system("set the socket's permissions", error);
            self.set_mode(socket, mode).map_err(failed)?;
        }
        Ok(())
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn set_group(&self, socket: &OwnSocket, group: Gid) -> Result<(), Errno> {
        rustix::fs::chownat(&socket.fd, "", None, Some(group), AtFlags::EMPTY_PATH)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn set_mode(&self, socket: &OwnSocket, mode: Mode) -> Result<(), Errno> {
        use std::os::fd::AsRawFd;

        // The system refuses to do it through a descriptor that stands for a name alone,
        // but not through the name of that.
        rustix::fs::chmod(format!("/proc/self/fd/{}", socket.fd.as_raw_fd()), mode)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn set_group(&self, _: &OwnSocket, group: Gid) -> Result<(), Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(&self.directory, &self.name, None, Some(group), flags)
    }

    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn set_mode(&self, _: &OwnSocket, mode: Mode) -> Result<(), Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chmodat(&self.directory, &self.name, mode, flags)
    }
}

/// The socket that this process bound, looked at.
pub(super) struct OwnSocket {
    status: Stat,
    /// Descriptor of the file that is changed, whatever has its name by then.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fd: OwnedFd,
}

impl OwnSocket {
    pub(super) fn identity(&self) -> Identity {
        identity(&self.status)
    }
}

/// Whether nobody else can have opened this lock file, and so hold it.
fn is_private(status: &Stat) -> bool {
    let own = rustix::process::geteuid().as_raw();
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
        && (status.st_uid == own || status.st_uid == 0)
        && !Mode::from_raw_mode(status.st_mode).intersects(FOREIGN_LOCK)
        && status.st_nlink == 1
}

#[allow(clippy::unnecessary_cast, reason = "the types differ by system")]
fn identity(status: &Stat) -> Identity {
    (status.st_dev as u64, status.st_ino as u64)
}

fn lock_error(error: Errno) -> BindError {
    BindError::system("take the socket's lock file", error)
}
