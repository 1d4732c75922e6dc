//! Needs of the readiness back end on a Unix: nonblocking calls and edges.
//!
//! The sockets themselves stay in blocking mode, since a shard may hand them to
//! another back end; each call says that it must not block.
//!
//! Its sibling is `windows`, with the same items.
//!
//! Invariant: nothing here blocks but [`wait`].

use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use bytes::BytesMut;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Registry, Token};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};
use rustix::time::ClockId;

use crate::io::Conn;
use crate::local::{LocalListener, LocalSocket};

/// A connection.
pub(super) type Socket = LocalSocket;

/// Listener on which a shard accepts.
pub(super) type Listener = LocalListener;

/// Source of connections.
pub(super) type Incoming = LocalListener;

/// Scratch space for a gather-write; none is needed here.
pub(super) type Scratch = ();

/// A descriptor can be watched by another event queue as well.
pub(super) const HANDS_OVER: bool = true;

/// The kernel has the bytes when a send is over.
pub(super) const SENDS_ARE_COPIED: bool = false;

/// Registering brings an edge if there are bytes already.
pub(super) const STARTS_READABLE: bool = false;

/// Timeout below which `mio`, which counts milliseconds, would oversleep by much.
const FINE_TIMEOUT: Duration = Duration::from_millis(20);

/// Waits end on time.
pub(super) fn sharpen_waits() {}

/// Watches a connection for bytes and for its end.
pub(super) fn register(registry: &Registry, socket: &mut Socket, conn: Conn) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    registry.register(&mut SourceFd(&fd), token(conn), Interest::READABLE)
}

/// Starts or stops to watch for room as well. Only while a send is blocked: the
/// kernel has an edge for each read of the peer.
pub(super) fn watch_room(
    registry: &Registry,
    socket: &Socket,
    conn: Conn,
    watch: bool,
) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    let interest = if watch { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
    registry.reregister(&mut SourceFd(&fd), token(conn), interest)
}

/// Watches a connection no longer.
pub(super) fn deregister(registry: &Registry, socket: &mut Socket) -> io::Result<()> {
    registry.deregister(&mut SourceFd(&socket.as_fd().as_raw_fd()))
}

/// Closes a connection: with its descriptor it also leaves the event queue.
pub(super) fn close(_registry: &Registry, socket: Option<Socket>) {
    drop(socket);
}

/// Whether an edge that says so means room to send.
#[inline(always)]
pub(super) fn has_room(_socket: &Socket) -> bool {
    true
}

/// Whether what was sent is still on its way to the kernel.
#[inline(always)]
pub(super) fn is_sending(_socket: &Socket) -> bool {
    false
}

/// Starts to accept: each edge of `token` means connections.
pub(super) fn listen(
    registry: &Registry,
    listener: Listener,
    token: Token,
) -> io::Result<Incoming> {
    // There is no flag for a single accept that must not block.
    rustix::io::ioctl_fionbio(&listener, true)?;
    let fd = listener.as_fd().as_raw_fd();
    registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
    Ok(listener)
}

/// Accepts one connection.
pub(super) fn accept(listener: &mut Incoming, _registry: &Registry) -> io::Result<Socket> {
    listener.accept()
}

/// Reads what is there; 0 is the end.
pub(super) fn receive(socket: &Socket, target: &mut [u8]) -> io::Result<usize> {
    let (_, bytes) = retry(|| rustix::net::recv(socket, &mut *target, RecvFlags::DONTWAIT))?;
    Ok(bytes)
}

/// Reads up to `limit` bytes behind those in `buffer`, which has the capacity; 0
/// is the end.
pub(super) fn receive_into(
    socket: &Socket,
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<usize> {
    let length = buffer.len();
    let target = &mut buffer.spare_capacity_mut()[..limit];
    let bytes = retry(|| {
        let ((filled, _), _) = rustix::net::recv(socket, &mut *target, RecvFlags::DONTWAIT)?;
        Ok(filled.len())
    })?;
    // SAFETY: the kernel filled the first `bytes` of the spare capacity.
    unsafe { buffer.set_len(length + bytes) };
    Ok(bytes)
}

/// Writes what there is room for.
pub(super) fn send(
    _scratch: &mut Scratch,
    socket: &Socket,
    list: &[IoSlice<'_>],
) -> io::Result<usize> {
    #[cfg(not(target_vendor = "apple"))]
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    // There the socket itself was told when it was accepted.
    #[cfg(target_vendor = "apple")]
    let flags = SendFlags::DONTWAIT;
    let mut control = SendAncillaryBuffer::default();
    retry(|| rustix::net::sendmsg(socket, list, &mut control, flags))
}

/// Fetches edges. `None` waits without end; a signal ends it early.
pub(super) fn wait(
    poll: &mut Poll,
    events: &mut Events,
    mut timeout: Option<Duration>,
) -> io::Result<()> {
    if let Some(fine) = timeout.filter(|fine| !fine.is_zero() && *fine < FINE_TIMEOUT) {
        // SAFETY: the event queue is open as long as `poll` is borrowed.
        let queue = unsafe { BorrowedFd::borrow_raw(poll.as_raw_fd()) };
        let fine = Timespec { tv_sec: 0, tv_nsec: fine.subsec_nanos().into() };
        match rustix::event::poll(&mut [PollFd::new(&queue, PollFlags::IN)], Some(&fine)) {
            Ok(_) | Err(Errno::INTR) => timeout = Some(Duration::ZERO),
            Err(error) => return Err(error.into()),
        }
    }
    match poll.poll(events, timeout) {
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        outcome => outcome,
    }
}

/// The time on the monotonic clock: the same for all shards.
pub(super) fn now() -> crate::Instant {
    let now = rustix::time::clock_gettime(ClockId::Monotonic);
    crate::Instant::from_nanos(now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64)
}

fn token(conn: Conn) -> Token {
    Token(conn.0 as usize)
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> io::Result<T> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            outcome => return Ok(outcome?),
        }
    }
}
