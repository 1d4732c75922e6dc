//! Memory that the broker shares with this client: what is emitted is written to a ring,
//! what comes is read where the broker has it.
//!
//! ```text
//!   broker ── offer, descriptors ─► map ─► Memory ─┬─► Ring: the outgoing half
//!                                                  └─► Incoming: the other one
//! ```
//! The core decides when which half is used; here is what touches the system. Where the
//! system has no such memory both halves are types without a value.

#[cfg(not(target_os = "linux"))]
mod absent;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
use absent as system;
#[cfg(target_os = "linux")]
use linux as system;

#[cfg(target_os = "linux")]
pub(crate) use linux::receive;
pub(crate) use system::{Bell, Descriptors, Incoming, Memory, Ring};

/// Whether the system has such memory.
pub(crate) const IS_THERE: bool = cfg!(target_os = "linux");

/// Bytes of descriptors that are done with and not released: fewer cost more stores that
/// the broker reads, more hold more of its buffers.
#[cfg(target_os = "linux")]
const RELEASE_AT_BYTES: usize = 16 << 10;

/// A ring is put when a batch is appended: this much, or an eighth of a larger ring. Each wakes
/// a broker that sleeps, so small ones cost more than their bytes; an eighth leaves the broker
/// something to do while the next is made.
#[cfg(target_os = "linux")]
const MIN_BATCH_BYTES: usize = 32 << 10;
#[cfg(target_os = "linux")]
const BATCHES_PER_RING: usize = 8;

/// The place where the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), expect(dead_code, reason = "nothing lies in memory there"))]
pub(crate) enum Taken {
    /// A range of the broker's memory.
    Range { offset: u64, bytes: u32 },
    /// Bytes that are the next of the socket.
    Socket(usize),
    /// Bytes that were read before.
    Ahead,
    /// Nothing yet.
    Nothing,
    /// The end by force: nothing in the broker's memory holds.
    Revoked,
    /// A breach of the protocol.
    Fault,
}
