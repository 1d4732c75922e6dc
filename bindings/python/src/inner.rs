//! What a client is made of, shared with its subscriptions, and how it ends: by the program, by
//! nobody holding it any more, or with the interpreter.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use netcluster_client::{Client as RustClient, Error, Lifecycle};
use pyo3::prelude::*;

use crate::dispatch::{self, Listeners, Once};
use crate::errors;
use crate::forks::Process;
use crate::inbox::{Inbox, Item, Loss, Valve, lock};

/// Clients that may have to be ended with the interpreter. Locked while the interpreter's
/// lock is held alone, so that no fork finds it taken.
static CLIENTS: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

/// A client, shared with its subscriptions.
pub(crate) struct Inner {
    pub(crate) client: RustClient,
    pub(crate) process: Process,
    pub(crate) valve: Arc<Valve>,
    /// What listeners are called with.
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) listeners: Arc<Listeners>,
    /// The client ended for good.
    pub(crate) closed: Arc<Once>,
    /// The dispatcher's thread is done.
    pub(crate) finished: Arc<Once>,
    pub(crate) patience: Duration,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.valve.hurry();
        self.inbox.close();
    }
}

impl Inner {
    /// Notes that the client may have to be ended with the interpreter.
    pub(crate) fn registered(self) -> Arc<Inner> {
        let inner = Arc::new(self);
        let mut clients = lock(&CLIENTS);
        clients.retain(|client| client.strong_count() > 0);
        clients.push(Arc::downgrade(&inner));
        inner
    }

    /// Runs a call of the Rust client that may wait, without the interpreter's lock.
    pub(crate) fn call<T: Send>(
        &self,
        py: Python<'_>,
        call: impl FnOnce(&RustClient) -> Result<T, Error> + Send,
    ) -> PyResult<T> {
        self.process.check()?;
        let called = py.detach(|| self.valve.while_open(|| call(&self.client)));
        called.map_err(|error| errors::of(py, &error))
    }

    /// Ends the connection in order.
    pub(crate) fn disconnect(&self, py: Python<'_>) -> PyResult<()> {
        self.process.check()?;
        self.valve.hurry();
        let ended = py.detach(|| {
            let ended = self.client.disconnect();
            self.valve.end();
            ended
        });
        ended.map_err(|error| errors::of(py, &error))
    }

    /// Waits until the last listener ran; a listener itself does not.
    pub(crate) fn wait_for_listeners(&self, py: Python<'_>) {
        if !dispatch::is_dispatcher() {
            py.detach(|| self.finished.wait(Some(Instant::now() + self.patience)));
        }
    }
}

/// Ends what is still connected, and the threads that call listeners.
///
/// # Errors
/// A signal's handler raised.
pub(crate) fn shut_down(py: Python<'_>) -> PyResult<()> {
    let clients: Vec<_> = lock(&CLIENTS).iter().filter_map(Weak::upgrade).collect();
    for client in &clients {
        if client.process.check().is_ok() && !client.client.is_closed() {
            // There is nobody left to tell.
            let _ = client.disconnect(py);
            client.wait_for_listeners(py);
        }
    }
    // Those that are closed wait for nothing more.
    for client in clients {
        if client.process.check().is_ok() {
            client.inbox.close();
        }
    }
    dispatch::end(py)
}

/// Makes what wakes an event loop, on the reader's thread.
pub(crate) fn waker(event_loop: Py<PyAny>, callback: Py<PyAny>) -> Box<dyn FnOnce() + Send> {
    Box::new(move || {
        Python::try_attach(|py| {
            // The loop may be closed: then nobody waits.
            let _ = event_loop.call_method1(py, "call_soon_threadsafe", (callback,));
        });
    })
}

/// Tells Python what happened, at its place in the order.
pub(crate) fn tell(
    (valve, inbox, closed): &(Arc<Valve>, Arc<Inbox>, Arc<Once>),
    event: &Lifecycle,
) {
    if let Lifecycle::Lost { source, count, reason } = event {
        let loss = Loss { source: *source, count: *count, reason: *reason };
        valve.each(|inbox| inbox.push(Item::Lost(loss)));
    }
    // The first connect is told by the call that connects.
    if !matches!(event, Lifecycle::Connect { resumed: false, .. }) {
        inbox.push(Item::Lifecycle(event.clone()));
    }
    if let Lifecycle::Closed(_) = event {
        valve.end();
        closed.set();
    }
}
