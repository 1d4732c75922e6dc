//! The client for async programs: the same calls, on a tokio runtime.
//!
//! One task per client drives the core: it connects, reads, runs the listeners
//! inline and writes what was emitted since it last looked, so a loop of emits
//! coalesces here too.
//!
//! Listeners are plain functions and must not block; in them use
//! [`AsyncClient::try_emit`] (and spawn what has to be awaited).

mod bells;
mod client;
mod driver;
mod outbox;
mod stream;
mod subscription;

pub use client::AsyncClient;
pub use subscription::AsyncSubscription;
