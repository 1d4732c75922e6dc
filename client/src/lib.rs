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
//! - [`core`]: what a client is, without IO, for bindings of other languages.
//!   [`session`]: the conversation with the broker alone, for drivers of their own.
//! - Feature `json`: `emit_json` and `json`.
//!
//! A listener is in force on its machine when `on` returns. To wait for the
//! brokers of other machines too, see [`ClientBuilder::wait_for_cluster`] and
//! [`Client::wait_for_cluster`].
//!
//! Patterns may hold `*` (one token) and `**` (any number of tokens): `a.*`
//! matches `a.b`, `a.**` also `a` and `a.b.c`.
//!
//! Examples of programs are in `client/examples`: events as JSON, the async client,
//! and a test that starts a broker of its own.

#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod blocking;
mod builder;
pub mod core;
mod error;
mod error_kind;
mod lifecycle;
mod loss;
mod memory;
mod message;
mod path;
#[cfg(feature = "tokio")]
mod tokio;

pub use crate::core::{ListenerId, Reconnect, session};
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use crate::tokio::{AsyncClient, AsyncSubscription};
pub use blocking::{Client, Subscription};
pub use builder::{ClientBuilder, QueuePolicy, SharedMemory};
pub use bytes::Bytes;
pub use error::{DisconnectReason, Error, RecvError};
pub use error_kind::ErrorKind;
#[cfg(feature = "tokio")]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use futures_core::Stream;
pub use lifecycle::Lifecycle;
pub use loss::Lost;
pub use message::{Message, OwnedMessage};
pub use netcluster_wire::control::Audience;
pub use netcluster_wire::{Encoding, ErrorCode, LossReason, NameError, PatternError, Source};
pub use path::{SOCKET_VARIABLE, default_socket_path, default_socket_paths};

/// Whatever is handed out may go to another thread, and be used by several.
const _: () = {
    const fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Client>();
    is_shared::<Subscription>();
    is_shared::<OwnedMessage>();
    is_shared::<Lifecycle>();
    is_shared::<Error>();
    is_shared::<RecvError>();
    #[cfg(feature = "tokio")]
    is_shared::<AsyncClient>();
    #[cfg(feature = "tokio")]
    is_shared::<AsyncSubscription>();
    const fn is_sent<T: Send + 'static>() {}
    is_sent::<ClientBuilder>();
    is_sent::<core::Core>();
};
