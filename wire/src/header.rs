//! The 24 bytes every frame starts with.
//!
//! ```text
//!  0        4     5      6          8                16               24
//!  +--------+-----+------+----------+----------------+----------------+
//!  | length | kind| flags| name_len |     source     |    sequence    |
//!  +--------+-----+------+----------+----------------+----------------+
//! ```
//! All little endian. `length` counts the whole frame and is a multiple of 8;
//! the low three bits of `flags` say how many of the last bytes pad the payload, bits
//! 4 and 5 of an event's how it is [encoded](crate::encoding); the other bits are zero.
//!
//! Invariant: after [`Header::check`] the offsets of its [`Layout`] lie inside
//! the frame, so that every later access cannot fail.

use std::fmt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::encoding::{ENCODING_MASK, Encoding};
use crate::limits::{
    ALIGNMENT_BYTES, HEADER_BYTES, MAX_CONTROL_PAYLOAD_BYTES, MAX_NAME_BYTES, MAX_STATS_BYTES, pad,
};

/// The low bits of `flags`: how many bytes pad the payload.
pub const PADDING_MASK: u8 = 0b111;

/// Kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// An event: name and payload, from an emitter to its listeners.
    Event = 0x01,
    /// Client to broker, first frame: version, channel, options.
    Hello = 0x10,
    /// Broker to client, answer to hello: source, limits.
    Welcome = 0x11,
    /// Client to broker: deliver events that match the pattern in the name.
    Subscribe = 0x12,
    /// Client to broker: deliver no more events that match the pattern in the name.
    Unsubscribe = 0x13,
    /// Broker to client: the request with this sequence is in force.
    Ack = 0x14,
    /// Broker to client: a request failed, or the connection ends, and why.
    Error = 0x15,
    /// Either way: answer with `pong` once everything before is queued.
    Ping = 0x16,
    /// Answer to `ping`.
    Pong = 0x17,
    /// Broker to client: events of this source are missing at this place.
    Lost = 0x18,
    /// Either way: an orderly end; the broker echoes a client's.
    Bye = 0x19,
    /// Client to broker without payload: a question; back: the status as JSON.
    Stats = 0x1a,
    /// Client to broker: answer once the brokers of other machines know of all
    /// subscriptions so far; back: the names of those that do not.
    Cluster = 0x1b,
    /// Client to broker: who would get an event of the name; back: how many.
    Audience = 0x1c,
    /// Either way: from sockets to shared memory, step by step.
    Shared = 0x1d,
    /// Client to broker: a request of whoever runs it, in JSON; back: the answer, in JSON.
    Control = 0x1e,
    /// Broker to broker: the events that follow are of the channel in the name.
    Channel = 0x20,
}

impl Kind {
    /// The kind with this number, if there is one.
    #[inline]
    pub const fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            0x01 => Kind::Event,
            0x10 => Kind::Hello,
            0x11 => Kind::Welcome,
            0x12 => Kind::Subscribe,
            0x13 => Kind::Unsubscribe,
            0x14 => Kind::Ack,
            0x15 => Kind::Error,
            0x16 => Kind::Ping,
            0x17 => Kind::Pong,
            0x18 => Kind::Lost,
            0x19 => Kind::Bye,
            0x1a => Kind::Stats,
            0x1b => Kind::Cluster,
            0x1c => Kind::Audience,
            0x1d => Kind::Shared,
            0x1e => Kind::Control,
            0x20 => Kind::Channel,
            _ => return None,
        })
    }
}

/// Emitter of a frame: a node (broker) and one of its clients. The broker
/// assigns it in its welcome; node 0 and client 0 are nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source {
    /// The broker's node id.
    pub node: u32,
    /// The client's number at that broker.
    pub client: u32,
}

impl Source {
    /// The source that is nobody, which a client writes before it was welcomed.
    pub const NONE: Source = Source { node: 0, client: 0 };

    /// Makes one number of it: node in the low half, as it lies in the frame.
    #[inline]
    pub const fn to_u64(self) -> u64 {
        self.node as u64 | (self.client as u64) << 32
    }

    /// Reverses [`Source::to_u64`].
    #[inline]
    pub const fn from_u64(value: u64) -> Source {
        Source { node: value as u32, client: (value >> 32) as u32 }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:08x}/{}", self.node, self.client)
    }
}

/// The header as it lies in the stream; any 24 bytes are one.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    /// Bytes of the whole frame.
    pub length: U32,
    /// Number of the [`Kind`].
    pub kind: u8,
    /// Payload padding in the low three bits, an event's encoding in bits 4 and 5.
    pub flags: u8,
    /// Bytes of the name, without its padding.
    pub name_len: U16,
    /// Number of the [`Source`].
    pub source: U64,
    /// Sequence number of the emitter's event, or number of a request.
    pub sequence: U64,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);

/// Places of the parts of a checked frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Kind of the frame.
    pub kind: Kind,
    /// Bytes of the whole frame.
    pub frame_len: usize,
    /// Bytes of the name, which starts right behind the header.
    pub name_len: usize,
    /// Offset of the payload.
    pub payload_offset: usize,
    /// Bytes of the payload.
    pub payload_len: usize,
}

/// Fault of a frame. It is fatal for the connection: past a broken header
/// nothing in the stream can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// `length` is no multiple of 8.
    Misaligned(u32),
    /// `length` cannot hold header, name and padding.
    TooShort(u32),
    /// The kind does not exist in this version.
    UnknownKind(u8),
    /// `flags` has bits that this version does not know.
    UnknownFlags(u8),
    /// `name_len` is over 255.
    NameTooLong(u16),
    /// The payload is larger than this kind or this broker allows.
    PayloadTooLarge {
        /// Bytes that the header announces.
        bytes: usize,
        /// Bytes that are allowed.
        limit: usize,
    },
}

impl fmt::Display for FrameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Misaligned(length) => {
                write!(formatter, "frame length {length} is not a multiple of 8")
            }
            FrameError::TooShort(length) => {
                write!(formatter, "frame length {length} cannot hold its header and name")
            }
            FrameError::UnknownKind(kind) => write!(formatter, "unknown frame kind {kind:#04x}"),
            FrameError::UnknownFlags(flags) => {
                write!(formatter, "unknown frame flags {flags:#04x}")
            }
            FrameError::NameTooLong(length) => {
                write!(formatter, "name of {length} bytes, at most {MAX_NAME_BYTES} are allowed")
            }
            FrameError::PayloadTooLarge { bytes, limit } => write!(
                formatter,
                "payload of {bytes} bytes is over the limit of {limit} (raise --max-payload on the broker or split the payload)"
            ),
        }
    }
}

impl std::error::Error for FrameError {}

impl Header {
    /// A header for a frame of these parts.
    ///
    /// # Panics
    /// The name is longer than 255 bytes or the frame over 4 GiB: the caller
    /// checks both before.
    #[inline]
    pub fn new(
        kind: Kind,
        name_len: usize,
        payload_len: usize,
        source: Source,
        sequence: u64,
    ) -> Header {
        assert!(name_len <= MAX_NAME_BYTES);
        let length = frame_len(name_len, payload_len);
        assert!(length <= u32::MAX as usize);
        Header {
            length: U32::new(length as u32),
            kind: kind as u8,
            flags: (pad(payload_len) - payload_len) as u8,
            name_len: U16::new(name_len as u16),
            source: U64::new(source.to_u64()),
            sequence: U64::new(sequence),
        }
    }

    /// The header at the start of `bytes`, unchecked; `None` if they are too few.
    #[inline]
    pub fn read(bytes: &[u8]) -> Option<&Header> {
        Header::ref_from_prefix(bytes).ok().map(|(header, _)| header)
    }

    /// The source that the header names.
    #[inline]
    pub fn source(&self) -> Source {
        Source::from_u64(self.source.get())
    }

    /// The encoding of an event's payload, after the check.
    #[inline]
    pub fn encoding(&self) -> Encoding {
        Encoding::from_flags(self.flags).unwrap_or_default()
    }

    /// Checks the header by itself, against the receiver's payload limit.
    ///
    /// # Errors
    /// The first fault, in the order of the fields.
    #[inline]
    pub fn check(&self, max_payload_bytes: usize) -> Result<Layout, FrameError> {
        let length = self.length.get();
        let frame_len = length as usize;
        let name_len = self.name_len.get() as usize;
        let padding = (self.flags & PADDING_MASK) as usize;
        if !frame_len.is_multiple_of(ALIGNMENT_BYTES) {
            return Err(FrameError::Misaligned(length));
        }
        let Some(kind) = Kind::from_byte(self.kind) else {
            return Err(FrameError::UnknownKind(self.kind));
        };
        let beyond_padding = self.flags & !PADDING_MASK;
        // Most often zero, and then that is all there is to look at.
        if beyond_padding != 0
            && (kind != Kind::Event
                || beyond_padding & !ENCODING_MASK != 0
                || Encoding::from_flags(beyond_padding).is_none())
        {
            return Err(FrameError::UnknownFlags(self.flags));
        }
        if name_len > MAX_NAME_BYTES {
            return Err(FrameError::NameTooLong(self.name_len.get()));
        }
        let payload_offset = HEADER_BYTES + pad(name_len);
        if frame_len < payload_offset + padding {
            return Err(FrameError::TooShort(length));
        }
        let payload_len = frame_len - payload_offset - padding;
        let limit = match kind {
            Kind::Event => max_payload_bytes,
            Kind::Stats => max_payload_bytes.min(MAX_STATS_BYTES),
            Kind::Control => max_payload_bytes.clamp(MAX_CONTROL_PAYLOAD_BYTES, MAX_STATS_BYTES),
            _ => MAX_CONTROL_PAYLOAD_BYTES,
        };
        if payload_len > limit {
            return Err(FrameError::PayloadTooLarge { bytes: payload_len, limit });
        }
        Ok(Layout { kind, frame_len, name_len, payload_offset, payload_len })
    }
}

/// Bytes of a frame with a name and a payload of these lengths.
#[inline]
pub const fn frame_len(name_len: usize, payload_len: usize) -> usize {
    HEADER_BYTES + pad(name_len) + pad(payload_len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name_len: usize, payload_len: usize) -> Header {
        Header::new(Kind::Event, name_len, payload_len, Source::NONE, 0)
    }

    #[test]
    fn a_new_header_passes_its_own_check() {
        for name_len in [0, 1, 7, 8, 9, 255] {
            for payload_len in [0, 1, 7, 8, 9, 1000] {
                let layout = event(name_len, payload_len).check(1000).unwrap();
                assert_eq!(layout.payload_len, payload_len);
                assert_eq!(layout.name_len, name_len);
                assert_eq!(layout.payload_offset % 8, 0);
                assert_eq!(layout.frame_len, frame_len(name_len, payload_len));
            }
        }
    }

    #[test]
    fn each_broken_field_is_named() {
        let mut header = event(3, 5);
        header.length = U32::new(41);
        assert_eq!(header.check(100), Err(FrameError::Misaligned(41)));
        header.length = U32::new(24);
        assert_eq!(header.check(100), Err(FrameError::TooShort(24)));
        header.length = U32::new(0);
        assert_eq!(header.check(100), Err(FrameError::TooShort(0)));
        let mut header = event(3, 5);
        header.kind = 0x77;
        assert_eq!(header.check(100), Err(FrameError::UnknownKind(0x77)));
        let mut header = event(3, 5);
        for bits in [0x08, 0x30, 0x40, 0x80, 0x18, 0x50] {
            header.flags = 3 | bits;
            assert_eq!(header.check(100), Err(FrameError::UnknownFlags(3 | bits)));
        }
        let mut header = Header::new(Kind::Ping, 0, 0, Source::NONE, 0);
        header.flags = Encoding::Text.flags();
        assert_eq!(header.check(100), Err(FrameError::UnknownFlags(0x10)));
        let mut header = event(3, 5);
        header.name_len = U16::new(256);
        assert_eq!(header.check(100), Err(FrameError::NameTooLong(256)));
        assert_eq!(
            event(3, 101).check(100),
            Err(FrameError::PayloadTooLarge { bytes: 101, limit: 100 })
        );
    }

    #[test]
    fn an_event_tells_its_encoding() {
        for encoding in Encoding::ALL {
            let mut header = event(3, 5);
            header.flags |= encoding.flags();
            assert_eq!(header.check(100).map(|layout| layout.payload_len), Ok(5));
            assert_eq!(header.encoding(), encoding);
        }
    }

    #[test]
    fn a_source_survives_its_number() {
        let source = Source { node: 0xdead_beef, client: 7 };
        assert_eq!(Source::from_u64(source.to_u64()), source);
    }
}
