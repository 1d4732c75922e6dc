//! State that the inbound streams of all peers share: the receive buffer, the fair shares,
//! and the statuses that are owed.

use netcluster_platform::Instant;
use netcluster_wire::link::limits::{MAX_ENTRIES, SHARE_UNIT_BYTES_PER_S};
use netcluster_wire::link::{ControlKind, Report, Status};

use crate::REORDER_DATAGRAMS;
use crate::config::LinkConfig;
use crate::control::control_sender::ControlSender;
use crate::crypto::{Keys, StreamOpener};
use crate::membership::peer::Peer;
use crate::membership::peers::Peers;
use crate::receive::fair_share::FairShare;
use crate::receive::inbound_stream::InboundStream;
use crate::receive::ingress::{Ingress, IngressConfig, ReassemblyBudget};
use crate::receive::receive_window::{ReceiveWindow, ReceiveWindowConfig};
use crate::stream::{Position, StreamId};

/// Shared part of all inbound streams; each stream itself is its peer's.
pub(crate) struct InboundStreams {
    pub config: IngressConfig,
    pub window: ReceiveWindow,
    pub fair_share: FairShare,
    /// Slot and stream whose data was just received, and has not been looked through.
    pub touched: Option<(usize, StreamId)>,
    /// Some peer is owed a status.
    pub owes_status: bool,
}

impl InboundStreams {
    pub fn new(config: &LinkConfig) -> InboundStreams {
        InboundStreams {
            config: IngressConfig {
                max_payload_bytes: config.max_payload_bytes,
                reassembly: ReassemblyBudget::new(config.reassembly_bytes),
                reorder_datagrams: REORDER_DATAGRAMS,
            },
            window: ReceiveWindow::new(&ReceiveWindowConfig {
                granted_bytes: config.receive_buffer_bytes,
                datagram_bytes: config.datagram_bytes,
                reorder_datagrams: REORDER_DATAGRAMS,
            }),
            fair_share: FairShare::default(),
            touched: None,
            owes_status: false,
        }
    }

    /// Notes that a peer is to be sent a status.
    #[inline]
    pub fn owe_status(&mut self, peer: &mut Peer) {
        peer.owes_status = true;
        self.owes_status = true;
    }

    /// Receives these streams of a peer, from these positions on, and no others.
    pub fn join(
        &mut self,
        now: Instant,
        peer: &mut Peer,
        places: &[(StreamId, Position)],
        keys: &Keys,
    ) {
        let mut before = std::mem::take(&mut peer.inbound);
        let config =
            IngressConfig { reassembly: self.config.reassembly.of(peer.id), ..self.config.clone() };
        for &(stream, join) in places {
            let at = before.iter().position(|inbound| inbound.stream == stream);
            let mut is_held = false;
            match at.map(|at| before.swap_remove(at)) {
                Some(mut inbound) if inbound.join == join || !inbound.begins_anew(join) => {
                    if inbound.join != join {
                        // The peer had forgotten us. What it sent until it joined
                        // us anew, nobody will retransmit.
                        inbound.ingress.rejoin(now, join);
                        inbound.join = join;
                        // It waits to hear how far we are.
                        self.owe_status(peer);
                    }
                    if inbound.is_stale {
                        inbound.ingress.set_held(inbound.is_held);
                        inbound.is_stale = false;
                    }
                    peer.inbound.push(inbound);
                    continue;
                }
                // For a while nobody here wanted it, and the peer knew; or it had ended.
                Some(old) => {
                    is_held = old.is_held;
                    self.window.close(peer.id, stream);
                }
                None => {}
            }
            let opener = StreamOpener::new(keys, &peer.session, stream);
            let ingress = Ingress::new(stream, peer.identity.node, join, opener, &config);
            self.window.open(peer.id, stream, join.number);
            let mut inbound = InboundStream::new(stream, ingress, join);
            // The queue that holds it up may still be full.
            inbound.is_held = is_held;
            inbound.ingress.set_held(is_held);
            peer.inbound.push(inbound);
            self.owe_status(peer);
        }
        for inbound in before {
            self.window.close(peer.id, inbound.stream);
        }
    }

    /// Sends the statuses that peers are owed.
    pub fn pay_statuses(&mut self, now: Instant, peers: &mut Peers, control: &mut ControlSender) {
        if !std::mem::take(&mut self.owes_status) {
            return;
        }
        if self.fair_share.is_due(now) {
            self.fair_share.count(now, peers.iter().map(Peer::brought));
        }
        let senders = self.window.senders(now);
        for index in 0..peers.len() {
            let Some(slot) = peers.slot_at(index) else { continue };
            let Some(peer) = peers.at_mut(slot) else { continue };
            if !std::mem::take(&mut peer.owes_status) {
                continue;
            }
            let shares = self.window.shares(&senders, peer.id);
            let mut reports: Vec<Report> = Vec::with_capacity(peer.inbound.len());
            for inbound in &peer.inbound {
                let position = inbound.ingress.position();
                reports.push(Report {
                    stream: inbound.stream.0,
                    held: inbound.is_held,
                    missing: inbound.ingress.missing(),
                    position,
                    limit: self.window.grant(&shares, inbound.stream, position),
                    seen_lost: inbound.ingress.seen_lost(),
                });
            }
            let (echo_ns, came_at) = peer.round_trip.echo.unwrap_or((0, now));
            let held_ns = u32::try_from(now.since(came_at));
            // An echo too old to say how old it is, is none.
            let (echo_ns, held_ns) = held_ns.map_or((0, 0), |held_ns| (echo_ns, held_ns));
            let share = self.fair_share.of(peer.id) / SHARE_UNIT_BYTES_PER_S;
            let share = u32::try_from(share).unwrap_or(u32::MAX);
            for chunk in reports.chunks(MAX_ENTRIES) {
                control.send_to(ControlKind::Status, peer.address, |out| {
                    Status::encode(&peer.session, echo_ns, held_ns, share, chunk, out);
                });
            }
        }
    }
}
