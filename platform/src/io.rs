//! The contract between a shard and a back end.
//!
//! # Rules that every back end keeps
//! - A [`Conn`] is valid from `Accepted` or [`Io::adopt`] until `Closed` (or
//!   [`Io::release`]). Its number is not used again before that, so a late
//!   completion never names another connection.
//! - Nothing here blocks but [`Io::wait`].
//! - Operations on a connection after [`Io::close`] are a programmer's error
//!   (debug assertion), completions that were under way are swallowed; the one
//!   completion that still comes is `Closed`. What [`Io::wait`] already handed out
//!   in the same batch is the shard's own to ignore.
//! - Memory that the kernel may still touch is released only after its final
//!   completion, or after the ring is closed.
//!
//! # Receiving
//! [`Io::receive`] starts a stream of `Received` completions that ends with
//! exactly one `ReceiveEnded`. [`Io::stop_receive`] asks it to end; data that
//! was already on its way still comes before `ReceiveEnded { Stopped }`. After
//! `Stopped` the shard may call `receive`, `receive_into` or `release`.
//! Running out of pool buffers is no end: the back end re-arms by itself once a
//! quarter of its buffers is free again, and says so through [`Io::starved`].
//!
//! # Sending
//! [`Io::send`] hands over up to [`MAX_SLICES_PER_SEND`] slices for one
//! nonblocking gather-write. Exactly one `Sent` (or `SendFailed`) follows, at
//! the latest in the next [`Io::wait`]; until then no other send on that
//! connection. The kernel never keeps the slices beyond that: what it did not
//! take is still the shard's, to copy out, drop or send again. If it took less
//! than all, `Sent { blocked: true }` is followed by one `Writable` when there
//! is room. A back end that must copy what it sends may also say so of a send that
//! it took whole: the bytes are on their way, and `Writable` comes when the kernel
//! has them. A shard that ends a connection in order closes it only then.
//!
//! # Shared memory
//! A connection begins with its socket. After [`Io::share_memory`] what the other end puts
//! into its ring is received, by the same completions, and sends go by descriptors where
//! their bytes lie in the arena, else by the socket. Both are one stream in each direction,
//! in order. Before the next [`Io::wait`] the end of the last chunk of such a connection may
//! be returned by [`Io::put_back`]. What was sent stays pinned until
//! the other end has released it, within bounds: `Sent` tells that the other end can read
//! it, [`Io::is_read`] whether it did.
//!
//! # More than one shard
//! Where a connection can move ([`Io::hands_over`]), one shard accepts, and hands
//! it over by [`Io::release`] and [`Io::adopt`]. Where the system ties it to the
//! event queue that it came in on (named pipes), every shard accepts, and keeps
//! what it got.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::{ClientMemory, DatagramIo, DatagramTrain, Instant, MemoryUse, Slice};

/// The most slices that one [`Io::send`] takes: the size of the gather list.
pub const MAX_SLICES_PER_SEND: usize = 64;

/// The most [`Completion::Accepted`] that one [`Io::wait`] brings: whoever connects
/// again and again takes his turn with everybody else.
pub const MAX_ACCEPTS_PER_WAIT: usize = 64;

/// A connection of one back end: a small number, dense from 0, for use as an
/// index into the shard's own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conn(pub u32);

/// Process at the other end of a local socket, as the kernel tells it at connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Process id, 0 if unknown.
    pub pid: u32,
    /// User id, `u32::MAX` if unknown.
    pub uid: u32,
    /// Group id, `u32::MAX` if unknown.
    pub gid: u32,
    /// Security identifier of its user, as text, where users have no numbers (Windows).
    pub user: Option<Arc<String>>,
    /// Other groups of it, by number, where the system tells them (Linux, macOS). Thin, as
    /// each connection of a back end has it.
    pub groups: Option<Arc<Vec<u32>>>,
}

impl Peer {
    /// The peer of whom nothing is known.
    pub const UNKNOWN: Peer =
        Peer { pid: 0, uid: u32::MAX, gid: u32::MAX, user: None, groups: None };

    /// Whether both are of one user.
    pub fn is_same_user(&self, other: &Peer) -> bool {
        self.uid == other.uid && self.user == other.user
    }

    /// Whether its user is known.
    pub fn is_known(&self) -> bool {
        self.uid != u32::MAX || self.user.is_some()
    }

    /// Whether it is of a group, as its own one or one of the others.
    pub fn is_in_group(&self, group: u32) -> bool {
        let others = self.groups.as_deref().map_or(&[][..], Vec::as_slice);
        group != u32::MAX && (self.gid == group || others.contains(&group))
    }
}

impl Default for Peer {
    fn default() -> Peer {
        Peer::UNKNOWN
    }
}

/// Reason for which a stream of `Received` completions ended.
#[derive(Debug)]
pub enum ReceiveEnd {
    /// The peer closed its side (or died).
    Eof,
    /// [`Io::stop_receive`] took hold.
    Stopped,
    /// The socket failed.
    Failed(io::Error),
}

/// Report of a back end to its shard.
#[derive(Debug)]
pub enum Completion {
    /// A client connected. Nothing is received from it before [`Io::receive`].
    Accepted {
        /// The new connection.
        conn: Conn,
        /// Credentials of the peer.
        peer: Peer,
    },
    /// Accepting failed (out of descriptors, mostly) and paused. The shard calls
    /// [`Io::resume_accept`] when it wants to try again.
    AcceptPaused {
        /// Error of the system.
        error: io::Error,
    },
    /// Bytes arrived. The chunk pins a pool buffer until it is dropped.
    Received {
        /// Connection concerned.
        conn: Conn,
        /// Bytes that came; never empty.
        chunk: Bytes,
    },
    /// The stream of `Received` ended.
    ReceiveEnded {
        /// Connection concerned.
        conn: Conn,
        /// Reason for the end.
        end: ReceiveEnd,
    },
    /// [`Io::receive_into`] filled its buffer, or the connection ended before
    /// (then `ReceiveEnded` comes instead and the buffer is dropped).
    Filled {
        /// Connection concerned.
        conn: Conn,
        /// The buffer, filled to the length asked for.
        buffer: BytesMut,
    },
    /// A send was carried out.
    Sent {
        /// Connection concerned.
        conn: Conn,
        /// Number of bytes that the socket took, possibly 0.
        bytes: usize,
        /// `Writable` follows when there is room: it took less than it was given, or
        /// what it took is still on its way.
        blocked: bool,
    },
    /// A socket that had blocked takes bytes again.
    Writable {
        /// Connection concerned.
        conn: Conn,
    },
    /// The peer is gone; nothing more can be sent.
    SendFailed {
        /// Connection concerned.
        conn: Conn,
        /// Error of the system.
        error: io::Error,
    },
    /// [`Io::close`] is complete; the number may be used again.
    Closed {
        /// Connection concerned.
        conn: Conn,
    },
    /// Datagrams arrived: see [`DatagramIo`](crate::DatagramIo).
    Datagrams(DatagramTrain),
    /// The link's socket had no room and has some again.
    DatagramsWritable,
    /// The shard was woken by another thread's [`Waker::wake`] (any number of calls, one
    /// report).
    Woken,
}

/// Counters of a back end, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IoStats {
    /// System calls made.
    pub syscalls: u64,
    /// Receives that brought bytes.
    pub receives: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Sends carried out.
    pub sends: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Sends that the socket took only in part.
    pub blocked_sends: u64,
    /// Times that receiving stopped for want of a pool buffer.
    pub starvations: u64,
    /// Buffers in the pool.
    pub buffers: u64,
    /// Buffers that are neither with the kernel nor free: pinned by chunks.
    pub pinned_buffers: u64,
    /// Bytes of one pool buffer.
    pub buffer_bytes: u64,
}

/// View of the operating system that one shard has. The module states the rules.
pub trait Io: DatagramIo {
    /// A connection between two back ends: how one shard hands it to another, if
    /// it can.
    type Socket: Send + 'static;
    /// A bound, listening local socket.
    type Listener;

    /// A short name for logs and `status`: `uring`, `poll` or `sim`.
    fn name(&self) -> &'static str;

    /// Whether a connection can move to another shard's back end. The same for all
    /// back ends of a broker.
    fn hands_over(&self) -> bool;

    /// Starts to accept on `listener`, until [`Io::stop_accept`]; in place of the one
    /// that it accepted on so far, if there is one.
    ///
    /// # Errors
    /// What the system says of registering it.
    fn accept(&mut self, listener: Self::Listener) -> io::Result<()>;

    /// Tries again after [`Completion::AcceptPaused`].
    fn resume_accept(&mut self);

    /// Stops accepting and closes the listener.
    fn stop_accept(&mut self);

    /// Takes over a socket from another shard. Only if it [hands over](Io::hands_over).
    ///
    /// # Errors
    /// What the system says of registering it; the socket is closed then.
    fn adopt(&mut self, socket: Self::Socket) -> io::Result<Conn>;

    /// Gives a connection away: only when it is not receiving (never started, or
    /// after `ReceiveEnded { Stopped }`) and has no send under way. `conn` is
    /// free at once.
    fn release(&mut self, conn: Conn) -> Self::Socket;

    /// Starts the stream of `Received` completions.
    fn receive(&mut self, conn: Conn);

    /// Asks for that stream's end. Nothing happens when it has ended already, or
    /// while [`Io::receive_into`] is under way.
    fn stop_receive(&mut self, conn: Conn);

    /// Reads straight into `buffer`, from its present length up to `length`,
    /// then completes with `Filled`. Only when not receiving. The back end
    /// reserves what is missing of the capacity.
    fn receive_into(&mut self, conn: Conn, buffer: BytesMut, length: usize);

    /// Starts one nonblocking gather-write of the first [`MAX_SLICES_PER_SEND`] of
    /// `slices`, in order. The back end keeps clones for as long as it needs them.
    fn send<'a>(&mut self, conn: Conn, slices: impl Iterator<Item = &'a Slice>);

    /// Ends the direction to the other end behind what was sent, where the system can:
    /// the other end reads the rest and then the end. Nothing may be under way, nor be
    /// sent afterwards. Receiving goes on. Returns whether it can; nothing happens
    /// otherwise, and a close then loses nothing of what was sent.
    fn end_sending(&mut self, conn: Conn) -> bool;

    /// Has the other end write no more, where the system can do that without losing
    /// what it has written: that is still received, then `ReceiveEnded { Eof }` comes.
    /// Returns whether it can; nothing happens otherwise.
    fn end_receiving(&mut self, conn: Conn) -> bool;

    /// Size of the arena that this back end receives to, in bytes; 0 if it has none, and
    /// so no memory to share.
    fn arena_bytes(&self) -> usize {
        0
    }

    /// Offers a connection memory: sends `frame` at once, with the descriptors of the arena
    /// and of `memory`. Only when no send is under way. Returns false if the socket has no
    /// room now; then nothing was sent.
    ///
    /// # Errors
    /// The system does not pass the descriptors on, or the other end is gone.
    fn offer_memory(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &ClientMemory,
    ) -> io::Result<bool> {
        let _ = (conn, frame, memory);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Sends `frame` at once, the last one that the socket carries by itself, and uses
    /// `memory` from now on. Only when no send is under way. Returns false if the socket has
    /// no room now; then nothing has changed.
    ///
    /// # Errors
    /// The other end is gone, or the system refuses to watch the bell.
    fn share_memory(
        &mut self,
        conn: Conn,
        frame: &[u8],
        memory: &Arc<ClientMemory>,
    ) -> io::Result<bool> {
        let _ = (conn, frame, memory);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Returns the last `bytes` of a chunk of a connection with shared memory: the front of a
    /// frame that is not whole, of `frame_bytes` in the end (0: not known yet). They come
    /// again, at the front of the next chunk. Only before the next [`Io::wait`]. Returns
    /// false, and keeps nothing, if another chunk came behind this one or such a frame fits
    /// no chunk.
    fn put_back(&mut self, conn: Conn, chunk: &Bytes, bytes: usize, frame_bytes: usize) -> bool {
        let _ = (conn, chunk, bytes, frame_bytes);
        false
    }

    /// Whether the other end has released all that was sent by shared memory; if not, a
    /// `Writable` follows when it has. True for other connections.
    fn is_read(&mut self, conn: Conn) -> bool {
        let _ = conn;
        true
    }

    /// Lets a connection use the largest ring, which was [reserved](ClientMemory::reserve_ring).
    fn allow_largest_ring(&mut self, conn: Conn) {
        let _ = conn;
    }

    /// Tells how much of its shared memory a connection uses; `None` if it has none.
    fn memory_use(&self, conn: Conn) -> Option<MemoryUse> {
        let _ = conn;
        None
    }

    /// Closes a connection: cancels what is under way, then `Closed`.
    fn close(&mut self, conn: Conn);

    /// Carries out what was asked for, waits for at least one completion and
    /// appends all that are there. `None` waits without end, zero only polls. It
    /// also returns, with nothing, when a connection has begun to starve.
    ///
    /// # Errors
    /// Only a broken back end: the shard cannot go on.
    fn wait(
        &mut self,
        completions: &mut Vec<Completion>,
        timeout: Option<Duration>,
    ) -> io::Result<()>;

    /// The waker by which other threads wake this shard.
    fn waker(&self) -> Waker;

    /// The time on this shard's clock, which never goes back.
    fn now(&self) -> Instant;

    /// Whether a connection waits for a pool buffer at this moment: time to copy
    /// out what slow listeners pin.
    fn starved(&self) -> bool;

    /// Roughly how many bytes one [`Io::wait`] may bring at the most, all
    /// connections together. A back end that cannot tell may ignore it.
    fn set_receive_budget(&mut self, bytes: usize);

    /// Counters since the start.
    fn stats(&self) -> IoStats;
}

/// Target of a [`Waker`].
pub trait WakeTarget: Send + Sync {
    /// Makes the shard's [`Io::wait`] return with `Woken`. Cheap when it is
    /// already due to.
    fn wake(&self);
}

/// Wakes a shard from any thread. Cloning is cheap.
#[derive(Clone)]
pub struct Waker(Arc<dyn WakeTarget>);

impl Waker {
    /// A waker for `target`.
    pub fn new(target: Arc<dyn WakeTarget>) -> Waker {
        Waker(target)
    }

    /// Makes the shard's [`Io::wait`] return with `Woken`.
    #[inline]
    pub fn wake(&self) {
        self.0.wake();
    }
}

impl std::fmt::Debug for Waker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Waker")
    }
}
