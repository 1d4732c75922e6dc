//! One stream of one peer, as the link keeps it.

use std::collections::VecDeque;

use netcluster_platform::Instant;
use netcluster_wire::control::LossReason;

use crate::event::{LinkEvent, Lost, Run};
use crate::interest::local_channels::LocalChannels;
use crate::peer_id::PeerId;
use crate::receive::ingress::{Delivery, Ingress};
use crate::status::{LinkCounters, PeerCounters};
use crate::stream::{Position, StreamId};

/// Most events of a hole that are counted; more are a loss of unknown size: no broker emits
/// so many unheard, and sums of what peers claim shall not overflow anywhere.
pub(crate) const MAX_COUNTED: u64 = u32::MAX as u64;

/// Time for which nothing of the stream came by multicast but what was asked for, while
/// multicast is what the sender uses: then the group's multicast does not reach us …
const DEAF_NS: u64 = 1_000_000_000;

/// … if so many new datagrams were sent.
const DEAF_DATAGRAMS: u64 = 128;

pub(crate) struct InboundStream {
    pub stream: StreamId,
    pub ingress: Ingress,
    /// Position at which we joined, says the peer. Another one later: it joined us anew.
    pub join: Position,
    /// Nobody here wants the stream any more. It is kept until the peer knows.
    pub is_stale: bool,
    /// A listener here is full.
    pub is_held: bool,
    /// The peer said where the stream ends.
    pub has_left: bool,
    /// Retransmission requests of the stream.
    pub naks_sent: u64,
    /// Bytes of an event that was too large for this broker, which is to be said.
    pub large_bytes: Option<usize>,
    /// Time and number since which data came by unicast alone.
    unheard: Option<(Instant, u64)>,
}

/// Peer of a stream, and where its events go.
pub(crate) struct Outlet<'a> {
    pub peer: PeerId,
    pub node: u32,
    pub channels: &'a LocalChannels,
    pub events: &'a mut VecDeque<LinkEvent>,
    pub counters: &'a mut LinkCounters,
    pub peer_counters: &'a mut PeerCounters,
}

impl InboundStream {
    pub fn new(stream: StreamId, ingress: Ingress, join: Position) -> InboundStream {
        InboundStream {
            stream,
            ingress,
            join,
            is_stale: false,
            is_held: false,
            has_left: false,
            naks_sent: 0,
            large_bytes: None,
            unheard: None,
        }
    }

    /// Whether nothing of the stream is expected any more, as far as both sides know.
    pub fn is_over(&self) -> bool {
        self.is_stale || self.has_left
    }

    /// Whether nothing is left of it if the peer joins us there: it was over, and what came
    /// already does not come again.
    pub fn begins_anew(&self, join: Position) -> bool {
        self.is_over() && join.number >= self.ingress.position()
    }

    /// Time at which retransmissions are to be asked for.
    pub fn next_nak_at(&self) -> Instant {
        self.ingress.next_nak_at().unwrap_or(Instant::NEVER)
    }

    /// Notes how a datagram of the stream came, be it kept or not: of what comes to a
    /// receiver that is far behind most is too far ahead. That part is not proved by a seal;
    /// what a stranger gains by sending it is that the group is not called filtered.
    #[inline]
    pub fn came(&mut self, now: Instant, multicast: bool) {
        if multicast {
            self.unheard = None;
        } else if self.unheard.is_none() {
            self.unheard = Some((now, self.ingress.known_end()));
        }
    }

    /// Forgets by which way data came: the sender was told to use another one.
    pub fn forget_ways(&mut self) {
        self.unheard = None;
    }

    /// Whether, if multicast is what the sender uses, the group's seems not to reach
    /// us.
    pub fn is_group_unheard(&self, now: Instant) -> bool {
        self.unheard.is_some_and(|(since, first)| {
            let sent = self.ingress.known_end().saturating_sub(first);
            now.since(since) >= DEAF_NS && sent >= DEAF_DATAGRAMS
        })
    }

    /// Hands out what is in order by now.
    pub fn drain(&mut self, reason: LossReason, outlet: &mut Outlet<'_>) {
        while let Some(delivery) = self.ingress.poll_delivery() {
            if let Delivery::Large { bytes, .. } = delivery {
                self.large_bytes = Some(bytes);
            }
            match delivery {
                _ if self.is_stale => {}
                Delivery::Run { channel, slice, frames, source, name_len } => {
                    if !outlet.channels.is_wanted(channel) {
                        outlet.counters.events_unheard += frames as u64;
                        continue;
                    }
                    outlet.events.push_back(LinkEvent::Run(Run {
                        peer: outlet.peer,
                        stream: self.stream,
                        channel,
                        slice,
                        frames,
                        source,
                        name_len,
                    }));
                }
                Delivery::Lost { count } | Delivery::Large { count, .. } => {
                    let reason = match delivery {
                        Delivery::Large { .. } => LossReason::Large,
                        _ => reason,
                    };
                    let count = count.filter(|count| *count <= MAX_COUNTED);
                    match count {
                        Some(count) => {
                            let lost = &mut outlet.peer_counters.events_lost;
                            *lost = lost.saturating_add(count);
                        }
                        None => outlet.peer_counters.losses_unknown += 1,
                    }
                    outlet.events.push_back(LinkEvent::Lost(Lost {
                        node: outlet.node,
                        stream: self.stream,
                        channel: None,
                        count,
                        reason,
                    }));
                }
            }
        }
    }
}
