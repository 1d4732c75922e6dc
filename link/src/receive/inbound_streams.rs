//! What the inbound streams of all peers share: the receive buffer, the way here, and
//! what is owed for them.

use netcluster_wire::link::limits::{MAX_ENTRIES, SHARE_UNIT_BYTES_PER_S};
use netcluster_wire::link::{ControlKind, Report, Status};

use crate::REORDER_DATAGRAMS;
use crate::config::LinkConfig;
use crate::control::control_sender::ControlSender;
use crate::membership::peer::Peer;
use crate::membership::peers::Peers;
use crate::receive::fair_share::FairShare;
use crate::receive::ingress::{IngressConfig, ReassemblyBudget};
use crate::receive::receive_window::{ReceiveWindow, ReceiveWindowConfig};
use crate::stream::StreamId;

/// The shared part of all inbound streams; each itself is its peer's.
pub(crate) struct InboundStreams {
    pub config: IngressConfig,
    pub window: ReceiveWindow,
    pub fair_share: FairShare,
    /// Whose data was just received, and has not been looked through.
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

    /// Sends the statuses that peers are owed.
    pub fn pay_statuses(&mut self, now_ns: u64, peers: &mut Peers, control: &mut ControlSender) {
        if !std::mem::take(&mut self.owes_status) {
            return;
        }
        if self.fair_share.is_due(now_ns) {
            self.fair_share.count(now_ns, peers.iter().map(Peer::brought));
        }
        let senders = self.window.senders(now_ns);
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
            let (echo_ns, came_ns) = peer.round_trip.echo.unwrap_or((0, now_ns));
            let held_ns = u32::try_from(now_ns.saturating_sub(came_ns));
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
