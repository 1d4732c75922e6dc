//! The client for async programs: the same calls, on a tokio runtime.
//!
//! One task per client reads, runs the listeners inline and writes what was
//! emitted since it last looked, so a loop of emits coalesces here too. It shares
//! session, listener table, back-off and errors with the blocking client.
//!
//! Listeners are plain functions and must not block; in them use
//! [`AsyncClient::try_emit`] (and spawn what has to be awaited).

mod client;
mod driver;
mod shared;
mod stream;
mod subscription;

pub use client::AsyncClient;
pub use subscription::AsyncSubscription;
