//! The lists that end a joined, heartbeat, status, NAK or leave. (That of
//! neighbours is at its own type.)
//!
//! ```text
//!  place   0 stream u16 | 2 zero u16 | 4 zero u32 | 8 number u64 | 16 ordinal u64
//!  beat    0 stream u16 | 2 flags u16 | 4 zero u32 | 8 next u64 | 16 tail u64 | 24 ordinal u64
//!  report  0 stream u16 | 2 flags u16 | 4 missing u32 | 8 position u64 | 16 limit u64 | 24 seen_lost u64
//!  range   0 first u64 | 8 count u32 | 12 zero u32
//! ```
//! Invariant: the entries of an [`Entries`] were all checked, its iterator cannot
//! fail. Nothing is copied: they are read from the datagram one by one.

use std::fmt;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::control::BodyError;
use super::limits::{MAX_ENTRIES, MAX_GROUPS, MAX_NAK_RANGES};

/// Flag of a [`Beat`]: answer with your status.
const BEAT_POLL: u16 = 1 << 0;
/// Flag of a [`Report`]: held back by pressure.
const REPORT_HELD: u16 = 1 << 0;

pub(super) const PLACE_BYTES: usize = size_of::<PlaceBytes>();
pub(super) const BEAT_BYTES: usize = size_of::<BeatBytes>();
pub(super) const REPORT_BYTES: usize = size_of::<ReportBytes>();
pub(super) const RANGE_BYTES: usize = size_of::<RangeBytes>();

/// Element of a list.
pub trait Entry: Copy {
    /// Layout of the entry in the datagram.
    type Bytes: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned;
    /// The most of them in one datagram.
    const MOST: usize;
    /// Reads the entry from the datagram.
    fn read(bytes: &Self::Bytes) -> Self;
    /// Writes the entry as it lies in the datagram.
    fn bytes(&self) -> Self::Bytes;
    /// Checks the entry.
    ///
    /// # Errors
    /// The field that is out of its range.
    fn check(&self) -> Result<(), BodyError>;
}

/// Place at which a receiver joins a stream, or at which the stream ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Number of the sender's stream.
    pub stream: u16,
    /// Number of a datagram of the stream.
    pub number: u64,
    /// Ordinal of the next event frame there.
    pub ordinal: u64,
}

/// Progress of one stream of the sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Number of the sender's stream.
    pub stream: u16,
    /// Answer with your status.
    pub poll: bool,
    /// Number of the next datagram.
    pub next: u64,
    /// The oldest number that can still be repaired.
    pub tail: u64,
    /// Ordinal of the next event frame to be sent or skipped.
    pub ordinal: u64,
}

/// Progress of the sender in receiving one stream, and how far it may be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of the stream, which is one of the receiver of this report.
    pub stream: u16,
    /// The sender of this report holds it back, by pressure.
    pub held: bool,
    /// Numbers that are seen to be missing now.
    pub missing: u32,
    /// Next number that was not yet received in order.
    pub position: u64,
    /// Numbers below it may be sent.
    pub limit: u64,
    /// Numbers ever seen to be missing.
    pub seen_lost: u64,
}

/// Consecutive numbers of a stream; at least one, none over `u64::MAX`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// The first.
    pub first: u64,
    /// Number of datagrams in the range.
    pub count: u32,
}

#[doc(hidden)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct PlaceBytes {
    stream: U16,
    zero: [u8; 6],
    number: U64,
    ordinal: U64,
}

#[doc(hidden)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct BeatBytes {
    stream: U16,
    flags: U16,
    zero: U32,
    next: U64,
    tail: U64,
    ordinal: U64,
}

#[doc(hidden)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct ReportBytes {
    stream: U16,
    flags: U16,
    missing: U32,
    position: U64,
    limit: U64,
    seen_lost: U64,
}

#[doc(hidden)]
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct RangeBytes {
    first: U64,
    count: U32,
    zero: U32,
}

const _: () = assert!(PLACE_BYTES == 24 && BEAT_BYTES == 32);
const _: () = assert!(REPORT_BYTES == 32 && RANGE_BYTES == 16);

impl Entry for Place {
    type Bytes = PlaceBytes;
    const MOST: usize = MAX_ENTRIES;

    fn read(bytes: &PlaceBytes) -> Place {
        Place {
            stream: bytes.stream.get(),
            number: bytes.number.get(),
            ordinal: bytes.ordinal.get(),
        }
    }

    fn bytes(&self) -> PlaceBytes {
        PlaceBytes {
            stream: U16::new(self.stream),
            zero: [0; 6],
            number: U64::new(self.number),
            ordinal: U64::new(self.ordinal),
        }
    }

    fn check(&self) -> Result<(), BodyError> {
        check_stream(self.stream)
    }
}

impl Entry for Beat {
    type Bytes = BeatBytes;
    const MOST: usize = MAX_ENTRIES;

    fn read(bytes: &BeatBytes) -> Beat {
        Beat {
            stream: bytes.stream.get(),
            poll: bytes.flags.get() & BEAT_POLL != 0,
            next: bytes.next.get(),
            tail: bytes.tail.get(),
            ordinal: bytes.ordinal.get(),
        }
    }

    fn bytes(&self) -> BeatBytes {
        BeatBytes {
            stream: U16::new(self.stream),
            flags: U16::new(if self.poll { BEAT_POLL } else { 0 }),
            zero: U32::new(0),
            next: U64::new(self.next),
            tail: U64::new(self.tail),
            ordinal: U64::new(self.ordinal),
        }
    }

    fn check(&self) -> Result<(), BodyError> {
        check_stream(self.stream)
    }
}

impl Entry for Report {
    type Bytes = ReportBytes;
    const MOST: usize = MAX_ENTRIES;

    fn read(bytes: &ReportBytes) -> Report {
        Report {
            stream: bytes.stream.get(),
            held: bytes.flags.get() & REPORT_HELD != 0,
            missing: bytes.missing.get(),
            position: bytes.position.get(),
            limit: bytes.limit.get(),
            seen_lost: bytes.seen_lost.get(),
        }
    }

    fn bytes(&self) -> ReportBytes {
        ReportBytes {
            stream: U16::new(self.stream),
            flags: U16::new(if self.held { REPORT_HELD } else { 0 }),
            missing: U32::new(self.missing),
            position: U64::new(self.position),
            limit: U64::new(self.limit),
            seen_lost: U64::new(self.seen_lost),
        }
    }

    fn check(&self) -> Result<(), BodyError> {
        check_stream(self.stream)
    }
}

impl Entry for Range {
    type Bytes = RangeBytes;
    const MOST: usize = MAX_NAK_RANGES;

    fn read(bytes: &RangeBytes) -> Range {
        Range { first: bytes.first.get(), count: bytes.count.get() }
    }

    fn bytes(&self) -> RangeBytes {
        RangeBytes { first: U64::new(self.first), count: U32::new(self.count), zero: U32::new(0) }
    }

    fn check(&self) -> Result<(), BodyError> {
        match self.first.checked_add(u64::from(self.count)) {
            Some(end) if end > self.first => Ok(()),
            _ => Err(BodyError::Range),
        }
    }
}

/// A stream's group is one that can be.
pub(super) fn check_stream(stream: u16) -> Result<(), BodyError> {
    if usize::from(stream & 0xff) < MAX_GROUPS { Ok(()) } else { Err(BodyError::Stream(stream)) }
}

/// A checked list, still in the datagram.
pub struct Entries<'a, E: Entry>(&'a [E::Bytes]);

impl<'a, E: Entry> Entries<'a, E> {
    /// Exactly `count` entries, and nothing behind them.
    pub(super) fn decode(count: usize, bytes: &'a [u8]) -> Result<Self, BodyError> {
        if count > E::MOST {
            return Err(BodyError::Count(count));
        }
        let entries =
            <[E::Bytes]>::ref_from_bytes_with_elems(bytes, count).map_err(|_| BodyError::Length)?;
        entries.iter().try_for_each(|bytes| E::read(bytes).check())?;
        Ok(Entries(entries))
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over the entries.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = E> + Clone + use<'a, E> {
        self.0.iter().map(E::read)
    }
}

/// Appends a list.
///
/// # Panics
/// If they are more than [`Entry::MOST`]: the caller cuts them into datagrams.
pub(super) fn encode<E: Entry>(entries: &[E], out: &mut Vec<u8>) {
    assert!(entries.len() <= E::MOST);
    for entry in entries {
        debug_assert_eq!(entry.check(), Ok(()));
        out.extend_from_slice(entry.bytes().as_bytes());
    }
}

impl<E: Entry> Clone for Entries<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E: Entry> Copy for Entries<'_, E> {}

impl<E: Entry + fmt::Debug> fmt::Debug for Entries<'_, E> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}

impl<E: Entry + PartialEq> PartialEq for Entries<'_, E> {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl<E: Entry + Eq> Eq for Entries<'_, E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_exactly_as_many_entries_as_it_says() {
        let places = [Place { stream: 3, number: 4, ordinal: 5 }, Place::default()];
        let mut bytes = Vec::new();
        encode(&places, &mut bytes);
        let entries = Entries::<Place>::decode(2, &bytes).unwrap();
        assert!(entries.iter().eq(places));
        assert_eq!((entries.len(), entries.is_empty()), (2, false));
        for count in [0, 1, 3, MAX_ENTRIES] {
            assert_eq!(Entries::<Place>::decode(count, &bytes), Err(BodyError::Length));
        }
        let many = MAX_ENTRIES + 1;
        assert_eq!(Entries::<Place>::decode(many, &bytes), Err(BodyError::Count(many)));
    }

    #[test]
    fn an_entry_out_of_range_is_refused_with_the_list() {
        let decode = |range: Range| {
            let bytes = range.bytes();
            Entries::<Range>::decode(1, bytes.as_bytes()).map(|entries| entries.len())
        };
        assert_eq!(decode(Range { first: u64::MAX - 1, count: 1 }), Ok(1));
        assert_eq!(decode(Range { first: u64::MAX, count: 1 }), Err(BodyError::Range));
        assert_eq!(decode(Range { first: 1, count: 0 }), Err(BodyError::Range));
        let place = Place { stream: 0x0140, ..Place::default() };
        let bytes = place.bytes();
        let refused = Entries::<Place>::decode(1, bytes.as_bytes());
        assert_eq!(refused, Err(BodyError::Stream(0x0140)));
    }
}
