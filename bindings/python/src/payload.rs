//! What Python emits, as bytes and their encoding, and back.
//!
//! Bytes-like: bytes. `str`: text. Every other value: JSON, by the module `json`.

use netcluster_client::Encoding;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple,
};

use crate::errors;

/// Functions of the package: a value to JSON text, and back.
static JSON: PyOnceLock<(Py<PyAny>, Py<PyAny>)> = PyOnceLock::new();

fn json(py: Python<'_>) -> PyResult<&(Py<PyAny>, Py<PyAny>)> {
    JSON.get_or_try_init(py, || {
        let module = py.import("netcluster._json")?;
        Ok((module.getattr("encode")?.unbind(), module.getattr("decode")?.unbind()))
    })
}

/// A payload, held while it is emitted.
pub(crate) struct Payload<'py> {
    pub(crate) encoding: Encoding,
    bytes: Bound<'py, PyBytes>,
}

impl<'py> Payload<'py> {
    /// Reads a value; `None`: no bytes.
    ///
    /// # Errors
    /// JSON cannot hold it.
    pub(crate) fn read(
        py: Python<'py>,
        data: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Payload<'py>> {
        let Some(data) = data else {
            return Ok(Payload { encoding: Encoding::Bytes, bytes: PyBytes::new(py, b"") });
        };
        if let Ok(bytes) = data.cast::<PyBytes>() {
            return Ok(Payload { encoding: Encoding::Bytes, bytes: bytes.clone() });
        }
        if let Ok(text) = data.cast::<PyString>() {
            return Ok(Payload { encoding: Encoding::Text, bytes: utf8(text)? });
        }
        if !is_plain(data)
            && let Some(bytes) = bytes_like(data)?
        {
            return Ok(Payload { encoding: Encoding::Bytes, bytes });
        }
        let (encode, _) = json(py)?;
        let bytes = encode.bind(py).call1((data,))?.cast_into()?;
        Ok(Payload { encoding: Encoding::Json, bytes })
    }

    /// Takes bytes that are encoded already.
    ///
    /// # Errors
    /// There is no such encoding, or it is not bytes-like.
    pub(crate) fn encoded(encoding: &str, data: &Bound<'py, PyAny>) -> PyResult<Payload<'py>> {
        let encoding = Encoding::from_name(encoding).ok_or_else(|| {
            PyValueError::new_err(format!("{encoding:?} is no encoding: bytes, text or json"))
        })?;
        let bytes = match data.cast::<PyBytes>() {
            Ok(bytes) => bytes.clone(),
            Err(_) => bytes_like(data)?.ok_or_else(|| {
                PyTypeError::new_err("data that is encoded already is bytes-like")
            })?,
        };
        Ok(Payload { encoding, bytes })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }
}

/// Encodes a text.
///
/// # Errors
/// It holds half of a surrogate pair.
fn utf8<'py>(text: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyBytes>> {
    text.encode_utf8().map_err(|error| {
        let py = text.py();
        let raised = errors::raise(py, "TEXT", &format!("the text is no UTF-8: {error}"));
        raised.set_cause(py, Some(error));
        raised
    })
}

/// Returns whether a value is of a type that is no buffer and that JSON has.
fn is_plain(data: &Bound<'_, PyAny>) -> bool {
    data.is_none()
        || data.is_instance_of::<PyDict>()
        || data.is_instance_of::<PyList>()
        || data.is_instance_of::<PyTuple>()
        || data.is_instance_of::<PyBool>()
        || data.is_instance_of::<PyInt>()
        || data.is_instance_of::<PyFloat>()
}

/// Copies what has the buffer protocol, whole, whatever its strides are.
fn bytes_like<'py>(data: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let py = data.py();
    if let Ok(array) = data.cast::<PyByteArray>() {
        return Ok(Some(PyBytes::new(py, &array.to_vec())));
    }
    static VIEW: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let view = VIEW
        .get_or_try_init(py, || py.import("builtins")?.getattr("memoryview").map(Bound::unbind))?;
    match view.bind(py).call1((data,)) {
        Ok(view) => Ok(Some(view.call_method0("tobytes")?.cast_into()?)),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes the value that a payload is said to be.
///
/// # Errors
/// The emitter's claim is wrong.
pub(crate) fn decode(py: Python<'_>, encoding: Encoding, payload: &[u8]) -> PyResult<Py<PyAny>> {
    match encoding {
        Encoding::Bytes => Ok(PyBytes::new(py, payload).into_any().unbind()),
        Encoding::Text => text(py, payload).map(|text| text.into_any().unbind()),
        Encoding::Json => value(py, payload),
    }
}

/// # Errors
/// It is no UTF-8.
pub(crate) fn text<'py>(py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyString>> {
    match std::str::from_utf8(payload) {
        Ok(text) => Ok(PyString::new(py, text)),
        Err(error) => Err(errors::raise(py, "TEXT", &format!("the payload is no text: {error}"))),
    }
}

/// # Errors
/// It is no JSON.
pub(crate) fn value(py: Python<'_>, payload: &[u8]) -> PyResult<Py<PyAny>> {
    let (_, decode) = json(py)?;
    decode.call1(py, (PyBytes::new(py, payload),))
}
