//! Connecting an async client, and how much it writes at a time.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::{MAX_WRITE_BYTES, Stream, connect};
#[cfg(windows)]
pub(super) use windows::{MAX_WRITE_BYTES, Stream, connect};
