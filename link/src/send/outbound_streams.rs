//! The outbound streams of this broker, by their place and by their id.

use std::collections::BTreeMap;

use netcluster_platform::Instant;
use netcluster_wire::link::limits::{MAX_ENTRIES, SHARE_UNIT_BYTES_PER_S};
use netcluster_wire::link::{Beat, ControlKind, Heartbeat, Interest, Leave, Nak, Place, Status};

use crate::config::{LinkConfig, StreamMap};
use crate::control::control_sender::ControlSender;
use crate::crypto::Keys;
use crate::local_broker::LocalBroker;
use crate::membership::discovery::Discovery;
use crate::membership::peer::Peer;
use crate::membership::peers::Peers;
use crate::peer_id::{PeerId, Session};
use crate::send::congestion::CongestionControl;
use crate::send::egress::EgressConfig;
use crate::send::flow_control::Report;
use crate::send::outbound_stream::OutboundStream;
use crate::send::path_mtu::BASE_BYTES;
use crate::send::scheduler::Scheduler;
use crate::stream::{Position, StreamId};
use crate::timer::Timer;

/// All outbound streams. One that is open stays: its place never changes.
pub(crate) struct OutboundStreams {
    pub streams: Vec<OutboundStream>,
    pub by_id: BTreeMap<StreamId, usize>,
    config: EgressConfig,
    stall_ns: u64,
}

impl OutboundStreams {
    pub fn new(config: &LinkConfig, session: Session) -> OutboundStreams {
        let egress_config = EgressConfig {
            datagram_bytes: config.datagram_bytes,
            history_bytes: config.history_bytes,
            session,
            keys: config.keys.clone(),
        };
        OutboundStreams {
            streams: Vec::new(),
            by_id: BTreeMap::new(),
            config: egress_config,
            stall_ns: config.stall_timeout.as_nanos() as u64,
        }
    }

    pub fn get(&self, id: StreamId) -> Option<&OutboundStream> {
        Some(&self.streams[*self.by_id.get(&id)?])
    }

    pub fn get_mut(&mut self, id: StreamId) -> Option<&mut OutboundStream> {
        Some(&mut self.streams[*self.by_id.get(&id)?])
    }

    /// Place of a stream, which is made if there is none.
    pub fn open(&mut self, now: Instant, id: StreamId, peers: &Peers) -> usize {
        if let Some(&at) = self.by_id.get(&id) {
            return at;
        }
        let mut outbound = OutboundStream::new(id, &self.config, self.stall_ns);
        // Peers were told that they are owed everything from its beginning on.
        for peer in peers.iter() {
            if let Some(position) = peer.wants.joined(id) {
                outbound.flow.join(now, peer.id, position.number, peer.wants.path());
            }
        }
        if outbound.flow.is_wanted() {
            outbound.receivers_changed();
        }
        let at = self.streams.len();
        self.streams.push(outbound);
        self.by_id.insert(id, at);
        self.fit_one(at, peers);
        at
    }

    /// Seals by the first of these keys from now on.
    pub fn set_keys(&mut self, keys: &Keys) {
        self.config.keys = keys.clone();
        self.streams.iter_mut().for_each(|outbound| outbound.egress.set_keys(keys));
    }

    /// Begins all streams anew, for another session.
    pub fn renew(&mut self, session: Session, peers: &Peers) {
        self.config.session = session;
        for outbound in &mut self.streams {
            *outbound = OutboundStream::new(outbound.id, &self.config, self.stall_ns);
        }
        self.fit(peers);
    }

    /// Removes a peer that receives a stream no more.
    pub fn remove_receiver(&mut self, now: Instant, id: StreamId, peer: PeerId) {
        if let Some(outbound) = self.get_mut(id) {
            outbound.flow.remove(now, peer);
            outbound.retransmits.forget_peer(peer);
            outbound.receivers_changed();
        }
    }

    /// Makes a peer a receiver of the streams of the groups that it wants by a new
    /// interest, and of no others. Returns when a heartbeat is due for it.
    pub fn join(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        interest: &Interest,
        stream_map: &StreamMap,
        discovery: &Discovery,
    ) -> Instant {
        let (id, path) = (peer.id, peer.wants.path());
        let is_kept =
            |stream: StreamId| !interest.fresh && interest.groups & (1 << stream.group()) != 0;
        peer.wants.joined.retain(|&(stream, _)| {
            if !is_kept(stream) {
                self.remove_receiver(now, stream, id);
            }
            is_kept(stream)
        });
        let mut next_at = Instant::NEVER;
        for stream in stream_map.streams_in(interest.groups) {
            let is_new = peer.wants.joined(stream).is_none();
            let Some(outbound) = self.get_mut(stream) else {
                if is_new {
                    peer.wants.joined.push((stream, Position::default()));
                }
                continue;
            };
            if is_new {
                // What is held back or kept is for those who come now.
                let position = if discovery.meets(peer.identity.node) {
                    outbound.egress.oldest()
                } else {
                    outbound.egress.join_point()
                };
                peer.wants.joined.push((stream, position));
                outbound.flow.join(now, id, position.number, path);
                outbound.receivers_changed();
                if position.number < outbound.egress.next().number {
                    // Nothing else may tell it of what was sent before it came.
                    outbound.heartbeat.restart(now);
                    next_at = next_at.min(outbound.heartbeat.next_at);
                }
            }
            outbound.flow.set_path(id, path);
        }
        next_at
    }

    /// Takes in how far a peer is in streams that it receives.
    pub fn on_status(
        &mut self,
        now: Instant,
        peer: PeerId,
        status: &Status<'_>,
        congestion: &mut CongestionControl,
        timer: &mut Timer,
    ) {
        let share = u64::from(status.share) * SHARE_UNIT_BYTES_PER_S;
        for report in status.reports.iter() {
            let Some(outbound) = self.get_mut(StreamId(report.stream)) else { continue };
            let next = outbound.egress.next().number;
            let stated = Report {
                position: report.position,
                limit: report.limit,
                seen_lost: report.seen_lost,
                is_held: report.held,
            };
            let sample = outbound.flow.on_status(now, peer, next, &stated);
            outbound.receivers_changed();
            if let Some(sample) = sample {
                congestion.report(now, peer, sample, share);
            }
            if stated.position > next && outbound.heartbeat.next_at == Instant::NEVER {
                // It believes what this broker never said, and must hear where it is.
                outbound.heartbeat.restart(now);
                timer.due(outbound.heartbeat.next_at);
            }
            timer.due(outbound.flow.next_deadline().unwrap_or(Instant::NEVER));
        }
    }

    /// Takes in which datagrams of a stream a peer asks to be sent again.
    pub fn on_nak(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        nak: &Nak<'_>,
        congestion: &mut CongestionControl,
        timer: &mut Timer,
    ) {
        let most_bytes = self.config.datagram_bytes;
        let Some(outbound) = self.get_mut(StreamId(nak.stream)) else { return };
        outbound.naks_received += 1;
        if outbound.flow.receiver(peer.id).is_none() {
            return;
        }
        let next = outbound.egress.next().number;
        let sample = outbound.flow.on_request(now, peer.id, next, nak.seen_lost);
        if let Some(sample) = sample {
            congestion.report(now, peer.id, sample, 0);
        }
        peer.path.requested(now, outbound, nak);
        timer.due(peer.path.mtu.next_at());
        outbound.request(now, peer, nak, most_bytes);
        timer.due(outbound.flow.next_deadline().unwrap_or(Instant::NEVER));
    }

    /// Waits no longer for a peer in the streams in which it misses datagrams of more
    /// bytes than these: they may be too large to reach it. Returns these streams.
    pub fn demote_where_larger(
        &mut self,
        now: Instant,
        peer: PeerId,
        most_bytes: usize,
    ) -> Vec<StreamId> {
        let mut demoted = Vec::new();
        for outbound in &mut self.streams {
            let Some(receiver) = outbound.flow.receiver(peer) else { continue };
            let mut missed = receiver.position..outbound.egress.next().number;
            let egress = &outbound.egress;
            let is_large = |number| egress.datagram(number).is_some_and(|it| it.len() > most_bytes);
            if missed.any(is_large) && outbound.flow.demote(now, peer) {
                outbound.receivers_changed();
                demoted.push(outbound.id);
            }
        }
        demoted
    }

    /// The streams whose heartbeats are due, and whether these ask for a status; they
    /// count as sent.
    pub fn due_heartbeats(&mut self, now: Instant) -> Vec<(usize, bool)> {
        let mut due = Vec::new();
        for (at, outbound) in self.streams.iter_mut().enumerate() {
            if outbound.heartbeat.next_at <= now {
                let is_confirmed = outbound.is_confirmed();
                due.push((at, outbound.heartbeat.sent(now, is_confirmed)));
            }
        }
        due
    }

    /// Begins heartbeats of the streams that somebody receives anew: they ask for
    /// statuses.
    pub fn restart_heartbeats(&mut self, now: Instant) {
        for outbound in self.streams.iter_mut().filter(|outbound| outbound.flow.is_wanted()) {
            outbound.heartbeat.restart(now);
        }
    }

    /// Whether all that was emitted is sent and confirmed by those who are waited for.
    pub fn is_drained(&self) -> bool {
        let mut wanted = self.streams.iter().filter(|outbound| outbound.flow.is_wanted());
        wanted.all(|outbound| {
            let egress = &outbound.egress;
            !egress.unsent() && !egress.is_blocked() && outbound.is_confirmed()
        })
    }

    /// Drops what streams that lost their last receiver have not sent.
    pub fn forget_unwanted(&mut self, discovery: &Discovery, scheduler: &mut Scheduler) {
        if !discovery.is_over() {
            return;
        }
        for (at, outbound) in self.streams.iter_mut().enumerate() {
            if outbound.flow.is_wanted() {
                continue;
            }
            if !discovery.is_keeping() {
                scheduler.forget(at);
                outbound.forget_unsent();
            } else if outbound.egress.is_blocked() {
                // Emitters do not wait for who may come.
                scheduler.forget(at);
                outbound.spill();
            }
        }
    }

    /// Gives all streams the size of datagrams that all of their receivers can be sent.
    pub fn fit(&mut self, peers: &Peers) {
        (0..self.streams.len()).for_each(|at| self.fit_one(at, peers));
    }

    fn fit_one(&mut self, at: usize, peers: &Peers) {
        let outbound = &mut self.streams[at];
        let receivers = outbound.flow.receivers().iter().filter_map(|it| peers.get(it.peer));
        let least = receivers.map(|peer| peer.path.mtu.bytes()).min();
        // Nobody receives yet: whoever comes first can be sent that.
        outbound.egress.set_datagram_bytes(least.unwrap_or(BASE_BYTES));
    }

    /// The first deadline of any stream.
    pub fn next_at(&self) -> Instant {
        let deadline = |outbound: &OutboundStream| {
            outbound.flow.next_deadline().unwrap_or(Instant::NEVER).min(outbound.heartbeat.next_at)
        };
        self.streams.iter().map(deadline).min().unwrap_or(Instant::NEVER)
    }

    /// Says how far outbound streams are; and whether receivers are to answer.
    pub fn send_heartbeats(
        &self,
        now: Instant,
        streams: &[(usize, bool)],
        peers: &Peers,
        config: &LinkConfig,
        control: &mut ControlSender,
    ) {
        if streams.is_empty() || peers.len() == 0 {
            return;
        }
        let to = peers.everybody(config);

        let beats: Vec<Beat> = streams
            .iter()
            .map(|&(at, poll)| {
                let next = self.streams[at].egress.next();
                Beat {
                    stream: self.streams[at].id.0,
                    poll,
                    next: next.number,
                    tail: self.streams[at].egress.tail(),
                    ordinal: next.ordinal,
                }
            })
            .collect();
        for chunk in beats.chunks(MAX_ENTRIES) {
            // 0 would say that there was none.
            let time_ns = now.as_nanos().max(1);
            control.send(ControlKind::Heartbeat, &to, |out| {
                Heartbeat::encode(time_ns, chunk, out);
            });
        }
    }

    /// Tells all peers where the streams end that they want.
    pub fn say_goodbye(&self, peers: &Peers, local: &LocalBroker, control: &mut ControlSender) {
        let groups = peers.iter().fold(0, |groups, peer| groups | peer.wants.groups);
        let places: Vec<Place> = local
            .stream_map
            .streams_in(groups)
            .map(|stream| {
                let outbound = self.get(stream);
                // What was not sent in time counts, so that receivers miss it.
                let end = outbound.map_or(Position::default(), |outbound| Position {
                    number: outbound.egress.next().number,
                    ordinal: outbound.egress.end_ordinal(),
                });
                Place { stream: stream.0, number: end.number, ordinal: end.ordinal }
            })
            .collect();
        let to = peers.everybody(&local.config);
        let chunks = places.chunks(MAX_ENTRIES).chain(places.is_empty().then_some(&places[..]));
        for chunk in chunks {
            control.send(ControlKind::Leave, &to, |out| Leave::encode(chunk, out));
        }
    }
}
