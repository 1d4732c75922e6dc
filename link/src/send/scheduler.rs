//! Datagrams out: control first, then retransmissions and new data by turns, one
//! stream after another, as congestion control allows.
//!
//! ```text
//!   control ────────────────────────────────────▶ ┐
//!   retransmissions of a stream ─┐                ├─▶ poll_transmit ─▶ socket
//!   new data of a stream ────────┴─▶ in hand ───▶ ┘        ▲               │
//!                                    (for each receiver)   └── blocked ────┘
//! ```
//! A batch goes to the group once if anybody hears it there, and once to each
//! receiver that does not. It is sealed once: the copies are the same bytes.
//!
//! Invariant: what was handed out counts as sent with the next call, unless
//! [`Link::blocked_transmit`] or [`Link::refused_transmit`] says how much of it was
//! not.

use netcluster_platform::Instant;

use crate::Link;
use crate::config::LinkConfig;
use crate::control::control_sender::ControlSender;
use crate::membership::peers::Peers;
use crate::send::congestion::CongestionControl;
use crate::send::outbound_stream::MIN_RETRANSMIT_NS;
use crate::send::outbound_streams::OutboundStreams;
use crate::send::retransmit;
use crate::status::LinkCounters;
use crate::timer::Timer;
use crate::transmit::{ControlDatagram, To, Transmit};

/// Most datagrams of one retransmission: as in a batch.
const MAX_RETRANSMIT_DATAGRAMS: usize = 64;

/// Most bytes of one send.
const MAX_SEND_BYTES: usize = 65_535 - 48;

pub(crate) struct Scheduler {
    pub congestion: CongestionControl,
    /// The stream whose turn it is.
    turn: usize,
    post: Option<(ControlDatagram, usize)>,
    retransmit: Option<RetransmitInHand>,
    batch: Option<BatchInHand>,
    handed: Handed,
    /// Memory for the receivers of the next batch.
    spare: Vec<To>,
}

/// Kind of what the last call gave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handed {
    Nothing,
    ControlDatagram,
    Retransmit { datagrams: u64, bytes: usize, segment: usize },
    Batch { datagrams: u64, bytes: usize, segment: usize },
}

struct RetransmitInHand {
    stream: usize,
    next: u64,
    end: u64,
    to: To,
    /// Datagrams that are handed out next: so many from `next` on.
    bytes: Vec<u8>,
    segment: usize,
    datagrams: u64,
}

struct BatchInHand {
    stream: usize,
    first: u64,
    end: u64,
    to: Vec<To>,
    /// The receiver whose turn it is, and what it got of the batch already.
    at: usize,
    done: u64,
}

/// Parts of the link that the scheduler takes from, and asks.
pub(crate) struct Parts<'a> {
    pub config: &'a LinkConfig,
    pub outbound: &'a mut OutboundStreams,
    pub control: &'a mut ControlSender,
    pub peers: &'a mut Peers,
    pub counters: &'a mut LinkCounters,
    pub timer: &'a mut Timer,
    /// New data is held back: peers are still looked for.
    pub is_discovering: bool,
}

impl Scheduler {
    pub fn new(now: Instant, rate: Option<u64>) -> Scheduler {
        Scheduler {
            congestion: CongestionControl::new(now, rate),
            turn: 0,
            post: None,
            retransmit: None,
            batch: None,
            handed: Handed::Nothing,
            spare: Vec::new(),
        }
    }

    /// Forgets an outbound stream that nobody wants any more.
    pub fn forget(&mut self, stream: usize) {
        if self.batch.as_ref().is_some_and(|batch| batch.stream == stream) {
            self.batch = None;
            self.handed = Handed::Nothing;
        }
    }

    pub fn has_post(&self) -> bool {
        self.post.is_some()
    }

    /// The next datagrams to send. Those of the call before are sent then.
    pub fn poll<'a>(&'a mut self, now: Instant, mut parts: Parts<'a>) -> Option<Transmit<'a>> {
        self.settle(parts.outbound, parts.counters, usize::MAX, false);
        if self.take_control(parts.control) {
            self.handed = Handed::ControlDatagram;
            let (post, at) = self.post.as_ref()?;
            let (bytes, to) = (&post.bytes[..], post.to[*at]);
            return Some(Transmit { to, bytes, segment: bytes.len(), looped: true });
        }
        self.drop_outdated(parts.outbound);
        let looped = parts.peers.is_looped;
        while self.batch.is_none() {
            if self.retransmit.is_none() && !self.choose(now, &mut parts) {
                return None;
            }
            if self.retransmit.is_some() && self.fill_retransmit(parts.outbound) {
                return self.hand_retransmit(looped);
            }
        }
        self.hand_batch(parts.outbound, looped)
    }

    /// Counts what was handed out as sent, as far as the socket took it; the rest is to
    /// come again, or was refused.
    pub fn settle(
        &mut self,
        outbound: &mut OutboundStreams,
        counters: &mut LinkCounters,
        taken_bytes: usize,
        is_refused: bool,
    ) {
        match std::mem::replace(&mut self.handed, Handed::Nothing) {
            Handed::Nothing => {}
            Handed::ControlDatagram => {
                let Some((_, at)) = &mut self.post else { return };
                if taken_bytes > 0 {
                    *at += 1;
                    counters.control_sent += 1;
                } else if is_refused {
                    *at += 1;
                    counters.refused += 1;
                }
            }
            Handed::Retransmit { datagrams, bytes, segment } => {
                let Some(retransmit) = &mut self.retransmit else { return };
                let taken = taken_bytes.min(bytes);
                let count = if taken == bytes { datagrams } else { (taken / segment) as u64 };
                let passed = if is_refused { datagrams } else { count };
                retransmit.next += passed;
                counters.refused += passed - count;
                outbound.streams[retransmit.stream].retransmits.repaired(taken);
                self.congestion.spend(taken);
                counters.repaired += count;
                outbound.streams[retransmit.stream].repaired += count;
                if retransmit.next >= retransmit.end {
                    self.retransmit = None;
                }
            }
            Handed::Batch { datagrams, bytes, segment } => {
                let Some(batch) = &mut self.batch else { return };
                let taken = taken_bytes.min(bytes);
                let count = if taken == bytes { datagrams } else { (taken / segment) as u64 };
                self.congestion.spend(taken);
                counters.sent += count;
                counters.sent_bytes += taken as u64;
                let stream = &mut outbound.streams[batch.stream];
                stream.retransmits.sent_new(taken);
                let passed = if is_refused { datagrams } else { count };
                batch.done += passed;
                counters.refused += passed - count;
                let is_done = batch.first + batch.done >= batch.end;
                if !is_done {
                    // At once: frames may be laid out before the next call.
                    stream.egress.unsend(batch.first + batch.done);
                } else {
                    batch.at += 1;
                    batch.done = 0;
                    if batch.at == batch.to.len() {
                        self.spare = std::mem::take(&mut batch.to);
                        self.batch = None;
                    }
                }
            }
        }
    }

    /// Whether a control datagram is at hand.
    fn take_control(&mut self, control: &mut ControlSender) -> bool {
        if let Some((post, at)) = self.post.take() {
            if at < post.to.len() {
                self.post = Some((post, at));
                return true;
            }
            control.queue.give_back(post);
        }
        self.post = control.queue.pop().map(|post| (post, 0));
        self.post.is_some()
    }

    /// Drops what is in hand and was overwritten meanwhile, as it may be if nobody is
    /// waited for.
    fn drop_outdated(&mut self, outbound: &OutboundStreams) {
        if let Some(batch) = &self.batch
            && outbound.streams[batch.stream].egress.tail() > batch.first + batch.done
        {
            self.batch = None;
        }
        if let Some(retransmit) = &mut self.retransmit {
            retransmit.next =
                retransmit.next.max(outbound.streams[retransmit.stream].egress.tail());
            if retransmit.next >= retransmit.end {
                self.retransmit = None;
            }
        }
    }

    /// Takes something to send into the hand, of the streams by turns.
    fn choose(&mut self, now: Instant, parts: &mut Parts<'_>) -> bool {
        let streams = parts.outbound.streams.len();
        for step in 0..streams {
            let at = (self.turn + step) % streams;
            if self.choose_of(now, at, parts) {
                self.turn = (at + 1) % streams;
                return true;
            }
        }
        false
    }

    fn choose_of(&mut self, now: Instant, at: usize, parts: &mut Parts<'_>) -> bool {
        let stream = &mut parts.outbound.streams[at];
        if !stream.flow.is_wanted() || parts.is_discovering {
            return false;
        }
        let limit = stream.flow.limit();
        let next = stream.egress.next().number;
        let unsent = stream.egress.unsent();
        let may_send = unsent && next < limit;
        if unsent && !may_send || !unsent && stream.egress.is_blocked() {
            stream.flow.blocked(now, next);
            let deadline = stream.flow.next_deadline().unwrap_or(Instant::NEVER);
            parts.timer.due(deadline);
        } else {
            stream.flow.unblocked();
        }
        if !may_send && stream.retransmits.is_empty() {
            return false;
        }
        let datagram_bytes = parts.config.datagram_bytes;
        let new_bytes = if may_send { stream.egress.queued_bytes() } else { 0 };
        let wanted = new_bytes + stream.retransmits.len() * datagram_bytes;
        let congestion = &mut self.congestion;
        let allowed =
            congestion.allow(now, wanted.min(MAX_SEND_BYTES)).min(congestion.batch_bytes());
        if allowed == 0 {
            // Somewhat later if it cannot say when.
            let next_at = congestion.next_at().unwrap_or(now + MIN_RETRANSMIT_NS);
            parts.timer.due(next_at);
            return false;
        }
        let allowed = allowed.max(datagram_bytes).min(MAX_SEND_BYTES);
        let datagrams = (allowed / datagram_bytes).clamp(1, MAX_RETRANSMIT_DATAGRAMS);
        stream.retransmits.forget_below(stream.egress.tail());
        if let Some(retransmit) = stream.retransmits.next(now, datagrams as u32, may_send) {
            let group = parts.config.group_address(stream.id.group());
            let to = match retransmit.to {
                retransmit::To::Group => Some(To::Group(group)),
                retransmit::To::Peer(id) => parts.peers.slot_of(id).and_then(|slot| {
                    let peer = parts.peers.at_mut(slot)?;
                    peer.counters.repaired += u64::from(retransmit.count);
                    Some(To::Addr(peer.address))
                }),
            };
            if let Some(to) = to {
                let end = retransmit.first + u64::from(retransmit.count);
                self.retransmit = Some(RetransmitInHand {
                    stream: at,
                    next: retransmit.first,
                    end,
                    to,
                    bytes: Vec::new(),
                    segment: 0,
                    datagrams: 0,
                });
                return true;
            }
        }
        if !may_send {
            return false;
        }
        let Some(batch) = stream.egress.next_batch(limit, allowed) else { return false };
        let (first, end) = (batch.first, batch.first + u64::from(batch.datagrams));
        stream.heartbeat.restart(now);
        let mut to = std::mem::take(&mut self.spare);
        to.clear();
        if stream.flow.hears_group() {
            to.push(To::Group(parts.config.group_address(stream.id.group())));
        }
        for id in stream.flow.unicast_peers() {
            if let Some(slot) = parts.peers.slot_of(id)
                && let Some(peer) = parts.peers.at_mut(slot)
            {
                peer.counters.sent_unicast += end - first;
                to.push(To::Addr(peer.address));
            }
        }
        parts.timer.due(stream.heartbeat.next_at);
        let is_for_anybody = !to.is_empty();
        if is_for_anybody {
            self.batch = Some(BatchInHand { stream: at, first, end, to, at: 0, done: 0 });
        }
        is_for_anybody
    }

    /// Collects as much of the retransmission in hand as one send takes: datagrams of one
    /// size. Whether any are left to send.
    fn fill_retransmit(&mut self, outbound: &OutboundStreams) -> bool {
        let Some(retransmit) = &mut self.retransmit else { return false };
        let egress = &outbound.streams[retransmit.stream].egress;
        retransmit.bytes.clear();
        (retransmit.segment, retransmit.datagrams) = (0, 0);
        for number in retransmit.next..retransmit.end {
            let Some(bytes) = egress.datagram(number) else { break };
            let is_first = retransmit.datagrams == 0;
            let is_fitting = bytes.len() <= retransmit.segment
                && retransmit.bytes.len() + bytes.len() <= MAX_SEND_BYTES;
            if !is_first && !is_fitting {
                break;
            }
            retransmit.segment = retransmit.segment.max(bytes.len());
            retransmit.bytes.extend_from_slice(bytes);
            retransmit.datagrams += 1;
            if bytes.len() < retransmit.segment {
                break;
            }
        }
        let is_filled = retransmit.datagrams > 0;
        if !is_filled {
            self.retransmit = None;
        }
        is_filled
    }

    fn hand_retransmit(&mut self, looped: bool) -> Option<Transmit<'_>> {
        let retransmit = self.retransmit.as_ref()?;
        let (bytes, segment, datagrams) =
            (&retransmit.bytes[..], retransmit.segment, retransmit.datagrams);
        self.handed = Handed::Retransmit { datagrams, bytes: bytes.len(), segment };
        Some(Transmit { to: retransmit.to, bytes, segment, looped })
    }

    /// The batch in hand for the receiver whose turn it is.
    fn hand_batch<'a>(
        &mut self,
        outbound: &'a mut OutboundStreams,
        looped: bool,
    ) -> Option<Transmit<'a>> {
        let hand = self.batch.as_ref()?;
        let to = *hand.to.get(hand.at)?;
        let egress = &mut outbound.streams[hand.stream].egress;
        // It was sealed when it was found: this brings the same bytes again.
        egress.unsend(hand.first + hand.done);
        let Some(batch) = egress.next_batch(hand.end, MAX_SEND_BYTES) else {
            self.batch = None;
            return None;
        };
        self.handed = Handed::Batch {
            datagrams: u64::from(batch.datagrams),
            bytes: batch.bytes.len(),
            segment: batch.segment,
        };
        Some(Transmit { to, bytes: batch.bytes, segment: batch.segment, looped })
    }
}

impl Link {
    /// The next datagrams to send. Those of the call before are sent then.
    pub fn poll_transmit(&mut self, now: Instant) -> Option<Transmit<'_>> {
        let parts = Parts {
            config: &self.local.config,
            outbound: &mut self.outbound,
            control: &mut self.control,
            peers: &mut self.peers,
            counters: &mut self.counters,
            timer: &mut self.timer,
            is_discovering: !self.membership.discovery.is_over(),
        };
        self.scheduler.poll(now, parts)
    }

    /// Notes that the socket took only so many bytes of what the last call gave, or none:
    /// the rest comes again with the next call.
    pub fn blocked_transmit(&mut self, taken_bytes: usize) {
        self.scheduler.settle(&mut self.outbound, &mut self.counters, taken_bytes, false);
    }

    /// Notes that the socket took only so many bytes of what the last call gave, or none,
    /// and will not take the rest: it is lost, and counted.
    pub fn refused_transmit(&mut self, taken_bytes: usize) {
        self.scheduler.settle(&mut self.outbound, &mut self.counters, taken_bytes, true);
    }
}
