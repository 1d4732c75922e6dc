//! Timing of heartbeats, which say how far an outbound stream is.
//!
//! ```text
//!   data  1 ms  2 ms   4 ms ……… 512 ms   1 s   1 s … until all receivers have it
//!    │─────│──────│──────│
//! ```
//! A receiver that missed the end of a burst has nothing that tells it so, but
//! these. They also carry the clock by which round trips are measured, and say
//! what cannot be retransmitted any more: so some come while data does not pause, too.
//!
//! Decision: `docs/decisions/022-tail-in-heartbeats.md`.

use netcluster_platform::Instant;

const MS_NS: u64 = 1_000_000;

/// Time from the last data to the first heartbeat.
pub const FIRST_HEARTBEAT_NS: u64 = MS_NS;

/// Longest time between two heartbeats.
pub const MAX_HEARTBEAT_NS: u64 = 1000 * MS_NS;

/// Time between two heartbeats while data does not pause.
pub const BUSY_HEARTBEAT_NS: u64 = 100 * MS_NS;

const _: () =
    assert!(FIRST_HEARTBEAT_NS < BUSY_HEARTBEAT_NS && BUSY_HEARTBEAT_NS < MAX_HEARTBEAT_NS);

/// Interval from which on heartbeats ask for a status, while somebody has not confirmed
/// everything: the first, right behind the data, would be answered before the
/// retransmissions have come.
const POLL_FROM_NS: u64 = 2 * MS_NS;

pub(crate) struct HeartbeatTimer {
    interval_ns: u64,
    /// Time of the next heartbeat; [`Instant::NEVER`]: none.
    pub next_at: Instant,
    /// Latest time of the next one, beyond which data does not put it off;
    /// [`Instant::NEVER`]: none was sent since the last one.
    latest_at: Instant,
}

impl HeartbeatTimer {
    pub fn new() -> HeartbeatTimer {
        HeartbeatTimer {
            interval_ns: FIRST_HEARTBEAT_NS,
            next_at: Instant::NEVER,
            latest_at: Instant::NEVER,
        }
    }

    /// Begins heartbeats anew, as data was sent.
    #[inline]
    pub fn restart(&mut self, now: Instant) {
        self.interval_ns = FIRST_HEARTBEAT_NS;
        if self.latest_at == Instant::NEVER {
            self.latest_at = now + BUSY_HEARTBEAT_NS;
        }
        self.next_at = self.latest_at.min(now + FIRST_HEARTBEAT_NS);
    }

    /// Ends heartbeats, as nobody receives any more.
    pub fn stop(&mut self) {
        self.next_at = Instant::NEVER;
        self.latest_at = Instant::NEVER;
    }

    /// Notes that a heartbeat is sent now. Whether it asks for a status.
    pub fn sent(&mut self, now: Instant, is_confirmed: bool) -> bool {
        self.latest_at = Instant::NEVER;
        let is_asking = !is_confirmed && self.interval_ns >= POLL_FROM_NS;
        if is_confirmed && self.interval_ns >= MAX_HEARTBEAT_NS {
            self.next_at = Instant::NEVER;
        } else {
            self.interval_ns = (self.interval_ns * 2).min(MAX_HEARTBEAT_NS);
            self.next_at = now + self.interval_ns;
        }
        is_asking
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::time::ns;

    #[test]
    fn beats_grow_rarer_and_end_when_all_is_confirmed() {
        let mut beat = HeartbeatTimer::new();
        assert_eq!(beat.next_at, Instant::NEVER);
        beat.restart(ns(0));
        let mut at_ms = Vec::new();
        while beat.next_at < Instant::NEVER {
            let now = beat.next_at;
            at_ms.push(now.as_nanos() / MS_NS);
            assert!(!beat.sent(now, true));
        }
        assert_eq!(at_ms, [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 2023]);
    }

    #[test]
    fn they_go_on_and_ask_while_somebody_has_not_confirmed() {
        let mut beat = HeartbeatTimer::new();
        beat.restart(ns(0));
        assert!(!beat.sent(beat.next_at, false));
        for _ in 0..20 {
            assert!(beat.sent(beat.next_at, false));
            assert!(beat.next_at < Instant::NEVER);
        }
    }

    #[test]
    fn data_without_a_pause_does_not_keep_them_back() {
        let mut beat = HeartbeatTimer::new();
        let mut beats = 0;
        for half_ms in 0..2000 {
            let now = ns(half_ms * MS_NS / 2);
            beat.restart(now);
            if beat.next_at <= now {
                assert!(!beat.sent(now, false), "statuses come by themselves");
                beats += 1;
            }
        }
        assert!((8..=10).contains(&beats), "{beats} in a second");
    }
}
