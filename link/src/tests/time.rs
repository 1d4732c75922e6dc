//! Points in time, as tests write them.

use netcluster_platform::Instant;

/// The point so many nanoseconds after the start of the clock.
pub(crate) const fn ns(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

/// The point so many milliseconds after the start of the clock.
pub(crate) const fn millis(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}
