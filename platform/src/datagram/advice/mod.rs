//! Advice for administrators, by system: ends of sentences that begin with
//! what is wrong. Nothing here is carried out.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod other;
#[cfg(windows)]
mod windows;

#[cfg(target_os = "linux")]
pub(super) use linux::*;
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) use other::*;
#[cfg(windows)]
pub(super) use windows::*;
