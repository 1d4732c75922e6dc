//! Layout of a connection's memory, to the byte. PROTOCOL.md says the same in words.
//!
//! ```text
//!   0x0000  control page   words of the broker, words of the client, a line apart each
//!   0x1000  descriptors    DESCRIPTORS times 16 bytes, a ring
//!   0x3000  ring           MAX_RING_BYTES; the client uses the first `ring_bytes` of it
//! ```
//! Each word is written by one side, but for the four by which a side asks to be woken:
//! whoever rings sets them back to 0. Words are little-endian as the machines are; positions
//! count from 0 and never wrap.

use crate::sync::{AtomicU32, AtomicU64};

/// Bytes of the control page.
pub const CONTROL_BYTES: usize = 4096;

/// Descriptors that fit between broker and client; a power of two.
pub const DESCRIPTORS: usize = 512;

/// Bytes of one descriptor.
pub const DESCRIPTOR_BYTES: usize = 16;

/// The smallest ring, 64 KiB, with which each connection begins.
pub const MIN_RING_BYTES: usize = 64 << 10;

/// The largest ring, 1 MiB.
pub const MAX_RING_BYTES: usize = 1 << 20;

/// Value of `ring_end` while the broker, which ends, finds out how much it takes.
pub const RING_ENDS: u64 = u64::MAX;

/// Offset of the ring in the memory of a connection.
pub const RING_AT: usize = CONTROL_BYTES + DESCRIPTORS * DESCRIPTOR_BYTES;

/// Bytes of the memory of one connection, most of which are never touched.
pub const REGION_BYTES: usize = RING_AT + MAX_RING_BYTES;

/// Bytes of a connection's memory that are reserved when it is made.
pub const FIRST_BYTES: usize = RING_AT + MIN_RING_BYTES;

const _: () = assert!(DESCRIPTORS.is_power_of_two());
const _: () = assert!(RING_AT.is_multiple_of(4096));
const _: () = assert!(std::mem::size_of::<Control>() <= CONTROL_BYTES);
const _: () = assert!(cfg!(target_endian = "little") || !cfg!(target_os = "linux"));

/// A word with cache lines of its own: the line next to it is often fetched, too.
#[repr(C, align(128))]
#[derive(Debug, Default)]
pub struct Line<T>(pub T);

/// The control page.
#[repr(C)]
#[derive(Debug, Default)]
pub struct Control {
    /// Bytes of the ring that the broker has taken.
    pub ring_head: Line<AtomicU64>,
    /// The largest ring that the client may use, in bytes; written by the broker.
    pub ring_limit: Line<AtomicU32>,
    /// 1: the broker wants its bell rung when bytes are in the ring.
    pub broker_waits: Line<AtomicU32>,
    /// Descriptors that the broker has written.
    pub descriptor_tail: Line<AtomicU64>,
    /// The broker wants its bell rung when so many descriptors are released; 0: no.
    pub release_at: Line<AtomicU64>,
    /// 1: the broker has ended the connection, and uses what was not released again.
    pub revoked: Line<AtomicU32>,
    /// Bytes that the client has put into the ring.
    pub ring_tail: Line<AtomicU64>,
    /// Bytes of the ring that the client uses, from 0 on: 0 means the smallest. It changes
    /// only while the ring is empty.
    pub ring_bytes: Line<AtomicU32>,
    /// 1: the client wants its bell rung when descriptors are there.
    pub client_waits: Line<AtomicU32>,
    /// Descriptors that the client is done with.
    pub descriptor_head: Line<AtomicU64>,
    /// The client wants its second bell rung when the broker has taken so many bytes of the
    /// ring; 0: no.
    pub room_at: Line<AtomicU64>,
    /// Not 0: the broker ends in order, and takes so many bytes of the ring, less one, since
    /// the start. What was put behind them is still the client's.
    pub ring_end: Line<AtomicU64>,
}
