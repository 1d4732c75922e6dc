//! When to say how far an own stream is.
//!
//! ```text
//!   data  1 ms  2 ms   4 ms ……… 512 ms   1 s   1 s … until all receivers have it
//!    │─────│──────│──────│
//! ```
//! A receiver that missed the end of a burst has nothing that tells it so, but
//! these. They also carry the clock by which round trips are measured, and say
//! what cannot be repaired any more: so some come while data does not pause, too.
//!
//! Decision: `docs/decisions/022-tail-in-heartbeats.md`.

const MS_NS: u64 = 1_000_000;

/// After the last data.
pub const FIRST_BEAT_NS: u64 = MS_NS;

/// At the most.
pub const MAX_BEAT_NS: u64 = 1000 * MS_NS;

/// While data does not pause.
pub const BUSY_BEAT_NS: u64 = 100 * MS_NS;

const _: () = assert!(FIRST_BEAT_NS < BUSY_BEAT_NS && BUSY_BEAT_NS < MAX_BEAT_NS);

/// Beats from this one on ask for a status, while somebody has not confirmed
/// everything: the first, right behind the data, would be answered before the
/// repairs have come.
const POLL_FROM_NS: u64 = 2 * MS_NS;

pub(super) struct Beat {
    interval_ns: u64,
    /// `u64::MAX`: none.
    pub next_ns: u64,
    /// Data does not put the next one off beyond this; `u64::MAX`: none was sent
    /// since the last one.
    busy_ns: u64,
}

impl Beat {
    pub fn new() -> Beat {
        Beat { interval_ns: FIRST_BEAT_NS, next_ns: u64::MAX, busy_ns: u64::MAX }
    }

    /// Data was sent.
    #[inline]
    pub fn restart(&mut self, now_ns: u64) {
        self.interval_ns = FIRST_BEAT_NS;
        if self.busy_ns == u64::MAX {
            self.busy_ns = now_ns + BUSY_BEAT_NS;
        }
        self.next_ns = self.busy_ns.min(now_ns + FIRST_BEAT_NS);
    }

    /// Nobody receives any more.
    pub fn stop(&mut self) {
        self.next_ns = u64::MAX;
        self.busy_ns = u64::MAX;
    }

    /// One is sent now. Whether it asks for a status.
    pub fn sent(&mut self, now_ns: u64, is_confirmed: bool) -> bool {
        self.busy_ns = u64::MAX;
        let is_asking = !is_confirmed && self.interval_ns >= POLL_FROM_NS;
        if is_confirmed && self.interval_ns >= MAX_BEAT_NS {
            self.next_ns = u64::MAX;
        } else {
            self.interval_ns = (self.interval_ns * 2).min(MAX_BEAT_NS);
            self.next_ns = now_ns + self.interval_ns;
        }
        is_asking
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_grow_rarer_and_end_when_all_is_confirmed() {
        let mut beat = Beat::new();
        assert_eq!(beat.next_ns, u64::MAX);
        beat.restart(0);
        let mut at_ms = Vec::new();
        while beat.next_ns < u64::MAX {
            let now_ns = beat.next_ns;
            at_ms.push(now_ns / MS_NS);
            assert!(!beat.sent(now_ns, true));
        }
        assert_eq!(at_ms, [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2023]);
    }

    #[test]
    fn they_go_on_and_ask_while_somebody_has_not_confirmed() {
        let mut beat = Beat::new();
        beat.restart(0);
        assert!(!beat.sent(beat.next_ns, false));
        for _ in 0..20 {
            assert!(beat.sent(beat.next_ns, false));
            assert!(beat.next_ns < u64::MAX);
        }
    }

    #[test]
    fn data_without_a_pause_does_not_keep_them_back() {
        let mut beat = Beat::new();
        let mut beats = 0;
        for half_ms in 0..2000 {
            let now_ns = half_ms * MS_NS / 2;
            beat.restart(now_ns);
            if beat.next_ns <= now_ns {
                assert!(!beat.sent(now_ns, false), "statuses come by themselves");
                beats += 1;
            }
        }
        assert!((8..=10).contains(&beats), "{beats} in a second");
    }
}
