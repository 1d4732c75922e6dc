//! Memory that the broker shares with local clients.
//!
//! ```text
//!   arena.rs         the broker's arena and its sections, one per shard
//!   linux.rs         memory of one client
//!   offer.rs         passing both to the client
//!   ring_buffers.rs  the pool for what comes by rings
//!   attachment.rs    one connection: what comes from it
//!   outbound.rs      one connection: what goes to it
//!   attachments.rs   all connections of a shard
//!   turn.rs          their turn in a wait
//!   shared_memory.rs the same for a back end that may have none
//! ```
//! Only Linux has it; elsewhere to make some fails, and local sockets do the work. The back
//! ends watch bells and sockets; all else is here, once.
//!
//! It makes no decision on who is offered memory.

#[cfg(target_os = "linux")]
mod arena;
#[cfg(target_os = "linux")]
mod attachment;
#[cfg(target_os = "linux")]
mod attachments;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(crate) mod offer;
#[cfg(target_os = "linux")]
mod outbound;
#[cfg(target_os = "linux")]
mod ring_buffers;
#[cfg(target_os = "linux")]
mod shared_memory;
#[cfg(target_os = "linux")]
mod turn;

#[cfg(target_os = "linux")]
pub(crate) use arena::ArenaRange;
#[cfg(target_os = "linux")]
pub use arena::{ArenaSection, BrokerArena};
#[cfg(target_os = "linux")]
use attachments::Attachments;
#[cfg(not(target_os = "linux"))]
pub(crate) use elsewhere::{ArenaRange, SharedMemory};
#[cfg(not(target_os = "linux"))]
pub use elsewhere::{ArenaSection, BrokerArena, ClientMemory};
#[cfg(target_os = "linux")]
pub use linux::ClientMemory;
#[cfg(target_os = "linux")]
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
    /// The ring was half full in one look after another: a larger one would help, and is
    /// not allowed yet.
    pub wants_larger_ring: bool,
}
