//! An event as Python sees it.

use std::sync::Mutex;

use netcluster_client::OwnedMessage;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyString};

use crate::inbox::lock;
use crate::payload;

/// An event. It may be kept, and read by any thread.
#[pyclass(frozen, freelist = 1024, module = "netcluster")]
pub(crate) struct Message {
    message: OwnedMessage,
    event: Py<PyString>,
    /// The value that `data` gave.
    data: PyOnceLock<Py<PyAny>>,
}

impl Message {
    pub(crate) fn new(py: Python<'_>, message: OwnedMessage, names: &Names) -> Message {
        let event = names.of(py, message.event());
        Message { message, event, data: PyOnceLock::new() }
    }
}

#[pymethods]
impl Message {
    /// The event's name.
    #[getter]
    fn event(&self, py: Python<'_>) -> Py<PyString> {
        self.event.clone_ref(py)
    }

    /// The payload as its emitter says it is: bytes, str, or the value that JSON holds.
    #[getter]
    fn data(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let decode = || payload::decode(py, self.message.encoding(), self.message.payload());
        Ok(self.data.get_or_try_init(py, decode)?.clone_ref(py))
    }

    /// The payload, copied.
    #[getter]
    fn payload<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.message.payload())
    }

    /// `bytes`, `text` or `json`: what the emitter says that the payload is.
    #[getter]
    fn encoding(&self) -> &'static str {
        self.message.encoding().name()
    }

    /// Who emitted it: the broker's node id, and the client's number there.
    #[getter]
    fn source(&self) -> (u32, u32) {
        let source = self.message.source();
        (source.node, source.client)
    }

    /// The emitter's number for it.
    #[getter]
    fn sequence(&self) -> u64 {
        self.message.sequence()
    }

    /// The payload as text, whatever its encoding is said to be.
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        payload::text(py, self.message.payload())
    }

    /// The payload read as JSON, whatever its encoding is said to be.
    fn json(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        payload::value(py, self.message.payload())
    }

    /// A view of the payload, which is not copied. It keeps the message.
    fn view<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        static VIEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let py = slf.py();
        let view = VIEW.get_or_try_init(py, || {
            py.import("netcluster._view")?.getattr("view").map(Bound::unbind)
        })?;
        let payload = slf.get().message.payload();
        view.bind(py).call1((slf, payload.as_ptr() as usize, payload.len()))
    }

    fn __len__(&self) -> usize {
        self.message.payload().len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        self.payload(py)
    }

    fn __repr__(&self) -> String {
        let (message, source) = (&self.message, self.message.source());
        format!(
            "<Message {:?} #{} of {source}: {} bytes of {}>",
            message.event(),
            message.sequence(),
            message.payload().len(),
            message.encoding(),
        )
    }
}

/// The Python string of the name of the event before, which is the next one's most of the
/// time.
#[derive(Default)]
pub(crate) struct Names(Mutex<Option<(Box<str>, Py<PyString>)>>);

impl Names {
    fn of(&self, py: Python<'_>, event: &str) -> Py<PyString> {
        let mut last = lock(&self.0);
        if let Some((name, string)) = &*last
            && &**name == event
        {
            return string.clone_ref(py);
        }
        let string = PyString::new(py, event).unbind();
        let before = last.replace((event.into(), string.clone_ref(py)));
        drop(last);
        drop(before);
        string
    }
}
