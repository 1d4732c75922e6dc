//! Errors of the Rust client as exceptions of the Python package, which are classes there.

use netcluster_client::{DisconnectReason, Error};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// Function of the package that makes an exception of a code and a text.
static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Makes the exception of this code.
#[cold]
pub(crate) fn raise(py: Python<'_>, code: &str, text: &str) -> PyErr {
    raise_with(py, code, text, None)
}

fn raise_with(py: Python<'_>, code: &str, text: &str, broker_code: Option<u32>) -> PyErr {
    let make = || -> PyResult<Bound<'_, PyAny>> {
        let make = MAKE.get_or_try_init(py, || {
            py.import("netcluster._errors")?.getattr("make").map(Bound::unbind)
        })?;
        make.bind(py).call1((code, text, broker_code))
    };
    match make() {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Makes the exception of an error of the client.
#[cold]
pub(crate) fn of(py: Python<'_>, error: &Error) -> PyErr {
    raise_with(py, error.code(), &error.to_string(), broker_code(error))
}

/// Returns the number of the broker's error, if it ended the connection by one.
pub(crate) fn broker_code(error: &Error) -> Option<u32> {
    match error {
        Error::ClosedByBroker { code, .. }
        | Error::Disconnected(DisconnectReason::ClosedByBroker { code, .. }) => Some(*code as u32),
        _ => None,
    }
}
