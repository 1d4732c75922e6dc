//! Requests to end a command: signals on Unix, the console on Windows. The first
//! request asks for an end in order, the second ends at once.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix as system;
#[cfg(windows)]
use windows as system;

use super::failure::Failure;

/// Calls `first` on the first request, from a thread of its own; a second one ends the
/// process.
pub fn on_first(first: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    system::listen(first).map_err(|error| {
        Failure::other(format_args!("cannot listen to {}: {error}", system::NAMES))
    })
}
