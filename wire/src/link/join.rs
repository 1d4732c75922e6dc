//! Interest in channels: interest, joined, leave.
//!
//! ```text
//!  interest  0 to (16) | 16 version u32 | 20 flags u32 | 24 groups u64 | 32 time_ns u64
//!  joined    0 to (16) | 16 version u32 | 20 count u16 | 22 total u16 | 24 echo_ns u64
//!            | 32 age_ns u64 | 40 places …
//!  leave     0 count u32 | 4 zero u32 | 8 places …
//! ```
//! The places are those of [`super::entries`].

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::control::BodyError;
use super::entries::{self, Entries, PLACE_BYTES, Place};
use super::limits::{MAX_BODY_BYTES, MAX_ENTRIES, SESSION_BYTES};

/// Flag of an interest: the sender hears your multicast.
const INTEREST_HEARS: u32 = 1 << 0;
/// Flag of an interest: the sender stands nowhere in your streams.
const INTEREST_FRESH: u32 = 1 << 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct InterestBytes {
    to: [u8; SESSION_BYTES],
    version: U32,
    flags: U32,
    groups: U64,
    time_ns: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct JoinedBytes {
    to: [u8; SESSION_BYTES],
    version: U32,
    count: U16,
    total: U16,
    echo_ns: U64,
    age_ns: U64,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct LeaveBytes {
    count: U32,
    zero: U32,
}

const _: () = assert!(size_of::<InterestBytes>() == 40);
const _: () = assert!(size_of::<JoinedBytes>() == 40);
const _: () = assert!(size_of::<LeaveBytes>() == 8);
const _: () = assert!(size_of::<JoinedBytes>() + MAX_ENTRIES * PLACE_BYTES <= MAX_BODY_BYTES);

/// The groups that the sender wants to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The session it is for.
    pub to: [u8; SESSION_BYTES],
    /// Grows with every change.
    pub version: u32,
    /// The sender hears the multicast of the session it is for.
    pub hears_multicast: bool,
    /// The sender knows of no place in the streams of that session (any more): it
    /// joins all of them anew.
    pub fresh: bool,
    /// A bit for each group.
    pub groups: u64,
    /// The sender's clock.
    pub time_ns: u64,
}

impl Interest {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &[u8]) -> Result<Interest, BodyError> {
        let head = InterestBytes::ref_from_bytes(body).map_err(|_| BodyError::Length)?;
        Ok(Interest {
            to: head.to,
            version: head.version.get(),
            hears_multicast: head.flags.get() & INTEREST_HEARS != 0,
            fresh: head.flags.get() & INTEREST_FRESH != 0,
            groups: head.groups.get(),
            time_ns: head.time_ns.get(),
        })
    }

    /// Appends the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let hears = if self.hears_multicast { INTEREST_HEARS } else { 0 };
        let flags = hears | if self.fresh { INTEREST_FRESH } else { 0 };
        let head = InterestBytes {
            to: self.to,
            version: U32::new(self.version),
            flags: U32::new(flags),
            groups: U64::new(self.groups),
            time_ns: U64::new(self.time_ns),
        };
        out.extend_from_slice(head.as_bytes());
    }
}

/// The answer to an interest: from these places on everything is owed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Joined<'a> {
    /// The session it is for.
    pub to: [u8; SESSION_BYTES],
    /// Version of the interest.
    pub version: u32,
    /// Places in the whole answer; if these are fewer, other datagrams with the
    /// same version hold the rest.
    pub total: u16,
    /// The clock in the interest that is answered.
    pub echo_ns: u64,
    /// Age of the sender's session, in nanoseconds.
    pub age_ns: u64,
    /// Places of the receiver in streams of the sender.
    pub places: Entries<'a, Place>,
}

impl<'a> Joined<'a> {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<Joined<'a>, BodyError> {
        let (head, rest) = JoinedBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        let (count, total) = (head.count.get(), head.total.get());
        if total < count {
            return Err(BodyError::Count(usize::from(total)));
        }
        let places = Entries::decode(usize::from(count), rest)?;
        let (echo_ns, age_ns) = (head.echo_ns.get(), head.age_ns.get());
        Ok(Joined { to: head.to, version: head.version.get(), total, echo_ns, age_ns, places })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If there are more than [`MAX_ENTRIES`] places, or fewer in total.
    pub fn encode(
        to: &[u8; SESSION_BYTES],
        version: u32,
        total: u16,
        (echo_ns, age_ns): (u64, u64),
        places: &[Place],
        out: &mut Vec<u8>,
    ) {
        assert!(places.len() <= usize::from(total));
        let head = JoinedBytes {
            to: *to,
            version: U32::new(version),
            count: U16::new(places.len() as u16),
            total: U16::new(total),
            echo_ns: U64::new(echo_ns),
            age_ns: U64::new(age_ns),
        };
        out.extend_from_slice(head.as_bytes());
        entries::encode(places, out);
    }
}

/// The sender ends, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave<'a> {
    /// Ends of the sender's streams: nothing comes at these numbers or behind them.
    pub places: Entries<'a, Place>,
}

impl<'a> Leave<'a> {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<Leave<'a>, BodyError> {
        let (head, rest) = LeaveBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        Ok(Leave { places: Entries::decode(head.count.get() as usize, rest)? })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If there are more than [`MAX_ENTRIES`] places.
    pub fn encode(places: &[Place], out: &mut Vec<u8>) {
        let head = LeaveBytes { count: U32::new(places.len() as u32), zero: U32::new(0) };
        out.extend_from_slice(head.as_bytes());
        entries::encode(places, out);
    }
}
