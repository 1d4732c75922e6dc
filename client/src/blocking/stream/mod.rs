//! The connection to the broker: the only part of the blocking client that
//! touches the system. Each sibling supplies a `Socket` with the same methods.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::Socket;
#[cfg(all(unix, feature = "tokio"))]
pub(crate) use unix::{no_free_place, open, receive};
#[cfg(windows)]
pub(crate) use windows::Socket;
