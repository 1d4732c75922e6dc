//! Clock that all processes of a run share.
//!
//! `CLOCK_MONOTONIC` is the same for every process of a machine, so a listener can
//! subtract the emitter's time from its own. Not for calendar time.

#[cfg(target_os = "linux")]
use std::num::NonZeroU64;

#[cfg(target_os = "linux")]
use rustix::thread::clock_nanosleep_absolute;
use rustix::time::{ClockId, clock_gettime};

const NS_PER_SECOND: u64 = 1_000_000_000;

/// Returns the nanoseconds since the machine started.
#[inline]
pub fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * NS_PER_SECOND + now.tv_nsec as u64
}

/// Sleeps until [`now_ns`] reaches `at_ns`. May return early on a signal: loop.
#[cfg(target_os = "linux")]
pub fn sleep_until(at_ns: u64) {
    let at = rustix::time::Timespec {
        tv_sec: (at_ns / NS_PER_SECOND) as i64,
        tv_nsec: (at_ns % NS_PER_SECOND) as i64,
    };
    // An interrupted sleep is the only failure, and callers look at the clock.
    let _ = clock_nanosleep_absolute(ClockId::Monotonic, &at);
}

/// Sleeps until [`now_ns`] reaches `at_ns`, or somewhat longer.
#[cfg(not(target_os = "linux"))]
pub fn sleep_until(at_ns: u64) {
    std::thread::sleep(std::time::Duration::from_nanos(at_ns.saturating_sub(now_ns())));
}

/// Lets this thread's sleeps end on time: the kernel's default slack of 50 µs
/// is as long as what is measured.
pub fn sharpen_sleeps() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
}
