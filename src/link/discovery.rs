//! The first moments, in which events are held back.
//!
//! A fresh broker knows no peer, and would drop its first events since nobody
//! wants them. So they are laid out and kept for [`DISCOVERY`] and, if a handshake
//! is under way then, [`MAX_EXTENSION_NS`] more.
//!
//! [`DISCOVERY`]: crate::link::config::DISCOVERY

/// How much longer it may last if somebody is nearly found.
pub const MAX_EXTENSION_NS: u64 = 50_000_000;

pub(super) struct Discovery {
    until_ns: u64,
    is_over: bool,
}

impl Discovery {
    pub fn new(now_ns: u64, lasts_ns: u64) -> Discovery {
        Discovery { until_ns: now_ns.saturating_add(lasts_ns), is_over: false }
    }

    #[inline]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    pub fn next_ns(&self, is_busy: bool) -> u64 {
        match self.is_over {
            true => u64::MAX,
            false if is_busy => self.until_ns.saturating_add(MAX_EXTENSION_NS),
            false => self.until_ns,
        }
    }

    /// Ends it if it is time; whether it did. `is_busy`: somebody is nearly found.
    pub fn poll(&mut self, now_ns: u64, is_busy: bool) -> bool {
        let ends = now_ns >= self.next_ns(is_busy);
        self.is_over |= ends;
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_once_and_waits_a_little_for_who_is_nearly_found() {
        let mut discovery = Discovery::new(100, 150);
        assert!(!discovery.poll(249, false));
        assert!(!discovery.poll(250, true));
        assert_eq!(discovery.next_ns(true), 250 + MAX_EXTENSION_NS);
        assert!(discovery.poll(251, false));
        assert!(discovery.is_over() && !discovery.poll(252, false));
        let mut busy = Discovery::new(0, 150);
        assert!(busy.poll(150 + MAX_EXTENSION_NS, true));
    }
}
