//! One stream of one peer: numbered datagrams back into runs of frames.
//!
//! ```text
//!   handle ─▶ next in turn ────────────▶ assemble ─▶ scan ─▶ poll_delivery
//!        │                                  ▲
//!        └─▶ out of turn ─▶ reorder ────────┘ (in turn)
//!        └─▶ a hole ─▶ gaps ─▶ poll_nak
//! ```
//! Call [`Ingress::handle_train`] for a batch and [`Ingress::handle`] for each
//! datagram that it leaves, then [`Ingress::poll_delivery`] until it gives nothing:
//! frames are looked for once per batch, not once per datagram. A datagram is copied once on its way, and
//! opened where it then lies; one that came before its turn is copied twice.
//!
//! It does not know the group's other streams, nor when to report to the sender.
//!
//! Invariant: `fed <= next`. Datagrams below `fed` are in the assembler (or given
//! up), those of `fed..next` are all in the reorder store, `next` is missing.
//! Nothing is kept of a datagram that does not open.

mod accept;
mod assembler;
mod claims;
mod delivery;
mod frame_scanner;
mod given_up;
mod loss_detector;
mod reassembly_budget;
mod reorder;
mod stalled_frames;

#[cfg(test)]
mod tests;

use netcluster_platform::Instant;
use netcluster_wire::link::Range;

use crate::channel::ChannelHash;
use crate::crypto::{Keys, StreamOpener};
use crate::stream::{Position, StreamId};

pub use assembler::{CHUNK_BYTES, MAX_FRESH_BYTES};
pub use claims::CONTRADICTED_NS;
pub use delivery::{Counters, Delivery, Verdict};
pub use loss_detector::{FIRST_NAK_NS, IN_VAIN_NS, MAX_RETRY_NS, MIN_RETRY_NS, Vain};
pub use reassembly_budget::{
    FREE_REORDER_BYTES, LARGE_FRAME_BYTES, REASSEMBLY_BYTES, REORDER_BYTES, ReassemblyBudget,
};
pub use stalled_frames::{STALLED_FRAME_BYTES, STALLED_FRAME_NS};

use assembler::Assembler;
use claims::Claims;
use loss_detector::LossDetector;
use reorder::ReorderBuffer;
use stalled_frames::Stall;

/// Number that no stream reaches; sums of numbers below it do not overflow.
const MAX_NUMBER: u64 = 1 << 62;

/// Configuration that all inbound streams have in common.
#[derive(Clone, Debug)]
pub struct IngressConfig {
    /// Largest payload of an event.
    pub max_payload_bytes: usize,
    /// Budget that incomplete large frames of all streams share.
    pub reassembly: ReassemblyBudget,
    /// Number of datagrams that are kept ahead of the first missing one.
    pub reorder_datagrams: usize,
}

/// Life of the session, as the stream knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Live,
    /// The session said where it ends.
    Left,
    /// The session ended without a word.
    Died,
    /// The session is over, and that was reported.
    Over,
}

/// Place of a stream between two deliveries.
pub struct Standing<'a> {
    /// The next datagram, and the next event or the one that has begun.
    pub place: Position,
    /// Channel in force.
    pub channel: ChannelHash,
    /// Part of a frame that has come.
    pub partial: &'a [u8],
}

/// Inbound stream: numbered datagrams back into runs of frames.
pub struct Ingress {
    stream: StreamId,
    opener: StreamOpener,
    reorder_datagrams: u64,
    assembler: Assembler,
    reorder: ReorderBuffer,
    loss_detector: LossDetector,
    /// The next number that the assembler gets.
    fed: u64,
    /// The first number that is missing.
    next: u64,
    /// Number behind the highest one that is there or known to be missing.
    seen_end: u64,
    claims: Claims,
    /// Number at which the stream stood when holding it began, while it is held.
    held: Option<u64>,
    stall: Stall,
    life: Life,
    now: Instant,
    counters: Counters,
}

impl Ingress {
    /// Begins the stream from `join` on; the peer's events all carry this node.
    pub fn new(
        stream: StreamId,
        node: u32,
        join: Position,
        opener: StreamOpener,
        config: &IngressConfig,
    ) -> Ingress {
        let number = join.number.min(MAX_NUMBER);
        Ingress {
            stream,
            opener,
            reorder_datagrams: config.reorder_datagrams as u64,
            assembler: Assembler::new(node, join.ordinal, config),
            reorder: ReorderBuffer::new(config.reassembly.share()),
            loss_detector: LossDetector::default(),
            fed: number,
            next: number,
            seen_end: number,
            claims: Claims::new(Position { number, ordinal: join.ordinal }),
            held: None,
            stall: Stall::default(),
            life: Life::Live,
            now: Instant::START,
            counters: Counters::default(),
        }
    }

    /// Goes on, at the place that it was made with, where another broker stood: so much was
    /// missing ever, this channel is in force, and this part of a frame has come.
    pub fn resume(&mut self, now: Instant, seen_lost: u64, channel: ChannelHash, partial: &[u8]) {
        self.now = now;
        self.loss_detector.resume(seen_lost);
        if !partial.is_empty() {
            self.assembler.resume(channel, partial);
        }
    }

    /// Place of the stream, as far as it was delivered.
    pub fn standing(&self) -> Standing<'_> {
        let (ordinal, channel, partial) = self.assembler.standing();
        Standing { place: Position { number: self.fed, ordinal }, channel, partial }
    }

    /// Opens by these keys from now on.
    pub fn set_keys(&mut self, keys: &Keys) {
        self.opener.set_keys(keys);
    }

    /// Takes in a heartbeat: the number of the next datagram, the oldest one that can be
    /// retransmitted, the ordinal of the next event.
    pub fn heartbeat(&mut self, now: Instant, next: u64, tail: u64, ordinal: u64) {
        self.now = now;
        if self.life != Life::Live {
            return self.claims.note_alive(now);
        }
        if tail > next || next > MAX_NUMBER {
            self.counters.malformed += 1;
            return;
        }
        self.claims.came(self.next);
        self.claims.state(Position { number: next, ordinal }, tail);
        self.claims.compare(now, self.next, self.counters.taken);
        self.forget_lost();
        self.notice_told();
        if next == self.fed {
            // Heartbeats come when nothing else does.
            self.assembler.rest();
            self.reorder.rest();
        }
    }

    /// Whether the peer says that it is not as far as the stream is here, or speaks of it
    /// after its end, and has done so for [`CONTRADICTED_NS`].
    pub fn is_contradicted(&self, now: Instant) -> bool {
        self.claims.is_contradicted(now)
    }

    /// Goes on at the place at which the peer joined this broker anew: what it sent before
    /// will not be retransmitted.
    pub fn rejoin(&mut self, now: Instant, join: Position) {
        self.heartbeat(now, join.number, join.number, join.ordinal);
        if self.life == Life::Live && self.claims.end() == join && join.number >= self.next {
            self.assembler.correct(join.ordinal);
        }
        // No heartbeat need come that would confirm it.
        self.claims.give_up_below(self.claims.end().number);
        self.forget_lost();
    }

    /// Notes that the peer leaves in order; its stream ends there.
    pub fn left(&mut self, now: Instant, end: Position) {
        if self.life == Life::Live {
            self.rejoin(now, end);
            self.life = Life::Left;
        }
    }

    /// Notes that the session ended without a word. What is there and in order is delivered
    /// yet, and then `Lost` of unknown count.
    pub fn died(&mut self) {
        if self.life == Life::Live {
            self.life = Life::Died;
            self.loss_detector.forget_below(u64::MAX);
        }
    }

    /// Appends the numbers to ask the sender for now; whether there are any.
    /// `retransmit_ns` is how long a retransmission takes. Again until it returns false.
    pub fn poll_nak(&mut self, now: Instant, retransmit_ns: u64, out: &mut Vec<Range>) -> bool {
        self.now = now;
        if self.loss_detector.is_empty() || self.life != Life::Live {
            return false;
        }
        if !self.assembler.has_memory() {
            // What came now would be refused.
            self.loss_detector.forgive(now);
            self.loss_detector.postpone(now.saturating_add(MIN_RETRY_NS));
            return false;
        }
        self.loss_detector.poll(now, retransmit_ns, out)
    }

    /// Time to call [`Ingress::poll_nak`]. Never once the session has ended, even if the
    /// peer named an end that leaves gaps.
    #[inline]
    pub fn next_nak_at(&self) -> Option<Instant> {
        if self.life == Life::Live { self.loss_detector.next_at() } else { None }
    }

    /// Time that the last retransmission took from request to arrival, if one was measured
    /// since this was last asked.
    pub fn retransmit_sample(&mut self) -> Option<u64> {
        self.loss_detector.take_sample()
    }

    /// The next delivery, until there is none.
    #[inline]
    pub fn poll_delivery(&mut self) -> Option<Delivery> {
        loop {
            if self.held.is_some() {
                return None;
            }
            if let Some(delivery) = self.assembler.pop() {
                if let Delivery::Lost { count } | Delivery::Large { count, .. } = delivery {
                    self.note_lost(count);
                }
                return Some(delivery);
            }
            if !(self.feed() || self.assembler.settle() || self.give_up() || self.end()) {
                return None;
            }
        }
    }

    /// The first number that was not received in order; while the stream is held,
    /// that of the time when it began.
    #[inline]
    pub fn position(&self) -> u64 {
        self.held.unwrap_or(self.next)
    }

    /// Number behind the highest one that the peer is known to have sent.
    pub fn known_end(&self) -> u64 {
        self.next.max(self.claims.sent_end())
    }

    /// Numbers that were asked for, or given up without that.
    pub fn seen_lost(&self) -> u64 {
        self.loss_detector.seen_lost()
    }

    /// Numbers missing now.
    pub fn missing(&self) -> u32 {
        u32::try_from(self.loss_detector.missing()).unwrap_or(u32::MAX)
    }

    /// Counters of the stream so far.
    pub fn counters(&self) -> Counters {
        let mut counters = self.counters;
        counters.malformed += self.assembler.malformed();
        counters.repaired = self.loss_detector.repaired();
        counters
    }

    /// Holds the stream, or lets it go on. While it is held nothing is delivered and the
    /// position stands still, so that the sender's window closes; what arrives is kept, as
    /// far as the reorder limit.
    pub fn set_held(&mut self, is_held: bool) {
        self.held = is_held.then(|| self.position());
    }

    /// Moves `next` behind what is stored in a row.
    #[inline]
    fn advance_next(&mut self) {
        while self.reorder.has((self.next - self.fed) as usize) {
            self.next += 1;
        }
    }

    /// Notes as missing what the peer says that it has sent, as far as that would be taken
    /// now; and no longer what it said before, if it takes that back and nothing confirms it.
    fn notice_told(&mut self) {
        let told = self.claims.end().number;
        let end = told.min(self.fed + self.reorder_datagrams);
        if end > self.seen_end {
            return self.notice_until(end);
        }
        let end = told.max(self.known_end()).max(self.fed + self.reorder.len());
        if end < self.seen_end {
            self.loss_detector.forget_from(end);
            self.seen_end = end;
        }
    }

    /// Forgets what is missing and will not be retransmitted.
    fn forget_lost(&mut self) {
        self.loss_detector.forget_below(self.claims.tail());
    }

    /// Notes as missing what is not known below `end`, as far as it can be retransmitted.
    #[inline]
    fn notice_until(&mut self, end: u64) {
        self.loss_detector.notice(self.seen_end.max(self.claims.tail()), end, self.now);
        self.seen_end = end;
    }

    /// Moves stored datagrams whose turn has come to the assembler; whether there
    /// were any.
    #[inline]
    fn feed(&mut self) -> bool {
        if self.fed == self.next {
            return false;
        }
        let before = self.fed;
        while self.assembler.is_open() && self.assembler.has_memory() {
            let Some(stored) = self.reorder.pop() else { break };
            let Ok(()) = self
                .assembler
                .push(&stored.facts, &stored.body, |_| Ok::<(), std::convert::Infallible>(()));
            self.fed += 1;
        }
        self.fed > before
    }

    /// Goes on behind a hole that will not be filled; whether there is one. All
    /// that came before it has been delivered.
    fn give_up(&mut self) -> bool {
        let tail = self.claims.tail();
        if self.fed < self.next || self.fed >= tail {
            return false;
        }
        self.assembler.cut();
        let hole = tail - self.fed;
        let skipped = self.reorder.first().map_or(hole, |first| first.min(hole));
        self.reorder.skip(skipped);
        self.fed += skipped;
        self.next = self.fed;
        self.seen_end = self.seen_end.max(self.next);
        self.advance_next();
        true
    }

    /// Reports what is missing at the end, as all that is there has been delivered; whether
    /// anything is.
    #[inline]
    fn end(&mut self) -> bool {
        match self.life {
            Life::Live => {
                self.notice_told();
                let told = self.claims.end();
                if self.fed != told.number || self.assembler.has_partial() {
                    return false;
                }
                self.assembler.lose_until(told.ordinal)
                    || self.claims.is_end_repeated() && self.assembler.correct(told.ordinal)
            }
            Life::Left | Life::Died if self.fed == self.next => {
                self.reorder.clear();
                self.assembler.cut();
                let is_left = self.life == Life::Left;
                self.life = Life::Over;
                if is_left {
                    return self.assembler.lose_until(self.claims.end().ordinal);
                }
                self.assembler.lose_unknown();
                true
            }
            // A large frame waits for memory: there is no time left to wait.
            Life::Left | Life::Died if !self.assembler.has_memory() => {
                self.assembler.cut();
                true
            }
            Life::Left | Life::Died | Life::Over => false,
        }
    }

    #[cold]
    fn note_lost(&mut self, count: Option<u64>) {
        match count {
            Some(count) => self.counters.lost = self.counters.lost.saturating_add(count),
            None => self.counters.lost_unknown += 1,
        }
    }
}
