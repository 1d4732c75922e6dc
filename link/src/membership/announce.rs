//! Timing of the hellos to all.

use netcluster_platform::Instant;

const MS_NS: u64 = 1_000_000;

/// Times of the hellos after the start, in quick succession: any of them may be lost, and
/// events are held back until peers are found.
const START_NS: [u64; 4] = [0, 20 * MS_NS, 60 * MS_NS, 140 * MS_NS];

/// Time between two hellos afterwards.
pub const HELLO_INTERVAL_NS: u64 = 1000 * MS_NS;

/// Time between two hellos while a peer is missing that fell silent: the way to it may be whole
/// again at any moment, and whoever listens waits for nothing but a hello of either.
const MISSING_INTERVAL_NS: u64 = 250 * MS_NS;

/// Time for which a peer that fell silent is missing. A broker that died does not come back
/// under its old session, and says hello itself when it starts.
const MISSING_NS: u64 = 30_000 * MS_NS;

/// A stranger is greeted at once, by all of us; but whoever makes up strangers
/// gets no more hellos out of us than one in this time.
const HURRY_NS: u64 = 20 * MS_NS;

pub(crate) struct Announce {
    started_at: Instant,
    last_at: Option<Instant>,
    next_at: Instant,
    missing_until: Option<Instant>,
}

impl Announce {
    pub fn new(now: Instant) -> Announce {
        Announce { started_at: now, last_at: None, next_at: now, missing_until: None }
    }

    pub fn next_at(&self) -> Instant {
        self.next_at
    }

    /// Whether to say it now; then it counts as said.
    pub fn is_due(&mut self, now: Instant) -> bool {
        if now < self.next_at {
            return false;
        }
        let since_start_ns = now.since(self.started_at);
        self.last_at = Some(now);
        self.next_at = match START_NS.iter().find(|&&after_ns| after_ns > since_start_ns) {
            Some(after_ns) => self.started_at + *after_ns,
            None => now + self.interval_ns(now),
        };
        true
    }

    fn interval_ns(&self, now: Instant) -> u64 {
        match self.missing_until {
            Some(until) if now < until => MISSING_INTERVAL_NS,
            _ => HELLO_INTERVAL_NS,
        }
    }

    /// Says hello more often for a while, as a peer fell silent.
    pub fn miss(&mut self, now: Instant) {
        self.missing_until = Some(now + MISSING_NS);
        self.next_at = self.next_at.min(now + MISSING_INTERVAL_NS);
    }

    /// Says hello as after the start: the network is not what it was.
    pub fn restart(&mut self, now: Instant) {
        self.started_at = now;
        self.next_at = now;
    }

    /// Says hello soon, as somebody new is there.
    pub fn hurry(&mut self, now: Instant) {
        let soon = self.last_at.map_or(now, |last_at| now.max(last_at + HURRY_NS));
        self.next_at = self.next_at.min(soon);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::{millis, ns};

    fn times(announce: &mut Announce, until_ms: u64) -> Vec<u64> {
        (0..until_ms).filter(|ms| announce.is_due(millis(*ms))).collect()
    }

    #[test]
    fn hellos_come_quickly_first_and_then_once_a_second() {
        let mut announce = Announce::new(ns(0));
        assert_eq!(times(&mut announce, 3000), [0, 20, 60, 140, 1140, 2140]);
    }

    #[test]
    fn whoever_is_new_is_greeted_as_after_the_start() {
        let mut announce = Announce::new(ns(0));
        times(&mut announce, 500);
        announce.restart(millis(500));
        let said = (500..2000).filter(|ms| announce.is_due(millis(*ms)));
        assert_eq!(said.collect::<Vec<_>>(), [500, 520, 560, 640, 1640]);
    }

    #[test]
    fn whoever_fell_silent_is_looked_for_more_often_for_a_while() {
        let mut announce = Announce::new(ns(0));
        times(&mut announce, 1500);
        announce.miss(millis(1500));
        let said = (1500..2600).filter(|ms| announce.is_due(millis(*ms)));
        assert_eq!(said.collect::<Vec<_>>(), [1750, 2000, 2250, 2500]);
        let said: Vec<u64> = (2600..34_000).filter(|ms| announce.is_due(millis(*ms))).collect();
        assert_eq!(said[said.len() - 3..], [31_500, 32_500, 33_500], "in vain");
    }

    #[test]
    fn strangers_hurry_it_up_but_not_without_end() {
        let mut announce = Announce::new(ns(0));
        times(&mut announce, 500);
        let said = (500..600).filter(|ms| {
            announce.hurry(millis(*ms));
            announce.is_due(millis(*ms))
        });
        assert_eq!(said.collect::<Vec<_>>(), [500, 520, 540, 560, 580]);
    }
}
