//! Interest of this broker as one peer was told it, and what the peer has answered.

use netcluster_platform::Instant;
use netcluster_wire::link::{Joined, Place};

use crate::config::StreamMap;
use crate::membership::liveness::SILENCE_NS;
use crate::stream::{Position, StreamId};

const MS_NS: u64 = 1_000_000;

/// The first repetition of an interest that was not answered.
const INTEREST_RETRY_NS: u64 = 5 * MS_NS;

/// Longest time between two repetitions.
const MAX_INTEREST_RETRY_NS: u64 = 200 * MS_NS;

/// Shortest time between two interests of different versions, if nothing has
/// changed but the peer asks: it can ask without end.
const ASKED_INTEREST_NS: u64 = 20 * MS_NS;

/// A peer that answered something that was sent so recently has not forgotten us,
/// and will not for a while: it does only after [`SILENCE_NS`].
pub const KNOWN_NS: u64 = 1000 * MS_NS;

const _: () = assert!(2 * KNOWN_NS < SILENCE_NS);

/// State of telling one peer what is wanted of it.
pub(crate) struct Told {
    /// Version of the newest interest that the peer was sent.
    pub version: u32,
    /// Version of the own interest that it stands for.
    pub own_version: u64,
    /// Groups in it, a bit each.
    pub groups: u64,
    /// The peer was told that its multicast is heard.
    pub hears: bool,
    /// The peer is told that we stand nowhere: until it has answered once.
    pub fresh: bool,
    /// The peer has answered the newest interest.
    pub is_confirmed: bool,
    /// The peer is to be told anew as soon as it has answered, and not before this.
    pub again_at: Option<Instant>,
    /// Version of the own interest that the peer knows of for sure.
    pub confirmed_version: u64,
    /// Time of the newest of our heartbeats that the peer has answered.
    pub echoed_at: Instant,
    /// Places of the answer that came so far: it may be several datagrams.
    pub places: Vec<Place>,
    /// Time at which this version was sent first.
    since: Instant,
    next_at: Instant,
    retry_ns: u64,
}

/// Fault of a peer's answer.
#[derive(Debug)]
pub(crate) enum BadAnswer {
    /// The answer names a stream that brokers of this cluster do not have.
    UnknownStream,
    /// The answer leaves out streams that are wanted: it is about other wishes.
    Incomplete,
}

impl Told {
    /// Begins with nothing told.
    pub fn new(now: Instant) -> Told {
        Told {
            version: 0,
            own_version: 0,
            groups: 0,
            hears: false,
            fresh: true,
            is_confirmed: false,
            again_at: None,
            confirmed_version: 0,
            echoed_at: Instant::START,
            places: Vec::new(),
            since: now,
            next_at: now,
            retry_ns: INTEREST_RETRY_NS,
        }
    }

    /// Goes on where a predecessor was: the peer is told anew, by a version behind this one,
    /// what it knows.
    pub fn inherit(&mut self, now: Instant, version: u32, is_fresh: bool) {
        self.version = version;
        self.fresh = is_fresh;
        self.is_confirmed = true;
        self.again_at = Some(now);
    }

    /// Whether the newest version is under way: what has changed since waits for
    /// its answer, or one that changes faster than a round trip would never have
    /// any.
    pub fn is_under_way(&self) -> bool {
        self.version != 0 && !self.is_confirmed
    }

    /// Has the peer told anew soon, as something changed.
    pub fn note_change(&mut self, now: Instant) {
        self.again_at = Some(self.again_at.map_or(now, |again_at| again_at.min(now)));
    }

    /// Has the peer told anew, now or later: it does not know us any more, it says, nor
    /// what we want.
    pub fn note_asked(&mut self) {
        self.confirmed_version = 0;
        self.again_at = self.again_at.or(Some(self.since + ASKED_INTEREST_NS));
    }

    /// Has the peer told anew, now or soon: what it was told is not the newest that it heard
    /// in our name, so that it answers no more.
    pub fn overtaken(&mut self) {
        self.is_confirmed = true;
        self.note_asked();
    }

    /// Whether what it confirmed holds. The way to it may have been cut since, long
    /// enough for it to forget us; and it is known only later.
    pub fn is_fresh(&self, now: Instant) -> bool {
        now < self.since.max(self.echoed_at).saturating_add(KNOWN_NS)
    }

    /// Whether it is time to tell it anew.
    pub fn is_again_due(&self, now: Instant) -> bool {
        !self.is_under_way() && self.again_at.is_some_and(|again_at| again_at <= now)
    }

    /// Begins a new interest, which is due at once.
    pub fn renew(
        &mut self,
        now: Instant,
        version: u32,
        own_version: u64,
        groups: u64,
        hears: bool,
    ) {
        self.version = version;
        self.own_version = own_version;
        self.groups = groups;
        self.hears = hears;
        self.is_confirmed = false;
        self.again_at = None;
        self.places.clear();
        self.since = now;
        self.next_at = now;
        self.retry_ns = INTEREST_RETRY_NS;
    }

    /// Takes in one datagram of the peer's answer. Returns where the streams in it were
    /// joined, in their order, once the whole answer to the newest interest is there.
    pub fn answered(
        &mut self,
        joined: &Joined<'_>,
        stream_map: &StreamMap,
    ) -> Result<Option<Vec<(StreamId, Position)>>, BadAnswer> {
        if joined.version != self.version || self.is_confirmed {
            return Ok(None);
        }
        for place in joined.places.iter() {
            if !stream_map.has(StreamId(place.stream)) {
                return Err(BadAnswer::UnknownStream);
            }
            if !self.places.iter().any(|other| other.stream == place.stream) {
                self.places.push(place);
            }
        }
        if self.places.len() < usize::from(joined.total) {
            return Ok(None);
        }
        let places = std::mem::take(&mut self.places);
        let expected = stream_map.streams_in(self.groups);
        let streams: Option<Vec<_>> = expected
            .map(|stream| {
                let place = places.iter().find(|place| place.stream == stream.0)?;
                Some((stream, Position { number: place.number, ordinal: place.ordinal }))
            })
            .collect();
        let mut streams = streams.ok_or(BadAnswer::Incomplete)?;
        self.is_confirmed = true;
        self.fresh = false;
        self.confirmed_version = self.own_version;
        streams.sort_unstable_by_key(|(stream, _)| *stream);
        Ok(Some(streams))
    }

    /// Whether to send it now; then it counts as sent.
    pub fn is_due(&mut self, now: Instant) -> bool {
        let is_due = !self.is_confirmed && self.next_at <= now;
        if is_due {
            self.next_at = now + self.retry_ns;
            self.retry_ns = (self.retry_ns * 2).min(MAX_INTEREST_RETRY_NS);
        }
        is_due
    }

    /// Time at which the peer is to be told, or told anew.
    pub fn next_at(&self) -> Instant {
        if self.is_confirmed { self.again_at.unwrap_or(Instant::NEVER) } else { self.next_at }
    }
}
