//! What a client is, without sockets, threads, tasks or a clock.
//!
//! ```text
//!   handles ─► Shared ◄─ Machine ◄─ driver: connects, reads, waits
//!               │ ▲
//!               ▼ │
//!             Outgoing ─────────► driver: writes
//! ```
//! - [`machine`]: what the driver does next, and what follows from what happened.
//!   Reconnecting, resubscribing, dispatching are decided here.
//! - [`shared`]: who listens to what, who waits for which answer, why the client is
//!   over; and [`Port`], all that a driver supplies.
//! - [`outgoing`]: what was emitted and is not written.
//! - [`session`]: frames to and from bytes.
//!
//! The blocking client and the tokio client are its drivers, and tests that have
//! the time in their hand.

mod answers;
mod attempts;
mod backoff;
mod conversation;
mod dispatch;
mod greeting;
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

pub(crate) use answers::{Answer, Question};
pub use backoff::Reconnect;
pub(crate) use machine::{Machine, Step};
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
