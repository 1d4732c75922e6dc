//! One peer: another broker that proved to be there now.

use core::net::SocketAddr;

use crate::crypto::ControlOpener;
use crate::interest::told::Told;
use crate::interest::wants::Wants;
use crate::membership::address_proof::AddressProof;
use crate::membership::handshake::{Identity, Pending};
use crate::membership::liveness::Liveness;
use crate::membership::neighbours::Heard;
use crate::membership::round_trip::RoundTrip;
use crate::peer_id::{PeerId, Session};
use crate::receive::fair_share::Brought;
use crate::receive::inbound_stream::InboundStream;
use crate::send::datagram_size::PeerPath;
use crate::send::path_mtu::PathMtu;
use crate::status::PeerCounters;
use crate::stream::StreamId;

const MS_NS: u64 = 1_000_000;

/// Shortest time between two challenges to addresses that a peer is said to have
/// moved to: a session that many claim to be moves no faster.
const CHALLENGE_INTERVAL_NS: u64 = 20 * MS_NS;

pub(crate) struct Peer {
    pub id: PeerId,
    pub session: Session,
    pub identity: Identity,
    /// Where it answered a challenge: all that is for it alone goes there.
    pub address: SocketAddr,
    pub since_ns: u64,
    pub opener: ControlOpener,
    /// Proves that it is reached at an address.
    pub proof: AddressProof,
    /// When it was heard, and how.
    pub liveness: Liveness,
    pub wants: Wants,
    pub told: Told,
    /// Its streams that we take part in, by their ids.
    pub inbound: Vec<InboundStream>,
    /// How long datagrams and retransmissions take.
    pub round_trip: RoundTrip,
    /// A status is to be sent.
    pub owes_status: bool,
    pub counters: PeerCounters,
    /// What it tells of its own peers.
    pub neighbours: Heard,
    /// The way to it, and what that takes.
    pub path: PeerPath,
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
        path_mtu: PathMtu,
    ) -> Peer {
        Peer {
            id,
            session: pending.session,
            identity: pending.identity,
            address,
            since_ns: now_ns,
            opener: pending.opener,
            proof: pending.proof,
            liveness: Liveness::new(now_ns, pending.multicast_ns),
            wants: Wants::default(),
            told: Told::new(now_ns),
            inbound: Vec::new(),
            round_trip: RoundTrip::default(),
            owes_status: false,
            counters: PeerCounters::default(),
            neighbours: Heard::default(),
            path: PeerPath::new(path_mtu),
            challenge_ns: 0,
        }
    }

    /// Something of it was opened.
    #[inline]
    pub fn heard(&mut self, now_ns: u64, multicast: bool) {
        if self.liveness.heard(now_ns, multicast) {
            self.forgive(now_ns);
        }
    }

    /// Nothing of it came for a while, so that what is missing says nothing of how it
    /// comes, nor that it cannot come.
    #[cold]
    fn forgive(&mut self, now_ns: u64) {
        for inbound in &mut self.inbound {
            inbound.ingress.forgive_gaps(now_ns);
            inbound.forget_ways();
        }
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
        // Else it is told so already, or as soon as it has answered.
        let is_told = self.told.hears && self.told.again_ns.is_none();
        let deaf_ns = if is_told { self.liveness.deaf_ns() } else { u64::MAX };
        let nak_ns = self.inbound.iter().map(InboundStream::next_nak_ns).min().unwrap_or(u64::MAX);
        let told_ns = self.told.next_ns().min(self.path.mtu.next_ns());
        self.liveness.next_ns().min(deaf_ns).min(nak_ns).min(told_ns)
    }

    /// What came of it, for the shares of all.
    pub fn brought(&self) -> Brought {
        Brought {
            peer: self.id,
            datagrams: self.counters.received,
            bytes: self.counters.received_bytes,
            lost: self.inbound.iter().map(|inbound| inbound.ingress.seen_lost()).sum(),
        }
    }

    /// Its stream with this id, if we take part in it.
    #[inline]
    pub fn inbound_mut(&mut self, stream: StreamId) -> Option<&mut InboundStream> {
        let at = self.inbound.binary_search_by_key(&stream, |inbound| inbound.stream).ok()?;
        Some(&mut self.inbound[at])
    }
}
