//! Limits of the link protocol, each with its unit in its name.

/// Version of the link protocol: the fourth byte of every datagram.
pub const LINK_VERSION: u8 = 1;

/// First two bytes of every datagram: `NL`.
pub const LINK_MAGIC: [u8; 2] = *b"NL";

/// Bytes of a data datagram's header.
pub const DATA_HEADER_BYTES: usize = 44;

/// Bytes of a control datagram's header.
pub const CONTROL_HEADER_BYTES: usize = 32;

/// Bytes that end a sealed datagram.
pub const TAG_BYTES: usize = 16;

/// Smallest size a broker may limit its datagrams to: what any IPv6 path carries
/// in a packet of 1280 bytes.
pub const MIN_DATAGRAM_BYTES: usize = 1232;

/// Largest datagram: a jumbo frame of 9000 bytes less the IPv6 and UDP headers.
pub const MAX_DATAGRAM_BYTES: usize = 8952;

/// Bytes of a packet, IP header included, unless the broker is told otherwise.
pub const DEFAULT_PACKET_BYTES: usize = 1400;

/// Largest number of groups that channels can be spread over.
pub const MAX_GROUPS: usize = 64;

/// Value of `boundary` when no frame starts in a datagram.
pub const NO_BOUNDARY: u16 = 0xffff;

const _: () = assert!(MAX_DATAGRAM_BYTES < NO_BOUNDARY as usize);
const _: () = assert!(DATA_HEADER_BYTES + TAG_BYTES < MIN_DATAGRAM_BYTES);

/// Bytes of a session id; data datagrams carry the first half of it.
pub const SESSION_BYTES: usize = 16;

/// Bytes of a nonce in a challenge, an answer and the probes.
pub const NONCE_BYTES: usize = 16;

/// Longest cluster and broker name, in bytes.
pub const MAX_TEXT_BYTES: usize = 255;

/// Bytes that a hello must have if it is to be answered by hello and challenge,
/// whatever the names: the answer is never larger than what came.
pub const ASKING_HELLO_BYTES: usize = 664;

/// Largest body of a control datagram, in bytes: it fits the smallest datagram. A
/// probe, whose purpose is its size, may be larger.
pub const MAX_BODY_BYTES: usize = MIN_DATAGRAM_BYTES - CONTROL_HEADER_BYTES - TAG_BYTES;

/// Largest number of streams that one joined, heartbeat, status or leave tells of; more
/// need
/// another datagram.
pub const MAX_ENTRIES: usize = 35;

/// Unit of the share in a status, in bytes per second.
pub const SHARE_UNIT_BYTES_PER_S: u64 = 1000;

/// Largest number of ranges in one NAK.
pub const MAX_NAK_RANGES: usize = 72;

/// Largest number of peers in one `neighbours`: as many as fit behind its 8 bytes.
pub const MAX_NEIGHBOURS: usize = 294;

/// Largest number of `neighbours` datagrams for one list.
pub const MAX_NEIGHBOUR_PARTS: usize = 4;

const _: () = assert!(DEFAULT_PACKET_BYTES - 48 >= MIN_DATAGRAM_BYTES);
const _: () = assert!(MAX_TEXT_BYTES <= u8::MAX as usize);
// A group is the low byte of a stream, and a bit of the bitmap in an interest.
const _: () = assert!(MAX_GROUPS <= u64::BITS as usize);
