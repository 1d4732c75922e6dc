//! When the link is to be called again, and when it was.

/// The link's one deadline. Invariant: it is not later than the first of its parts.
pub(crate) struct Timer {
    /// When anything was called last.
    seen_at: Instant,
    next_at: Instant,
}

use netcluster_platform::Instant;

impl Timer {
    pub fn new(now: Instant) -> Timer {
        Timer { seen_at: now, next_at: now }
    }

    /// Something is to be done at this time.
    #[inline]
    pub fn due(&mut self, at: Instant) {
        self.next_at = self.next_at.min(at);
    }

    pub fn is_due(&self, now: Instant) -> bool {
        now >= self.next_at
    }

    /// The deadline; `Instant::NEVER` is none.
    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Everything that was due is done: this is the first deadline now.
    pub fn restart(&mut self, next_at: Instant) {
        self.next_at = next_at;
    }

    /// Something is called now; answers when something was called before.
    pub fn seen(&mut self, now: Instant) -> Instant {
        std::mem::replace(&mut self.seen_at, now)
    }
}
