//! When a peer was heard, and how: what says that it is there, and that multicast of it
//! reaches this broker.

const MS_NS: u64 = 1_000_000;

/// Without a word for this long a peer is forgotten.
pub const SILENCE_NS: u64 = 3000 * MS_NS;

/// After so much silence a peer is asked for a sign of life: hellos come once a
/// second, and one of them may well be lost.
pub const PING_AFTER_NS: u64 = 1200 * MS_NS;

/// How often. Where a third is lost, half of these are in vain, and there are many
/// pairs of brokers in a cluster: none of them may fall silent by chance.
pub const PING_INTERVAL_NS: u64 = 100 * MS_NS;

/// A peer whose multicast was not heard for this long is one that we do not hear:
/// three hellos and a bit.
pub const MULTICAST_SILENCE_NS: u64 = 3500 * MS_NS;

const _: () = assert!(PING_AFTER_NS + 16 * PING_INTERVAL_NS < SILENCE_NS);

/// When a peer gave signs of life.
pub(crate) struct Liveness {
    /// When anything of it was opened last.
    pub heard_ns: u64,
    /// When multicast of it was.
    multicast_ns: Option<u64>,
    /// Groups whose multicast does not reach us although other multicast of it does.
    pub deaf_groups: u64,
    ping_ns: u64,
}

impl Liveness {
    pub fn new(now_ns: u64, multicast_ns: Option<u64>) -> Liveness {
        Liveness { heard_ns: now_ns, multicast_ns, deaf_groups: 0, ping_ns: 0 }
    }

    /// Something of it was opened. Whether nothing was for so long before that it would
    /// be asked for a sign of life.
    #[inline]
    pub fn heard(&mut self, now_ns: u64, multicast: bool) -> bool {
        let was_quiet = now_ns >= self.heard_ns + PING_AFTER_NS;
        self.heard_ns = now_ns;
        if multicast {
            self.multicast_ns = Some(now_ns);
        }
        was_quiet
    }

    /// This broker heard nobody for a while: it gets its time to be heard again.
    pub fn forgive(&mut self, now_ns: u64) {
        self.heard_ns = self.heard_ns.max(now_ns.saturating_sub(PING_AFTER_NS));
    }

    /// Whether it was heard so recently that no sign of life is asked for.
    pub fn is_heard(&self, now_ns: u64) -> bool {
        now_ns < self.heard_ns + PING_AFTER_NS
    }

    /// Whether its multicast reaches us, in all groups that count.
    pub fn is_multicast_heard(&self, now_ns: u64) -> bool {
        self.deaf_groups == 0
            && self.multicast_ns.is_some_and(|at_ns| now_ns < at_ns + MULTICAST_SILENCE_NS)
    }

    /// Whether it has not been heard for too long.
    pub fn is_silent(&self, now_ns: u64) -> bool {
        now_ns >= self.heard_ns + SILENCE_NS
    }

    /// Whether to ask for a sign of life now; then it counts as asked.
    pub fn is_ping_due(&mut self, now_ns: u64) -> bool {
        let is_due = now_ns >= self.ping_ns.max(self.heard_ns + PING_AFTER_NS);
        if is_due {
            self.ping_ns = now_ns + PING_INTERVAL_NS;
        }
        is_due
    }

    /// When it is to be asked for a sign of life, or forgotten.
    pub fn next_ns(&self) -> u64 {
        let ping_ns = self.ping_ns.max(self.heard_ns + PING_AFTER_NS);
        ping_ns.min(self.heard_ns + SILENCE_NS)
    }

    /// From when on its multicast counts as not heard.
    pub fn deaf_ns(&self) -> u64 {
        self.multicast_ns.map_or(u64::MAX, |at_ns| at_ns + MULTICAST_SILENCE_NS)
    }
}
