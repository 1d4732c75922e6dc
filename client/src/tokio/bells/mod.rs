//! Waiting, as a task, for the bells of memory that the broker shares.

#[cfg(not(target_os = "linux"))]
mod absent;
#[cfg(target_os = "linux")]
mod linux;

#[cfg(not(target_os = "linux"))]
pub(super) use absent::{IncomingBell, RoomBell};
#[cfg(target_os = "linux")]
pub(super) use linux::{IncomingBell, RoomBell};
