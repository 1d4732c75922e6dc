//! Recognises a datagram by its first bytes.
//!
//! ```text
//!  0      2      3      4        8
//!  +------+------+------+--------+----
//!  | "NL" | kind | vers.| key id | …
//!  +------+------+------+--------+----
//! ```
//! Anybody can send anything to the group: each way to be wrong is told apart,
//! since each is counted by itself. Nothing here is authenticated yet.

use std::fmt;

use super::data::{DATA_KIND, DataHeader};
use super::header::{ControlHeader, ControlKind};
use super::limits::{LINK_MAGIC, LINK_VERSION, TAG_BYTES};

/// A datagram in its parts. `body` is encrypted if the header names a key.
#[derive(Clone, Copy, Debug)]
pub enum Datagram<'a> {
    /// A piece of a stream.
    Data {
        /// First 44 bytes of the datagram.
        header: &'a DataHeader,
        /// Bytes between header and tag.
        body: &'a [u8],
        /// 16 bytes, or none on an open link.
        tag: &'a [u8],
    },
    /// Anything else.
    Control {
        /// Kind of the control datagram.
        kind: ControlKind,
        /// First 32 bytes of the datagram.
        header: &'a ControlHeader,
        /// Bytes between header and tag.
        body: &'a [u8],
        /// 16 bytes, or none on an open link.
        tag: &'a [u8],
    },
}

/// Reason for which a datagram is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatagramError {
    /// The datagram ends before its header or its tag does; it has so many bytes.
    TooShort(usize),
    /// The first two bytes are others: the datagram is not of this link.
    Magic,
    /// The sender speaks this other version of the link protocol.
    Version(u8),
    /// The kind does not exist in this version.
    Kind(u8),
}

impl fmt::Display for DatagramError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatagramError::TooShort(bytes) => {
                write!(formatter, "a datagram of {bytes} bytes ends before its header or tag")
            }
            DatagramError::Magic => formatter.write_str("a datagram that is not netcluster's"),
            DatagramError::Version(version) => write!(
                formatter,
                "link version {version}, this broker speaks {LINK_VERSION}: use the same release on all machines"
            ),
            DatagramError::Kind(kind) => write!(formatter, "unknown datagram kind {kind:#04x}"),
        }
    }
}

impl std::error::Error for DatagramError {}

/// Tells what a datagram is and where its parts lie.
///
/// # Errors
/// What is wrong: magic, then version, then kind, then length. Fewer than four
/// bytes are too short, whatever they are.
#[inline]
pub fn parse(datagram: &[u8]) -> Result<Datagram<'_>, DatagramError> {
    let too_short = DatagramError::TooShort(datagram.len());
    let &[magic0, magic1, kind, version, ..] = datagram else { return Err(too_short) };
    if [magic0, magic1] != LINK_MAGIC {
        return Err(DatagramError::Magic);
    }
    if version != LINK_VERSION {
        return Err(DatagramError::Version(version));
    }
    if kind == DATA_KIND {
        let (header, rest) = DataHeader::split(datagram).ok_or(too_short)?;
        let (body, tag) = split_tag(header.key_id.get(), rest).ok_or(too_short)?;
        return Ok(Datagram::Data { header, body, tag });
    }
    let kind = ControlKind::from_byte(kind).ok_or(DatagramError::Kind(kind))?;
    let (header, rest) = ControlHeader::split(datagram).ok_or(too_short)?;
    let (body, tag) = split_tag(header.key_id.get(), rest).ok_or(too_short)?;
    Ok(Datagram::Control { kind, header, body, tag })
}

/// Body and tag: there is one exactly if a key is named.
#[inline]
fn split_tag(key_id: u32, rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let tag_bytes = if key_id == 0 { 0 } else { TAG_BYTES };
    rest.split_at_checked(rest.len().checked_sub(tag_bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(key_id: u32, rest: usize) -> Vec<u8> {
        let mut out = Vec::new();
        ControlHeader::new(ControlKind::Challenge, key_id, &[1; 16], 2).write(&mut out);
        out.resize(out.len() + rest, 5);
        out
    }

    #[test]
    fn each_way_to_be_wrong_is_told_apart() {
        let good = control(0, 16);
        assert!(parse(&good).is_ok());
        let error = |at: usize, byte: u8| {
            let mut bad = good.clone();
            bad[at] = byte;
            parse(&bad).unwrap_err()
        };
        assert_eq!(error(0, b'X'), DatagramError::Magic);
        assert_eq!(error(1, b'X'), DatagramError::Magic);
        assert_eq!(error(3, 2), DatagramError::Version(2));
        assert_eq!(error(2, 0x0f), DatagramError::Kind(0x0f));
        assert_eq!(error(2, 0x1d), DatagramError::Kind(0x1d));
        // A data header is longer than a control header.
        assert!(matches!(parse(&good[..31]), Err(DatagramError::TooShort(31))));
        assert!(matches!(parse(b"XY"), Err(DatagramError::TooShort(2))));
        assert!(matches!(parse(b"XYZA"), Err(DatagramError::Magic)));
        // The version is looked at before the kind: kinds belong to a version.
        assert!(matches!(parse(b"NL\xff\x02"), Err(DatagramError::Version(2))));
        assert!(matches!(parse(b"NL\x01\x01"), Err(DatagramError::TooShort(4))));
    }

    #[test]
    fn a_named_key_means_a_tag() {
        let (sealed, open) = (control(7, 20), control(0, 20));
        let Ok(Datagram::Control { body, tag, .. }) = parse(&sealed) else { panic!() };
        assert_eq!((body.len(), tag.len()), (4, TAG_BYTES));
        let Ok(Datagram::Control { body, tag, .. }) = parse(&open) else { panic!() };
        assert_eq!((body.len(), tag.len()), (20, 0));
        assert!(matches!(parse(&control(7, 15)), Err(DatagramError::TooShort(47))));
    }

    #[test]
    fn data_is_told_by_its_kind() {
        let mut bytes = DataHeader::new(0, 1, 2, 3, 4).bytes().to_vec();
        bytes.extend_from_slice(b"body");
        let Ok(Datagram::Data { header, body, tag }) = parse(&bytes) else { panic!() };
        assert_eq!((header.number.get(), body, tag), (3, &b"body"[..], &b""[..]));
        assert!(matches!(parse(&bytes[..43]), Err(DatagramError::TooShort(43))));
    }
}
