//! Streams that clients of the tests are connected by. Each sibling supplies a `Stream`
//! with the same methods.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::Stream;
#[cfg(windows)]
pub use windows::Stream;
