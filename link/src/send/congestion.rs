//! Congestion control, how fast to send: a token bucket that gives way to loss. One for the
//! whole link, whatever the stream; new data and retransmissions count alike.
//!
//! ```text
//!  rate   unlimited                  no loss for long, and well above
//!   ▲     │ loss > 10 %              the last ceiling: unlimited again
//!   │     ▼                            │
//!   │     │      ╱│     ╱│           ╱
//!   │     │    ╱  │   ╱  │         ╱
//!   │     │  ╱    │ ╱    │       ╱     steady at first, then faster
//!   │     │╱      │╱     │   ╱
//!   │                    │╱  ◄── 0.85 of what arrived
//!   └───────────────────────────────────────────────► time
//! ```
//!
//! Without loss and without a cap nothing is limited and nothing is computed but a
//! sum. Flow control, not this, keeps a receiver's buffer from overflowing; this is
//! for what lies between: a slower line, a switch, several senders at one port.
//!
//! Several senders on one line become equal by that alone, but slowly: so a receiver
//! states what a fair share would be (`shares.rs`), and who slows down takes
//! no more.
//!
//! What counts as loss of an interval is that of the receiver that lost most, of
//! those that are waited for; the caller reports no others. When all whose losses
//! made the rate fall are no longer waited for, it is what it was before.
//!
//! Invariant: the rate falls at most once per interval, and what was sent before
//! it fell is not counted against what is sent after.
//!
//! Decision: `docs/decisions/017-congestion-control.md`.

mod losses;
mod token_bucket;

use netcluster_platform::Instant;
use netcluster_platform::datagram::MAX_DATAGRAMS_PER_SEND;
use netcluster_wire::link::limits::DEFAULT_PACKET_BYTES;

use crate::peer_id::PeerId;
use crate::send::flow_control::Sample;
use losses::{Loss, Losses};
use token_bucket::Bucket;

/// Rate below which no loss slows us down, in bytes per second.
pub const FLOOR_BYTES_PER_S: u64 = 1_000_000;
/// Shortest time that an interval lasts; it goes on until enough numbers were sent.
pub const INTERVAL_NS: u64 = 20_000_000;
/// Loss, per mille, above which we slow down.
pub const LOSS_PERMILLE: u64 = 100;
/// Loss at which a sender that has more than a fair share slows down already...
const GREEDY_LOSS_PERMILLE: u64 = 50;
/// ...if the share is less than this part of what it sends.
const GREEDY_PERCENT: u64 = 80;
/// Part of the rest by which a limit above a fair share gives way in an interval.
const APPROACH_PART: u64 = 8;
/// Three standard deviations of that loss for one batch, per mille: 3 √(0.1 · 0.9).
const DOUBT_PERMILLE: u64 = 900;
/// A batch while loss limits the rate: eight datagrams.
const LIMITED_BATCH_BYTES: usize = 8 * DEFAULT_PACKET_BYTES;
/// Bytes of a full datagram, about.
const FULL_DATAGRAM_BYTES: u64 = DEFAULT_PACKET_BYTES as u64;
/// Longest interval that tells what the way can carry: one that took longer, for want of
/// traffic, does not.
pub const MAX_INTERVAL_NS: u64 = 200_000_000;
/// Time after which a limit that was not used up is dropped.
pub const UNUSED_NS: u64 = 5_000_000_000;
/// Time at the floor after which slowing down has proved not to help.
pub const FLOORED_NS: u64 = 1_000_000_000;

/// Time after the rate fell for which reports do not count: they tell of what was sent
/// before. Longer than a round trip and the queue of a shallow switch.
const SETTLE_NS: u64 = 10_000_000;
/// Part of what arrived that the rate becomes.
const DECREASE_PERCENT: u64 = 85;
/// Part of what the rate was below which it does not fall when it was limited already: a
/// single interval may be mistaken.
const STEEPEST_PERCENT: u64 = 50;
/// Rate gained in the time of an interval without loss. It depends on time alone, not on
/// the rate: senders that meet loss alike gain alike, whatever they have, and so become
/// equal. For so long it is the same...
const STEP_BYTES_PER_S: u64 = 500_000;
const STEADY_NS: u64 = 1_000_000_000;
/// ...so much later it is the double, and it goes on with the square of the time: a
/// fast line is filled in seconds, too.
const FASTER_NS: u64 = 200_000_000;
/// Largest step, as a multiple of the first.
const MAX_STEP_PERCENT: u64 = 1_000_000;
/// Time without loss after which nothing is limited any more...
const UNLIMITED_NS: u64 = 2_000_000_000;
/// ...at this multiple of the rate that last met loss: whatever was narrow is so no longer.
const UNLIMITED_TIMES: u64 = 4;
/// Part of the rate that must be used for it to rise.
const USED_PERCENT: u64 = 50;

const _: () = assert!(GREEDY_LOSS_PERMILLE < LOSS_PERMILLE);
const _: () = assert!(SETTLE_NS < INTERVAL_NS);
const _: () = assert!(DECREASE_PERCENT * 1000 < (1000 - LOSS_PERMILLE) * 100);
const _: () = assert!(INTERVAL_NS < MAX_INTERVAL_NS);
const _: () = assert!(FLOORED_NS > 2 * MAX_INTERVAL_NS);

/// Congestion control of a link: how fast all its streams together send.
#[derive(Debug)]
pub struct CongestionControl {
    cap: Option<u64>,
    limit: Option<Limit>,
    bucket: Bucket,
    losses: Losses,
    /// Time at which the running interval began, or begins after settling.
    begun_at: Instant,
    is_settling: bool,
    sent_bytes: u64,
    batches: u64,
    decreases: u64,
    /// Limit before a row of decreases, and whose losses these were due to.
    before: Option<Limit>,
    blamed: Vec<PeerId>,
}

/// Limit that loss taught.
#[derive(Clone, Copy, Debug)]
struct Limit {
    rate: u64,
    /// The rate that last met loss.
    ceiling: u64,
    /// Time for which the rate rose since then.
    risen_ns: u64,
    floored_since: Option<Instant>,
    /// Time at which the limit was last needed.
    used_at: Instant,
    /// No share was known yet since this trouble began.
    is_guess: bool,
}

impl CongestionControl {
    /// Makes a control with an optional cap in bytes per second, not limited by loss yet.
    pub fn new(now: Instant, cap: Option<u64>) -> CongestionControl {
        let mut pace = CongestionControl {
            cap: cap.map(|cap| cap.max(FLOOR_BYTES_PER_S)),
            limit: None,
            bucket: Bucket::new(now),
            losses: Losses::default(),
            begun_at: now,
            is_settling: false,
            sent_bytes: 0,
            batches: 0,
            decreases: 0,
            before: None,
            blamed: Vec::new(),
        };
        pace.bucket.set_rate(now, pace.rate());
        pace
    }

    /// Bytes that may be sent now. `wanted` is how many wait: if fewer are allowed, none
    /// are until they are a batch worth sending. Whatever is allowed, if it is not nothing,
    /// one datagram may be sent: the next waits for the rest.
    #[inline]
    pub fn allow(&mut self, now: Instant, wanted: usize) -> usize {
        if self.is_limited() { self.allow_limited(now, wanted) } else { usize::MAX }
    }

    /// Counts bytes that were sent, new or retransmitted, to whomever.
    #[inline]
    pub fn spend(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
        self.batches += 1;
        self.bucket.spend(bytes);
    }

    /// Time to ask again, if the last answer was less than wanted.
    pub fn next_at(&self) -> Option<Instant> {
        if self.is_limited() { self.bucket.next_at() } else { None }
    }

    /// Takes in what a receiver that is waited for lost since its last report, and what it
    /// says is a fair share of the way to it, in bytes per second; 0 if nothing.
    pub fn report(&mut self, now: Instant, peer: PeerId, sample: Sample, share: u64) {
        if now < self.begun_at {
            return;
        }
        if std::mem::take(&mut self.is_settling) {
            // The first report tells in part of the time before as well.
            self.begun_at = now;
            self.sent_bytes = 0;
            self.batches = 0;
            return;
        }
        self.losses.add(peer, sample, share);
        let elapsed_ns = now.since(self.begun_at);
        if elapsed_ns < INTERVAL_NS {
            return;
        }
        let Some(worst) = self.losses.worst() else { return };
        let loss_permille = worst.sample.permille();
        let sent = u128::from(self.sent_bytes) * 1_000_000_000 / u128::from(elapsed_ns);
        let sent = u64::try_from(sent).unwrap_or(u64::MAX);
        let share = scaled_share(worst, self.sent_bytes);
        let is_greedy = loss_permille > GREEDY_LOSS_PERMILLE && sent / 100 * GREEDY_PERCENT > share;
        let doubt_permille = if is_greedy { 0 } else { self.doubt_permille(worst.sample) };
        let is_certain = is_greedy || loss_permille > LOSS_PERMILLE + doubt_permille;
        let is_suspect = loss_permille > LOSS_PERMILLE && !is_certain;
        if is_suspect && elapsed_ns < MAX_INTERVAL_NS {
            // It may be chance: the interval goes on until it is clear.
            return;
        }
        self.batches = 0;
        self.sent_bytes = 0;
        self.begun_at = now;
        if loss_permille > LOSS_PERMILLE && elapsed_ns > MAX_INTERVAL_NS {
            // A burst after a pause: the next interval will tell how much arrives.
            if let Some(limit) = &mut self.limit {
                limit.used_at = now;
            }
        } else if is_certain {
            let is_new = self.blame();
            let arrived = (u128::from(sent) * u128::from(1000 - loss_permille) / 1000) as u64;
            // Who loses how much of a first burst is chance: the share is not.
            let is_guess =
                share == u64::MAX && (is_new || self.limit.is_some_and(|it| it.is_guess));
            let fair = if is_new && share < u64::MAX { share } else { arrived.min(share) };
            self.decrease(now, arrived, fair, is_guess);
        } else if let Some(limit) = self.limit
            && !is_suspect
        {
            if limit.is_guess && share < u64::MAX {
                let rate = (share / 100 * DECREASE_PERCENT).max(FLOOR_BYTES_PER_S);
                self.limit = Some(Limit { rate, is_guess: false, used_at: now, ..limit });
            } else if limit.rate > share {
                self.approach(now, share, limit);
            } else {
                self.increase(now, elapsed_ns, sent, limit);
            }
        }
        self.losses.clear();
        self.bucket.set_rate(now, self.rate());
    }

    /// Distance, by chance, of the loss of a sample from that of the way. What is sent at
    /// once is often lost at once, so that a batch counts as one.
    fn doubt_permille(&self, sample: Sample) -> u64 {
        let per_batch = self.sent_bytes / self.batches.max(1) / FULL_DATAGRAM_BYTES;
        let batches = sample.numbers() / per_batch.clamp(1, MAX_DATAGRAMS_PER_SEND as u64);
        // A mistake costs an unlimited link seconds. One more or less does not matter
        // to a rate that rises and falls anyway, and its batches are small.
        if self.limit.is_some() { 0 } else { DOUBT_PERMILLE / batches.max(1).isqrt() }
    }

    /// Forgets a receiver that is gone, or no longer waited for.
    pub fn forget(&mut self, now: Instant, peer: PeerId) {
        self.losses.forget(peer);
        let Some(at) = self.blamed.iter().position(|&blamed| blamed == peer) else { return };
        self.blamed.swap_remove(at);
        if self.blamed.is_empty() {
            // The others lost nothing: their way is as wide as it was.
            self.limit = self.before.take();
            if let Some(limit) = &mut self.limit {
                limit.used_at = now;
            }
            self.bucket.set_rate(now, self.rate());
        }
    }

    /// Notes because of whom the rate is about to fall. Whether this is another trouble
    /// than the last one.
    fn blame(&mut self) -> bool {
        // Well after the last time this is another trouble.
        let is_new = self.limit.is_none_or(|limit| limit.risen_ns >= STEADY_NS);
        if is_new || self.blamed.is_empty() {
            self.blamed.clear();
            self.before = self.limit;
        }
        for (peer, loss) in self.losses.known() {
            if loss.sample.permille() > GREEDY_LOSS_PERMILLE && !self.blamed.contains(&peer) {
                self.blamed.push(peer);
            }
        }
        is_new
    }

    /// Rate at which may be sent, in bytes per second; none: as much as there is.
    pub fn rate(&self) -> Option<u64> {
        match (self.limit, self.cap) {
            (Some(limit), Some(cap)) => Some(limit.rate.min(cap)),
            (Some(limit), None) => Some(limit.rate),
            (None, cap) => cap,
        }
    }

    /// Whether anything is limited, by loss or by the cap.
    #[inline]
    pub fn is_limited(&self) -> bool {
        self.limit.is_some() || self.cap.is_some()
    }

    /// Largest size of one batch. While loss limits the rate batches are small: what is
    /// sent at once may be lost at once, and few large losses look like many.
    #[inline]
    pub fn batch_bytes(&self) -> usize {
        if self.limit.is_some() { LIMITED_BATCH_BYTES } else { usize::MAX }
    }

    /// Whether the rate has been at its floor for long, and still loss is high.
    pub fn is_floored(&self, now: Instant) -> bool {
        let floored_since = self.limit.and_then(|limit| limit.floored_since);
        floored_since.is_some_and(|floored_since| now.since(floored_since) >= FLOORED_NS)
    }

    /// Number of times that loss slowed us down so far.
    pub fn decreases(&self) -> u64 {
        self.decreases
    }

    fn allow_limited(&mut self, now: Instant, wanted: usize) -> usize {
        let unused = |limit: Limit| now.since(limit.used_at) >= UNUSED_NS;
        if self.limit.is_some_and(unused) {
            self.limit = None;
            self.bucket.set_rate(now, self.cap);
            if self.cap.is_none() {
                return usize::MAX;
            }
        }
        self.bucket.allow(now, wanted)
    }

    fn decrease(&mut self, now: Instant, arrived: u64, fair: u64, is_guess: bool) {
        let mut rate = fair / 100 * DECREASE_PERCENT;
        let mut ceiling = arrived;
        let mut floored_since = None;
        if let Some(limit) = self.limit {
            rate = rate.max(limit.rate / 100 * STEEPEST_PERCENT).min(limit.rate);
            ceiling = limit.rate;
            floored_since = limit.floored_since;
        }
        if rate <= FLOOR_BYTES_PER_S {
            rate = FLOOR_BYTES_PER_S;
            floored_since = floored_since.or(Some(now));
        }
        let ceiling = ceiling.max(FLOOR_BYTES_PER_S);
        self.limit =
            Some(Limit { rate, ceiling, risen_ns: 0, floored_since, used_at: now, is_guess });
        self.decreases += 1;
        self.begun_at = now.saturating_add(SETTLE_NS);
        self.is_settling = true;
    }

    /// Gives way to others, who have less and lost something, as long as anything is lost.
    fn approach(&mut self, now: Instant, share: u64, mut limit: Limit) {
        limit.rate -= (limit.rate - share) / APPROACH_PART;
        limit.used_at = now;
        self.limit = Some(limit);
    }

    fn increase(&mut self, now: Instant, elapsed_ns: u64, sent: u64, mut limit: Limit) {
        if sent < limit.rate / 100 * USED_PERCENT {
            self.limit = Some(limit);
            return;
        }
        let elapsed_ns = elapsed_ns.min(MAX_INTERVAL_NS);
        let tenths = limit.risen_ns.saturating_sub(STEADY_NS) / (FASTER_NS / 10);
        let percent = tenths.saturating_mul(tenths).saturating_add(100).min(MAX_STEP_PERCENT);
        let step = STEP_BYTES_PER_S * elapsed_ns / INTERVAL_NS * percent / 100;
        limit.rate = limit.rate.saturating_add(step);
        limit.risen_ns = limit.risen_ns.saturating_add(elapsed_ns);
        limit.floored_since = None;
        limit.used_at = now;
        let is_free =
            limit.risen_ns >= UNLIMITED_NS && limit.rate / UNLIMITED_TIMES >= limit.ceiling;
        let is_capped = self.cap.is_some_and(|cap| limit.rate >= cap);
        self.limit = if is_free || is_capped { None } else { Some(limit) };
    }
}

/// A receiver's share, as a rate of all that we send: it may not want all of it.
/// `u64::MAX` if it states none.
fn scaled_share(loss: Loss, sent_bytes: u64) -> u64 {
    if loss.share == 0 {
        return u64::MAX;
    }
    let to_it = loss.sample.numbers().saturating_mul(FULL_DATAGRAM_BYTES).max(1);
    let share = u128::from(loss.share) * u128::from(sent_bytes.max(to_it)) / u128::from(to_it);
    u64::try_from(share).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
