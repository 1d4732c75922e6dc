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

/// Reads the configuration again.
pub type Reload = Box<dyn FnMut() + Send>;

/// Calls `first` on the first request, from a thread of its own; a second one ends the
/// process.
pub fn on_first(first: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    listen(first, None)
}

/// Calls `first` on the first request to end, and `reload` on each request to read the
/// configuration again, from one thread; a second request to end ends the process.
pub fn on_first_or_reload(
    first: impl FnOnce() + Send + 'static,
    reload: Reload,
) -> Result<(), Failure> {
    listen(first, Some(reload))
}

fn listen(first: impl FnOnce() + Send + 'static, reload: Option<Reload>) -> Result<(), Failure> {
    system::listen(first, reload).map_err(|error| {
        Failure::other(format_args!("cannot listen to {}: {error}", system::NAMES))
    })
}
