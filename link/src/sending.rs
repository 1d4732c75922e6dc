//! Datagrams out: control first, then repairs and new data by turns, one stream
//! after another, as the pace allows.
//!
//! ```text
//!   posts ──────────────────────────────▶ ┐
//!   repairs of a stream ─┐                ├─▶ poll_transmit ─▶ socket
//!   new data of a stream ┴─▶ in hand ───▶ ┘        ▲               │
//!                            (for each receiver)   └── blocked ────┘
//! ```
//! A batch goes to the group once if anybody hears it there, and once to each
//! receiver that does not. It is sealed once: the copies are the same bytes.
//!
//! Invariant: what was handed out counts as sent with the next call, unless
//! [`Link::blocked_transmit`] or [`Link::refused_transmit`] says how much of it was
//! not.

use netcluster_wire::link::Nak;

use crate::Link;
use crate::flow::Path;
use crate::pace::Pace;
use crate::repair::{self, Requester};
use crate::transmit::{Post, To, Transmit};

/// Most datagrams of one repair: as in a batch.
const MAX_REPAIR_DATAGRAMS: usize = 64;

/// Most bytes of one send.
const MAX_SEND_BYTES: usize = 65_535 - 48;

/// A repair takes this long at least: below it, no two requests are duplicates.
const MIN_REPAIR_NS: u64 = 1_000_000;

pub(super) struct Sending {
    pub pace: Pace,
    /// The stream whose turn it is.
    turn: usize,
    post: Option<(Post, usize)>,
    repair: Option<RepairInHand>,
    batch: Option<BatchInHand>,
    handed: Handed,
    /// Memory for the receivers of the next batch.
    spare: Vec<To>,
}

/// What the last call gave.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Handed {
    Nothing,
    Post,
    Repair { datagrams: u64, bytes: usize, segment: usize },
    Batch { datagrams: u64, bytes: usize, segment: usize },
}

struct RepairInHand {
    own: usize,
    next: u64,
    end: u64,
    to: To,
    /// What is handed out next: so many datagrams from `next` on.
    bytes: Vec<u8>,
    segment: usize,
    datagrams: u64,
}

struct BatchInHand {
    own: usize,
    first: u64,
    end: u64,
    to: Vec<To>,
    /// The receiver whose turn it is, and what it got of the batch already.
    at: usize,
    done: u64,
}

impl Sending {
    pub fn new(now_ns: u64, rate: Option<u64>) -> Sending {
        Sending {
            pace: Pace::new(now_ns, rate),
            turn: 0,
            post: None,
            repair: None,
            batch: None,
            handed: Handed::Nothing,
            spare: Vec::new(),
        }
    }

    /// Nobody wants an own stream any more.
    pub fn forget(&mut self, own: usize) {
        if self.batch.as_ref().is_some_and(|batch| batch.own == own) {
            self.batch = None;
            self.handed = Handed::Nothing;
        }
    }

    pub fn has_post(&self) -> bool {
        self.post.is_some()
    }
}

impl Link {
    /// The next datagrams to send. Those of the call before are sent then.
    pub fn poll_transmit(&mut self, now_ns: u64) -> Option<Transmit<'_>> {
        self.settle(usize::MAX, false);
        if self.take_post() {
            self.sending.handed = Handed::Post;
            let (post, at) = self.sending.post.as_ref()?;
            let (bytes, to) = (&post.bytes[..], post.to[*at]);
            return Some(Transmit { to, bytes, segment: bytes.len(), looped: true });
        }
        self.drop_outdated();
        while self.sending.batch.is_none() {
            if self.sending.repair.is_none() && !self.choose(now_ns) {
                return None;
            }
            if self.sending.repair.is_some() && self.fill_repair() {
                return self.hand_repair();
            }
        }
        self.hand_batch()
    }

    /// The socket took only so many bytes of what the last call gave, or none:
    /// the rest comes again with the next call.
    pub fn blocked_transmit(&mut self, taken_bytes: usize) {
        self.settle(taken_bytes, false);
    }

    /// The socket took only so many bytes of what the last call gave, or none, and
    /// will not take the rest: it is lost, and counted.
    pub fn refused_transmit(&mut self, taken_bytes: usize) {
        self.settle(taken_bytes, true);
    }

    /// A peer asks for repairs.
    pub(super) fn request_repairs(&mut self, now_ns: u64, at: usize, slot: usize, nak: &Nak<'_>) {
        let Some(peer) = self.peers.at(slot) else { return };
        let ranges = self.passing(at, peer, nak);
        let own = &mut self.own[at];
        let from = Requester {
            peer: peer.id,
            hears_group: peer.wants.hears_us,
            is_healthy: own.flow.receiver(peer.id).is_some_and(|receiver| receiver.is_healthy()),
        };
        let flow = &own.flow;
        let hears = |id| flow.receiver(id).is_some_and(|it| it.path == Path::Multicast);
        let repair_ns = peer.round_trip_ns.max(MIN_REPAIR_NS);
        // Below its position a receiver misses nothing, whoever says so in its name.
        let position = own.flow.receiver(peer.id).map_or(0, |receiver| receiver.position);
        let held = own.held().start.max(position)..own.held().end;
        own.repairs.request(now_ns, from, ranges, held, repair_ns, hears);
    }

    /// What was handed out is sent, as far as the socket took it; the rest is to
    /// come again, or was refused.
    fn settle(&mut self, taken_bytes: usize, is_refused: bool) {
        let sending = &mut self.sending;
        match std::mem::replace(&mut sending.handed, Handed::Nothing) {
            Handed::Nothing => {}
            Handed::Post => {
                let Some((_, at)) = &mut sending.post else { return };
                if taken_bytes > 0 {
                    *at += 1;
                    self.counters.control_sent += 1;
                } else if is_refused {
                    *at += 1;
                    self.counters.refused += 1;
                }
            }
            Handed::Repair { datagrams, bytes, segment } => {
                let Some(repair) = &mut sending.repair else { return };
                let taken = taken_bytes.min(bytes);
                let count = if taken == bytes { datagrams } else { (taken / segment) as u64 };
                let passed = if is_refused { datagrams } else { count };
                repair.next += passed;
                self.counters.refused += passed - count;
                self.own[repair.own].repairs.repaired(taken);
                sending.pace.spend(taken);
                self.counters.repaired += count;
                self.own[repair.own].repaired += count;
                if repair.next >= repair.end {
                    sending.repair = None;
                }
            }
            Handed::Batch { datagrams, bytes, segment } => {
                let Some(batch) = &mut sending.batch else { return };
                let taken = taken_bytes.min(bytes);
                let count = if taken == bytes { datagrams } else { (taken / segment) as u64 };
                sending.pace.spend(taken);
                self.counters.sent += count;
                self.counters.sent_bytes += taken as u64;
                let own = &mut self.own[batch.own];
                own.repairs.sent_new(taken);
                let passed = if is_refused { datagrams } else { count };
                batch.done += passed;
                self.counters.refused += passed - count;
                let is_done = batch.first + batch.done >= batch.end;
                if !is_done {
                    // At once: frames may be laid out before the next call.
                    own.egress.unsend(batch.first + batch.done);
                } else {
                    batch.at += 1;
                    batch.done = 0;
                    if batch.at == batch.to.len() {
                        sending.spare = std::mem::take(&mut batch.to);
                        sending.batch = None;
                    }
                }
            }
        }
    }

    /// Whether a control datagram is at hand.
    fn take_post(&mut self) -> bool {
        if let Some((post, at)) = self.sending.post.take() {
            if at < post.to.len() {
                self.sending.post = Some((post, at));
                return true;
            }
            self.mail.posts.give_back(post);
        }
        self.sending.post = self.mail.posts.pop().map(|post| (post, 0));
        self.sending.post.is_some()
    }

    /// What is in hand may be overwritten meanwhile, if nobody is waited for.
    fn drop_outdated(&mut self) {
        let sending = &mut self.sending;
        if let Some(batch) = &sending.batch
            && self.own[batch.own].egress.tail() > batch.first + batch.done
        {
            sending.batch = None;
        }
        if let Some(repair) = &mut sending.repair {
            repair.next = repair.next.max(self.own[repair.own].egress.tail());
            if repair.next >= repair.end {
                sending.repair = None;
            }
        }
    }

    /// Takes something to send into the hand, of the streams by turns.
    fn choose(&mut self, now_ns: u64) -> bool {
        let streams = self.own.len();
        for step in 0..streams {
            let at = (self.sending.turn + step) % streams;
            if self.choose_of(now_ns, at) {
                self.sending.turn = (at + 1) % streams;
                return true;
            }
        }
        false
    }

    fn choose_of(&mut self, now_ns: u64, at: usize) -> bool {
        let own = &mut self.own[at];
        if !own.flow.is_wanted() || !self.discovery.is_over() {
            return false;
        }
        let limit = own.flow.limit();
        let next = own.egress.next().number;
        let unsent = own.egress.unsent();
        let may_send = unsent && next < limit;
        if unsent && !may_send || !unsent && own.egress.is_blocked() {
            own.flow.blocked(now_ns, next);
            let deadline_ns = own.flow.next_deadline_ns().unwrap_or(u64::MAX);
            self.next_ns = self.next_ns.min(deadline_ns);
        } else {
            own.flow.unblocked();
        }
        if !may_send && own.repairs.is_empty() {
            return false;
        }
        let datagram_bytes = self.config.datagram_bytes;
        let new_bytes = if may_send { own.egress.queued_bytes() } else { 0 };
        let wanted = new_bytes + own.repairs.len() * datagram_bytes;
        let pace = &mut self.sending.pace;
        let allowed = pace.allow(now_ns, wanted.min(MAX_SEND_BYTES)).min(pace.batch_bytes());
        if allowed == 0 {
            // Somewhat later if it cannot say when.
            let next_ns = self.sending.pace.next_ns().unwrap_or(now_ns + MIN_REPAIR_NS);
            self.next_ns = self.next_ns.min(next_ns);
            return false;
        }
        let allowed = allowed.max(datagram_bytes).min(MAX_SEND_BYTES);
        let datagrams = (allowed / datagram_bytes).clamp(1, MAX_REPAIR_DATAGRAMS);
        own.repairs.forget_below(own.egress.tail());
        if let Some(repair) = own.repairs.next(now_ns, datagrams as u32, may_send) {
            let group = self.config.group_address(own.id.group());
            let to = match repair.to {
                repair::To::Group => Some(To::Group(group)),
                repair::To::Peer(id) => self.peers.slot_of(id).and_then(|slot| {
                    let peer = self.peers.at_mut(slot)?;
                    peer.counters.repaired += u64::from(repair.count);
                    Some(To::Addr(peer.address))
                }),
            };
            if let Some(to) = to {
                let end = repair.first + u64::from(repair.count);
                self.sending.repair = Some(RepairInHand {
                    own: at,
                    next: repair.first,
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
        let Some(batch) = own.egress.next_batch(limit, allowed) else { return false };
        let (first, end) = (batch.first, batch.first + u64::from(batch.datagrams));
        own.beat.restart(now_ns);
        let mut to = std::mem::take(&mut self.sending.spare);
        to.clear();
        if own.flow.hears_group() {
            to.push(To::Group(self.config.group_address(own.id.group())));
        }
        for id in own.flow.unicast_peers() {
            if let Some(slot) = self.peers.slot_of(id)
                && let Some(peer) = self.peers.at_mut(slot)
            {
                peer.counters.sent_unicast += end - first;
                to.push(To::Addr(peer.address));
            }
        }
        self.next_ns = self.next_ns.min(own.beat.next_ns);
        let is_for_anybody = !to.is_empty();
        if is_for_anybody {
            self.sending.batch = Some(BatchInHand { own: at, first, end, to, at: 0, done: 0 });
        }
        is_for_anybody
    }

    /// Collects as much of the repair in hand as one send takes: datagrams of one
    /// size. Whether any are left to send.
    fn fill_repair(&mut self) -> bool {
        let Some(repair) = &mut self.sending.repair else { return false };
        let egress = &self.own[repair.own].egress;
        repair.bytes.clear();
        (repair.segment, repair.datagrams) = (0, 0);
        for number in repair.next..repair.end {
            let Some(bytes) = egress.datagram(number) else { break };
            let is_first = repair.datagrams == 0;
            let is_fitting =
                bytes.len() <= repair.segment && repair.bytes.len() + bytes.len() <= MAX_SEND_BYTES;
            if !is_first && !is_fitting {
                break;
            }
            repair.segment = repair.segment.max(bytes.len());
            repair.bytes.extend_from_slice(bytes);
            repair.datagrams += 1;
            if bytes.len() < repair.segment {
                break;
            }
        }
        let is_filled = repair.datagrams > 0;
        if !is_filled {
            self.sending.repair = None;
        }
        is_filled
    }

    fn hand_repair(&mut self) -> Option<Transmit<'_>> {
        let repair = self.sending.repair.as_ref()?;
        let (bytes, segment, datagrams) = (&repair.bytes[..], repair.segment, repair.datagrams);
        self.sending.handed = Handed::Repair { datagrams, bytes: bytes.len(), segment };
        Some(Transmit { to: repair.to, bytes, segment, looped: self.is_looped })
    }

    /// The batch in hand for the receiver whose turn it is.
    fn hand_batch(&mut self) -> Option<Transmit<'_>> {
        let hand = self.sending.batch.as_ref()?;
        let to = *hand.to.get(hand.at)?;
        let egress = &mut self.own[hand.own].egress;
        // It was sealed when it was found: this brings the same bytes again.
        egress.unsend(hand.first + hand.done);
        let Some(batch) = egress.next_batch(hand.end, MAX_SEND_BYTES) else {
            self.sending.batch = None;
            return None;
        };
        self.sending.handed = Handed::Batch {
            datagrams: u64::from(batch.datagrams),
            bytes: batch.bytes.len(),
            segment: batch.segment,
        };
        Some(Transmit { to, bytes: batch.bytes, segment: batch.segment, looped: self.is_looped })
    }

    /// Where control datagrams for all peers go.
    pub(super) fn everybody(&self) -> Vec<To> {
        let group = self.config.control_address();
        let hears = self.peers.iter().any(|peer| peer.wants.hears_us);
        let mut to: Vec<To> = hears.then_some(To::Group(group)).into_iter().collect();
        let deaf = self.peers.iter().filter(|peer| !peer.wants.hears_us);
        to.extend(deaf.map(|peer| To::Addr(peer.address)));
        to
    }
}
