//! The front of events, header and name, appended in few stores.
//!
//! ```text
//!   length, kind, flags, name length │ source │ sequence │ name, zero-padded │ payload …
//!   └ by the payload's size, and its encoding   └ by event
//! ```
//! Events of one name differ in their size, encoding, number and payload alone. A small
//! event is appended as a copy of fixed size, cut to its own, into which these are stored: that is
//! a few moves, where calls of `memcpy` cost more than what they copy.
//!
//! Invariant: behind the name the bytes are zero.

use std::mem::offset_of;

use netcluster_wire::frame::padding_of;
use netcluster_wire::limits::{HEADER_BYTES, MAX_HEAD_BYTES, pad};
use netcluster_wire::{Encoding, Header, Kind, Source};

/// Events up to these sizes are copies of fixed size.
const SMALL_BYTES: usize = 64;
const MEDIUM_BYTES: usize = 128;

// Places in the header's first word, where the length comes first.
const KIND_SHIFT: usize = offset_of!(Header, kind) * 8;
const FLAGS_SHIFT: usize = offset_of!(Header, flags) * 8;
const NAME_SHIFT: usize = offset_of!(Header, name_len) * 8;
const SOURCE_AT: usize = offset_of!(Header, source);
const SEQUENCE_AT: usize = offset_of!(Header, sequence);
const WORD_BYTES: usize = size_of::<u64>();

const _: () = assert!(HEADER_BYTES < SMALL_BYTES && MEDIUM_BYTES < MAX_HEAD_BYTES);
const _: () = assert!(SOURCE_AT == WORD_BYTES && SEQUENCE_AT + WORD_BYTES == HEADER_BYTES);

/// The front of all events of one name and source.
#[derive(Debug)]
pub(super) struct EventHead {
    /// Header and padded name, then zeros.
    bytes: [u8; MAX_HEAD_BYTES],
    /// The header's first word for an event without a payload.
    first_word: u64,
    /// Bytes of the header and the padded name.
    head_bytes: usize,
    /// Bytes of the name; `usize::MAX`: there is none yet.
    name_bytes: usize,
}

impl EventHead {
    /// The front of no event: no name is its name.
    pub(super) fn none() -> EventHead {
        EventHead {
            bytes: [0; MAX_HEAD_BYTES],
            first_word: 0,
            head_bytes: 0,
            name_bytes: usize::MAX,
        }
    }

    /// Makes this the front of events of this name, which is a legal one.
    pub(super) fn become_that_of(&mut self, source: Source, name: &[u8]) {
        let name_at = HEADER_BYTES..HEADER_BYTES + name.len();
        self.bytes[name_at.end..].fill(0);
        self.bytes[name_at].copy_from_slice(name);
        self.bytes[SOURCE_AT..SEQUENCE_AT].copy_from_slice(&source.to_u64().to_le_bytes());
        self.head_bytes = HEADER_BYTES + pad(name.len());
        self.name_bytes = name.len();
        self.first_word = self.head_bytes as u64
            | ((Kind::Event as u64) << KIND_SHIFT)
            | ((name.len() as u64) << NAME_SHIFT);
    }

    /// Whether this is the front of events of this name.
    #[inline(always)]
    pub(super) fn is_of(&self, event: &[u8]) -> bool {
        event.len() == self.name_bytes
            && self
                .bytes
                .get(HEADER_BYTES..HEADER_BYTES + event.len())
                .is_some_and(|name| is_same(name, event))
    }

    /// Bytes of an event with a payload of this size.
    #[inline(always)]
    pub(super) fn frame_bytes(&self, payload_bytes: usize) -> usize {
        self.head_bytes + pad(payload_bytes)
    }

    /// Appends the event with this number and payload. The caller made sure that it has
    /// less than 4 GiB.
    #[inline(always)]
    pub(super) fn append(
        &self,
        out: &mut Vec<u8>,
        sequence: u64,
        encoding: Encoding,
        payload: &[u8],
    ) {
        let bytes = self.frame_bytes(payload.len());
        if bytes > MEDIUM_BYTES {
            self.append_front(out, sequence, encoding, payload.len());
            out.extend_from_slice(payload);
            if bytes > self.head_bytes + payload.len() {
                out.extend_from_slice(padding_of(payload.len()));
            }
            return;
        }
        let start = out.len();
        if bytes <= SMALL_BYTES {
            out.extend_from_slice(&self.bytes[..SMALL_BYTES]);
        } else {
            out.extend_from_slice(&self.bytes[..MEDIUM_BYTES]);
        }
        out.truncate(start + bytes);
        self.complete_small(&mut out[start..], sequence, encoding, payload);
    }

    /// Bytes that [`EventHead::write`] must be given for a payload of this size.
    #[inline(always)]
    pub(super) fn space_bytes(&self, payload_bytes: usize) -> usize {
        self.frame_bytes(payload_bytes).max(MEDIUM_BYTES)
    }

    /// Writes the event with this number and payload to the front of a space of
    /// [`EventHead::space_bytes`], whose other bytes it may overwrite; how many it has.
    #[inline(always)]
    pub(super) fn write(
        &self,
        space: &mut [u8],
        sequence: u64,
        encoding: Encoding,
        payload: &[u8],
    ) -> usize {
        let bytes = self.frame_bytes(payload.len());
        if bytes > MEDIUM_BYTES {
            self.write_large(&mut space[..bytes], sequence, encoding, payload);
            return bytes;
        }
        if let Some(front) = space.first_chunk_mut::<MEDIUM_BYTES>()
            && let Some(head) = self.bytes.first_chunk::<MEDIUM_BYTES>()
        {
            if bytes <= SMALL_BYTES {
                front[..SMALL_BYTES].copy_from_slice(&head[..SMALL_BYTES]);
            } else {
                *front = *head;
            }
            self.complete_small(&mut front[..bytes], sequence, encoding, payload);
        }
        bytes
    }

    #[inline(never)]
    fn write_large(&self, event: &mut [u8], sequence: u64, encoding: Encoding, payload: &[u8]) {
        let (head, rest) = event.split_at_mut(self.head_bytes);
        head.copy_from_slice(&self.bytes[..self.head_bytes]);
        self.number(head, sequence, encoding, payload.len());
        let (data, padding) = rest.split_at_mut(payload.len());
        data.copy_from_slice(payload);
        padding.fill(0);
    }

    /// Writes all but the front into an event that begins with it.
    #[inline(always)]
    fn complete_small(&self, event: &mut [u8], sequence: u64, encoding: Encoding, payload: &[u8]) {
        self.number(event, sequence, encoding, payload.len());
        copy_small(&mut event[self.head_bytes..self.head_bytes + payload.len()], payload);
    }

    /// Appends the front of the event with this number, whose payload of so many bytes
    /// and its padding must follow.
    #[inline]
    pub(super) fn append_front(
        &self,
        out: &mut Vec<u8>,
        sequence: u64,
        encoding: Encoding,
        payload_bytes: usize,
    ) {
        out.reserve(self.frame_bytes(payload_bytes));
        let start = out.len();
        out.extend_from_slice(&self.bytes[..self.head_bytes]);
        self.number(&mut out[start..], sequence, encoding, payload_bytes);
    }

    /// Writes what is this event's own into its header.
    #[inline(always)]
    fn number(&self, event: &mut [u8], sequence: u64, encoding: Encoding, payload_bytes: usize) {
        if let Some(header) = event.first_chunk_mut::<HEADER_BYTES>() {
            let padded = pad(payload_bytes);
            let flags = (padded - payload_bytes) as u64 | u64::from(encoding.flags());
            let first_word = (self.first_word + padded as u64) | (flags << FLAGS_SHIFT);
            header[..SOURCE_AT].copy_from_slice(&first_word.to_le_bytes());
            header[SEQUENCE_AT..].copy_from_slice(&sequence.to_le_bytes());
        }
    }
}

/// Copies a payload to a place of its size: of up to 32 bytes by its ends, which overlap,
/// without a call of `memcpy`. One of two words, just stored as words, is loaded as such:
/// what is still on its way to the cache cannot be loaded in larger pieces.
#[inline(always)]
fn copy_small(to: &mut [u8], from: &[u8]) {
    match from.len() {
        8..=16 => copy_ends::<8>(to, from),
        17..=32 => copy_ends::<16>(to, from),
        _ => to.copy_from_slice(from),
    }
}

/// Copies the first and the last bytes of a payload.
#[inline(always)]
fn copy_ends<const BYTES: usize>(to: &mut [u8], from: &[u8]) {
    if let (Some(to), Some(from)) = (to.first_chunk_mut::<BYTES>(), from.first_chunk()) {
        *to = *from;
    }
    if let (Some(to), Some(from)) = (to.last_chunk_mut::<BYTES>(), from.last_chunk()) {
        *to = *from;
    }
}

/// Whether two names are the same; those of up to 32 bytes, which are nearly all, are
/// compared without a call of `memcmp`.
#[inline(always)]
pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    match one.len() {
        length if length != other.len() => false,
        17.. if one.len() > 32 => one == other,
        16.. => has_same_ends::<16>(one, other),
        8.. => has_same_ends::<8>(one, other),
        4.. => has_same_ends::<4>(one, other),
        _ => one.iter().eq(other),
    }
}

/// Whether the first and the last bytes of two names are the same.
#[inline(always)]
fn has_same_ends<const BYTES: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<BYTES>() == other.first_chunk()
        && one.last_chunk::<BYTES>() == other.last_chunk()
}

#[cfg(test)]
mod tests {
    use netcluster_wire::frame::{append, set_encoding};
    use netcluster_wire::limits::MAX_NAME_BYTES;

    use super::*;

    const ME: Source = Source { node: 7, client: 9 };

    #[test]
    fn events_are_the_bytes_that_any_frame_of_their_parts_is() {
        let text = [b'n'; MAX_NAME_BYTES];
        for name_len in 1..=MAX_NAME_BYTES {
            let name = &text[..name_len];
            let mut head = EventHead::none();
            head.become_that_of(Source::NONE, &text);
            head.become_that_of(ME, name);
            for payload_len in (0..=130).chain([1000]) {
                let payload: Vec<u8> =
                    (0..payload_len).map(|at| (at as u8).wrapping_add(1)).collect();
                let encoding = Encoding::ALL[payload_len % 3];
                let mut expected = b"before".to_vec();
                append(&mut expected, Kind::Event, ME, 5, name, &payload);
                set_encoding(&mut expected[6..], encoding);
                let mut out = b"before".to_vec();
                head.append(&mut out, 5, encoding, &payload);
                assert_eq!(out, expected, "{name_len} and {payload_len}");
                let mut gathered = b"before".to_vec();
                head.append_front(&mut gathered, 5, encoding, payload.len());
                gathered.extend_from_slice(&payload);
                gathered.extend_from_slice(padding_of(payload.len()));
                let mut space = vec![0xff; head.space_bytes(payload.len())];
                let written = head.write(&mut space, 5, encoding, &payload);
                assert_eq!(space[..written], expected[6..], "{name_len} and {payload_len}");
                assert_eq!(gathered, expected, "{name_len} and {payload_len}");
                assert_eq!(head.frame_bytes(payload.len()), expected.len() - 6);
            }
        }
    }

    #[test]
    fn a_head_is_that_of_its_own_name_alone() {
        let text = [b'n'; MAX_NAME_BYTES];
        for length in 1..=MAX_NAME_BYTES {
            let mut head = EventHead::none();
            head.become_that_of(ME, &text[..length]);
            assert!(head.is_of(&text[..length]));
            assert!(!head.is_of(&text[..length - 1]));
            for at in 0..length {
                let mut other = text;
                other[at] ^= 1;
                assert!(!head.is_of(&other[..length]), "byte {at} of {length}");
            }
        }
        assert!(!EventHead::none().is_of(b""));
        assert!(!EventHead::none().is_of(b"a"));
    }
}
