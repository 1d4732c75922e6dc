//! Liveness of a peer: when it was heard, and whether its multicast reaches this broker.

use netcluster_platform::Instant;

const MS_NS: u64 = 1_000_000;

/// Silence after which a peer is forgotten.
pub const SILENCE_NS: u64 = 3000 * MS_NS;

/// Silence after which a peer is asked for a sign of life: hellos come once a second, and
/// one of them may well be lost.
pub const PING_AFTER_NS: u64 = 1200 * MS_NS;

/// Time between two questions for a sign of life. Where a third is lost, half of these are
/// in vain, and there are many pairs of brokers in a cluster: none of them may fall silent
/// by chance.
pub const PING_INTERVAL_NS: u64 = 100 * MS_NS;

/// Silence after which the multicast of a peer counts as not heard: three hellos and a bit.
pub const MULTICAST_SILENCE_NS: u64 = 3500 * MS_NS;

const _: () = assert!(PING_AFTER_NS + 16 * PING_INTERVAL_NS < SILENCE_NS);

/// Times at which a peer gave signs of life.
pub(crate) struct Liveness {
    /// Time at which anything of the peer was opened last.
    pub heard_at: Instant,
    /// Time at which multicast of the peer was opened last.
    multicast_at: Option<Instant>,
    /// Groups whose multicast does not reach us although other multicast of it does.
    pub deaf_groups: u64,
    ping_at: Instant,
}

impl Liveness {
    pub fn new(now: Instant, multicast_at: Option<Instant>) -> Liveness {
        Liveness { heard_at: now, multicast_at, deaf_groups: 0, ping_at: Instant::START }
    }

    /// Notes that something of the peer was opened. Whether nothing was for so long before
    /// that it would be asked for a sign of life.
    #[inline]
    pub fn heard(&mut self, now: Instant, multicast: bool) -> bool {
        let was_quiet = now >= self.heard_at + PING_AFTER_NS;
        self.heard_at = now;
        if multicast {
            self.multicast_at = Some(now);
        }
        was_quiet
    }

    /// Gives the peer its time to be heard again: this broker heard nobody for a while.
    pub fn forgive(&mut self, now: Instant) {
        self.heard_at = self.heard_at.max(now.saturating_sub(PING_AFTER_NS));
    }

    /// Whether it was heard so recently that no sign of life is asked for.
    pub fn is_heard(&self, now: Instant) -> bool {
        now < self.heard_at + PING_AFTER_NS
    }

    /// Whether its multicast reaches us, in all groups that count.
    pub fn is_multicast_heard(&self, now: Instant) -> bool {
        self.deaf_groups == 0 && self.multicast_at.is_some_and(|at| now < at + MULTICAST_SILENCE_NS)
    }

    /// Whether it has not been heard for too long.
    pub fn is_silent(&self, now: Instant) -> bool {
        now >= self.heard_at + SILENCE_NS
    }

    /// Whether to ask for a sign of life now; then it counts as asked.
    pub fn is_ping_due(&mut self, now: Instant) -> bool {
        let is_due = now >= self.ping_at.max(self.heard_at + PING_AFTER_NS);
        if is_due {
            self.ping_at = now + PING_INTERVAL_NS;
        }
        is_due
    }

    /// Time at which the peer is to be asked for a sign of life, or forgotten.
    pub fn next_at(&self) -> Instant {
        let ping_at = self.ping_at.max(self.heard_at + PING_AFTER_NS);
        ping_at.min(self.heard_at + SILENCE_NS)
    }

    /// Time from which on its multicast counts as not heard.
    pub fn deaf_at(&self) -> Instant {
        self.multicast_at.map_or(Instant::NEVER, |at| at + MULTICAST_SILENCE_NS)
    }
}
