//! The outbound streams of this broker, by their place and by their id.

use std::collections::BTreeMap;

use netcluster_wire::link::limits::MAX_ENTRIES;
use netcluster_wire::link::{Beat, ControlKind, Heartbeat, Leave, Place};

use crate::config::LinkConfig;
use crate::control::control_sender::ControlSender;
use crate::local_broker::LocalBroker;
use crate::membership::discovery::Discovery;
use crate::membership::peers::Peers;
use crate::peer_id::{PeerId, Session};
use crate::send::egress::EgressConfig;
use crate::send::outbound_stream::OutboundStream;
use crate::send::path_mtu::BASE_BYTES;
use crate::send::scheduler::Scheduler;
use crate::stream::{Position, StreamId};

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

    /// The place of a stream, which is made if there is none.
    pub fn open(&mut self, now_ns: u64, id: StreamId, peers: &Peers) -> usize {
        if let Some(&at) = self.by_id.get(&id) {
            return at;
        }
        let mut own = OutboundStream::new(id, &self.config, self.stall_ns);
        // Peers were told that they are owed everything from its beginning on.
        for peer in peers.iter() {
            if let Some(position) = peer.wants.joined(id) {
                own.flow.join(now_ns, peer.id, position.number, peer.wants.path());
            }
        }
        if own.flow.is_wanted() {
            own.receivers_changed();
        }
        let at = self.streams.len();
        self.streams.push(own);
        self.by_id.insert(id, at);
        self.fit_one(at, peers);
        at
    }

    /// Begins all of them anew, for another session.
    pub fn renew(&mut self, session: Session, peers: &Peers) {
        self.config.session = session;
        for own in &mut self.streams {
            *own = OutboundStream::new(own.id, &self.config, self.stall_ns);
        }
        self.fit(peers);
    }

    /// A peer receives a stream no more.
    pub fn remove_receiver(&mut self, now_ns: u64, id: StreamId, peer: PeerId) {
        if let Some(own) = self.get_mut(id) {
            own.flow.remove(now_ns, peer);
            own.retransmits.forget_peer(peer);
            own.receivers_changed();
        }
    }

    /// Drops what streams that lost their last receiver have not sent.
    pub fn forget_unwanted(&mut self, discovery: &Discovery, scheduler: &mut Scheduler) {
        if !discovery.is_over() {
            return;
        }
        for (at, own) in self.streams.iter_mut().enumerate() {
            if own.flow.is_wanted() {
                continue;
            }
            if !discovery.is_keeping() {
                scheduler.forget(at);
                own.forget_unsent();
            } else if own.egress.is_blocked() {
                // Emitters do not wait for who may come.
                scheduler.forget(at);
                own.spill();
            }
        }
    }

    /// Gives all streams the size of datagrams that all of their receivers can be sent.
    pub fn fit(&mut self, peers: &Peers) {
        (0..self.streams.len()).for_each(|at| self.fit_one(at, peers));
    }

    fn fit_one(&mut self, at: usize, peers: &Peers) {
        let own = &mut self.streams[at];
        let receivers = own.flow.receivers().iter().filter_map(|it| peers.get(it.peer));
        let least = receivers.map(|peer| peer.path.mtu.bytes()).min();
        // Nobody receives yet: whoever comes first can be sent that.
        own.egress.set_datagram_bytes(least.unwrap_or(BASE_BYTES));
    }

    /// The first deadline of any of them.
    pub fn next_ns(&self) -> u64 {
        let deadline_ns = |own: &OutboundStream| {
            own.flow.next_deadline_ns().unwrap_or(u64::MAX).min(own.heartbeat.next_ns)
        };
        self.streams.iter().map(deadline_ns).min().unwrap_or(u64::MAX)
    }

    /// Says how far outbound streams are; and whether receivers are to answer.
    pub fn send_heartbeats(
        &self,
        now_ns: u64,
        streams: &[(usize, bool)],
        peers: &Peers,
        config: &LinkConfig,
        control: &mut ControlSender,
    ) {
        if streams.is_empty() || peers.len() == 0 {
            return;
        }
        let to = peers.everybody(config);
        let own = &self.streams;
        let beats: Vec<Beat> = streams
            .iter()
            .map(|&(at, poll)| {
                let next = own[at].egress.next();
                Beat {
                    stream: own[at].id.0,
                    poll,
                    next: next.number,
                    tail: own[at].egress.tail(),
                    ordinal: next.ordinal,
                }
            })
            .collect();
        for chunk in beats.chunks(MAX_ENTRIES) {
            // 0 would say that there was none.
            let time_ns = now_ns.max(1);
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
                let own = self.get(stream);
                // What was not sent in time counts, so that receivers miss it.
                let end = own.map_or(Position::default(), |own| Position {
                    number: own.egress.next().number,
                    ordinal: own.egress.end_ordinal(),
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
