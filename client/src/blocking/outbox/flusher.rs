//! The thread that writes what nobody else will: costs nothing while there is
//! nothing to do, and one look per 100 µs while a loop emits.
//!
//! A look costs a timer and two thread switches, as much as some hundred events. While
//! emitters fill their batches faster than this thread would write them, it looks ever
//! more rarely: then only the last batch of a flood waits for it, up to 1 ms.

#[cfg(target_os = "linux")]
use std::num::NonZeroU64;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Guard, Link, Outbox, State};

/// The oldest event in the buffer leaves at most this long after it was appended.
const FLUSH_WITHIN: Duration = Duration::from_micros(100);

/// The longest time between two looks during a flood.
const MAX_NAP: Duration = Duration::from_millis(1);

/// A flood fills a batch in this time or less, on average.
const FLOOD_FILLS_WITHIN: Duration = Duration::from_micros(200);

/// Delay that the system may add to a sleep, in nanoseconds.
#[cfg(target_os = "linux")]
const TIMER_SLACK_NS: NonZeroU64 = NonZeroU64::new(1_000).unwrap();

/// The flusher's looks at a loop that is emitting.
struct Looks {
    /// Batches that were left to it, and those that emitters wrote, at the last look.
    deferred: u64,
    filled: u64,
    looked: Instant,
    nap: Duration,
}

impl Looks {
    /// Looks at what has happened; decides how long to leave the emitters alone.
    fn look(&mut self, state: &State) -> Duration {
        let now = Instant::now();
        let filled = u32::try_from(state.filled - self.filled).unwrap_or(u32::MAX);
        let is_flood = FLOOD_FILLS_WITHIN.saturating_mul(filled) >= now - self.looked;
        self.nap = if is_flood { (self.nap * 2).min(MAX_NAP) } else { FLUSH_WITHIN };
        self.deferred = state.deferred;
        self.filled = state.filled;
        self.looked = now;
        self.nap
    }
}

impl Outbox {
    /// Runs until the outbox is closed.
    pub(crate) fn run_flusher(&self) {
        // Only makes it more punctual.
        #[cfg(target_os = "linux")]
        let _ = rustix::thread::set_current_timer_slack(Some(TIMER_SLACK_NS));
        let mut looks = Looks { deferred: 0, filled: 0, looked: Instant::now(), nap: FLUSH_WITHIN };
        let mut state = self.lock();
        loop {
            if matches!(state.out.link, Link::Closed(_)) {
                return;
            }
            // Nothing was left to this thread since its last look: whoever needs it wakes it.
            let is_quiet = state.deferred == looks.deferred;
            if !state.out.has_work() {
                state.urgent = false;
                if is_quiet {
                    state.parked = true;
                    state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                    state.parked = false;
                } else {
                    // A loop is emitting: look again before it has to wake this thread.
                    state = self.nap(state, &mut looks, Duration::ZERO);
                }
                continue;
            }
            if state.writing {
                state = if state.urgent || is_quiet {
                    self.wait_for_room(state)
                } else {
                    // A loop is emitting: who writes shall not have to wake this thread.
                    self.nap(state, &mut looks, Duration::ZERO)
                };
                continue;
            }
            let waited = state.last_write.elapsed();
            let limit = if is_quiet { FLUSH_WITHIN } else { looks.nap };
            if state.urgent || waited >= limit {
                state.urgent = false;
                state = self.write(state, true, b"");
                continue;
            }
            if is_quiet {
                // The first batch after a pause: whoever needs it sooner wakes us.
                state.parked = true;
                let wait = limit - waited;
                state =
                    self.work.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
                state.parked = false;
            } else {
                state = self.nap(state, &mut looks, waited);
            }
        }
    }

    /// Leaves the emitters alone, less the time that their batch has waited.
    fn nap<'a>(&'a self, state: Guard<'a>, looks: &mut Looks, waited: Duration) -> Guard<'a> {
        let nap = looks.look(&state).saturating_sub(waited);
        drop(state);
        std::thread::sleep(nap);
        self.lock()
    }
}
