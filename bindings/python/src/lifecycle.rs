//! What happens to a connection, and what is lost, as Python sees it.

use netcluster_client::{DisconnectReason, Error, Lifecycle as Told, LossReason};
use pyo3::prelude::*;

use crate::errors;
use crate::inbox::Loss;

/// Events are missing at this place; others follow.
#[pyclass(frozen, get_all, module = "netcluster")]
pub(crate) struct Lost {
    /// Whose, as of a message; None if several emitters', or unknown.
    source: Option<(u32, u32)>,
    /// How many; None if unknown.
    count: Option<u64>,
    /// Why: `overflow`, `disconnected`, `link`, `peer`, `slow`, `large` or `unknown`.
    reason: &'static str,
    /// The same for people.
    text: String,
}

#[pymethods]
impl Lost {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<Lost: {}>", self.text)
    }
}

impl From<Loss> for Lost {
    fn from(loss: Loss) -> Lost {
        let Loss { source, count, reason } = loss;
        let many = count.map_or_else(|| "an unknown number of".into(), |count| count.to_string());
        let whose = source.map(|source| format!(" of {source}")).unwrap_or_default();
        Lost {
            source: source.map(|source| (source.node, source.client)),
            count,
            reason: name_of(reason),
            text: format!("{many} events{whose} are missing here: {reason}"),
        }
    }
}

fn name_of(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Overflow => "overflow",
        LossReason::Disconnected => "disconnected",
        LossReason::Link => "link",
        LossReason::Peer => "peer",
        LossReason::Slow => "slow",
        LossReason::Large => "large",
        _ => "unknown",
    }
}

/// Returns the code for the end of a connection, and the broker's if it sent one.
fn code_of(reason: &DisconnectReason) -> (&'static str, Option<u32>) {
    match reason {
        DisconnectReason::Requested => ("REQUESTED", None),
        DisconnectReason::BrokerShutDown => ("BROKER_SHUT_DOWN", None),
        DisconnectReason::ClosedByBroker { code, .. } => ("CLOSED_BY_BROKER", Some(*code as u32)),
        DisconnectReason::Protocol(_) => ("PROTOCOL", None),
        _ => ("CONNECTION_LOST", None),
    }
}

/// One thing that happened to a connection.
#[pyclass(frozen, get_all, module = "netcluster")]
pub(crate) struct Lifecycle {
    /// `connect`, `disconnect`, `error`, `lost` or `closed`.
    kind: &'static str,
    /// The same for people.
    text: String,
    /// Of `connect`: who the client is now.
    source: Option<(u32, u32)>,
    /// Of `connect`: whether a connection was lost before.
    resumed: bool,
    /// Of `connect`: own events that were written and of which nobody knows whether they
    /// arrived.
    doubtful: u64,
    /// Of `disconnect`: number of the last own event known to be queued at every target.
    confirmed: Option<u64>,
    /// Of `lost`: what is missing.
    lost: Option<Py<Lost>>,
    /// Of `error` and `closed`: the exception.
    error: Option<Py<PyAny>>,
    /// Of `disconnect`, `error` and `closed`: the code, such as `CONNECTION_LOST`.
    code: Option<&'static str>,
    /// Number of the broker's error, if it ended the connection by one.
    broker_code: Option<u32>,
}

#[pymethods]
impl Lifecycle {
    fn __str__(&self) -> &str {
        &self.text
    }

    fn __repr__(&self) -> String {
        format!("<Lifecycle {}: {}>", self.kind, self.text)
    }
}

impl Lifecycle {
    fn plain(kind: &'static str, text: String) -> Lifecycle {
        Lifecycle {
            kind,
            text,
            source: None,
            resumed: false,
            doubtful: 0,
            confirmed: None,
            lost: None,
            error: None,
            code: None,
            broker_code: None,
        }
    }

    fn failed(py: Python<'_>, kind: &'static str, error: &Error) -> Lifecycle {
        let (code, broker_code) = match error {
            Error::Disconnected(reason) => code_of(reason),
            other => (other.code(), errors::broker_code(other)),
        };
        Lifecycle {
            error: Some(errors::of(py, error).into_value(py).into_any()),
            code: Some(code),
            broker_code,
            ..Lifecycle::plain(kind, error.to_string())
        }
    }

    pub(crate) fn new(py: Python<'_>, told: &Told) -> PyResult<Lifecycle> {
        Ok(match told {
            Told::Connect { source, resumed, doubtful } => Lifecycle {
                source: Some((source.node, source.client)),
                resumed: *resumed,
                doubtful: *doubtful,
                ..Lifecycle::plain("connect", "connected to the broker".into())
            },
            Told::Disconnect { reason, confirmed } => {
                let (code, broker_code) = code_of(reason);
                Lifecycle {
                    confirmed: Some(*confirmed),
                    code: Some(code),
                    broker_code,
                    ..Lifecycle::plain("disconnect", reason.to_string())
                }
            }
            Told::Lost { source, count, reason } => {
                let loss = Loss { source: *source, count: *count, reason: *reason };
                let lost = Lost::from(loss);
                let text = lost.text.clone();
                Lifecycle { lost: Some(Py::new(py, lost)?), ..Lifecycle::plain("lost", text) }
            }
            Told::Closed(error) => Lifecycle::failed(py, "closed", error),
            Told::Error(error) => Lifecycle::failed(py, "error", error),
            other => Lifecycle::plain("error", format!("{other:?}")),
        })
    }
}
