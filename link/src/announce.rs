//! When to say hello to all.

const MS_NS: u64 = 1_000_000;

/// After the start, in quick succession: any of them may be lost, and events are
/// held back until peers are found.
const START_NS: [u64; 4] = [0, 20 * MS_NS, 60 * MS_NS, 140 * MS_NS];

/// Afterwards.
pub const HELLO_INTERVAL_NS: u64 = 1000 * MS_NS;

/// A stranger is greeted at once, by all of us; but whoever makes up strangers
/// gets no more hellos out of us than one in this time.
const HURRY_NS: u64 = 20 * MS_NS;

pub(super) struct Announce {
    start_ns: u64,
    last_ns: Option<u64>,
    next_ns: u64,
}

impl Announce {
    pub fn new(now_ns: u64) -> Announce {
        Announce { start_ns: now_ns, last_ns: None, next_ns: now_ns }
    }

    pub fn next_ns(&self) -> u64 {
        self.next_ns
    }

    /// Whether to say it now; then it counts as said.
    pub fn is_due(&mut self, now_ns: u64) -> bool {
        if now_ns < self.next_ns {
            return false;
        }
        let since_start_ns = now_ns.saturating_sub(self.start_ns);
        self.last_ns = Some(now_ns);
        self.next_ns = match START_NS.iter().find(|&&after_ns| after_ns > since_start_ns) {
            Some(after_ns) => self.start_ns + after_ns,
            None => now_ns + HELLO_INTERVAL_NS,
        };
        true
    }

    /// The network is not what it was: says it as after the start.
    pub fn restart(&mut self, now_ns: u64) {
        self.start_ns = now_ns;
        self.next_ns = now_ns;
    }

    /// Somebody new is there: says it soon.
    pub fn hurry(&mut self, now_ns: u64) {
        let soon_ns = self.last_ns.map_or(now_ns, |last_ns| now_ns.max(last_ns + HURRY_NS));
        self.next_ns = self.next_ns.min(soon_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(announce: &mut Announce, until_ms: u64) -> Vec<u64> {
        (0..until_ms).filter(|ms| announce.is_due(ms * MS_NS)).collect()
    }

    #[test]
    fn hellos_come_quickly_first_and_then_once_a_second() {
        let mut announce = Announce::new(0);
        assert_eq!(times(&mut announce, 3000), [0, 20, 60, 140, 1140, 2140]);
    }

    #[test]
    fn whoever_is_new_is_greeted_as_after_the_start() {
        let mut announce = Announce::new(0);
        times(&mut announce, 500);
        announce.restart(500 * MS_NS);
        let said = (500..2000).filter(|ms| announce.is_due(ms * MS_NS));
        assert_eq!(said.collect::<Vec<_>>(), [500, 520, 560, 640, 1640]);
    }

    #[test]
    fn strangers_hurry_it_up_but_not_without_end() {
        let mut announce = Announce::new(0);
        times(&mut announce, 500);
        let said = (500..600).filter(|ms| {
            announce.hurry(ms * MS_NS);
            announce.is_due(ms * MS_NS)
        });
        assert_eq!(said.collect::<Vec<_>>(), [500, 520, 540, 560, 580]);
    }
}
