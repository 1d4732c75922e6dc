//! Differences of systems for the tests of the command.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::*;
#[cfg(windows)]
pub use windows::*;

/// Returns whether this is a Unix; if not, prints why the test is skipped.
#[must_use]
pub fn is_unix(what_is_lacking: &str) -> bool {
    if cfg!(not(unix)) {
        println!("SKIPPED: {what_is_lacking}");
    }
    cfg!(unix)
}
