//! When the link is to be called again, and when it was.

/// The link's one deadline. Invariant: it is not later than the first of its parts.
pub(crate) struct Timer {
    /// When anything was called last.
    seen_ns: u64,
    next_ns: u64,
}

impl Timer {
    pub fn new(now_ns: u64) -> Timer {
        Timer { seen_ns: now_ns, next_ns: now_ns }
    }

    /// Something is to be done at this time.
    #[inline]
    pub fn due(&mut self, at_ns: u64) {
        self.next_ns = self.next_ns.min(at_ns);
    }

    pub fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.next_ns
    }

    /// The deadline; `u64::MAX` is none.
    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Everything that was due is done: this is the first deadline now.
    pub fn restart(&mut self, next_ns: u64) {
        self.next_ns = next_ns;
    }

    /// Something is called now; answers when something was called before.
    pub fn seen(&mut self, now_ns: u64) -> u64 {
        std::mem::replace(&mut self.seen_ns, now_ns)
    }
}
