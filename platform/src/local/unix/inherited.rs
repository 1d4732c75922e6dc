//! A socket that a service manager made and listens on before the broker runs: socket
//! activation, as `sd_listen_fds(3)` describes it.
//!
//! ```text
//!   LISTEN_PID=4711   the process that it is for
//!   LISTEN_FDS=1      number of descriptors, from 3 on
//! ```
//! Who made the socket keeps it: its file, its permissions, and those who connect while no
//! broker runs.
//!
//! Invariant: a descriptor is taken once in the life of the process, and only if it is a
//! local stream socket that listens.
//!
//! Decision: `docs/decisions/081-a-watchdog-asks-the-shards.md`.

use std::ffi::OsStr;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{SocketAddrUnix, SocketType, sockopt};

use crate::local::InheritError;

/// The first descriptor that is passed.
const FIRST_FD: RawFd = 3;

/// Whether the descriptor has been taken.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A listening socket that was passed to this process.
#[derive(Clone, Debug)]
pub struct InheritedListener {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

impl InheritedListener {
    /// Takes the socket that the environment tells of, if there is one for this process.
    ///
    /// # Errors
    /// There are several, or it is of another kind.
    pub fn take() -> Result<Option<InheritedListener>, InheritError> {
        let variable = |name| std::env::var(name).ok();
        let pid = variable("LISTEN_PID");
        match passed(pid.as_deref(), variable("LISTEN_FDS").as_deref(), std::process::id())? {
            true if !TAKEN.swap(true, Ordering::Relaxed) => {}
            _ => return Ok(None),
        }
        let bad = |text: &str| InheritError(format!("the service manager passed {text}"));
        // SAFETY: it only asks whether there is such a descriptor.
        if unsafe { libc::fcntl(FIRST_FD, libc::F_GETFD) } < 0 {
            return Err(bad("a descriptor that is not open"));
        }
        // SAFETY: it is open, and was passed to be used here; `TAKEN` sees to it that nobody
        // has made an owner of it before, since nothing else in this process uses numbers.
        let fd = unsafe { OwnedFd::from_raw_fd(FIRST_FD) };
        InheritedListener::check(fd).map(Some).map_err(bad)
    }

    fn check(fd: OwnedFd) -> Result<InheritedListener, &'static str> {
        let address = rustix::net::getsockname(&fd).ok();
        let address = address.and_then(|address| SocketAddrUnix::try_from(address).ok());
        if address.is_none() || sockopt::socket_type(&fd) != Ok(SocketType::STREAM) {
            return Err("no local stream socket");
        }
        if !listens(&fd) {
            return Err("a socket that does not listen");
        }
        let path = address.as_ref().and_then(SocketAddrUnix::path_bytes);
        let Some(path) = path.filter(|path| path.first() == Some(&b'/')) else {
            return Err("a socket without an absolute path");
        };
        let path = Path::new(OsStr::from_bytes(path)).to_owned();
        let _ = rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC);
        Ok(InheritedListener { fd: Arc::new(fd), path })
    }

    /// Path at which it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a descriptor of the socket.
    pub(super) fn descriptor(&self) -> std::io::Result<OwnedFd> {
        Ok(rustix::io::fcntl_dupfd_cloexec(&self.fd, 0)?)
    }
}

#[cfg(not(target_vendor = "apple"))]
fn listens(fd: &OwnedFd) -> bool {
    sockopt::socket_acceptconn(fd) == Ok(true)
}

/// Apple's systems do not tell; then accepting fails.
#[cfg(target_vendor = "apple")]
fn listens(_: &OwnedFd) -> bool {
    true
}

/// Returns whether one socket was passed to process `own`.
fn passed(pid: Option<&str>, fds: Option<&str>, own: u32) -> Result<bool, InheritError> {
    let (Some(pid), Some(fds)) = (pid, fds) else { return Ok(false) };
    if pid.parse() != Ok(own) {
        // A child of the process that it was for.
        return Ok(false);
    }
    match fds.parse::<u32>() {
        Ok(0) => Ok(false),
        Ok(1) => Ok(true),
        _ => Err(InheritError(format!("the service manager passed {fds:?} sockets, not one"))),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

    use super::*;

    #[test]
    fn a_socket_is_for_the_process_that_is_named() {
        assert_eq!(passed(None, Some("1"), 7), Ok(false));
        assert_eq!(passed(Some("7"), None, 7), Ok(false));
        assert_eq!(passed(Some("8"), Some("1"), 7), Ok(false));
        assert_eq!(passed(Some("7"), Some("0"), 7), Ok(false));
        assert_eq!(passed(Some("7"), Some("1"), 7), Ok(true));
        for bad in ["2", "", "-1", "x"] {
            assert!(passed(Some("7"), Some(bad), 7).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_listening_local_stream_socket_with_a_path_is_taken() {
        let directory = std::env::temp_dir().join(format!("nc-inherited-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("s");
        let good = UnixListener::bind(&path).unwrap();
        assert_eq!(InheritedListener::check(good.into()).unwrap().path(), path);
        let (pair, _other) = UnixStream::pair().unwrap();
        let datagram = UnixDatagram::unbound().unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let file = std::fs::File::open(&directory).unwrap();
        for bad in [pair.into(), datagram.into(), tcp.into(), OwnedFd::from(file)] {
            assert!(InheritedListener::check(bad).is_err());
        }
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
