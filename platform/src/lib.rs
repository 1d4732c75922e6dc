//! The operating system, as the broker sees it: operations in, completions out.
//!
//! This is the only crate that talks to the system, and the only one in which
//! `unsafe` is allowed. A shard owns one [`Io`] and drives it from one thread:
//!
//! ```text
//!            operations: receive, send, close …
//!   shard  ───────────────────────────────────▶  Io  ⇄  kernel
//!          ◀───────────────────────────────────
//!            completions: Received, Sent, Closed …
//! ```
//!
//! Back ends supply the same items: `uring` (Linux), `poll` (Unix and
//! Windows, by `mio`) and `sim` (seeded, in memory, for tests).
//!
//! It does not know frames, events or routes; bytes come in as [`bytes::Bytes`]
//! chunks of a pool buffer and go out as [`Slice`]s of the same chunks.

mod allocator;
mod backend;
#[cfg(windows)]
pub mod console;
mod cores;
pub mod datagram;
mod hangups;
mod host;
mod instant;
mod io;
mod local;
mod memory;
mod monotonic;
mod output;
mod parent;
#[cfg(windows)]
pub mod pipe;
mod poll;
mod pool;
#[cfg(windows)]
pub mod private_file;
#[cfg(windows)]
pub mod service;
mod shared;
#[cfg(feature = "sim")]
pub mod sim;
mod slice;
mod snapshots;
#[cfg(target_os = "linux")]
mod uring;

pub use allocator::give_back_memory;
pub use backend::{
    Backend, BackendChoice, BackendUnavailable, UnknownBackend, select_backend, select_backend_with,
};
pub use cores::{allowed_cores, pin_to_core, pin_to_cores};
pub use datagram::{DatagramConfig, DatagramError, DatagramInfo, DatagramSockets, InterfaceReason};
pub use datagram::{
    DatagramIo, DatagramPlace, DatagramStats, DatagramTrain, MAX_DATAGRAMS_PER_SEND,
};
pub use hangups::ignores_hangups;
pub use host::{host_name, is_wine};
pub use instant::Instant;
pub use io::{
    Completion, Conn, Io, IoStats, MAX_ACCEPTS_PER_WAIT, MAX_SLICES_PER_SEND, Peer, ReceiveEnd,
    WakeTarget, Waker,
};
pub use local::{
    BindError, BindOptions, Group, HeirListener, InheritError, InheritedListener, LocalListener,
    LocalSocket, MAX_PATH_BYTES, Note, SEND_BUFFER_BYTES, SocketKeeper, account_name,
    descriptor_limit, find_group, find_user, listening_pid, own_user, raise_descriptor_limit,
};
pub use memory::{memory_available_bytes, memory_total_bytes};
pub use monotonic::monotonic_micros;
pub use output::wait_until_unread;
pub use parent::Parent;
pub use poll::{PollConfig, PollIo};
pub use pool::{BufferIndex, BufferPool, MAX_BUFFER_BYTES, MAX_BUFFERS, PAGE_BYTES};
pub use shared::{ArenaSection, BrokerArena, ClientMemory, MemoryUse};
pub use slice::{MAX_CHUNK_BYTES, Slice};
pub use snapshots::Snapshots;
#[cfg(target_os = "linux")]
pub use uring::{Unsupported, UringConfig, UringIo};
