//! Lines of the driver's output: answers, events, and what happens to the connection.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use base64::prelude::{BASE64_STANDARD, Engine};
use netcluster_client::{
    DisconnectReason, Encoding, Error, Lifecycle, LossReason, OwnedMessage, Source,
};
use serde_json::{Value, json};

/// Standard output, a line at a time.
#[derive(Clone, Default)]
pub struct Output(Arc<Mutex<()>>);

impl Output {
    /// Writes one line. A runner that is gone needs none.
    pub fn write(&self, line: &Value) {
        let _turn = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }

    /// Reports an event.
    pub fn event(&self, listener: &str, message: &OwnedMessage) {
        let mut line = json!({
            "report": "event",
            "listener": listener,
            "event": message.event(),
            "encoding": message.encoding().name(),
            "data": BASE64_STANDARD.encode(message.payload()),
            "source": message.source().to_string(),
            "sequence": message.sequence(),
        });
        let decoded = match message.encoding() {
            Encoding::Bytes => Ok(()),
            Encoding::Text => message.text().map(|text| line["text"] = text.into()),
            Encoding::Json => message.json::<Value>().map(|value| line["value"] = value),
        };
        if let Err(error) = decoded {
            line["undecodable"] = error.to_string().into();
        }
        self.write(&line);
    }

    /// Reports a loss; `listener` of one that pulls.
    pub fn lost(
        &self,
        listener: Option<&str>,
        source: Option<Source>,
        count: Option<u64>,
        reason: LossReason,
    ) {
        let mut line = json!({
            "report": "lost",
            "source": source.map(|source| source.to_string()),
            "count": count,
            "reason": format!("{reason:?}").to_lowercase(),
        });
        if let Some(listener) = listener {
            line["listener"] = listener.into();
        }
        self.write(&line);
    }
}

/// Reports what happened to the connection.
pub fn lifecycle(output: &Output, connected: &AtomicBool, happened: &Lifecycle) {
    match happened {
        Lifecycle::Connect { source, resumed, .. } => {
            connected.store(true, Ordering::SeqCst);
            if *resumed {
                output.write(&json!({ "report": "connect", "source": source.to_string() }));
            }
        }
        Lifecycle::Disconnect { reason, .. } => {
            connected.store(false, Ordering::SeqCst);
            if !matches!(reason, DisconnectReason::Requested) {
                output.write(&ended("disconnect", reason));
            }
        }
        Lifecycle::Closed(Error::Disconnected(DisconnectReason::Requested)) => {}
        Lifecycle::Closed(Error::Disconnected(reason)) => output.write(&ended("closed", reason)),
        Lifecycle::Closed(error) => output.write(&with("closed", error_object(error))),
        Lifecycle::Error(error) => output.write(&with("error", error_object(error))),
        Lifecycle::Lost { source, count, reason } => output.lost(None, *source, *count, *reason),
        _ => {}
    }
}

/// An error as it is told.
pub fn error_object(error: &Error) -> Value {
    let mut object = json!({ "code": error.code(), "message": error.to_string() });
    if let Error::ClosedByBroker { code, .. } = error {
        object["broker_code"] = (*code as u32).into();
    }
    object
}

fn ended(report: &str, reason: &DisconnectReason) -> Value {
    let code = match reason {
        DisconnectReason::BrokerShutDown => "BROKER_SHUT_DOWN",
        DisconnectReason::ConnectionLost(_) => "CONNECTION_LOST",
        DisconnectReason::ClosedByBroker { .. } => "CLOSED_BY_BROKER",
        _ => "PROTOCOL",
    };
    let mut object = json!({ "code": code, "message": reason.to_string() });
    if let DisconnectReason::ClosedByBroker { code, .. } = reason {
        object["broker_code"] = (*code as u32).into();
    }
    with(report, object)
}

fn with(report: &str, mut object: Value) -> Value {
    object["report"] = report.into();
    object
}
