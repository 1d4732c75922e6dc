//! The pull style: messages that wait to be taken, one by one or in batches.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use netcluster_client::ListenerId;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::dispatch::BATCH;
use crate::inbox::{Inbox, Item, Taken, lock};
use crate::inner::{Inner, waker};
use crate::lifecycle::Lost;
use crate::message::{Message, Names};
use crate::wait;

/// Messages that match a pattern.
#[pyclass(frozen, module = "netcluster")]
pub(crate) struct Subscription {
    held: Arc<Held>,
}

struct Held {
    inner: Arc<Inner>,
    inbox: Arc<Inbox>,
    listener: ListenerId,
    /// Items that were taken and not given out yet.
    taken: Mutex<VecDeque<Item>>,
    names: Names,
    /// Whether losses are given out; they are always logged.
    losses: bool,
}

impl Held {
    fn close(&self) {
        self.inbox.close();
        self.inner.client.remove_listener(self.listener);
    }

    /// Makes what is given out of an item.
    fn give(&self, py: Python<'_>, item: Item) -> PyResult<Option<Py<PyAny>>> {
        Ok(match item {
            Item::Message(_, message) => {
                Some(Py::new(py, Message::new(py, message, &self.names))?.into_any())
            }
            Item::Lost(loss) if self.losses => Some(Py::new(py, Lost::from(loss))?.into_any()),
            Item::Lost(_) | Item::Lifecycle(_) => None,
        })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.close();
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if self.held.inner.process.check().is_err() {
            // The parent's: its locks may be taken for ever. So it is kept for ever.
            std::mem::forget(Arc::clone(&self.held));
        }
    }
}

impl Subscription {
    pub(crate) fn new(
        inner: Arc<Inner>,
        inbox: Arc<Inbox>,
        listener: ListenerId,
        losses: bool,
    ) -> Subscription {
        let (taken, names) = (Mutex::default(), Names::default());
        Subscription { held: Arc::new(Held { inner, inbox, listener, taken, names, losses }) }
    }

    /// Takes a batch; waits for its first item until `deadline`. `None`: nothing more comes.
    fn batch(
        &self,
        py: Python<'_>,
        most: usize,
        deadline: Option<Instant>,
    ) -> PyResult<Option<VecDeque<Item>>> {
        let held = &*self.held;
        held.inner.process.check()?;
        let left = std::mem::take(&mut *lock(&held.taken));
        if !left.is_empty() {
            return Ok(Some(left));
        }
        let now = Some(Instant::now());
        let mut taken = held.inbox.take(most, now);
        if matches!(taken, Taken::Nothing) && deadline.is_none_or(|deadline| Some(deadline) > now) {
            let waited = wait::until(py, deadline, |until| match held.inbox.take(most, until) {
                Taken::Nothing => None,
                taken => Some(taken),
            })?;
            taken = waited.unwrap_or(Taken::Nothing);
        }
        Ok(match taken {
            Taken::Items(items) => Some(items),
            Taken::Nothing => Some(VecDeque::new()),
            Taken::Ended => None,
        })
    }
}

#[pymethods]
impl Subscription {
    /// Takes a list of what is there, `most` at the most; waits for the first for so many
    /// seconds, or for ever. Empty: nothing came in time. None: nothing more comes.
    #[pyo3(signature = (most = 1024, timeout = None))]
    fn take<'py>(
        &self,
        py: Python<'py>,
        most: usize,
        timeout: Option<f64>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let deadline = wait::deadline(timeout)?;
        loop {
            let Some(items) = self.batch(py, most.max(1), deadline)? else { return Ok(None) };
            let is_late = items.is_empty();
            let list = PyList::empty(py);
            for item in items {
                if let Some(given) = self.held.give(py, item)? {
                    list.append(given)?;
                }
            }
            // Of losses that are not given out nothing is left: go on.
            if is_late || !list.is_empty() {
                return Ok(Some(list));
            }
        }
    }

    /// Takes the next message; waits for so many seconds, or for ever. None: nothing came in
    /// time, or nothing more comes.
    #[pyo3(signature = (timeout = None))]
    fn next(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Py<PyAny>>> {
        self.one(py, wait::deadline(timeout)?)
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.one(py, None)
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_raised))]
    fn __exit__(&self, _raised: &Bound<'_, PyAny>) -> PyResult<()> {
        self.close()
    }

    /// Ends it; what was not taken is forgotten.
    fn close(&self) -> PyResult<()> {
        self.held.inner.process.check()?;
        self.held.close();
        Ok(())
    }

    /// Has `callback` called by the event loop once something can be taken; False: it can be
    /// now.
    fn _arm(&self, event_loop: Py<PyAny>, callback: Py<PyAny>) -> bool {
        lock(&self.held.taken).is_empty() && self.held.inbox.arm(waker(event_loop, callback))
    }
}

impl Subscription {
    fn one(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<Py<PyAny>>> {
        loop {
            let next = lock(&self.held.taken).pop_front();
            if let Some(item) = next {
                if let Some(given) = self.held.give(py, item)? {
                    return Ok(Some(given));
                }
                continue;
            }
            let Some(items) = self.batch(py, BATCH, deadline)? else { return Ok(None) };
            if items.is_empty() {
                return Ok(None);
            }
            // Another thread may have taken a batch meanwhile.
            lock(&self.held.taken).extend(items);
        }
    }
}
