//! What the log did not say, counted for `status`.
//!
//! The log itself belongs to the program (`cli/log` for the command line): a broker in
//! a library writes to whatever its process has.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

/// Counters of a log, shared by it and the broker.
#[derive(Debug, Default)]
pub struct LogCounts {
    lost: AtomicU64,
    summed_up: AtomicU64,
}

impl LogCounts {
    /// Lines could not be written.
    pub fn lost(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }

    /// A line was left out, as there were many like it.
    pub fn summed_up(&self) {
        self.summed_up.fetch_add(1, Ordering::Relaxed);
    }

    /// The counters now.
    pub fn status(&self) -> LogStatus {
        LogStatus {
            lost: self.lost.load(Ordering::Relaxed),
            summed_up: self.summed_up.load(Ordering::Relaxed),
        }
    }
}

/// The log in `status`: lines since the start that are not in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogStatus {
    /// Lines that could not be written, as nobody read the log or its disk was full.
    pub lost: u64,
    /// Lines left out because there were many like them: the log has their number.
    pub summed_up: u64,
}
