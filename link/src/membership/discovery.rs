//! The first moments, in which events are held back or kept.
//!
//! ```text
//!   start      150 ms                              2 s
//!     │─ held back ─│─ kept for configured peers ────│
//!     nothing is sent   sent to those who are there;
//!                       who is new gets it from the oldest one on
//! ```
//! A fresh broker knows no peer, and would drop its first events since nobody
//! wants them. So they are laid out and held back for [`DISCOVERY`] and, if a
//! handshake is under way then, [`MAX_EXTENSION_NS`] more. Peers that are configured
//! may take longer: a name is to be resolved, a greeting was lost. While one has not
//! answered, for at most [`KEEP`], what is emitted is kept as far as the history
//! goes, whether anybody wants it or not, and is theirs when they come.
//!
//! A broker that was a peer since the start is owed nothing of what it had already:
//! its new session joins where the stream stands.
//!
//! [`DISCOVERY`]: crate::config::DISCOVERY
//! [`KEEP`]: crate::config::KEEP
//!
//! Decision: `docs/decisions/023-first-150-ms.md`.

use std::collections::BTreeSet;

use netcluster_platform::Instant;

use crate::config::KEEP;

/// Time by which discovery is extended if somebody is nearly found.
pub const MAX_EXTENSION_NS: u64 = 50_000_000;

pub(crate) struct Discovery {
    until: Instant,
    is_over: bool,
    keep_until: Instant,
    is_keeping: bool,
    /// Node ids of brokers that joined meanwhile.
    met: BTreeSet<u32>,
}

impl Discovery {
    pub fn new(now: Instant, lasts_ns: u64) -> Discovery {
        Discovery {
            until: now.saturating_add(lasts_ns),
            is_over: false,
            keep_until: now.saturating_add(KEEP.as_nanos() as u64),
            is_keeping: true,
            met: BTreeSet::new(),
        }
    }

    /// Looks for nobody: all are known.
    pub fn skip(&mut self) {
        self.is_over = true;
        self.is_keeping = false;
    }

    #[inline]
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Whether what nobody wants yet is kept for those who are looked for.
    #[inline]
    pub fn is_keeping(&self) -> bool {
        self.is_keeping
    }

    /// Whether a broker with this node id joins for the first time; then it is
    /// owed what is kept.
    pub fn meets(&self, node: u32) -> bool {
        self.is_keeping && (!self.is_over || !self.met.contains(&node))
    }

    /// Notes that the broker with this node id has joined.
    pub fn met(&mut self, node: u32) {
        if self.is_keeping {
            self.met.insert(node);
        }
    }

    pub fn next_at(&self, is_busy: bool) -> Instant {
        if self.is_over {
            if self.is_keeping { self.keep_until } else { Instant::NEVER }
        } else if is_busy {
            self.until.saturating_add(MAX_EXTENSION_NS)
        } else {
            self.until
        }
    }

    /// Ends discovery if it is time; whether it did. `is_busy`: somebody is nearly found.
    pub fn poll(&mut self, now: Instant, is_busy: bool) -> bool {
        let ends = !self.is_over && now >= self.next_at(is_busy);
        self.is_over |= ends;
        ends
    }

    /// Ends the keeping if it is time, or nobody is missing; whether it did.
    pub fn poll_keeping(&mut self, now: Instant, is_complete: bool) -> bool {
        let ends = self.is_keeping && self.is_over && (is_complete || now >= self.keep_until);
        if ends {
            self.is_keeping = false;
            self.met.clear();
        }
        ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::ns;

    #[test]
    fn it_ends_once_and_waits_a_little_for_who_is_nearly_found() {
        let mut discovery = Discovery::new(ns(100), 150);
        assert!(!discovery.poll(ns(249), false));
        assert!(!discovery.poll(ns(250), true));
        assert_eq!(discovery.next_at(true), ns(250 + MAX_EXTENSION_NS));
        assert!(discovery.poll(ns(251), false));
        assert!(discovery.is_over() && !discovery.poll(ns(252), false));
        assert!(discovery.poll_keeping(ns(252), true) && !discovery.is_keeping());
        assert_eq!(discovery.next_at(false), Instant::NEVER);
        let mut busy = Discovery::new(ns(0), 150);
        assert!(busy.poll(ns(150 + MAX_EXTENSION_NS), true));
    }

    #[test]
    fn while_a_configured_peer_is_missing_a_newcomer_gets_what_is_kept_once() {
        let keep_ns = KEEP.as_nanos() as u64;
        let mut discovery = Discovery::new(ns(0), 150);
        assert!(!discovery.poll_keeping(ns(100), true), "first it is to be over");
        assert!(discovery.poll(ns(150), false));
        assert!(discovery.meets(7));
        discovery.met(7);
        assert!(!discovery.meets(7) && discovery.meets(8));
        assert!(!discovery.poll_keeping(ns(keep_ns - 1), false));
        assert_eq!(discovery.next_at(false), ns(keep_ns));
        assert!(discovery.poll_keeping(ns(keep_ns), false));
        assert!(!discovery.meets(8));
    }
}
