//! Finds the runs of whole frames in a stream, in place: the hottest loop of
//! the broker.
//!
//! ```text
//!   bytes   [ tick 40 | tick 40 | tick 48 | tock 40 | ping 24 | tick 4…
//!             └────── one run ──────────┘ └── run ─┘  control   incomplete
//! ```
//! A run is what shares kind, encoding, source and name with its first frame. Such a frame
//! costs a few compares of words and no look-up, and all of them together are
//! one range. Nothing is copied and nothing is written.

use crate::frame::Frame;
use crate::header::{FrameError, Header, Kind, PADDING_MASK};
use crate::limits::HEADER_BYTES;

/// Front of a stream.
#[derive(Debug)]
pub enum Found<'a> {
    /// Whole event frames of one source, one name and one encoding.
    Run(Run<'a>),
    /// A whole control frame.
    Control(Frame<'a>),
    /// The frame is not whole yet.
    Incomplete,
}

/// Consecutive event frames of one source, one name and one encoding.
#[derive(Debug)]
pub struct Run<'a> {
    /// First frame of the run.
    pub first: Frame<'a>,
    /// Bytes of all its frames.
    pub bytes: usize,
    /// Number of frames.
    pub frames: usize,
    /// Sequence of the last frame.
    pub last_sequence: u64,
}

/// Looks at the front of `bytes`.
///
/// # Errors
/// A header is broken. Frames of the run before it are reported first.
#[inline]
pub fn next(bytes: &[u8], max_payload_bytes: usize) -> Result<Found<'_>, FrameError> {
    let Some(first) = Frame::read(bytes, max_payload_bytes)? else {
        return Ok(Found::Incomplete);
    };
    if first.kind() != Kind::Event {
        return Ok(Found::Control(first));
    }
    Ok(Found::Run(extend(bytes, first, max_payload_bytes)))
}

/// Extends a run as far as whole frames of the same source, name and encoding follow.
#[inline]
fn extend<'a>(bytes: &'a [u8], first: Frame<'a>, max_payload_bytes: usize) -> Run<'a> {
    // Names of up to four words, which is nearly all, are compared as words; a
    // call of memcmp for each frame costs as much as all the rest of the loop.
    match (first.layout().payload_offset - HEADER_BYTES) / 8 {
        0 => extend_by(bytes, first, max_payload_bytes, same_words::<0>),
        1 => extend_by(bytes, first, max_payload_bytes, same_words::<1>),
        2 => extend_by(bytes, first, max_payload_bytes, same_words::<2>),
        3 => extend_by(bytes, first, max_payload_bytes, same_words::<3>),
        4 => extend_by(bytes, first, max_payload_bytes, same_words::<4>),
        _ => extend_by(bytes, first, max_payload_bytes, |one, other| one == other),
    }
}

/// Whether two padded names of one length are the same.
#[inline(always)]
pub(crate) fn is_same_name(one: &[u8], other: &[u8]) -> bool {
    match one.len() / 8 {
        1 => same_words::<1>(one, other),
        2 => same_words::<2>(one, other),
        3 => same_words::<3>(one, other),
        4 => same_words::<4>(one, other),
        _ => one == other,
    }
}

/// Whether two padded names of this many words are the same.
#[inline]
fn same_words<const WORDS: usize>(one: &[u8], other: &[u8]) -> bool {
    (0..WORDS).all(|at| word(one, at * 8) == word(other, at * 8))
}

#[inline(always)]
fn extend_by<'a>(
    bytes: &'a [u8],
    first: Frame<'a>,
    max_payload_bytes: usize,
    same_name: impl Fn(&[u8], &[u8]) -> bool,
) -> Run<'a> {
    // Everything of word 0 but the length and the payload's padding.
    const SAME: u64 = !(0xffff_ffff | (PADDING_MASK as u64) << 40);
    let head_len = first.layout().payload_offset;
    let first_len = first.layout().frame_len;
    let head = &first.as_bytes()[..head_len];
    let (word0, source, name) = (word(head, 0), word(head, 8), &head[HEADER_BYTES..]);

    let mut end = first_len;
    let mut last = 0;
    let mut frames = 1;
    while let Some(next) = bytes.get(end..end + head_len) {
        let next_word0 = word(next, 0);
        let length = if next_word0 == word0 {
            // Not read from the stream, so that the processor need not wait for
            // this frame's length to look at the next one.
            first_len
        } else if (next_word0 ^ word0) & SAME == 0 {
            let length = next_word0 as u32 as usize;
            let padding = (next_word0 >> 40) as usize & PADDING_MASK as usize;
            if !length.is_multiple_of(8)
                || length < head_len + padding
                || length - head_len - padding > max_payload_bytes
            {
                break;
            }
            length
        } else {
            break;
        };
        if word(next, 8) != source
            || !same_name(&next[HEADER_BYTES..], name)
            || bytes.len() - end < length
        {
            break;
        }
        last = end;
        end += length;
        frames += 1;
    }
    let last_sequence = Header::read(&bytes[last..]).map_or(0, |header| header.sequence.get());
    Run { first, bytes: end, frames, last_sequence }
}

/// The little-endian word at `offset`.
#[inline]
fn word(bytes: &[u8], offset: usize) -> u64 {
    let bytes: [u8; 8] = bytes[offset..offset + 8].try_into().expect("eight bytes");
    u64::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Encoding;
    use crate::frame::{append, set_encoding};
    use crate::header::Source;

    const SOURCE: Source = Source { node: 1, client: 2 };

    fn event(out: &mut Vec<u8>, sequence: u64, name: &str, payload: usize) {
        append(out, Kind::Event, SOURCE, sequence, name.as_bytes(), &vec![7; payload]);
    }

    fn run<'a>(bytes: &'a [u8]) -> Run<'a> {
        match next(bytes, 1000).unwrap() {
            Found::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn frames_of_one_name_are_one_run_whatever_their_payloads() {
        for name in ["a", "12345678", "123456789", "a.much.longer.name.of.an.event"] {
            let mut bytes = Vec::new();
            for (sequence, payload) in [16, 16, 0, 3, 1000, 16].into_iter().enumerate() {
                event(&mut bytes, sequence as u64, name, payload);
            }
            let run = run(&bytes);
            assert_eq!((run.bytes, run.frames, run.last_sequence), (bytes.len(), 6, 5));
        }
    }

    #[test]
    fn a_run_ends_where_name_source_or_kind_change() {
        for other in ["b", "1234567x", "longer.than.a.word"] {
            let mut bytes = Vec::new();
            event(&mut bytes, 1, "12345678", 8);
            let end = bytes.len();
            event(&mut bytes, 2, other, 8);
            assert_eq!(run(&bytes).bytes, end);
        }
        let mut bytes = Vec::new();
        event(&mut bytes, 1, "a", 8);
        let end = bytes.len();
        append(&mut bytes, Kind::Event, Source::NONE, 2, b"a", &[0; 8]);
        assert_eq!(run(&bytes).bytes, end);
        bytes.truncate(end);
        append(&mut bytes, Kind::Ping, SOURCE, 2, b"", b"");
        assert_eq!(run(&bytes).bytes, end);
        assert!(matches!(next(&bytes[end..], 1000), Ok(Found::Control(_))));
    }

    #[test]
    fn a_run_ends_where_the_encoding_changes() {
        let mut bytes = Vec::new();
        event(&mut bytes, 1, "a", 8);
        let end = bytes.len();
        for (sequence, payload) in [(2, 8), (3, 5)] {
            let at = bytes.len();
            event(&mut bytes, sequence, "a", payload);
            set_encoding(&mut bytes[at..], Encoding::Json);
        }
        assert_eq!(run(&bytes).bytes, end);
        assert_eq!(run(&bytes[end..]).frames, 2);
        for unknown in [0x30, 0x08, 0x40] {
            let mut broken = bytes.clone();
            broken[end + 5] = unknown;
            assert_eq!(run(&broken).bytes, end);
            assert!(matches!(next(&broken[end..], 1000), Err(FrameError::UnknownFlags(_))));
        }
    }

    #[test]
    fn a_run_ends_before_an_incomplete_or_broken_frame() {
        let mut whole = Vec::new();
        event(&mut whole, 1, "a", 8);
        let end = whole.len();
        event(&mut whole, 2, "a", 16);
        for cut in end..whole.len() {
            assert_eq!(run(&whole[..cut]).bytes, end);
        }
        for (at, value) in [(0, 1), (3, 0xff), (4, 0x77), (5, 0xff), (6, 9)] {
            let mut broken = whole.clone();
            broken[end + at] = value;
            assert_eq!(run(&broken).bytes, end, "byte {at}");
        }
        let mut lying = whole.clone();
        lying[end] = 24;
        assert_eq!(run(&lying).bytes, end);
        assert!(matches!(next(&lying[end..], 1000), Err(FrameError::TooShort(24))));
    }

    #[test]
    fn a_payload_over_the_limit_is_an_error_at_its_own_place() {
        let mut bytes = Vec::new();
        event(&mut bytes, 1, "a", 8);
        let end = bytes.len();
        event(&mut bytes, 2, "a", 1001);
        assert_eq!(run(&bytes).bytes, end);
        assert!(matches!(next(&bytes[end..], 1000), Err(FrameError::PayloadTooLarge { .. })));
    }
}
