//! The core of a client, without sockets, threads, tasks or a clock.
//!
//! ```text
//!   handles ─► Shared ◄─ Machine ◄─ driver: connects, reads, waits
//!               │ ▲
//!               ▼ │
//!             Outgoing ─────────► driver: writes
//! ```
//! - `Machine`: what the driver does next, and what follows from what happened.
//!   Reconnecting, resubscribing and dispatching are decided there.
//! - `Shared`: who listens to what, who waits for which answer, why the client is
//!   over; and `Port`, all that a driver supplies.
//! - `Outgoing`: what was emitted and is not written.
//! - `in_place`: the way from the socket to shared memory, and reading there.
//! - [`session`]: frames to and from bytes.
//!
//! The blocking client and the tokio client are its drivers. [`Core`] is the same
//! for one thread: bindings of other languages drive it, and tests.
//!
//! ```
//! # #[cfg(unix)] {
//! use std::io::{Read, Write};
//! use std::os::unix::net::UnixStream;
//! use std::time::Instant;
//!
//! use netcluster_client::Client;
//! use netcluster_client::core::{Core, Question, Step};
//!
//! # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
//! let mut core = Core::new(Client::builder(), vec![socket], 1, Instant::now())?;
//! let (tell, pong) = std::sync::mpsc::channel();
//! let (mut stream, mut asked) = (None, false);
//! while pong.try_recv().is_err() {
//!     if !asked {
//!         let tell = tell.clone();
//!         let reply = move |answer: Option<_>| drop(answer.map(|_| tell.send(())));
//!         asked = core.ask(Question::Ping, reply).is_ok();
//!     }
//!     match core.poll_step() {
//!         Step::Connect(path, _) => match UnixStream::connect(path) {
//!             Ok(connected) => {
//!                 core.handle_connected();
//!                 stream = Some(connected);
//!             }
//!             Err(error) => core.handle_connect_failed(error, Instant::now()),
//!         },
//!         Step::Wait(until) => {
//!             std::thread::sleep(until.saturating_duration_since(Instant::now()));
//!             core.handle_timeout(Instant::now());
//!         }
//!         Step::Read(_) => {
//!             let stream = stream.as_mut().unwrap();
//!             let written = stream.write(core.poll_transmit())?;
//!             core.handle_transmitted(written);
//!             let mut bytes = [0; 4096];
//!             match stream.read(&mut bytes)? {
//!                 0 => core.handle_disconnected(None, Instant::now()),
//!                 read => core.handle_input(&bytes[..read], Instant::now()),
//!             }
//!         }
//!         step => panic!("{step:?}"),
//!     }
//! }
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Decisions, in `docs/decisions`:
//! `048-client-core.md`.

mod answers;
mod attempts;
mod backoff;
mod conversation;
mod dispatch;
mod greeting;
mod in_place;
mod local;
mod machine;
mod outgoing;
mod queue;
mod registry;
mod search;
pub mod session;
mod shared;

#[cfg(test)]
mod tests;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use answers::{Answer, Question};
pub use backoff::Reconnect;
pub use local::Core;
pub(crate) use machine::Machine;
pub use machine::Step;
pub(crate) use outgoing::{EMITTERS_WAIT_AT_BYTES, Link, Outgoing};
pub(crate) use queue::Queue;
pub use registry::ListenerId;
pub(crate) use registry::{Listener, Placement};
pub(crate) use shared::{Port, Shared, requested};

/// Locks, whatever happened to other threads: the state is consistent between
/// statements, and listeners never run under a lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
