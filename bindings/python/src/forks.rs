//! Forks of this process: its clients have no threads in the child, and locks there may be
//! taken for ever, so that nothing of them may be touched.

use std::sync::atomic::{AtomicU32, Ordering};

use pyo3::prelude::*;

use crate::errors;

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Notes that this process is the child of a fork.
pub(crate) fn note() {
    FORKS.fetch_add(1, Ordering::SeqCst);
}

/// The process, among those that were forked of each other, in which something was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// The process that runs.
    pub(crate) fn current() -> Process {
        Process(FORKS.load(Ordering::Relaxed))
    }

    /// # Errors
    /// This process is a child of that in which the client connected.
    #[inline]
    pub(crate) fn check(self) -> PyResult<()> {
        if self == Process::current() {
            return Ok(());
        }
        let text = "this client is the parent process's, its threads are not here: connect anew \
                    in the child, or start it by `spawn`";
        Err(Python::attach(|py| errors::raise(py, "FORKED", text)))
    }
}
