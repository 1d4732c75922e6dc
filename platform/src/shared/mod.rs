//! Memory that the broker shares with a local client.
//!
//! Only Linux has it; elsewhere to make some fails, and local sockets do the work.

#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use elsewhere::ClientMemory;
#[cfg(target_os = "linux")]
pub use linux::ClientMemory;

/// Use that a connection makes of its shared memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Size of the ring that the client uses, in bytes.
    pub ring_bytes: u64,
    /// Bytes in the ring that are not taken.
    pub ring_held_bytes: u64,
    /// Bytes of the arena that the client has been sent and not released.
    pub in_flight_bytes: u64,
    /// The ring was nearly full in one wait after another: a larger one would help, and is
    /// not allowed yet.
    pub wants_larger_ring: bool,
}
