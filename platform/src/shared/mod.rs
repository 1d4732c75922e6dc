//! Memory that the broker shares with local clients.
//!
//! ```text
//!   arena.rs         the broker's arena and its sections, one per shard
//!   client_memory.rs memory of one client
//!   offer.rs         passing both to the client
//!   ring_buffers.rs  the pool for what comes by rings
//!   attachment.rs    one connection: what comes from it
//!   outbound.rs      one connection: what goes to it
//!   attachments.rs   all connections of a shard
//!   turn.rs          their turn in a wait
//!   shared_memory.rs the same for a back end that may have none
//! ```
//! Only Linux has it; elsewhere to make some fails, and local sockets do the work. The
//! simulator has it within one process, everywhere. The back ends watch bells and sockets; all
//! else is here, once.
//!
//! It makes no decision on who is offered memory.

// Elsewhere only the simulator shares memory.
#![cfg_attr(not(any(target_os = "linux", feature = "sim")), allow(dead_code))]

mod arena;
mod attachment;
mod attachments;
mod client_memory;
#[cfg(target_os = "linux")]
pub(crate) mod offer;
mod outbound;
mod ring_buffers;
mod shared_memory;
mod turn;

pub(crate) use arena::ArenaRange;
pub use arena::{ArenaSection, BrokerArena};
use attachments::Attachments;
pub use client_memory::ClientMemory;
pub(crate) use shared_memory::SharedMemory;

/// Use that a connection makes of its shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Size of the ring that the client uses, in bytes.
    pub ring_bytes: u64,
    /// Bytes that came from the client and are not delivered: in the ring, or the front of
    /// a frame that was put back.
    pub ring_held_bytes: u64,
    /// Bytes of the arena that the client has been sent and not released.
    pub in_flight_bytes: u64,
    /// The ring was nearly full in one wait after another: a larger one would help, and is
    /// not allowed yet.
    pub wants_larger_ring: bool,
}
