//! Needs of the readiness back end on Windows: named pipes, by `mio`.
//!
//! ```text
//!   one read ahead:    kernel ─▶ mio's buffer (4 KiB, or what a write left) ─▶ ours
//!   one write behind:  slices ─▶ scratch ─▶ mio's buffer ─▶ kernel ─▶ client
//! ```
//! Windows completes operations; `mio` turns completions into edges and keeps the
//! buffers that this takes. So both ways are copied, a write takes
//! [`MAX_WRITE_BYTES`] at the most, and there is room again when it is over: at once if
//! the pipe's own buffer holds it, else when the client has read.
//!
//! A pipe stays with the event queue that it was registered with first: each shard has
//! its own instances, and what it accepts is its own.
//!
//! Its sibling is `unix`, with the same items.
//!
//! Invariant: nothing here blocks but [`wait`].

use std::io::{self, IoSlice, Read, Write};
use std::os::windows::io::{FromRawHandle, IntoRawHandle};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use mio::windows::NamedPipe;
use mio::{Events, Interest, Poll, Registry, Token};
use windows_sys::Win32::Media::timeBeginPeriod;

use crate::io::Conn;
use crate::local::{LocalListener, LocalSocket};

/// A connection.
pub(super) type Socket = LocalSocket;

/// Listener on which a shard accepts.
pub(super) type Listener = LocalListener;

/// Buffer in which the slices of a send are joined.
pub(super) type Scratch = Vec<u8>;

/// A pipe cannot leave its event queue.
pub(super) const HANDS_OVER: bool = false;

/// Whether bytes that a send took may still wait for room in the pipe.
pub(super) const SENDS_ARE_COPIED: bool = true;

/// The edge of the first bytes may have come before the connection had its number.
pub(super) const STARTS_READABLE: bool = true;

/// The most bytes of one write, 128 KiB. `mio` keeps two such buffers for a connection.
const MAX_WRITE_BYTES: usize = 128 << 10;

/// Part of a shard's own buffer that is made ready for one read, 16 KiB.
const READ_STEP_BYTES: usize = 16 << 10;

/// Lets waits of this process end within a millisecond of their time: Windows counts in
/// steps of 15 else, and a link repairs and paces in milliseconds.
pub(super) fn sharpen_waits() {
    static SHARPENED: OnceLock<()> = OnceLock::new();
    SHARPENED.get_or_init(|| {
        // SAFETY: it takes a number. It is never undone: a link lasts as long as its broker.
        let _ = unsafe { timeBeginPeriod(1) };
    });
}

/// Instances of a pipe that wait for clients.
#[derive(Debug)]
pub(super) struct Incoming {
    listener: LocalListener,
    pending: Vec<NamedPipe>,
    /// Instance at which the next look for a client starts.
    next: usize,
    token: Token,
}

impl Incoming {
    /// Makes as many instances wait as are to. A client that came before `mio` waits is
    /// no error.
    fn fill(&mut self, registry: &Registry) -> io::Result<()> {
        while self.pending.len() < self.listener.pending() {
            let handle = self.listener.instance()?.into_raw_handle();
            // SAFETY: the handle is ours alone, is a pipe, and was made for overlapped use.
            let mut pipe = unsafe { NamedPipe::from_raw_handle(handle) };
            registry.register(&mut pipe, self.token, Interest::READABLE | Interest::WRITABLE)?;
            match pipe.connect() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            self.pending.push(pipe);
        }
        Ok(())
    }
}

/// Starts to accept: each edge of `token` means connections.
pub(super) fn listen(
    registry: &Registry,
    listener: Listener,
    token: Token,
) -> io::Result<Incoming> {
    let mut incoming = Incoming { listener, pending: Vec::new(), next: 0, token };
    incoming.fill(registry)?;
    Ok(incoming)
}

/// Accepts one connection.
pub(super) fn accept(incoming: &mut Incoming, registry: &Registry) -> io::Result<Socket> {
    // If another instance could not be made the last time.
    incoming.fill(registry)?;
    for _ in 0..incoming.pending.len() {
        let at = incoming.next % incoming.pending.len();
        // While one waits this asks nothing of the system.
        match incoming.pending[at].connect() {
            Ok(()) => {
                let pipe = incoming.pending.swap_remove(at);
                // A failure comes again in the next call; this client is not held up.
                let _ = incoming.fill(registry);
                return Ok(LocalSocket::accepted(pipe));
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => incoming.next = at + 1,
            Err(_) => {
                // The client left, or the instance is broken: another one takes its place.
                incoming.pending.swap_remove(at);
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
    }
    Err(io::ErrorKind::WouldBlock.into())
}

/// Watches a connection that was accepted here.
pub(super) fn register(registry: &Registry, socket: &mut Socket, conn: Conn) -> io::Result<()> {
    let token = Token(conn.0 as usize);
    registry.reregister(&mut socket.pipe, token, Interest::READABLE | Interest::WRITABLE)?;
    socket.expect_edge();
    Ok(())
}

/// Switches nothing: the end of each write brings an edge.
pub(super) fn watch_room(
    _registry: &Registry,
    _socket: &Socket,
    _conn: Conn,
    _watch: bool,
) -> io::Result<()> {
    Ok(())
}

/// Has a connection bring no edges any more.
pub(super) fn deregister(registry: &Registry, socket: &mut Socket) -> io::Result<()> {
    registry.deregister(&mut socket.pipe)
}

/// Closes a connection. What the pipe holds the client can still read, for it is not
/// disconnected: that would throw it away.
pub(super) fn close(registry: &Registry, socket: Option<Socket>) {
    if let Some(mut socket) = socket {
        // It fails only for a socket that is not registered; this one is.
        let _ = deregister(registry, &mut socket);
        socket.cancel();
    }
}

/// Whether an edge that says so means room to send.
pub(super) fn has_room(socket: &Socket) -> bool {
    socket.take_edge()
}

/// Whether what was sent is still on its way to the kernel.
pub(super) fn is_sending(socket: &Socket) -> bool {
    socket.is_writing()
}

/// Reads what is there; 0 is the end.
pub(super) fn receive(socket: &Socket, target: &mut [u8]) -> io::Result<usize> {
    (&socket.pipe).read(target)
}

/// Reads up to `limit` bytes behind those in `buffer`, which has the capacity; 0
/// is the end.
pub(super) fn receive_into(
    socket: &Socket,
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<usize> {
    let length = buffer.len();
    buffer.resize(length + limit.min(READ_STEP_BYTES), 0);
    let outcome = receive(socket, &mut buffer[length..]);
    buffer.truncate(length + outcome.as_ref().map_or(0, |bytes| *bytes));
    outcome
}

/// Starts to write, as much as one write takes.
pub(super) fn send(
    scratch: &mut Scratch,
    socket: &Socket,
    list: &[IoSlice<'_>],
) -> io::Result<usize> {
    let joined = match list {
        [one] => &one[..one.len().min(MAX_WRITE_BYTES)],
        many => {
            scratch.clear();
            for slice in many {
                let room = MAX_WRITE_BYTES - scratch.len();
                scratch.extend_from_slice(&slice[..slice.len().min(room)]);
            }
            scratch.as_slice()
        }
    };
    let bytes = (&socket.pipe).write(joined)?;
    socket.began_writing();
    Ok(bytes)
}

/// Fetches edges. `None` waits without end.
pub(super) fn wait(
    poll: &mut Poll,
    events: &mut Events,
    timeout: Option<Duration>,
) -> io::Result<()> {
    poll.poll(events, timeout)
}

/// The time since the process first asked: the same for all shards.
pub(super) fn now() -> crate::Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    crate::Instant::from_nanos(START.get_or_init(Instant::now).elapsed().as_nanos() as u64)
}
