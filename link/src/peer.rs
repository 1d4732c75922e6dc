//! One peer: another broker that proved to be there now.

use core::net::SocketAddr;

use netcluster_wire::link::Place;

use crate::handshake::{Identity, Pending};
use crate::incoming::Incoming;
use crate::keys::ControlOpener;
use crate::neighbours::Heard;
use crate::path_size::PathSize;
use crate::peer_id::{PeerId, Session};
use crate::proof::Proof;
use crate::shares::Brought;
use crate::sizes::Doubts;
use crate::status::PeerCounters;
use crate::stream::{Position, StreamId};
use crate::transmit::To;

const MS_NS: u64 = 1_000_000;

/// Without a word for this long a peer is forgotten.
pub const SILENCE_NS: u64 = 3000 * MS_NS;

/// After so much silence a peer is asked for a sign of life: hellos come once a
/// second, and one of them may well be lost.
pub const PING_AFTER_NS: u64 = 1200 * MS_NS;

/// How often. Where a third is lost, half of these are in vain, and there are many
/// pairs of brokers in a cluster: none of them may fall silent by chance.
pub const PING_INTERVAL_NS: u64 = 100 * MS_NS;

/// A peer whose multicast was not heard for this long is one that we do not hear:
/// three hellos and a bit.
pub const MULTICAST_SILENCE_NS: u64 = 3500 * MS_NS;

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

/// Shortest time between two challenges to addresses that a peer is said to have
/// moved to: a session that many claim to be moves no faster.
const CHALLENGE_INTERVAL_NS: u64 = 20 * MS_NS;

const _: () = assert!(PING_AFTER_NS + 16 * PING_INTERVAL_NS < SILENCE_NS);
const _: () = assert!(2 * KNOWN_NS < SILENCE_NS);

/// What the peer wants of our streams.
#[derive(Default)]
pub(super) struct Wants {
    /// Of its newest interest; 0 if none came yet.
    pub version: u32,
    /// A bit for each group.
    pub groups: u64,
    /// It receives our multicast: data need not be sent to it alone.
    pub hears_us: bool,
    /// Where it joined, for the same answer to the same question.
    pub joined: Vec<(StreamId, Position)>,
}

/// What the peer was told of our interest.
pub(super) struct Told {
    /// Of the newest interest sent to it.
    pub version: u32,
    /// The own interest that it stands for.
    pub own_version: u64,
    /// The groups in it.
    pub groups: u64,
    /// That its multicast is heard.
    pub hears: bool,
    /// That we stand nowhere: until it answered once.
    pub fresh: bool,
    /// It answered.
    pub is_confirmed: bool,
    /// It is to be told anew as soon as it has answered, and not before this.
    pub again_ns: Option<u64>,
    /// The own interest that it knows of for sure.
    pub confirmed_version: u64,
    /// When the newest of our heartbeats that it answered was sent.
    pub echoed_ns: u64,
    /// The answer as far as it came: it may be several datagrams.
    pub places: Vec<Place>,
    /// When this version was sent first.
    since_ns: u64,
    next_ns: u64,
    retry_ns: u64,
}

impl Told {
    /// Whether the newest version is under way: what has changed since waits for
    /// its answer, or one that changes faster than a round trip would never have
    /// any.
    pub fn is_under_way(&self) -> bool {
        self.version != 0 && !self.is_confirmed
    }

    /// Something changed: it is to be told anew, soon.
    pub fn note_change(&mut self, now_ns: u64) {
        self.again_ns = Some(self.again_ns.map_or(now_ns, |again_ns| again_ns.min(now_ns)));
    }

    /// It does not know us any more, it says, nor what we want: it is to be told anew,
    /// now or later.
    pub fn note_asked(&mut self) {
        self.confirmed_version = 0;
        self.again_ns = self.again_ns.or(Some(self.since_ns + ASKED_INTEREST_NS));
    }

    /// Whether what it confirmed holds. The way to it may have been cut since, long
    /// enough for it to forget us; and it is known only later.
    pub fn is_fresh(&self, now_ns: u64) -> bool {
        now_ns < self.since_ns.max(self.echoed_ns).saturating_add(KNOWN_NS)
    }

    /// Whether it is time to tell it anew.
    pub fn is_again_due(&self, now_ns: u64) -> bool {
        !self.is_under_way() && self.again_ns.is_some_and(|again_ns| again_ns <= now_ns)
    }

    /// A new interest is due at once.
    pub fn renew(&mut self, now_ns: u64, version: u32, own_version: u64, groups: u64, hears: bool) {
        self.version = version;
        self.own_version = own_version;
        self.groups = groups;
        self.hears = hears;
        self.is_confirmed = false;
        self.again_ns = None;
        self.places.clear();
        self.since_ns = now_ns;
        self.next_ns = now_ns;
        self.retry_ns = INTEREST_RETRY_NS;
    }

    /// Whether to send it now; then it counts as sent.
    pub fn is_due(&mut self, now_ns: u64) -> bool {
        let is_due = !self.is_confirmed && self.next_ns <= now_ns;
        if is_due {
            self.next_ns = now_ns + self.retry_ns;
            self.retry_ns = (self.retry_ns * 2).min(MAX_INTEREST_RETRY_NS);
        }
        is_due
    }

    fn next_ns(&self) -> u64 {
        match self.is_confirmed {
            true => self.again_ns.unwrap_or(u64::MAX),
            false => self.next_ns,
        }
    }
}

pub(super) struct Peer {
    pub id: PeerId,
    pub session: Session,
    pub identity: Identity,
    /// Where it answered a challenge: all that is for it alone goes there.
    pub address: SocketAddr,
    pub since_ns: u64,
    pub opener: ControlOpener,
    /// Proves that it is reached at an address.
    pub proof: Proof,
    /// When anything of it was opened last.
    pub heard_ns: u64,
    /// When multicast of it was.
    pub multicast_ns: Option<u64>,
    /// Groups whose multicast does not reach us although other multicast of it does.
    pub deaf_groups: u64,
    pub wants: Wants,
    pub told: Told,
    /// Its streams that we take part in, by their ids.
    pub incoming: Vec<Incoming>,
    /// The clock in its last heartbeat, and when that came.
    pub echo: Option<(u64, u64)>,
    /// Smoothed; 0 while it was not measured.
    pub round_trip_ns: u64,
    /// From a request for a repair to its arrival, smoothed; 0 while unknown.
    pub repair_ns: u64,
    /// A status is to be sent.
    pub owes_status: bool,
    pub counters: PeerCounters,
    /// What it tells of its own peers.
    pub neighbours: Heard,
    /// What the way to it takes, …
    pub path_size: PathSize,
    /// … which way that is, …
    pub probed: Option<To>,
    /// … and why it may be less.
    pub doubts: Doubts,
    ping_ns: u64,
    /// When another address of it may be challenged.
    challenge_ns: u64,
}

impl Peer {
    /// What a pending session becomes by its answer from `address`.
    pub fn new(
        now_ns: u64,
        id: PeerId,
        pending: Pending,
        address: SocketAddr,
        path_size: PathSize,
    ) -> Peer {
        let told = Told {
            version: 0,
            own_version: 0,
            groups: 0,
            hears: false,
            fresh: true,
            is_confirmed: false,
            again_ns: None,
            confirmed_version: 0,
            echoed_ns: 0,
            places: Vec::new(),
            since_ns: now_ns,
            next_ns: now_ns,
            retry_ns: INTEREST_RETRY_NS,
        };
        Peer {
            id,
            session: pending.session,
            identity: pending.identity,
            address,
            since_ns: now_ns,
            opener: pending.opener,
            proof: pending.proof,
            heard_ns: now_ns,
            multicast_ns: pending.multicast_ns,
            deaf_groups: 0,
            wants: Wants::default(),
            told,
            incoming: Vec::new(),
            echo: None,
            round_trip_ns: 0,
            repair_ns: 0,
            owes_status: false,
            counters: PeerCounters::default(),
            neighbours: Heard::default(),
            path_size,
            probed: None,
            doubts: Doubts::default(),
            ping_ns: 0,
            challenge_ns: 0,
        }
    }

    /// Something of it was opened.
    #[inline]
    pub fn heard(&mut self, now_ns: u64, multicast: bool) {
        if now_ns >= self.heard_ns + PING_AFTER_NS {
            self.forgive(now_ns);
        }
        self.heard_ns = now_ns;
        if multicast {
            self.multicast_ns = Some(now_ns);
        }
    }

    /// Nothing of it came for a while, so that what is missing says nothing of how it
    /// comes, nor that it cannot come.
    #[cold]
    fn forgive(&mut self, now_ns: u64) {
        for incoming in &mut self.incoming {
            incoming.ingress.forgive_gaps(now_ns);
            incoming.forget_ways();
        }
    }

    /// Whether its multicast reaches us, in all groups that count.
    pub fn is_multicast_heard(&self, now_ns: u64) -> bool {
        self.deaf_groups == 0
            && self.multicast_ns.is_some_and(|at_ns| now_ns < at_ns + MULTICAST_SILENCE_NS)
    }

    /// Whether it has not been heard for too long.
    pub fn is_silent(&self, now_ns: u64) -> bool {
        now_ns >= self.heard_ns + SILENCE_NS
    }

    /// Whether to ask for a sign of life now; then it counts as asked.
    pub fn is_ping_due(&mut self, now_ns: u64) -> bool {
        let is_due = now_ns >= self.ping_ns.max(self.heard_ns + PING_AFTER_NS);
        if is_due {
            self.ping_ns = now_ns + PING_INTERVAL_NS;
        }
        is_due
    }

    /// Whether an address that it seems to have moved to may be challenged now;
    /// then it counts as challenged.
    pub fn may_challenge(&mut self, now_ns: u64) -> bool {
        let may = now_ns >= self.challenge_ns;
        if may {
            self.challenge_ns = now_ns + CHALLENGE_INTERVAL_NS;
        }
        may
    }

    /// When something is due for it.
    pub fn next_ns(&self) -> u64 {
        let silence_ns =
            (self.heard_ns + SILENCE_NS).min(self.ping_ns.max(self.heard_ns + PING_AFTER_NS));
        let deaf_ns = match self.multicast_ns {
            // Else it is told so already, or as soon as it has answered.
            Some(at_ns) if self.told.hears && self.told.again_ns.is_none() => {
                at_ns + MULTICAST_SILENCE_NS
            }
            _ => u64::MAX,
        };
        let nak_ns = self.incoming.iter().map(Incoming::next_nak_ns).min().unwrap_or(u64::MAX);
        let told_ns = self.told.next_ns().min(self.path_size.next_ns());
        silence_ns.min(deaf_ns).min(nak_ns).min(told_ns)
    }

    /// Takes in one measured round trip.
    pub fn measured(&mut self, round_trip_ns: u64) {
        self.round_trip_ns = smoothed(self.round_trip_ns, round_trip_ns);
    }

    /// Takes in how long one repair took.
    pub fn repaired_in(&mut self, sample_ns: u64) {
        self.repair_ns = smoothed(self.repair_ns, sample_ns);
    }

    /// What came of it, for the shares of all.
    pub fn brought(&self) -> Brought {
        Brought {
            peer: self.id,
            datagrams: self.counters.received,
            bytes: self.counters.received_bytes,
            lost: self.incoming.iter().map(|incoming| incoming.ingress.seen_lost()).sum(),
        }
    }

    /// Its stream with this id, if we take part in it.
    #[inline]
    pub fn incoming_mut(&mut self, stream: StreamId) -> Option<&mut Incoming> {
        let at = self.incoming.binary_search_by_key(&stream, |incoming| incoming.stream).ok()?;
        Some(&mut self.incoming[at])
    }

    /// Where it joined one of our streams.
    pub fn joined(&self, stream: StreamId) -> Option<Position> {
        self.wants.joined.iter().find(|(other, _)| *other == stream).map(|(_, position)| *position)
    }
}

/// An eighth of each new sample, as TCP does; 0 is none.
fn smoothed(before: u64, sample: u64) -> u64 {
    match before {
        0 => sample.max(1),
        before => (before - before / 8 + sample / 8).max(1),
    }
}
