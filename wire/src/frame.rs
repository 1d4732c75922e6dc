//! A checked view of one whole frame, and how frames are written.
//!
//! ```text
//!  [ header 24 | name … zero padding to 8 | payload … zero padding to 8 ]
//! ```

use std::mem::offset_of;

use zerocopy::IntoBytes;

use crate::encoding::{ENCODING_MASK, Encoding};
use crate::header::{FrameError, Header, Kind, Layout, Source, frame_len};
use crate::limits::{ALIGNMENT_BYTES, HEADER_BYTES, pad};
use crate::scan::is_same_name;

const ZEROS: [u8; ALIGNMENT_BYTES] = [0; ALIGNMENT_BYTES];

/// The front of the header that says kind and sizes, all that is checked.
const SIZES_BYTES: usize = offset_of!(Header, source);

/// A whole frame in contiguous bytes. [`Frame::read`] makes it, after which no
/// access can fail.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    bytes: &'a [u8],
    layout: Layout,
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`; `Ok(None)` while it is not complete.
    ///
    /// # Errors
    /// The header is broken; told as soon as the header is there.
    #[inline]
    pub fn read(bytes: &'a [u8], max_payload_bytes: usize) -> Result<Option<Self>, FrameError> {
        let Some(header) = Header::read(bytes) else { return Ok(None) };
        let layout = header.check(max_payload_bytes)?;
        match bytes.get(..layout.frame_len) {
            Some(bytes) => Ok(Some(Frame { bytes, layout })),
            None => Ok(None),
        }
    }

    /// The frame at the start of `bytes`, if it is complete and has the kind, the sizes
    /// and the name of this one: then it costs some compares of words and needs no check.
    #[inline(always)]
    pub fn read_like<'b>(&self, bytes: &'b [u8]) -> Option<Frame<'b>> {
        let Layout { frame_len, payload_offset, .. } = self.layout;
        let bytes = bytes.get(..frame_len)?;
        let name = HEADER_BYTES..payload_offset;
        let is_like = bytes.first_chunk::<SIZES_BYTES>() == self.bytes.first_chunk()
            && is_same_name(&bytes[name.clone()], &self.bytes[name]);
        is_like.then_some(Frame { bytes, layout: self.layout })
    }

    /// The layout of the frame's parts.
    #[inline]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The kind of the frame.
    #[inline]
    pub fn kind(&self) -> Kind {
        self.layout.kind
    }

    /// The bytes of the whole frame.
    #[inline]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The frame's header.
    #[inline]
    pub fn header(&self) -> &'a Header {
        Header::read(self.bytes).expect("a frame holds its header")
    }

    /// The encoding of an event's payload.
    #[inline]
    pub fn encoding(&self) -> Encoding {
        self.header().encoding()
    }

    /// The client that emitted the frame.
    #[inline]
    pub fn source(&self) -> Source {
        self.header().source()
    }

    /// The frame's sequence number.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.header().sequence.get()
    }

    /// The bytes of the frame's name, not yet known to be UTF-8.
    #[inline]
    pub fn name(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..HEADER_BYTES + self.layout.name_len]
    }

    /// The frame's payload.
    #[inline]
    pub fn payload(&self) -> &'a [u8] {
        let start = self.layout.payload_offset;
        &self.bytes[start..start + self.layout.payload_len]
    }
}

/// Appends one whole frame to `out`.
///
/// # Panics
/// The name is over 255 bytes or the frame over 4 GiB: the caller checks.
#[inline]
pub fn append(
    out: &mut Vec<u8>,
    kind: Kind,
    source: Source,
    sequence: u64,
    name: &[u8],
    payload: &[u8],
) {
    out.reserve(frame_len(name.len(), payload.len()));
    append_head(out, kind, source, sequence, name, payload.len());
    out.extend_from_slice(payload);
    out.extend_from_slice(padding_of(payload.len()));
}

/// Appends only header and name (padded): the payload and [`padding_of`] it
/// follow by other means, such as a gather-write.
#[inline]
pub fn append_head(
    out: &mut Vec<u8>,
    kind: Kind,
    source: Source,
    sequence: u64,
    name: &[u8],
    payload_len: usize,
) {
    let header = Header::new(kind, name.len(), payload_len, source, sequence);
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(name);
    out.extend_from_slice(padding_of(name.len()));
}

/// The zeros that follow a part of `length` bytes.
#[inline]
pub fn padding_of(length: usize) -> &'static [u8] {
    &ZEROS[..pad(length) - length]
}

/// Writes one whole frame by itself.
pub fn encode(kind: Kind, source: Source, sequence: u64, name: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    append(&mut out, kind, source, sequence, name, payload);
    out
}

/// Writes that the payload of the event which `event` begins with has this encoding.
///
/// # Panics
/// `event` has less than a header: a programmer's error.
#[inline]
pub fn set_encoding(event: &mut [u8], encoding: Encoding) {
    let flags = &mut event[offset_of!(Header, flags)];
    *flags = *flags & !ENCODING_MASK | encoding.flags();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let source = Source { node: 1, client: 2 };
        let bytes = encode(Kind::Event, source, 3, b"log", b"TESTE");
        assert_eq!(bytes.len(), 24 + 8 + 8);
        let frame = Frame::read(&bytes, 100).unwrap().unwrap();
        assert_eq!(frame.name(), b"log");
        assert_eq!(frame.payload(), b"TESTE");
        assert_eq!(frame.sequence(), 3);
        assert_eq!(frame.source(), source);
        assert_eq!(&bytes[27..32], &[0; 5]);
        assert_eq!(&bytes[37..], &[0; 3]);
    }

    #[test]
    fn an_encoding_is_set_beside_the_padding() {
        let mut bytes = encode(Kind::Event, Source::NONE, 1, b"abc", b"12345");
        for encoding in [Encoding::Json, Encoding::Text, Encoding::Bytes] {
            set_encoding(&mut bytes, encoding);
            let frame = Frame::read(&bytes, 100).unwrap().unwrap();
            assert_eq!((frame.encoding(), frame.payload()), (encoding, &b"12345"[..]));
        }
    }

    #[test]
    fn a_frame_is_read_like_another_only_if_kind_sizes_and_name_are_the_same() {
        let bytes = encode(Kind::Event, Source::NONE, 1, b"abc", b"12345");
        let frame = Frame::read(&bytes, 100).unwrap().unwrap();
        let other = encode(Kind::Event, Source { node: 1, client: 2 }, 9, b"abc", b"67890");
        let read = frame.read_like(&other).unwrap();
        assert_eq!((read.name(), read.payload(), read.sequence()), (&b"abc"[..], &b"67890"[..], 9));
        for length in 0..other.len() {
            assert!(frame.read_like(&other[..length]).is_none());
        }
        for (kind, name, payload) in [
            (Kind::Event, "abd", "12345"),
            (Kind::Stats, "abc", "12345"),
            (Kind::Event, "ab", "12345"),
            (Kind::Event, "abc", "123456"),
            (Kind::Event, "abc", "123456789"),
        ] {
            let other = encode(kind, Source::NONE, 1, name.as_bytes(), payload.as_bytes());
            assert!(frame.read_like(&other).is_none());
        }
        let mut text = bytes.clone();
        set_encoding(&mut text, Encoding::Text);
        assert!(frame.read_like(&text).is_none());
    }

    #[test]
    fn an_incomplete_frame_is_waited_for() {
        let bytes = encode(Kind::Event, Source::NONE, 0, b"a", b"b");
        for length in 0..bytes.len() {
            assert!(Frame::read(&bytes[..length], 100).unwrap().is_none());
        }
    }
}
