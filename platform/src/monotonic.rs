//! The clock of the system that no setting of the time moves.

/// Returns the microseconds on `CLOCK_MONOTONIC`, as service managers compare them; `None`
/// where there is no such clock.
pub fn monotonic_micros() -> Option<u64> {
    #[cfg(unix)]
    {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u64::try_from(time.tv_sec).ok()?;
        Some(seconds * 1_000_000 + u64::try_from(time.tv_nsec).ok()? / 1_000)
    }
    #[cfg(not(unix))]
    None
}
