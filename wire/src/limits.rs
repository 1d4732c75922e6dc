//! Limits of the protocol, each with its unit in its name.

/// Version of the local protocol, carried by hello and welcome.
pub const PROTOCOL_VERSION: u16 = 1;

/// First four bytes of a hello's and a welcome's payload: `NCB1`.
pub const MAGIC: u32 = u32::from_le_bytes(*b"NCB1");

/// Bytes of a frame header.
pub const HEADER_BYTES: usize = 24;

/// Frames, payloads and lengths are multiples of this many bytes.
pub const ALIGNMENT_BYTES: usize = 8;

/// Longest event name, pattern, channel name and client name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// Largest number of `**` tokens in one pattern: it bounds the work of matching.
pub const MAX_DEEP_WILDCARDS: usize = 4;

/// Largest payload a broker accepts unless it is configured otherwise.
pub const DEFAULT_MAX_PAYLOAD_BYTES: usize = 2 << 20;

/// Largest payload a broker can be configured to accept.
pub const HARD_MAX_PAYLOAD_BYTES: usize = 1 << 30;

/// Largest payload of a control frame: a hello, an error, a request in `control`, but not
/// what a broker answers in `stats` and `control`.
pub const MAX_CONTROL_PAYLOAD_BYTES: usize = 4096;

/// Largest payload of a broker's `stats` and `control`: it lists fewer clients rather than
/// say more, and clients take no more.
pub const MAX_STATS_BYTES: usize = 8 << 20;

/// Bytes of a header and the longest name, padded: they must be contiguous to route.
pub const MAX_HEAD_BYTES: usize = HEADER_BYTES + 256;

/// Rounds up to the alignment of frames.
#[inline]
pub const fn pad(bytes: usize) -> usize {
    (bytes + (ALIGNMENT_BYTES - 1)) & !(ALIGNMENT_BYTES - 1)
}

const _: () = assert!(MAX_CONTROL_PAYLOAD_BYTES <= MAX_STATS_BYTES);
const _: () = assert!(MAX_STATS_BYTES <= HARD_MAX_PAYLOAD_BYTES);
const _: () = assert!(HEADER_BYTES.is_multiple_of(ALIGNMENT_BYTES));
const _: () = assert!(pad(MAX_NAME_BYTES) == 256);
const _: () = assert!(MAX_HEAD_BYTES == HEADER_BYTES + pad(MAX_NAME_BYTES));
const _: () = assert!(DEFAULT_MAX_PAYLOAD_BYTES <= HARD_MAX_PAYLOAD_BYTES);
// A frame's length is a u32, and so is a range inside a received chunk.
const _: () = assert!(MAX_HEAD_BYTES + HARD_MAX_PAYLOAD_BYTES <= u32::MAX as usize);
