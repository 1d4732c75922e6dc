//! What a client is made of, shared with its subscriptions, and how it ends: by the program, by
//! nobody holding it any more, or with the interpreter.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use netcluster_client::{Client as RustClient, Error, Lifecycle};
use pyo3::prelude::*;

use crate::dispatch::{self, Listeners, Once};
use crate::errors;
use crate::forks::Process;
use crate::inbox::{Inbox, Item, Loss, Valve, lock};
use crate::wait;

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
    /// A signal ended the waiting for its end, which is not waited for again.
    pub(crate) abandoned: AtomicBool,
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
    pub(crate) fn call<T: Send + 'static>(
        self: &Arc<Self>,
        py: Python<'_>,
        call: impl FnOnce(&RustClient) -> Result<T, Error> + Send + 'static,
    ) -> PyResult<T> {
        self.call_or_undo(py, call, |_, _| ())
    }

    /// As [`Inner::call`]; `undo` is called if it succeeds after a signal ended the waiting.
    pub(crate) fn call_or_undo<T: Send + 'static>(
        self: &Arc<Self>,
        py: Python<'_>,
        call: impl FnOnce(&RustClient) -> Result<T, Error> + Send + 'static,
        undo: impl FnOnce(&RustClient, T) + Send + 'static,
    ) -> PyResult<T> {
        self.process.check()?;
        let (inner, undone) = (Arc::clone(self), Arc::clone(self));
        let called = wait::call(
            py,
            move || inner.valve.while_open(|| call(&inner.client)),
            move |had| drop(had.map(|had| undo(&undone.client, had))),
        )?;
        called.map_err(|error| errors::of(py, &error))
    }

    /// Ends the connection in order.
    ///
    /// # Errors
    /// A signal's handler raised; the inner one is that of the connection.
    pub(crate) fn disconnect(self: &Arc<Self>, py: Python<'_>) -> PyResult<Result<(), Error>> {
        self.process.check()?;
        self.valve.hurry();
        let inner = Arc::clone(self);
        let end = move || {
            let ended = inner.client.disconnect();
            inner.valve.end();
            ended
        };
        wait::call(py, end, drop).inspect_err(|_| self.abandoned.store(true, Ordering::Relaxed))
    }

    /// Waits until the last listener ran; a listener itself does not.
    ///
    /// # Errors
    /// A signal's handler raised.
    pub(crate) fn wait_for_listeners(&self, py: Python<'_>) -> PyResult<()> {
        if !dispatch::is_dispatcher() {
            let deadline = Some(Instant::now() + self.patience);
            wait::until(py, deadline, |until| self.finished.wait(until).then_some(()))?;
        }
        Ok(())
    }
}

/// Ends what is still connected, and the threads that call listeners.
///
/// # Errors
/// A signal's handler raised.
pub(crate) fn shut_down(py: Python<'_>) -> PyResult<()> {
    let clients: Vec<_> = lock(&CLIENTS).iter().filter_map(Weak::upgrade).collect();
    let mut raised = Ok(());
    let is_left = |client: &Inner| {
        client.process.check().is_ok()
            && !client.client.is_closed()
            && !client.abandoned.load(Ordering::Relaxed)
    };
    for client in &clients {
        if raised.is_ok() && is_left(client) {
            // There is nobody left to tell how it went.
            raised = client.disconnect(py).map(drop).and_then(|()| client.wait_for_listeners(py));
        }
    }
    // Those that are closed wait for nothing more.
    for client in clients {
        if client.process.check().is_ok() {
            client.inbox.close();
        }
    }
    raised.and(dispatch::end(py))
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
