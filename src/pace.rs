//! Pace of one client that may emit only so much in a second: what is too much is not
//! read until its time has come, so that nothing is lost.
//!
//! What was received is charged behind it, as chunks come whole: a client may be in debt,
//! and waits until that is paid.

use netcluster_platform::Instant;

use crate::channel_rules::Rate;

/// Nanoseconds in a second.
const SECOND_NS: u128 = 1_000_000_000;

/// Time for which a client that has been quiet may emit at once: 100 ms.
const BURST_NS: u128 = 100_000_000;

/// Account of what a client has emitted, and may yet.
#[derive(Debug)]
pub struct Pace {
    rate: Rate,
    /// Times until which what was emitted so far is paid for: bytes, and events.
    paid_until: [Instant; 2],
    /// Events of the client that are charged.
    events: u64,
}

impl Pace {
    /// Returns the pace of a client that has emitted so many events before it.
    pub fn new(rate: Rate, events: u64) -> Pace {
        Pace { rate, paid_until: [Instant::START; 2], events }
    }

    /// Charges what was received; `events` are all of the client. Returns until when it must
    /// wait, if it must.
    pub fn charge(&mut self, now: Instant, bytes: usize, events: u64) -> Option<Instant> {
        let new_events = events - self.events;
        self.events = events;
        let charges = [(self.rate.bytes_per_s, bytes as u64), (self.rate.events_per_s, new_events)];
        let mut until = now;
        for ((per_second, amount), paid_until) in charges.into_iter().zip(&mut self.paid_until) {
            let Some(per_second) = per_second else { continue };
            let cost_ns = u128::from(amount) * SECOND_NS / u128::from(per_second.max(1));
            let cost_ns = u64::try_from(cost_ns).unwrap_or(u64::MAX);
            *paid_until =
                (*paid_until).max(now.saturating_sub(BURST_NS as u64)).saturating_add(cost_ns);
            until = until.max(*paid_until);
        }
        (until > now).then_some(until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes_per_s: Option<u64>, events_per_s: Option<u64>) -> Rate {
        Rate { bytes_per_s, events_per_s }
    }

    fn ms(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn a_client_emits_at_its_rate_whatever_the_chunks() {
        let mut pace = Pace::new(rate(Some(1000), None), 0);
        let mut now = ms(1000);
        let mut bytes = 0;
        while now < ms(11_000) {
            bytes += 250;
            now = pace.charge(now, 250, 0).unwrap_or(now);
        }
        // The burst in the beginning, and the chunk that crossed the end.
        assert!((10_000..=10_600).contains(&bytes), "{bytes}");
    }

    #[test]
    fn events_are_counted_once_and_the_stricter_limit_holds() {
        let mut pace = Pace::new(rate(Some(1 << 20), Some(10)), 5);
        assert_eq!(pace.charge(ms(1000), 100, 6), None, "a burst");
        assert_eq!(pace.charge(ms(1000), 100, 8), Some(ms(1200)));
        assert_eq!(pace.charge(ms(1200), 0, 8), None);
    }

    #[test]
    fn who_was_quiet_has_no_more_than_one_burst() {
        let mut pace = Pace::new(rate(None, Some(100)), 0);
        assert_eq!(pace.charge(ms(60_000), 0, 20), Some(ms(60_100)));
    }
}
