//! Memory that the tests' broker shares with its clients. Each sibling supplies the same
//! names.

#[cfg(not(target_os = "linux"))]
mod absent;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub use absent::{Memory, Reader, Writer};
#[cfg(target_os = "linux")]
pub use linux::{Memory, Reader, Writer, send_with};
