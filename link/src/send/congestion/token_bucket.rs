//! The token bucket: how much of a rate has not been used yet.
//!
//! Tokens are bytes. A batch may overdraw it, which the next one waits for.

use netcluster_platform::Instant;

/// Time of the rate that the bucket holds: enough that a loop that comes round late loses
/// nothing, too little to flood a shallow queue. As a time it is the same for fast and slow
/// senders: whose bursts are larger than its part of the traffic, it loses more than its
/// part at a full queue.
const BURST_NS: u64 = 500_000;
/// Bytes that the bucket holds at least, and at most.
const MIN_BURST_BYTES: i64 = 4 * 1024;
const MAX_BURST_BYTES: i64 = 256 * 1024;
/// The part of a full bucket that is a batch worth sending.
const BATCH_PART: i64 = 2;

/// A bucket; without a rate it only forgets.
#[derive(Debug)]
pub struct Bucket {
    rate: u64,
    burst: i64,
    tokens: i64,
    /// Time up to which tokens were paid in.
    paid_until: Instant,
    /// Number of tokens that the caller waits for.
    awaited: i64,
}

impl Bucket {
    /// Makes a full bucket without a rate.
    pub fn new(now: Instant) -> Bucket {
        let burst = MIN_BURST_BYTES;
        Bucket { rate: 0, burst, tokens: burst, paid_until: now, awaited: 0 }
    }

    /// Fills the bucket with so many bytes per second from now on.
    pub fn set_rate(&mut self, now: Instant, rate: Option<u64>) {
        let Some(rate) = rate else {
            self.rate = 0;
            return;
        };
        if self.rate == 0 {
            // What was spent without a rate is no debt.
            self.tokens = 0;
            self.paid_until = now;
        } else {
            self.pay(now);
        }
        self.rate = rate.max(1);
        let burst = u128::from(rate) * u128::from(BURST_NS) / 1_000_000_000;
        self.burst = i64::try_from(burst).unwrap_or(i64::MAX);
        self.burst = self.burst.clamp(MIN_BURST_BYTES, MAX_BURST_BYTES);
        self.tokens = self.tokens.min(self.burst);
    }

    /// Number of the bytes wanted that may be sent now.
    pub fn allow(&mut self, now: Instant, wanted: usize) -> usize {
        self.pay(now);
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        self.awaited = wanted.min(self.burst / BATCH_PART);
        if self.tokens < self.awaited { 0 } else { self.tokens.max(0) as usize }
    }

    /// Takes out the bytes that were sent.
    #[inline]
    pub fn spend(&mut self, bytes: usize) {
        // Without a rate nobody looks at it: it must not run away.
        if self.rate != 0 {
            self.tokens = self.tokens.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
    }

    /// Time at which as many are there as the caller waits for.
    pub fn next_at(&self) -> Option<Instant> {
        let missing = self.awaited.saturating_sub(self.tokens);
        let missing = u128::try_from(missing).ok().filter(|missing| *missing > 0)?;
        let wait_ns = (missing * 1_000_000_000).div_ceil(u128::from(self.rate.max(1)));
        Some(self.paid_until.saturating_add(u64::try_from(wait_ns).unwrap_or(u64::MAX)))
    }

    fn pay(&mut self, now: Instant) {
        let elapsed_ns = u128::from(now.since(self.paid_until));
        let tokens = elapsed_ns * u128::from(self.rate) / 1_000_000_000;
        // Less than a byte is left for later, or a slow rate asked often would
        // never pay anything.
        if tokens > 0 {
            let paid_ns = tokens * 1_000_000_000 / u128::from(self.rate);
            self.paid_until =
                self.paid_until.saturating_add(u64::try_from(paid_ns).unwrap_or(u64::MAX));
            let tokens = i64::try_from(tokens).unwrap_or(i64::MAX);
            self.tokens = self.tokens.saturating_add(tokens).min(self.burst);
        }
    }
}
