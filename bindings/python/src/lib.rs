//! The native half of the Python package `netcluster`: the blocking Rust client, with
//! queues between its thread and Python, so that one holding of the interpreter's lock
//! takes a batch.
//!
//! ```text
//!   reader thread ─► Inbox ─► dispatcher thread, or the event loop ─► listeners
//!                 └► Inbox ─► whoever iterates over a subscription
//! ```
//! `python/netcluster` is the other half: what users see, and asyncio. Nothing here waits
//! while it holds the interpreter's lock.

#![forbid(unsafe_code)]

mod client;
mod dispatch;
mod errors;
mod forks;
mod inbox;
mod inner;
mod lifecycle;
mod message;
mod options;
mod payload;
mod subscription;
mod wait;

use pyo3::prelude::*;

/// The native half of `netcluster`.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::client::Client;
    #[pymodule_export]
    use crate::lifecycle::{Lifecycle, Lost};
    #[pymodule_export]
    use crate::message::Message;
    #[pymodule_export]
    use crate::subscription::Subscription;
    use pyo3::prelude::*;

    /// Notes that this process was forked: its clients are the parent's.
    #[pyfunction]
    fn _forked() {
        crate::forks::note();
    }

    /// Ends what is still connected, when the interpreter ends.
    #[pyfunction]
    fn _shut_down(py: Python<'_>) -> PyResult<()> {
        crate::inner::shut_down(py)
    }
}
