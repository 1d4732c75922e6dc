//! Guard of one client that access rules restrict: its rights, verdicts on the names that it
//! emits, and refusals that it is yet to be told of.
//!
//! Clients without restrictions have none, so that they cost nothing.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use netcluster_platform::Instant;
use netcluster_wire::check_event;

use crate::access::Rights;
use crate::budget::{Budget, Charge, Purpose};
use crate::pattern_set::PatternSet;

/// Bytes of names whose verdicts are remembered.
const VERDICT_BYTES: usize = 2 << 10;

/// Bytes that a remembered name is estimated to take besides its text.
const VERDICT_ENTRY_BYTES: usize = 32;

/// Bytes that a guard is estimated to take.
const GUARD_BYTES: usize = 2 * VERDICT_BYTES;

/// Time between two errors about events that were refused: 1 s. The first one is told at
/// once.
pub const TELL_EVERY_NS: u64 = 1_000_000_000;

/// Events of one client that were refused and that it has not been told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Untold {
    /// Name of the first one.
    pub name: Box<[u8]>,
    /// Number of events.
    pub events: u64,
}

/// Guard of one client.
#[derive(Debug)]
pub struct Guard {
    rights: Rights,
    verdicts: HashMap<Box<[u8]>, bool, FixedState>,
    verdict_bytes: usize,
    untold: Option<Untold>,
    /// Time until which refusals are gathered.
    gathers_until: Instant,
    /// Patterns that the client listened to before the rules changed, and listens to again
    /// once they allow it.
    pub suspended: PatternSet,
    _charge: Charge,
}

impl Guard {
    /// Returns a guard with these rights; maps hash with `seed`.
    pub fn new(rights: Rights, seed: u64, budget: &Budget) -> Guard {
        Guard {
            rights,
            verdicts: HashMap::with_hasher(FixedState::with_seed(seed)),
            verdict_bytes: 0,
            untold: None,
            gathers_until: Instant::START,
            suspended: PatternSet::new(budget),
            _charge: budget.charge_for(Purpose::Connections, GUARD_BYTES),
        }
    }

    /// Returns the client's rights.
    pub fn rights(&self) -> &Rights {
        &self.rights
    }

    /// Gives the client other rights.
    pub fn set_rights(&mut self, rights: Rights) {
        self.rights = rights;
        self.forget();
    }

    /// Returns whether events of this name may be emitted. A name that is not allowed for
    /// events is let through: the router tells of it.
    #[inline]
    pub fn may_emit(&mut self, name: &[u8]) -> bool {
        match self.verdicts.get(name) {
            Some(verdict) => *verdict,
            None => self.judge(name),
        }
    }

    #[cold]
    fn judge(&mut self, name: &[u8]) -> bool {
        if check_event(name).is_err() {
            return true;
        }
        let bytes = name.len() + VERDICT_ENTRY_BYTES;
        if self.verdict_bytes + bytes > VERDICT_BYTES {
            self.forget();
        }
        self.verdict_bytes += bytes;
        let verdict = self.rights.may_emit(name);
        self.verdicts.insert(name.into(), verdict);
        verdict
    }

    fn forget(&mut self) {
        self.verdicts.clear();
        self.verdict_bytes = 0;
    }

    /// Notes that events were refused. Returns when the client is to be told: now, or once
    /// the time since it was told last is over; `None` if that is known already.
    pub fn refused(&mut self, now: Instant, name: &[u8], events: u64) -> Option<Instant> {
        if let Some(untold) = &mut self.untold {
            untold.events += events;
            return None;
        }
        self.untold = Some(Untold { name: name.into(), events });
        Some(self.gathers_until.max(now))
    }

    /// Takes what the client is to be told now.
    pub fn take_untold(&mut self, now: Instant) -> Option<Untold> {
        let untold = self.untold.take();
        if untold.is_some() {
            self.gathers_until = now + TELL_EVERY_NS;
        }
        untold
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::sync::Arc;

    use netcluster_platform::Peer;

    use super::*;
    use crate::access::{AccessDefault, AccessOptions, AccessRules};

    fn guard(budget: &Budget) -> Guard {
        let emit = vec!["a.**".to_owned()];
        let options = AccessOptions { emit, ..AccessOptions::default() };
        let rules =
            AccessRules::new(&[("r".to_owned(), options)].into(), AccessDefault::Allow).unwrap();
        let peer = Peer { uid: 7, ..Peer::UNKNOWN };
        Guard::new(Arc::new(rules).rights(&peer, "c").unwrap(), 1, budget)
    }

    #[test]
    fn verdicts_are_remembered_within_bounds_and_charged() {
        let budget = Budget::new(1 << 20);
        let mut guard = guard(&budget);
        assert_eq!(budget.used_for(Purpose::Connections), GUARD_BYTES);
        for number in 0..1000 {
            assert!(guard.may_emit(format!("a.{number}").as_bytes()));
            assert!(!guard.may_emit(format!("b.{number}").as_bytes()));
            assert!(!guard.may_emit(format!("b.{number}").as_bytes()));
        }
        assert!(guard.verdicts.len() < VERDICT_BYTES / VERDICT_ENTRY_BYTES);
        assert!(guard.may_emit(b""), "the router refuses this name");
    }

    #[test]
    fn the_first_refusal_is_told_at_once_and_the_others_together() {
        let mut guard = guard(&Budget::new(1 << 20));
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        assert_eq!(guard.refused(at(5), b"x", 2), Some(at(5)));
        let untold = Untold { name: (*b"x").into(), events: 2 };
        assert_eq!(guard.take_untold(at(5)), Some(untold));
        assert_eq!(guard.refused(at(6), b"y", 1), Some(at(1005)));
        assert_eq!(guard.refused(at(7), b"z", 3), None);
        let untold = Untold { name: (*b"y").into(), events: 4 };
        assert_eq!(guard.take_untold(at(1005)), Some(untold));
        assert_eq!(guard.take_untold(at(1005)), None);
    }
}
