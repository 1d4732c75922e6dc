//! Local sockets of Unix: files with a lock beside them.
//!
//! ```text
//!   /run/netcluster/broker.sock        the socket clients connect to
//!   /run/netcluster/broker.sock.lock   held (flock) as long as a broker lives; what
//!                                      is in it a broker leaves for the next one
//! ```
//! Who holds the lock owns the path. The kernel drops the lock with the process,
//! however it ends, so the successor of a killed broker may remove the stale
//! socket without a race, and a second broker leaves the first undisturbed. The
//! lock file itself is never removed: a process that has it open and another
//! that makes a new one would both hold "the" lock. Only one that is not the
//! broker's own or root's is, or that others could have opened: a stranger's.
//!
//! Invariant: only a socket is ever removed, and at the end only the one that
//! this listener made.

mod bound;
mod inherited;
mod keeper;
mod note;
mod path;
mod place;
mod succession;
mod users;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketType};

pub use inherited::InheritedListener;
pub use keeper::SocketKeeper;
pub use note::Note;
pub use succession::HeirListener;
pub use users::{find_group, find_user};

use self::bound::Bound;
use self::place::Place;
use super::{BindError, BindOptions, Group, SEND_BUFFER_BYTES};
use crate::Peer;

/// Advice on a socket's path, for error messages.
pub(super) const PATH_ADVICE: &str = "give the name of a file in a directory";

/// Advice for users who may not create the socket.
pub(super) const PERMISSION_ADVICE: &str =
    "start the broker as a user who may write to that directory (a .lock file comes beside it)";

/// The longest socket path: 108 bytes in the kernel's address, with its final 0.
pub const MAX_PATH_BYTES: usize = 107;

/// Mode of a directory made for the socket: passable for all, since the socket's
/// own permissions and group say who may connect; writable for the broker alone.
const PARENT_MODE: u32 = 0o755;

/// A bound, listening local socket. Dropping it removes its file.
#[derive(Debug)]
pub struct LocalListener {
    // Dropped before the lock is, so that a successor's socket is never hit.
    socket: Bound,
    /// Held for the listener's life; see the module.
    lock: Arc<OwnedFd>,
}

impl LocalListener {
    /// Binds `path` and listens.
    ///
    /// # Errors
    /// Each variant of [`BindError`] says what to do about it.
    pub fn bind(path: &Path, options: &BindOptions) -> Result<LocalListener, BindError> {
        if let Some(inherited) = &options.inherited {
            return LocalListener::adopt(inherited);
        }
        path::address(path)?;
        options.group.as_ref().map(users::group_id).transpose()?;
        path::ensure_parent(path, options.create_parent)?;
        let place = Place::open(path)?;
        // Looked at before there is a lock file, so that a refusal leaves nothing
        // behind, and again under the lock, where the answer holds.
        place.is_occupied()?;
        let lock = place.lock()?;
        LocalListener::make(place, options, Arc::new(lock))
    }

    /// Takes a socket that listens already. Its lock is taken as for any other, so that
    /// a path has one broker.
    fn adopt(inherited: &InheritedListener) -> Result<LocalListener, BindError> {
        let place = Place::open(inherited.path())?;
        let lock = place.lock()?;
        let fd = inherited
            .descriptor()
            .map_err(|error| BindError::system("take the socket that was passed", error))?;
        refuse_descriptors(&fd);
        // It is who made the file to remove it.
        let socket = Bound { fd, place, identity: None };
        Ok(LocalListener { socket, lock: Arc::new(lock) })
    }

    /// Makes the socket, under its lock.
    fn make(
        place: Place,
        options: &BindOptions,
        lock: Arc<OwnedFd>,
    ) -> Result<LocalListener, BindError> {
        let address = path::address(place.path())?;
        path::remove_stale(&place, &address)?;
        Ok(LocalListener { socket: Bound::make(place, options)?, lock })
    }

    /// Flaw that lets somebody else put another socket in this one's place, if any: worth
    /// a warning.
    pub fn flaw(&self) -> Option<String> {
        path::flaw(self.path())
    }

    /// A listener for each of so many shards that is to accept: for the first alone,
    /// which hands connections over to the others.
    pub fn for_shards(self, _shards: u16) -> Vec<LocalListener> {
        vec![self]
    }

    /// Note that the last broker of this path left for this one, and in which this one
    /// leaves
    /// something for the next; if the system has a descriptor for it.
    pub fn note(&self) -> Option<Note> {
        rustix::io::fcntl_dupfd_cloexec(&self.lock, 0).ok().map(Note::new)
    }

    /// Path at which it listens.
    pub fn path(&self) -> &Path {
        self.socket.place.path()
    }

    /// Accepts a connection. It does not block if the listener was set so.
    pub(crate) fn accept(&self) -> io::Result<LocalSocket> {
        Ok(LocalSocket::accepted(accept_fd(&self.socket.fd)?))
    }

    /// Keeper that makes the socket again if its file is removed; given the options that
    /// it was bound with. None for an inherited one.
    pub fn keeper(&self, options: &BindOptions) -> Option<SocketKeeper> {
        Some(SocketKeeper::new(self, options, self.socket.identity?))
    }

    /// Removes the socket file if it is still the one this listener made. Also
    /// done on drop.
    pub fn unlink(&self) {
        self.socket.unlink();
    }
}

impl AsFd for LocalListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }
}

/// A connected local socket and who is at its other end: what shards hand to
/// each other.
#[derive(Debug)]
pub struct LocalSocket {
    fd: OwnedFd,
    peer: Peer,
}

impl LocalSocket {
    /// Takes a socket that was just accepted: asks for its peer and sets its send
    /// buffer. Neither can fail in a way that matters: an unknown peer is
    /// reported as such, and a smaller buffer is only slower.
    pub fn accepted(fd: OwnedFd) -> LocalSocket {
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&fd, SEND_BUFFER_BYTES);
        let peer = peer(&fd);
        LocalSocket { fd, peer }
    }

    /// A socket whose peer is known.
    pub fn from_parts(fd: OwnedFd, peer: Peer) -> LocalSocket {
        LocalSocket { fd, peer }
    }

    /// The socket and its peer.
    pub fn into_parts(self) -> (OwnedFd, Peer) {
        (self.fd, self.peer)
    }

    /// Process at the other end.
    pub fn peer(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsFd for LocalSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(not(target_vendor = "apple"))]
fn accept_fd(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    rustix::net::accept_with(listener, rustix::net::SocketFlags::CLOEXEC)
}

#[cfg(target_vendor = "apple")]
fn accept_fd(listener: &OwnedFd) -> Result<OwnedFd, Errno> {
    let fd = rustix::net::accept(listener)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::sockopt::set_socket_nosigpipe(&fd, true)?;
    Ok(fd)
}

/// The credentials of the process at the other end. Read by hand: a process of
/// another PID namespace has no number here, and only its user and group.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn peer(fd: &OwnedFd) -> Peer {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open, and the result valid for writing at this length.
    let outcome = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    match outcome {
        0 => Peer {
            pid: u32::try_from(credentials.pid).unwrap_or(0),
            uid: credentials.uid,
            gid: credentials.gid,
            user: None,
            groups: users::groups_of_peer(fd),
        },
        _ => Peer::UNKNOWN,
    }
}

/// The credentials of the process at the other end.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn peer(fd: &OwnedFd) -> Peer {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: the descriptor is open and both results are valid for writing.
    match unsafe { libc::getpeereid(fd.as_raw_fd(), &mut uid, &mut gid) } {
        0 => Peer { pid: 0, uid, gid, user: None, groups: users::groups_of_peer(fd) },
        _ => Peer::UNKNOWN,
    }
}

/// Ends the direction to the other end of a socket; sockets can do that.
pub(crate) fn end_sending(socket: impl AsFd) -> bool {
    // Fails only if the connection is over already.
    let _ = rustix::net::shutdown(socket, Shutdown::Write);
    true
}

/// Has the other end write no more; what it has written can still be received. Returns
/// whether that is so: other systems than Linux throw it away.
pub(crate) fn end_receiving(socket: impl AsFd) -> bool {
    cfg!(any(target_os = "linux", target_os = "android"))
        && rustix::net::shutdown(socket, Shutdown::Read).is_ok()
}

/// A local stream socket that child processes do not inherit.
fn stream_socket() -> Result<OwnedFd, Errno> {
    let fd = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    Ok(fd)
}

/// The process that listens at `path`, if the system tells. It need not answer.
pub fn listening_pid(path: &Path) -> Option<u32> {
    let address = path::address(path).ok()?;
    let fd = stream_socket().ok()?;
    // Not blocking: a full backlog is not worth waiting for.
    rustix::io::ioctl_fionbio(&fd, true).ok()?;
    rustix::net::connect(&fd, &address).ok()?;
    Some(peer(&fd).pid).filter(|&pid| pid != 0)
}

/// Connects to a local listener, blocking; for tests.
///
/// # Errors
/// What the system says.
#[cfg(test)]
fn connect(path: &Path) -> std::io::Result<LocalSocket> {
    let address = rustix::net::SocketAddrUnix::new(path)?;
    let fd = stream_socket()?;
    rustix::net::connect(&fd, &address)?;
    let peer = peer(&fd);
    Ok(LocalSocket { fd, peer })
}

/// Has the system refuse descriptors that clients send along, on the connections that this
/// socket takes, too. The last reference to one would go in a shard's thread, and closing
/// may take as long as the client likes (a socket that lingers). Linux can since 6.16.
#[cfg(target_os = "linux")]
fn refuse_descriptors(listener: &OwnedFd) {
    use std::os::fd::AsRawFd;

    /// Option of Unix sockets: whether descriptors may be passed.
    const SO_PASSRIGHTS: libc::c_int = 83;

    let no: libc::c_int = 0;
    // SAFETY: the value lives during the call, and its size is told. Kernels that do not
    // know the option say so, and nothing else can be done there.
    let _ = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_PASSRIGHTS,
            (&raw const no).cast(),
            size_of_val(&no) as libc::socklen_t,
        )
    };
}

#[cfg(not(target_os = "linux"))]
fn refuse_descriptors(_listener: &OwnedFd) {}

/// Raises the soft limit of open descriptors to the hard one, since each client
/// needs one. Returns the limit in force afterwards.
///
/// # Errors
/// What the system says.
pub fn raise_descriptor_limit() -> std::io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    }
    Ok(getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX))
}

/// Returns the limit of open descriptors in force; `u64::MAX` if there is none.
pub fn descriptor_limit() -> u64 {
    use rustix::process::{Resource, getrlimit};
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Describes this process, as the peer of its own connections.
pub fn own_user() -> Peer {
    Peer {
        pid: std::process::id(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        ..Peer::UNKNOWN
    }
}

/// The name of the account with a security identifier: Unix has none.
pub fn account_name(_identifier: &str) -> Option<String> {
    None
}

#[cfg(test)]
mod tests;
