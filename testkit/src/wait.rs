//! Waiting for a condition. The pause between two looks is not part of any test's
//! meaning, and only a failure takes as long as the limit.

use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for something that should come: generous, since the machine may be busy
/// with other things, and stand-ins for Windows take milliseconds for 4 KiB.
pub const PATIENCE: Duration = Duration::from_secs(if cfg!(windows) { 150 } else { 60 });

/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until a condition holds.
///
/// # Panics
/// If the condition does not hold within [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// Waits until a look finds a value.
///
/// # Panics
/// If no look finds one within [`PATIENCE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        thread::sleep(LOOK);
    }
}
