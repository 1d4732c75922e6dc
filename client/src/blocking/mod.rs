//! The blocking client: the core, driven by threads.
//!
//! Behind a client are two threads: one connects, reads and runs the listeners (see
//! `driver.rs`), one writes what emitters leave over (see `outbox/flusher.rs`).

mod client;
mod driver;
mod outbox;
mod stream;
mod subscription;
mod waiting;

pub use client::Client;
#[cfg(all(unix, feature = "tokio"))]
pub(crate) use stream::{no_free_place, open, receive};
pub use subscription::Subscription;
