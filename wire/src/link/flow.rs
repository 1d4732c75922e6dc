//! Progress of streams: heartbeat, status, NAK.
//!
//! ```text
//!  heartbeat  0 time_ns u64 | 8 count u32 | 12 zero u32 | 16 beats …
//!  status     0 to (16) | 16 echo_ns u64 | 24 held_ns u32 | 28 share u32 | 32 count u32 | 36 zero u32 | 40 reports …
//!  nak        0 to (16) | 16 stream u16 | 18 count u16 | 20 zero u32 | 24 seen_lost u64 | 32 ranges …
//! ```
//! Beats, reports and ranges are those of [`super::entries`].

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::control::BodyError;
use super::entries::{
    self, BEAT_BYTES, Beat, Entries, RANGE_BYTES, REPORT_BYTES, Range, Report, check_stream,
};
use super::limits::{MAX_BODY_BYTES, MAX_ENTRIES, MAX_NAK_RANGES, SESSION_BYTES};

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct HeartbeatBytes {
    time_ns: U64,
    count: U32,
    zero: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct StatusBytes {
    to: [u8; SESSION_BYTES],
    echo_ns: U64,
    held_ns: U32,
    share: U32,
    count: U32,
    zero: U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct NakBytes {
    to: [u8; SESSION_BYTES],
    stream: U16,
    count: U16,
    zero: U32,
    seen_lost: U64,
}

const _: () = assert!(size_of::<HeartbeatBytes>() == 16);
const _: () = assert!(size_of::<StatusBytes>() == 40);
const _: () = assert!(size_of::<NakBytes>() == 32);
const _: () = assert!(size_of::<HeartbeatBytes>() + MAX_ENTRIES * BEAT_BYTES <= MAX_BODY_BYTES);
const _: () = assert!(size_of::<StatusBytes>() + MAX_ENTRIES * REPORT_BYTES <= MAX_BODY_BYTES);
const _: () = assert!(size_of::<NakBytes>() + MAX_NAK_RANGES * RANGE_BYTES <= MAX_BODY_BYTES);

/// Progress of the sender's streams: it reveals what was lost at their end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat<'a> {
    /// The sender's clock, to be echoed.
    pub time_ns: u64,
    /// An entry for each stream that it tells of.
    pub beats: Entries<'a, Beat>,
}

impl<'a> Heartbeat<'a> {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<Heartbeat<'a>, BodyError> {
        let (head, rest) = HeartbeatBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        let beats = Entries::decode(head.count.get() as usize, rest)?;
        Ok(Heartbeat { time_ns: head.time_ns.get(), beats })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If there are more than [`MAX_ENTRIES`] beats.
    pub fn encode(time_ns: u64, beats: &[Beat], out: &mut Vec<u8>) {
        let head = HeartbeatBytes {
            time_ns: U64::new(time_ns),
            count: U32::new(beats.len() as u32),
            zero: U32::new(0),
        };
        out.extend_from_slice(head.as_bytes());
        entries::encode(beats, out);
    }
}

/// Progress of the sender in receiving somebody's streams, and how far it may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status<'a> {
    /// The session whose streams they are.
    pub to: [u8; SESSION_BYTES],
    /// `time_ns` of the last heartbeat from there; 0 if none came.
    pub echo_ns: u64,
    /// Time since the heartbeat came, in nanoseconds.
    pub held_ns: u32,
    /// Share of each sender on the way to this receiver, in units of
    /// 1000 bytes per second; 0 if it does not say.
    pub share: u32,
    /// An entry for each stream that it tells of.
    pub reports: Entries<'a, Report>,
}

impl<'a> Status<'a> {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<Status<'a>, BodyError> {
        let (head, rest) = StatusBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        Ok(Status {
            to: head.to,
            echo_ns: head.echo_ns.get(),
            held_ns: head.held_ns.get(),
            share: head.share.get(),
            reports: Entries::decode(head.count.get() as usize, rest)?,
        })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If there are more than [`MAX_ENTRIES`] reports.
    pub fn encode(
        to: &[u8; SESSION_BYTES],
        echo_ns: u64,
        held_ns: u32,
        share: u32,
        reports: &[Report],
        out: &mut Vec<u8>,
    ) {
        let head = StatusBytes {
            to: *to,
            echo_ns: U64::new(echo_ns),
            held_ns: U32::new(held_ns),
            share: U32::new(share),
            count: U32::new(reports.len() as u32),
            zero: U32::new(0),
        };
        out.extend_from_slice(head.as_bytes());
        entries::encode(reports, out);
    }
}

/// Asks for datagrams again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nak<'a> {
    /// The session whose stream it is.
    pub to: [u8; SESSION_BYTES],
    /// Number of the stream.
    pub stream: u16,
    /// Numbers of it that the sender has ever seen to be missing.
    pub seen_lost: u64,
    /// The numbers that are missing.
    pub ranges: Entries<'a, Range>,
}

impl<'a> Nak<'a> {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<Nak<'a>, BodyError> {
        let (head, rest) = NakBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        let stream = head.stream.get();
        check_stream(stream)?;
        Ok(Nak {
            to: head.to,
            stream,
            seen_lost: head.seen_lost.get(),
            ranges: Entries::decode(usize::from(head.count.get()), rest)?,
        })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If there are more than [`MAX_NAK_RANGES`] ranges.
    pub fn encode(
        to: &[u8; SESSION_BYTES],
        stream: u16,
        seen_lost: u64,
        ranges: &[Range],
        out: &mut Vec<u8>,
    ) {
        let head = NakBytes {
            to: *to,
            stream: U16::new(stream),
            count: U16::new(ranges.len() as u16),
            zero: U32::new(0),
            seen_lost: U64::new(seen_lost),
        };
        out.extend_from_slice(head.as_bytes());
        entries::encode(ranges, out);
    }
}
