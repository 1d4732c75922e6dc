//! What a client of the tests is connected by. Each sibling supplies a `Stream`
//! with the same methods, and `address`.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub use unix::{Stream, address};
#[cfg(windows)]
pub use windows::{Stream, address};
