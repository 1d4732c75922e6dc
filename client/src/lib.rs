//! Client of netcluster: an event emitter whose listeners may be in any process
//! of the machine, or of any machine that its broker is linked with.
//!
//! ```no_run
//! use netcluster_client::Client;
//!
//! let client = Client::connect_default()?;
//! client.on("log", |message| println!("{}", String::from_utf8_lossy(message.payload())))?;
//! client.emit("greeting", "hello")?;
//! client.disconnect()?;
//! # Ok::<(), netcluster_client::Error>(())
//! ```
//!
//! - [`Client`]: the blocking client. `AsyncClient`: the same for
//!   async programs (feature `tokio`).
//! - [`session`]: the conversation with the broker without IO, for drivers of
//!   their own.
//! - Feature `serde`: `emit_json` and `json`.
//!
//! A listener is in force on its machine when `on` returns. To wait for the
//! brokers of other machines too, see [`Builder::wait_for_cluster`] and
//! [`Client::wait_for_cluster`].
//!
//! Patterns may hold `*` (one token) and `**` (any number of tokens): `a.*`
//! matches `a.b`, `a.**` also `a` and `a.b.c`.

#![forbid(unsafe_code)]

mod blocking;
mod builder;
pub mod core;
mod error;
mod lifecycle;
mod loss;
mod message;
mod path;
#[cfg(feature = "tokio")]
mod tokio;

pub use crate::core::{ListenerId, Reconnect, session};
#[cfg(feature = "tokio")]
pub use crate::tokio::{AsyncClient, AsyncSubscription};
pub use blocking::{Client, Subscription};
pub use builder::{Builder, QueuePolicy};
pub use error::{DisconnectReason, Error, RecvError};
pub use lifecycle::Lifecycle;
pub use loss::Lost;
pub use message::{Message, OwnedMessage};
pub use netcluster_wire::control::Audience;
pub use netcluster_wire::{ErrorCode, LossReason, NameError, PatternError, Source};
pub use path::{SOCKET_VARIABLE, default_socket_path, default_socket_paths};
