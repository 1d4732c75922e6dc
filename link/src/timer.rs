//! Timer of the link: when it is to be called again, and when it was.

/// Deadline of the link. Invariant: it is not later than the first of its parts.
pub(crate) struct Timer {
    /// Time at which anything was called last.
    seen_at: Instant,
    next_at: Instant,
}

use netcluster_platform::Instant;

impl Timer {
    pub fn new(now: Instant) -> Timer {
        Timer { seen_at: now, next_at: now }
    }

    /// Has the link called at this time, as something is to be done then.
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

    /// Sets the first deadline, as everything that was due is done.
    pub fn restart(&mut self, next_at: Instant) {
        self.next_at = next_at;
    }

    /// Notes that something is called now; answers when something was called before.
    pub fn seen(&mut self, now: Instant) -> Instant {
        std::mem::replace(&mut self.seen_at, now)
    }
}
