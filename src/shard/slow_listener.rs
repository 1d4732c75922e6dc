//! A listener that does not keep up with its queue: how long it holds up those who feed
//! it, and when it is disconnected.
//!
//! ```text
//!   socket full ─▶ queue lags ─ 2 ms ─▶ slow: copied out, grows to its limit ─▶ full
//!                  emitters wait        emitters go on                emitters wait
//!                                                                     │ --stall-timeout
//!                                                                     ▼
//!                                                                  disconnected
//! ```

use netcluster_platform::Io;
use netcluster_wire::ErrorCode;

use crate::connection::{Connection, Lag};
use crate::target::Target;

use super::Shard;

/// Time for which a queue that its socket does not drain holds up its emitters before
/// it is taken for slow and its bytes are copied out. A listener that is only busy
/// drains well within it, and then nothing is copied; one that is not delays those who
/// feed it, and nobody else, by this once.
pub(super) const LAG_GRACE_NS: u64 = 2_000_000;

/// A stall timer that fires so much late, 250 ms and a part of the timeout, tells that the
/// broker did not run: it was stopped, or the machine slept. That time is not the
/// listener's.
const LATE_NS: u64 = 250_000_000;
const LATE_PART: u64 = 4;

impl<I: Io> Shard<I> {
    /// Lets the emitters of a queue that lagged through its grace go on, up to its
    /// limit.
    pub(super) fn lag_timed_out(&mut self, target: Target) {
        let Some(connection) = self.connections.find(target) else { return };
        if connection.lag != Lag::Grace {
            return;
        }
        connection.lag = Lag::Slow;
        self.copy_out(std::iter::once(target));
        if !self.connections.find(target).is_some_and(|connection| connection.holds_up()) {
            self.release_waiters(target);
        }
    }

    /// Disconnects a client whose queue was full for the stall timeout, if it still is.
    pub(super) fn stall_timed_out(&mut self, target: Target) {
        let stall_ns = self.shared.config.stall_timeout.as_nanos() as u64;
        let now = self.now;
        let stall = self.shared.config.stall_timeout;
        let Some(connection) = self.connections.find(target) else { return };
        let stalled = connection.is_open()
            && connection.outbound.is_full()
            && now >= connection.full_since.saturating_add(stall_ns);
        if !stalled {
            return;
        }
        if now.since(connection.full_since)
            >= stall_ns.saturating_add(LATE_NS + stall_ns / LATE_PART)
        {
            return self.timers.watch_full(connection, now, stall);
        }
        let text = stall_text(connection, stall.as_secs_f64());
        self.totals.stalled += 1;
        self.close_with_error(target.conn, ErrorCode::Stalled, &text);
    }
}

#[cold]
fn stall_text(connection: &Connection, seconds: f64) -> String {
    format!(
        "too slow: {} bytes waited for this client and did not drain to half within {seconds} s; read faster, \
         listen to less, raise --max-queue or --stall-timeout, or connect as `latest`",
        connection.outbound.queued_bytes()
    )
}
