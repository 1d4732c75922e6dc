//! One peer: another broker that proved to be there now.

use core::net::SocketAddr;

use netcluster_platform::Instant;
use netcluster_wire::control::LossReason;
use netcluster_wire::link::limits::{
    CONTROL_HEADER_BYTES, MAX_ENTRIES, NONCE_BYTES, SESSION_BYTES,
};
use netcluster_wire::link::{ControlKind, Joined, Place, Probe, Status};

use crate::control::control_sender::ControlSender;
use crate::crypto::ControlOpener;
use crate::interest::local_channels::LocalChannels;
use crate::interest::told::Told;
use crate::interest::wants::Wants;
use crate::membership::address_proof::AddressProof;
use crate::membership::handshake::{Identity, Pending};
use crate::membership::liveness::Liveness;
use crate::membership::neighbours::Heard;
use crate::membership::round_trip::RoundTrip;
use crate::membership::summaries::HeardSummary;
use crate::output::Output;
use crate::peer_id::{PeerId, Session};
use crate::receive::fair_share::Brought;
use crate::receive::inbound_stream::{InboundStream, Outlet};
use crate::send::datagram_size::PeerPath;
use crate::send::path_mtu::PathMtu;
use crate::status::{LinkCounters, PeerCounters};
use crate::stream::{Position, StreamId};
use crate::transmit::To;

const MS_NS: u64 = 1_000_000;

/// Shortest time between two challenges to addresses that a peer is said to have
/// moved to: a session that many claim to be moves no faster.
const CHALLENGE_INTERVAL_NS: u64 = 20 * MS_NS;

pub(crate) struct Peer {
    pub id: PeerId,
    pub session: Session,
    pub identity: Identity,
    /// Address from which it answered a challenge: all that is for it alone goes there.
    pub address: SocketAddr,
    pub since: Instant,
    pub opener: ControlOpener,
    /// Proof that it is reached at an address.
    pub proof: AddressProof,
    /// Times at which it was heard.
    pub liveness: Liveness,
    pub wants: Wants,
    pub told: Told,
    /// Streams of it that we take part in, by their ids.
    pub inbound: Vec<InboundStream>,
    /// Time that datagrams and retransmissions take.
    pub round_trip: RoundTrip,
    /// The peer is owed a status.
    pub owes_status: bool,
    pub counters: PeerCounters,
    /// State of its list of its own peers.
    pub neighbours: Heard,
    /// State of the peer as it told it last.
    pub summary: HeardSummary,
    /// Path to the peer, and the size that it takes.
    pub path: PeerPath,
    /// Time from which on another address of it may be challenged.
    challenge_at: Instant,
}

impl Peer {
    /// Makes a peer of a pending session that answered from `address`.
    pub fn new(
        now: Instant,
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
            since: now,
            opener: pending.opener,
            proof: pending.proof,
            liveness: Liveness::new(now, pending.multicast_at),
            wants: Wants::default(),
            told: Told::new(now),
            inbound: Vec::new(),
            round_trip: RoundTrip::default(),
            owes_status: false,
            counters: PeerCounters::default(),
            neighbours: Heard::default(),
            summary: HeardSummary::default(),
            path: PeerPath::new(path_mtu),
            challenge_at: Instant::START,
        }
    }

    /// Notes that something of the peer was opened.
    #[inline]
    pub fn heard(&mut self, now: Instant, multicast: bool) {
        if self.liveness.heard(now, multicast) {
            self.forgive(now);
        }
    }

    /// Forgives what is missing: nothing of the peer came for a while, so that this says
    /// nothing of how it comes, nor that it cannot come.
    #[cold]
    fn forgive(&mut self, now: Instant) {
        for inbound in &mut self.inbound {
            inbound.ingress.forgive_gaps(now);
            inbound.forget_ways();
        }
    }

    /// Whether an address that it seems to have moved to may be challenged now;
    /// then it counts as challenged.
    pub fn may_challenge(&mut self, now: Instant) -> bool {
        let may = now >= self.challenge_at;
        if may {
            self.challenge_at = now + CHALLENGE_INTERVAL_NS;
        }
        may
    }

    /// Takes in what a status says of one of our heartbeats: how long that and the
    /// status took.
    pub fn note_echo(&mut self, now: Instant, status: &Status<'_>) {
        let held_ns = u64::from(status.held_ns);
        let sent_at = Instant::from_nanos(status.echo_ns);
        if status.echo_ns != 0
            && let Some(there_and_back_ns) = now.checked_since(sent_at)
            && let Some(round_trip_ns) = there_and_back_ns.checked_sub(held_ns)
        {
            self.round_trip.measured(round_trip_ns);
            self.told.echoed_at = self.told.echoed_at.max(sent_at);
        }
    }

    /// Sets the streams of the peer apart whose groups nobody here wants (any more).
    pub fn set_unwanted_aside(&mut self, groups: u64) {
        for inbound in &mut self.inbound {
            let is_wanted = groups & (1 << inbound.stream.group()) != 0;
            inbound.is_stale |= !is_wanted;
            if inbound.is_stale {
                // Wanted again, but does the peer know that it was not? If not, all
                // that comes is owed; if so, what comes behind its new P will be
                // retransmitted. Until it tells, nothing may be delivered.
                inbound.ingress.set_held(is_wanted);
            }
        }
    }

    /// Tells the peer from where on it is owed the streams that it wants. `echo_ns` is the
    /// time in its interest, `age_ns` how long this session has been there.
    pub fn answer_interest(&self, (echo_ns, age_ns): (u64, u64), control: &mut ControlSender) {
        let place = |&(stream, at): &(StreamId, Position)| Place {
            stream: stream.0,
            number: at.number,
            ordinal: at.ordinal,
        };
        let places: Vec<Place> = self.wants.joined.iter().map(place).collect();
        let total = places.len() as u16;
        // An empty answer is one too.
        let chunks = places.chunks(MAX_ENTRIES).chain(places.is_empty().then_some(&places[..]));
        for chunk in chunks {
            control.send_to(ControlKind::Joined, self.address, |out| {
                let (to, version) = (&self.session, self.wants.version);
                Joined::encode(to, version, total, (echo_ns, age_ns), chunk, out);
            });
        }
    }

    /// Sends the peer the probes that are due, by the way that data takes to it: `group` or
    /// its address. Nothing is sent before the peer has told which way that is.
    pub fn send_probes(
        &mut self,
        now: Instant,
        group: To,
        tag_bytes: usize,
        control: &mut ControlSender,
    ) {
        if self.wants.version == 0 {
            return;
        }
        let way = if self.wants.hears_us { group } else { To::Addr(self.address) };
        let (to, mtu) = (self.session, self.path.by(now, way));
        let nonce = mtu.nonce();
        let head_bytes = CONTROL_HEADER_BYTES + NONCE_BYTES + SESSION_BYTES + tag_bytes;
        for bytes in mtu.poll(now).into_iter().flatten() {
            let probe = Probe { nonce, to, padding_bytes: bytes - head_bytes };
            control.send(ControlKind::Probe, &[way], |out| probe.encode(out));
        }
    }

    /// Hands out what one of the peer's streams has in order by now.
    pub fn drain(
        &mut self,
        at: usize,
        reason: LossReason,
        channels: &LocalChannels,
        output: &mut Output,
        counters: &mut LinkCounters,
    ) {
        let mut outlet = Outlet {
            peer: self.id,
            node: self.identity.node,
            channels,
            events: &mut output.events,
            counters,
            peer_counters: &mut self.counters,
        };
        self.inbound[at].drain(reason, &mut outlet);
    }

    /// Ends all streams of the peer, and tells their listeners if it did not say how they
    /// end.
    pub fn end_streams(
        &mut self,
        channels: &LocalChannels,
        output: &mut Output,
        counters: &mut LinkCounters,
    ) {
        for at in 0..self.inbound.len() {
            let inbound = &mut self.inbound[at];
            if !inbound.has_left {
                inbound.ingress.died();
            }
            inbound.ingress.set_held(false);
            self.drain(at, LossReason::Peer, channels, output, counters);
        }
    }

    /// Whether all its streams have come to their end, or are not wanted.
    pub fn is_through(&self) -> bool {
        self.inbound.iter().all(InboundStream::is_over)
    }

    /// Time at which something is due for the peer.
    pub fn next_at(&self) -> Instant {
        // Else it is told so already, or as soon as it has answered.
        let is_told = self.told.hears && self.told.again_at.is_none();
        let deaf_at = if is_told { self.liveness.deaf_at() } else { Instant::NEVER };
        let nak_at =
            self.inbound.iter().map(InboundStream::next_nak_at).min().unwrap_or(Instant::NEVER);
        let told_at = self.told.next_at().min(self.path.mtu.next_at());
        self.liveness.next_at().min(deaf_at).min(nak_at).min(told_at)
    }

    /// Totals of what came from the peer, for the shares of all.
    pub fn brought(&self) -> Brought {
        Brought {
            peer: self.id,
            datagrams: self.counters.received,
            bytes: self.counters.received_bytes,
            lost: self.inbound.iter().map(|inbound| inbound.ingress.seen_lost()).sum(),
        }
    }

    /// The peer's stream with this id, if we take part in it.
    #[inline]
    pub fn inbound_mut(&mut self, stream: StreamId) -> Option<&mut InboundStream> {
        let at = self.inbound.binary_search_by_key(&stream, |inbound| inbound.stream).ok()?;
        Some(&mut self.inbound[at])
    }
}
