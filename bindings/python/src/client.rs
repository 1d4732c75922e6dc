//! The client as the Python package builds upon it: the calls that Python makes.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use netcluster_client::{Client as RustClient, Error, ListenerId};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::dispatch::{self, BATCH, Listeners, Once, Removed};
use crate::errors;
use crate::forks::Process;
use crate::inbox::{Item, Taken, Valve, lock};
use crate::inner::{self, Inner, waker};
use crate::options;
use crate::payload::Payload;
use crate::subscription::Subscription;
use crate::wait;

/// What is emitted: nothing at all, or a value, which may be None.
pub(crate) enum Data<'py> {
    Absent,
    Given(Bound<'py, PyAny>),
}

impl<'a, 'py> FromPyObject<'a, 'py> for Data<'py> {
    type Error = PyErr;

    fn extract(data: Borrowed<'a, 'py, PyAny>) -> PyResult<Data<'py>> {
        Ok(Data::Given(data.to_owned()))
    }
}

impl<'py> Data<'py> {
    fn read(&self, py: Python<'py>) -> PyResult<Payload<'py>> {
        match self {
            Data::Absent => Payload::read(py, None),
            Data::Given(data) => Payload::read(py, Some(data)),
        }
    }
}

/// Removes a listener that nobody waits for any more.
fn remove(client: &RustClient, listener: ListenerId) {
    client.remove_listener(listener);
}

/// A connection to the broker.
#[pyclass(frozen, subclass, module = "netcluster._native")]
pub(crate) struct Client {
    inner: Arc<Inner>,
    /// The name of the event before, which is the next one's most of the time.
    name: Mutex<Option<(Py<PyString>, Arc<str>)>>,
}

impl Drop for Client {
    fn drop(&mut self) {
        if self.inner.process.check().is_err() {
            // The parent's: its locks may be taken for ever. So it is kept for ever.
            std::mem::forget(Arc::clone(&self.inner));
        }
    }
}

impl Client {
    fn name(&self, event: &Bound<'_, PyString>) -> PyResult<Arc<str>> {
        let mut last = lock(&self.name);
        if let Some((string, name)) = &*last
            && string.is(event)
        {
            return Ok(Arc::clone(name));
        }
        let name: Arc<str> = event.to_cow()?.into();
        let before = last.replace((event.clone().unbind(), Arc::clone(&name)));
        drop(last);
        drop(before);
        Ok(name)
    }

    /// Emits if there is room; `false`: there is none.
    fn emit_now(&self, py: Python<'_>, name: &str, payload: &Payload<'_>) -> PyResult<bool> {
        let emitted =
            self.inner.client.try_emit_encoded(name, payload.encoding, payload.as_bytes());
        match emitted {
            Ok(()) => Ok(true),
            Err(Error::Backpressure) => Ok(false),
            Err(error) => Err(errors::of(py, &error)),
        }
    }

    /// Removes from the Rust client what was removed here; tells whether it was there.
    fn removed(&self, removed: Option<Removed>) -> bool {
        let Some(Removed(id)) = removed else { return false };
        if let Some(id) = id {
            self.inner.client.remove_listener(id);
        }
        true
    }

    /// Emits; waits without the interpreter's lock if there is no room.
    fn emit_payload(&self, py: Python<'_>, name: &str, payload: &Payload<'_>) -> PyResult<()> {
        if self.emit_now(py, name, payload)? {
            return Ok(());
        }
        let (encoding, bytes) = (payload.encoding, payload.as_bytes());
        let client = &self.inner.client;
        if !wait::is_main(py)? {
            let emitted = py.detach(|| client.emit_encoded(name, encoding, bytes));
            return emitted.map_err(|error| errors::of(py, &error));
        }
        let mut signals = Ok(());
        let go_on = || {
            signals = Python::attach(|py| py.check_signals());
            signals.is_ok()
        };
        let emitted = py.detach(|| client.emit_while(name, encoding, bytes, go_on));
        signals?;
        emitted.map_err(|error| errors::of(py, &error))
    }
}

#[pymethods]
impl Client {
    #[new]
    #[pyo3(signature = (path = None, *, on_error = None, _dispatches = true, **options))]
    fn new(
        py: Python<'_>,
        path: Option<std::path::PathBuf>,
        on_error: Option<Py<PyAny>>,
        _dispatches: bool,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Client> {
        let patience = options::disconnect_timeout(options)?;
        let valve = Arc::<Valve>::default();
        let inbox = valve.inbox();
        let closed = Arc::<Once>::default();
        let told = (Arc::clone(&valve), Arc::clone(&inbox), Arc::clone(&closed));
        let builder =
            options::builder(options)?.on_lifecycle(move |event| inner::tell(&told, event));
        let connect = move || match path {
            Some(path) => builder.connect(path),
            None => builder.connect_default(),
        };
        let connected = wait::call(py, connect, drop)?;
        let client = connected.map_err(|error| errors::of(py, &error))?;
        let listeners = Arc::new(Listeners::new(on_error));
        let finished = Arc::<Once>::default();
        let (process, inner_inbox) = (Process::current(), Arc::clone(&inbox));
        if _dispatches {
            dispatch::start(inbox, Arc::clone(&listeners), Arc::clone(&finished))?;
        } else {
            finished.set();
        }
        let inner = Inner {
            client,
            process,
            valve,
            inbox: inner_inbox,
            listeners,
            closed,
            finished,
            patience,
            abandoned: AtomicBool::new(false),
        };
        let inner = inner.registered();
        Ok(Client { inner, name: Mutex::default() })
    }

    /// Emits an event; waits while the broker or a listener does not keep up.
    #[pyo3(signature = (event, data = Data::Absent))]
    fn emit<'py>(
        &self,
        py: Python<'py>,
        event: &Bound<'py, PyString>,
        data: Data<'py>,
    ) -> PyResult<()> {
        self.inner.process.check()?;
        self.emit_payload(py, &self.name(event)?, &data.read(py)?)
    }

    /// Emits bytes that are encoded already, as `bytes`, `text` or `json`, which is not
    /// checked; waits as `emit` does.
    fn emit_encoded<'py>(
        &self,
        py: Python<'py>,
        event: &Bound<'py, PyString>,
        encoding: String,
        data: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        self.inner.process.check()?;
        self.emit_payload(py, &self.name(event)?, &Payload::encoded(&encoding, data)?)
    }

    /// Emits an event if there is room; False: there is none, and nothing was emitted.
    #[pyo3(signature = (event, data = Data::Absent))]
    fn try_emit<'py>(
        &self,
        py: Python<'py>,
        event: &Bound<'py, PyString>,
        data: Data<'py>,
    ) -> PyResult<bool> {
        self.inner.process.check()?;
        let payload = data.read(py)?;
        self.emit_now(py, &self.name(event)?, &payload)
    }

    /// Emits one event for each value, in one call.
    fn emit_many<'py>(
        &self,
        py: Python<'py>,
        event: &Bound<'py, PyString>,
        values: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        self.inner.process.check()?;
        let name = self.name(event)?;
        for (number, value) in values.try_iter()?.enumerate() {
            if number % BATCH == 0 {
                py.check_signals()?;
            }
            self.emit_payload(py, &name, &Payload::read(py, Some(&value?))?)?;
        }
        Ok(())
    }

    #[pyo3(signature = (pattern, callback, once = false, prepend = false))]
    fn _on(
        &self,
        py: Python<'_>,
        pattern: String,
        callback: Py<PyAny>,
        once: bool,
        prepend: bool,
    ) -> PyResult<u64> {
        let Inner { listeners, inbox, .. } = &*self.inner;
        if !callback.bind(py).is_callable() {
            let what = callback.bind(py).repr()?;
            return Err(PyTypeError::new_err(format!("a listener is a callable, not {what}")));
        }
        let number = listeners.add(&pattern, callback, once);
        let inbox = Arc::clone(inbox);
        let push = move |message: &netcluster_client::Message<'_>| {
            inbox.push(Item::Message(number, message.into_owned()));
        };
        let add = move |client: &RustClient| match (once, prepend) {
            (false, false) => client.on(&pattern, push),
            (true, false) => client.once(&pattern, push),
            (false, true) => client.prepend_listener(&pattern, push),
            (true, true) => client.prepend_once_listener(&pattern, push),
        };
        let added = self.inner.call_or_undo(py, add, remove);
        match added {
            Ok(id) => {
                if !listeners.added(number, id) {
                    // By another thread, or it was called once already.
                    self.inner.client.remove_listener(id);
                }
                Ok(number)
            }
            Err(error) => {
                listeners.remove(number);
                Err(error)
            }
        }
    }

    /// Removes the listener that was added last for this pattern and callback.
    fn _off(&self, py: Python<'_>, pattern: String, callback: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.inner.process.check()?;
        let removed = self.inner.listeners.remove_callback(py, &pattern, callback)?;
        Ok(self.removed(removed))
    }

    /// Removes the listener of the number that `_on` gave.
    fn _remove(&self, number: u64) -> PyResult<bool> {
        self.inner.process.check()?;
        Ok(self.removed(self.inner.listeners.remove(number)))
    }

    /// Removes the listeners of exactly this pattern, or all; tells how many. Subscriptions
    /// stay.
    #[pyo3(signature = (pattern = None))]
    fn remove_all_listeners(&self, pattern: Option<String>) -> PyResult<usize> {
        self.inner.process.check()?;
        let ids = self.inner.listeners.remove_all(pattern.as_deref());
        Ok(ids.into_iter().filter(|id| self.inner.client.remove_listener(*id)).count())
    }

    /// Counts the listeners that exactly this pattern has here, subscriptions included.
    fn listener_count(&self, pattern: String) -> PyResult<usize> {
        self.inner.process.check()?;
        Ok(self.inner.client.listener_count(&pattern))
    }

    /// The patterns that have listeners here, sorted.
    fn event_names(&self) -> PyResult<Vec<String>> {
        self.inner.process.check()?;
        Ok(self.inner.client.event_names())
    }

    /// Calls `listener` with what happens to the connection from now on.
    fn on_lifecycle(&self, listener: Py<PyAny>) -> PyResult<()> {
        self.inner.process.check()?;
        self.inner.listeners.add_lifecycle(listener);
        Ok(())
    }

    /// Subscribes: messages are taken from what is returned.
    #[pyo3(signature = (pattern, *, losses = false))]
    fn subscribe(&self, py: Python<'_>, pattern: String, losses: bool) -> PyResult<Subscription> {
        let inbox = self.inner.valve.inbox();
        let filled = Arc::clone(&inbox);
        let push = move |message: &netcluster_client::Message<'_>| {
            filled.push(Item::Message(0, message.into_owned()));
        };
        let add = move |client: &RustClient| client.on(&pattern, push);
        let listener = self.inner.call_or_undo(py, add, remove)?;
        if self.inner.client.is_closed() {
            inbox.end();
        }
        Ok(Subscription::new(Arc::clone(&self.inner), inbox, listener, losses))
    }

    /// Returns once everything emitted so far is written.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.inner.call(py, RustClient::flush)
    }

    /// Ends the connection in order: returns once everything emitted is queued at every
    /// listener and the last own listener ran.
    fn disconnect(&self, py: Python<'_>) -> PyResult<()> {
        let ended = self.inner.disconnect(py)?;
        self.inner.wait_for_listeners(py)?;
        ended.map_err(|error| errors::of(py, &error))
    }

    /// Waits until the client ended for good, for so many seconds or for ever; tells
    /// whether it did.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        self.inner.process.check()?;
        let closed = |until| self.inner.closed.wait(until).then_some(());
        Ok(wait::until(py, wait::deadline(timeout)?, closed)?.is_some())
    }

    /// Returns once everything emitted so far is queued at every listener; how many seconds
    /// that took.
    fn ping(&self, py: Python<'_>) -> PyResult<f64> {
        Ok(self.inner.call(py, RustClient::ping)?.as_secs_f64())
    }

    fn _status(&self, py: Python<'_>) -> PyResult<String> {
        self.inner.call(py, RustClient::status)
    }

    fn _control(&self, py: Python<'_>, request: String) -> PyResult<String> {
        self.inner.call(py, move |client| client.control(&request))
    }

    /// Counts who would get an event of this name: clients of this machine, and brokers of
    /// others.
    fn audience(&self, py: Python<'_>, event: String) -> PyResult<(u64, u64)> {
        let audience = self.inner.call(py, move |client| client.audience(&event))?;
        Ok((audience.clients, audience.brokers))
    }

    /// Returns once the brokers of all machines know of every listener added so far.
    fn wait_for_cluster(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let timeout = wait::time(timeout)?;
        self.inner.call(py, move |client| client.wait_for_cluster(timeout))
    }

    /// The socket of the broker.
    #[getter]
    fn socket(&self) -> PyResult<std::path::PathBuf> {
        self.inner.process.check()?;
        Ok(self.inner.client.socket().to_owned())
    }

    /// Who this client is for others: the broker's node id, and its number there.
    #[getter]
    fn source(&self) -> PyResult<(u32, u32)> {
        self.inner.process.check()?;
        let source = self.inner.client.source();
        Ok((source.node, source.client))
    }

    /// Number of the last event emitted; 0: none yet.
    #[getter]
    fn last_sequence(&self) -> PyResult<u64> {
        self.inner.process.check()?;
        Ok(self.inner.client.last_sequence())
    }

    /// Number of the last own event known to be queued at every listener.
    #[getter]
    fn confirmed_sequence(&self) -> PyResult<u64> {
        self.inner.process.check()?;
        Ok(self.inner.client.confirmed_sequence())
    }

    /// The largest payload that the broker takes, in bytes.
    #[getter]
    fn max_payload(&self) -> PyResult<usize> {
        self.inner.process.check()?;
        Ok(self.inner.client.max_payload())
    }

    /// Whether the client ended for good.
    #[getter]
    fn is_closed(&self) -> PyResult<bool> {
        self.inner.process.check()?;
        Ok(self.inner.client.is_closed())
    }

    /// Calls listeners with what is there, `most` items at the most: on the event loop, for
    /// a client that has no thread for it. None: nothing more comes.
    fn _dispatch(&self, py: Python<'_>, most: usize) -> PyResult<Option<usize>> {
        self.inner.process.check()?;
        Ok(match self.inner.inbox.take(most.min(BATCH), Some(Instant::now())) {
            Taken::Items(items) => {
                let taken = items.len();
                self.inner.listeners.deliver(py, items);
                Some(taken)
            }
            Taken::Nothing => Some(0),
            Taken::Ended => None,
        })
    }

    /// Has `callback` called by the event loop once there is something to dispatch; False:
    /// there is now.
    fn _arm(&self, event_loop: Py<PyAny>, callback: Py<PyAny>) -> bool {
        self.inner.inbox.arm(waker(event_loop, callback))
    }
}
