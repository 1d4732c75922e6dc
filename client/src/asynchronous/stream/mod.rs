//! Connecting an async client.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use unix::connect;
#[cfg(windows)]
pub(super) use windows::connect;
