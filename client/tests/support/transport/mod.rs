//! The transport that the tests' broker listens on. Each sibling supplies a `Listener` and a
//! `Stream` with the same methods, and
//! `address`, `remove`, `impossible`, `NOBODY`.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{Listener, NOBODY, Stream, address, full_backlog, impossible, remove};
#[cfg(windows)]
pub use windows::{Listener, NOBODY, Stream, address, impossible, remove};
