//! Every limit of the link protocol, with its unit in its name.

/// Version of the link protocol: the fourth byte of every datagram.
pub const LINK_VERSION: u8 = 1;

/// The first two bytes of every datagram: `NL`.
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

/// Most groups that channels can be spread over.
pub const MAX_GROUPS: usize = 64;

/// What `boundary` says when no frame starts in a datagram.
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

/// Most bytes of a control datagram's body: it fits the smallest datagram. A
/// probe, whose purpose is its size, may be larger.
pub const MAX_BODY_BYTES: usize = MIN_DATAGRAM_BYTES - CONTROL_HEADER_BYTES - TAG_BYTES;

/// Most streams that one joined, heartbeat, status or leave tells of; more need
/// another datagram.
pub const MAX_ENTRIES: usize = 35;

/// What the share of a status counts in, in bytes per second.
pub const SHARE_UNIT_BYTES_PER_S: u64 = 1000;

/// Most ranges in one NAK.
pub const MAX_NAK_RANGES: usize = 72;

/// Most peers that one neighbours tells of: what fits behind its 8 bytes.
pub const MAX_NEIGHBOURS: usize = 294;

/// Most neighbours that are one list.
pub const MAX_NEIGHBOUR_PARTS: usize = 4;

const _: () = assert!(DEFAULT_PACKET_BYTES - 48 >= MIN_DATAGRAM_BYTES);
const _: () = assert!(MAX_TEXT_BYTES <= u8::MAX as usize);
// A group is the low byte of a stream, and a bit of the bitmap in an interest.
const _: () = assert!(MAX_GROUPS <= u64::BITS as usize);
