//! The thread that writes what nobody else will: costs nothing while there is
//! nothing to do, and one look per 100 µs while a loop emits.

#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Link, Outbox};

/// The oldest event in the buffer leaves at most this long after it was appended.
const FLUSH_WITHIN: Duration = Duration::from_micros(100);

/// By how much the system may be late, in nanoseconds.
#[cfg(target_os = "linux")]
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::new(1_000).unwrap();

impl Outbox {
    /// Runs until the outbox is closed.
    pub(crate) fn run_flusher(&self) {
        // Only makes it more punctual.
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NS));
        let mut seen = 0;
        let mut state = self.lock();
        loop {
            if matches!(state.out.link, Link::Closed(_)) {
                return;
            }
            if !state.out.has_work() {
                state.urgent = false;
                if state.deferred == seen {
                    state.parked = true;
                    state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.parked = false;
                    continue;
                }
                // A loop is emitting: look again before it has to wake this thread.
                seen = state.deferred;
                drop(state);
                std::thread::sleep(FLUSH_WITHIN);
                state = self.lock();
                continue;
            }
            if state.writing {
                state = self.wait_for_room(state);
                continue;
            }
            let waited = state.last_write.elapsed();
            if state.urgent || waited >= FLUSH_WITHIN {
                state.urgent = false;
                state = self.write(state, true, b"");
                continue;
            }
            let until = Instant::now() + (FLUSH_WITHIN - waited);
            if state.deferred == seen {
                // The first batch after a pause: whoever needs it sooner wakes us.
                let wait = until.saturating_duration_since(Instant::now());
                state.parked = true;
                state =
                    self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                state.parked = false;
            } else {
                seen = state.deferred;
                drop(state);
                std::thread::sleep(until.saturating_duration_since(Instant::now()));
                state = self.lock();
            }
        }
    }
}
