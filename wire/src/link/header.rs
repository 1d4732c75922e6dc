//! The 32 bytes every control datagram starts with, and the kinds of them.
//!
//! ```text
//!  0      2      3      4        8                   24        32
//!  +------+------+------+--------+-------------------+---------+
//!  | "NL" | kind | vers.| key id |      session      | counter |
//!  +------+------+------+--------+-------------------+---------+
//! ```
//! All little endian. Behind it lies the body, and on a link with a key the tag.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::limits::{CONTROL_HEADER_BYTES, LINK_MAGIC, LINK_VERSION, SESSION_BYTES};

/// Kind of a control datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum ControlKind {
    /// I am here: cluster, name, settings.
    Hello = 0x10,
    /// Prove that you are alive: a nonce.
    Challenge = 0x11,
    /// The nonce of a challenge.
    Answer = 0x12,
    /// The groups that the sender wants.
    Interest = 0x13,
    /// Answer to an interest: where its sender stands in each stream.
    Joined = 0x14,
    /// Progress of each stream of the sender.
    Heartbeat = 0x15,
    /// Progress of the sender in receiving, and how far it may be sent.
    Status = 0x16,
    /// Please send these again.
    Nak = 0x17,
    /// The sender ends; where its streams end.
    Leave = 0x18,
    /// Does a datagram of this size arrive?
    Probe = 0x19,
    /// The probe arrived; and who answers.
    ProbeReply = 0x1a,
    /// The peers of the sender.
    Neighbours = 0x1b,
    /// The state of the sender, in short.
    Summary = 0x1c,
}

impl ControlKind {
    /// Array of all kinds, in the order of their numbers.
    pub const ALL: [ControlKind; 13] = [
        ControlKind::Hello,
        ControlKind::Challenge,
        ControlKind::Answer,
        ControlKind::Interest,
        ControlKind::Joined,
        ControlKind::Heartbeat,
        ControlKind::Status,
        ControlKind::Nak,
        ControlKind::Leave,
        ControlKind::Probe,
        ControlKind::ProbeReply,
        ControlKind::Neighbours,
        ControlKind::Summary,
    ];

    /// The kind with this number, if there is one.
    #[inline]
    pub fn from_byte(byte: u8) -> Option<ControlKind> {
        let at = byte.checked_sub(ControlKind::Hello as u8)?;
        ControlKind::ALL.get(usize::from(at)).copied()
    }
}

/// The header as it lies in the datagram; any 32 bytes are one.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ControlHeader {
    /// `NL`.
    pub magic: [u8; 2],
    /// Number of the [`ControlKind`].
    pub kind: u8,
    /// Version of the link protocol.
    pub version: u8,
    /// Id of the key that seals the datagram; 0 on an open link.
    pub key_id: U32,
    /// The sender's session id.
    pub session: [u8; SESSION_BYTES],
    /// Number of this datagram among all control datagrams of the session: never twice.
    pub counter: U64,
}

const _: () = assert!(size_of::<ControlHeader>() == CONTROL_HEADER_BYTES);

impl ControlHeader {
    /// A header of this version.
    pub fn new(
        kind: ControlKind,
        key_id: u32,
        session: &[u8; SESSION_BYTES],
        counter: u64,
    ) -> ControlHeader {
        ControlHeader {
            magic: LINK_MAGIC,
            kind: kind as u8,
            version: LINK_VERSION,
            key_id: U32::new(key_id),
            session: *session,
            counter: U64::new(counter),
        }
    }

    /// The header as it lies in the datagram: the associated data of its seal.
    #[inline]
    pub fn bytes(&self) -> &[u8; CONTROL_HEADER_BYTES] {
        zerocopy::transmute_ref!(self)
    }

    /// Appends the header: the start of a datagram, to be followed by its body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    /// The header and the rest of a datagram; `None` if they are too few bytes.
    #[inline]
    pub fn split(datagram: &[u8]) -> Option<(&ControlHeader, &[u8])> {
        ControlHeader::ref_from_prefix(datagram).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_its_number_and_no_other_number_is_one() {
        for byte in 0..=u8::MAX {
            match ControlKind::from_byte(byte) {
                Some(kind) => assert_eq!(kind as u8, byte),
                None => assert!(ControlKind::ALL.iter().all(|kind| *kind as u8 != byte)),
            }
        }
        assert_eq!(ControlKind::ALL.len(), 13);
        assert!(ControlKind::ALL.iter().all(|kind| ControlKind::from_byte(*kind as u8).is_some()));
    }

    #[test]
    fn a_written_header_reads_back() {
        let header = ControlHeader::new(ControlKind::Nak, 7, &[3; 16], 9);
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(out, header.bytes());
        out.push(0xff);
        let (read, rest) = ControlHeader::split(&out).unwrap();
        assert_eq!((read.bytes(), rest), (header.bytes(), &[0xff][..]));
        assert!(ControlHeader::split(&out[..31]).is_none());
    }
}
