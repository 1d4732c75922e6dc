//! The 44 bytes every data datagram starts with.
//!
//! ```text
//!  0      2      3      4        8         16       24        32        40       42         44
//!  +------+------+------+--------+---------+--------+---------+---------+--------+----------+
//!  | "NL" | kind | vers.| key id | session | number | ordinal | channel | stream | boundary |
//!  +------+------+------+--------+---------+--------+---------+---------+--------+----------+
//! ```
//! All little endian. Behind it lies the body, a piece of the stream, and on a
//! link with a key the tag.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::limits::{DATA_HEADER_BYTES, LINK_MAGIC, LINK_VERSION, NO_BOUNDARY, SESSION_BYTES};

/// The kind byte of a data datagram.
pub const DATA_KIND: u8 = 0x01;

/// End of the fields with which all datagrams of a session begin.
const SESSION_END: usize = 16;

/// The header as it lies in the datagram; any 44 bytes are one.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct DataHeader {
    /// `NL`.
    pub magic: [u8; 2],
    /// [`DATA_KIND`].
    pub kind: u8,
    /// Version of the link protocol.
    pub version: u8,
    /// Id of the key that seals the datagram; 0 on an open link.
    pub key_id: U32,
    /// First half of the sender's session id.
    pub session: U64,
    /// Number of this datagram in its stream.
    pub number: U64,
    /// Ordinal of the first event frame that starts at or behind the boundary.
    pub ordinal: U64,
    /// Hash of the channel in force at the boundary, 0 if none is yet.
    pub channel: U64,
    /// Group in the low byte, index in the high one.
    pub stream: U16,
    /// Offset in the body at which the first frame starts, or [`NO_BOUNDARY`].
    pub boundary: U16,
}

const _: () = assert!(core::mem::offset_of!(DataHeader, number) == SESSION_END);
const _: () = assert!(size_of::<DataHeader>() == DATA_HEADER_BYTES);

impl DataHeader {
    /// A header with no boundary, in no channel.
    pub fn new(key_id: u32, session: u64, stream: u16, number: u64, ordinal: u64) -> DataHeader {
        DataHeader {
            magic: LINK_MAGIC,
            kind: DATA_KIND,
            version: LINK_VERSION,
            key_id: U32::new(key_id),
            session: U64::new(session),
            number: U64::new(number),
            ordinal: U64::new(ordinal),
            channel: U64::new(0),
            stream: U16::new(stream),
            boundary: U16::new(NO_BOUNDARY),
        }
    }

    /// The header as it lies in the datagram: the associated data of its seal.
    #[inline]
    pub fn bytes(&self) -> &[u8; DATA_HEADER_BYTES] {
        zerocopy::transmute_ref!(self)
    }

    /// The header and the rest of a datagram; `None` if they are too few bytes.
    #[inline]
    pub fn split(datagram: &[u8]) -> Option<(&DataHeader, &[u8])> {
        DataHeader::ref_from_prefix(datagram).ok()
    }

    /// Whether both are data of one stream, sealed with the same key.
    #[inline]
    pub fn is_of_stream_of(&self, other: &DataHeader) -> bool {
        self.bytes()[..SESSION_END] == other.bytes()[..SESSION_END] && self.stream == other.stream
    }

    /// The boundary, if a frame starts in a body of this many bytes. One outside
    /// of it is as good as none.
    #[inline]
    pub fn boundary_in(&self, body_bytes: usize) -> Option<usize> {
        let boundary = self.boundary.get();
        (boundary != NO_BOUNDARY && usize::from(boundary) < body_bytes)
            .then_some(usize::from(boundary))
    }
}

/// The part of a session id that data datagrams carry: its first half, as it lies.
#[inline]
pub fn short_session(session: &[u8; SESSION_BYTES]) -> u64 {
    let (half, _) = U64::ref_from_prefix(session).expect("a session has more than 8 bytes");
    half.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_outside_of_the_body_is_none() {
        let mut header = DataHeader::new(0, 1, 2, 3, 4);
        assert_eq!(header.boundary_in(usize::from(u16::MAX) + 1), None);
        header.boundary = U16::new(8);
        assert_eq!(header.boundary_in(9), Some(8));
        assert_eq!(header.boundary_in(8), None);
        assert_eq!(header.boundary_in(0), None);
    }

    #[test]
    fn data_of_one_stream_differs_in_what_it_says_of_itself_alone() {
        let one = DataHeader::new(7, 1, 2, 3, 4);
        assert!(one.is_of_stream_of(&DataHeader::new(7, 1, 2, 9, 9)));
        for other in [(8, 1, 2), (7, 2, 2), (7, 1, 3)] {
            assert!(!one.is_of_stream_of(&DataHeader::new(other.0, other.1, other.2, 3, 4)));
        }
        let mut control = one;
        control.kind = 2;
        assert!(!one.is_of_stream_of(&control));
    }

    #[test]
    fn half_a_session_is_its_first_bytes() {
        let session = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16];
        let header = DataHeader::new(0, short_session(&session), 0, 0, 0);
        assert_eq!(header.bytes()[8..16], session[..8]);
    }
}
