//! Work of a shard on another thread, whose answer somebody waits for.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Returns what the work answers; if it panics, which the log tells, that it did: whoever
/// waits for the answer is not to wait for ever.
pub fn answer_of<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    // What it had begun is its own, and is gone.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err("this is a bug, and the log says where: what was asked for was not done".to_owned())
    })
}
