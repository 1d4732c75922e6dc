//! Everything that can go wrong, with messages that say what to do about it. As text they
//! are harmless for a terminal, whatever the broker said.

use std::path::{Path, PathBuf};
use std::str::Utf8Error;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use crate::loss::Lost;
use crate::path::{ACCESS_ADVICE, SOCKET_VARIABLE};
use netcluster_wire::control::ControlError;
use netcluster_wire::escape::Escaped;
use netcluster_wire::{ErrorCode, FrameError, NameError, PatternError};

/// Why a call failed, or what a client reports through its lifecycle events.
///
/// As text it is complete, for people. Programs look at [`Error::kind`], bindings pass on
/// [`Error::code`]; what an error came of, such as the system's own, is its
/// [`source`](std::error::Error::source).
///
/// ```
/// use std::error::Error as _;
///
/// use netcluster_client::{Client, ErrorKind};
///
/// let error = Client::connect("/nowhere/broker.sock").unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::BrokerNotRunning);
/// assert_eq!(error.code(), "BROKER_NOT_RUNNING");
/// let system = error.source().unwrap().downcast_ref::<std::io::Error>().unwrap();
/// assert_eq!(system.kind(), std::io::ErrorKind::NotFound);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// No broker answers at this path.
    BrokerNotRunning {
        /// The path where one was looked for.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The socket is there, but this user may not connect to it.
    PermissionDenied {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The directory of a default socket may be a stranger's, who would get what is
    /// emitted.
    UntrustedSocket {
        /// The socket.
        path: PathBuf,
        /// The fault of the socket, and what to do.
        reason: String,
    },
    /// None of the default sockets can be used.
    NoneAnswers {
        /// Each of the sockets, and why it cannot be used.
        tried: Vec<(PathBuf, String)>,
    },
    /// The connection could not be made for another reason.
    Connect {
        /// The socket.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The connection is down at the moment, and the emit buffer is full or the
    /// answer can no longer come.
    NotConnected,
    /// The connection ended and will not come back.
    Disconnected(DisconnectReason),
    /// The broker ended the connection, and why.
    ClosedByBroker {
        /// The subject of the error.
        code: ErrorCode,
        /// The broker's words.
        text: String,
    },
    /// The other end speaks another version of the protocol, or none.
    Version(String),
    /// The broker sent bytes that are no protocol.
    Protocol(String),
    /// The event's name is not allowed.
    Name(NameError),
    /// The channel's name is not allowed.
    ChannelName(NameError),
    /// The client's own name is not allowed.
    ClientName(NameError),
    /// The pattern is not allowed.
    Pattern(PatternError),
    /// The broker refused the pattern.
    PatternRefused(String),
    /// The broker does not do what was asked for, and why.
    Refused(String),
    /// Whoever runs the broker will end it soon: what must still be said is to be said now.
    Draining(String),
    /// The broker's access rules do not allow it, and what they allow: a pattern, or events that
    /// were emitted; then they were not delivered.
    Forbidden(String),
    /// The payload is larger than the broker takes. Nothing was sent.
    PayloadTooLarge {
        /// Bytes of the payload.
        bytes: usize,
        /// Bytes that the broker takes.
        limit: usize,
    },
    /// The emit buffer is full and the caller cannot wait. Nothing was appended.
    Backpressure,
    /// An answer did not come in time.
    Timeout {
        /// The answer or state that was waited for.
        waiting_for: &'static str,
        /// The time that was waited.
        after: Duration,
    },
    /// Brokers of other machines have not confirmed in time that they know of the
    /// listeners here: what is emitted there may be missed until they do.
    ClusterIncomplete {
        /// Their names.
        missing: Vec<String>,
        /// The time for which they were waited for.
        after: Duration,
    },
    /// The client belongs to the process that connected, of which this one was
    /// forked.
    Forked,
    /// The call waits for the broker, and a listener must not wait.
    InsideListener(&'static str),
    /// A listener panicked; it stays registered.
    ListenerPanicked {
        /// The event that it was called with; empty for a lifecycle listener.
        event: String,
        /// The panic's message, if it was text.
        message: String,
    },
    /// A thread could not be started.
    Thread(Arc<io::Error>),
    /// The bytes are not the text in UTF-8 that was expected.
    Text(Utf8Error),
    /// The bytes are not the JSON that was expected.
    #[cfg(feature = "json")]
    Json(Arc<serde_json::Error>),
}

/// The way in which a connection ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// Somebody called [`Client::disconnect`](crate::Client::disconnect), or the last handle
    /// was dropped.
    Requested,
    /// The broker is shutting down and said goodbye.
    BrokerShutDown,
    /// The connection broke: the broker died or was killed.
    ConnectionLost(Arc<io::Error>),
    /// The broker ended the connection with an error.
    ClosedByBroker {
        /// The subject of the error.
        code: ErrorCode,
        /// The broker's words.
        text: String,
    },
    /// The broker sent bytes that are no protocol.
    Protocol(String),
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DisconnectReason::Requested => formatter.write_str("disconnected as requested"),
            DisconnectReason::BrokerShutDown => formatter.write_str("the broker shut down"),
            DisconnectReason::ConnectionLost(reason) => {
                write!(formatter, "the connection to the broker was lost: {reason}")
            }
            DisconnectReason::ClosedByBroker { code, text } => {
                let text = Escaped::text(text);
                write!(formatter, "the broker ended the connection ({code:?}): {text}")
            }
            DisconnectReason::Protocol(reason) => {
                write!(formatter, "the broker broke the protocol: {}", Escaped::text(reason))
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::BrokerNotRunning { path, .. } => write!(
                formatter,
                "no broker answers at {}: start it with `netcluster serve`, or give the path of its socket",
                path.display()
            ),
            Error::PermissionDenied { path, .. } => write!(
                formatter,
                "no permission to connect to {}: {ACCESS_ADVICE}",
                path.display()
            ),
            Error::NoneAnswers { tried } => {
                let tried = tried.iter().map(|(path, why)| format!("{}: {why}", path.display()));
                write!(
                    formatter,
                    "no broker to connect to ({}): start one with `netcluster serve`, or name its \
                     socket in {SOCKET_VARIABLE}",
                    tried.collect::<Vec<_>>().join("; ")
                )
            }
            Error::UntrustedSocket { path, reason } => {
                write!(formatter, "cannot connect to {}: {reason}", path.display())
            }
            Error::Connect { path, source } => {
                write!(formatter, "cannot connect to {}: {source}", path.display())
            }
            Error::NotConnected => {
                formatter.write_str("not connected to the broker at the moment: try again later")
            }
            Error::Disconnected(reason) => {
                write!(formatter, "{reason}; connect anew to go on")
            }
            Error::ClosedByBroker { code, text } => {
                let text = Escaped::text(text);
                write!(formatter, "the broker ended the connection ({code:?}): {text}")
            }
            Error::Version(text) => write!(formatter, "versions differ: {}", Escaped::text(text)),
            Error::Protocol(text) => {
                let text = Escaped::text(text);
                write!(formatter, "the other end broke the protocol (is it a netcluster broker?): {text}")
            }
            Error::Name(error) => write!(formatter, "event name refused: {error}"),
            Error::ChannelName(error) => write!(formatter, "channel name refused: {error}"),
            Error::ClientName(error) => write!(formatter, "client name refused: {error}"),
            Error::Pattern(error) => write!(formatter, "pattern refused: {error}"),
            Error::PatternRefused(text) => {
                write!(formatter, "pattern refused by the broker: {}", Escaped::text(text))
            }
            Error::Refused(text) => write!(formatter, "refused: {}", Escaped::text(text)),
            Error::Draining(text) | Error::Forbidden(text) => {
                write!(formatter, "{}", Escaped::text(text))
            }
            Error::PayloadTooLarge { bytes, limit } => write!(
                formatter,
                "payload of {bytes} bytes is over the broker's limit of {limit}: split it, or raise --max-payload on the broker"
            ),
            Error::Backpressure => formatter.write_str(
                "the emit buffer is full: the broker or a listener is slower than this emitter; try again later",
            ),
            Error::ClusterIncomplete { missing, after } => write!(
                formatter,
                "not confirmed within {} s by: {}; see `netcluster peers`",
                after.as_secs_f64(),
                Escaped::text(&missing.join(", "))
            ),
            Error::Timeout { waiting_for, after } => {
                write!(formatter, "no {waiting_for} within {after:?}: is the broker overloaded?")
            }
            Error::Forked => formatter.write_str(
                "this client is the parent process's, its threads are not here: connect anew after a fork",
            ),
            Error::InsideListener(call) => write!(
                formatter,
                "{call} waits for the broker, which a listener must not: call it from another thread"
            ),
            Error::ListenerPanicked { event, message } => {
                let event = Escaped::text(event);
                write!(formatter, "a listener panicked on event `{event}`: {message}")
            }
            Error::Thread(reason) => write!(formatter, "cannot start a thread: {reason}"),
            Error::Text(reason) => write!(formatter, "the payload is no text: {reason}"),
            #[cfg(feature = "json")]
            Error::Json(reason) => write!(formatter, "JSON: {reason}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::BrokerNotRunning { source, .. }
            | Error::PermissionDenied { source, .. }
            | Error::Connect { source, .. }
            | Error::Disconnected(DisconnectReason::ConnectionLost(source))
            | Error::Thread(source) => Some(&**source),
            Error::Name(source) | Error::ChannelName(source) | Error::ClientName(source) => {
                Some(source)
            }
            Error::Pattern(source) => Some(source),
            Error::Text(source) => Some(source),
            #[cfg(feature = "json")]
            Error::Json(source) => Some(&**source),
            _ => None,
        }
    }
}

impl DisconnectReason {
    /// Makes the reason of a connection that broke by this error.
    pub(crate) fn lost(error: io::Error) -> DisconnectReason {
        DisconnectReason::ConnectionLost(Arc::new(error))
    }
}

impl From<NameError> for Error {
    fn from(error: NameError) -> Error {
        Error::Name(error)
    }
}

impl From<PatternError> for Error {
    fn from(error: PatternError) -> Error {
        Error::Pattern(error)
    }
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Error {
        Error::Protocol(error.to_string())
    }
}

impl From<ControlError> for Error {
    fn from(error: ControlError) -> Error {
        match error {
            ControlError::Version(_) => Error::Version(error.to_string()),
            _ => Error::Protocol(error.to_string()),
        }
    }
}

impl Error {
    /// Makes an error of what the system said to an attempt to connect, up to the first byte of the
    /// broker's answer. The socket of a process that is just ending still takes a
    /// connection, and drops it.
    pub(crate) fn connect(path: &Path, error: io::Error) -> Error {
        let (path, source) = (path.to_owned(), Arc::new(error));
        match source.kind() {
            io::ErrorKind::NotFound
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Error::BrokerNotRunning { path, source },
            io::ErrorKind::PermissionDenied => Error::PermissionDenied { path, source },
            _ => Error::Connect { path, source },
        }
    }

    /// Whether trying again can help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Error::Version(_) | Error::Protocol(_) | Error::Thread(_) => false,
            Error::ClosedByBroker { code, .. }
            | Error::Disconnected(DisconnectReason::ClosedByBroker { code, .. }) => {
                !is_final(*code)
            }
            _ => true,
        }
    }

    /// Whether a broker that is about to start, or has too much to do, may be why
    /// the first connection failed.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Error::BrokerNotRunning { .. }
            | Error::NoneAnswers { .. }
            | Error::Connect { .. }
            | Error::Timeout { .. } => true,
            Error::ClosedByBroker { code, .. } => {
                matches!(code, ErrorCode::Busy | ErrorCode::Shutdown | ErrorCode::HelloTimeout)
            }
            _ => false,
        }
    }

    /// Tells how a connection that failed with this error ended.
    pub(crate) fn into_reason(self) -> DisconnectReason {
        match self {
            Error::ClosedByBroker { code, text } => DisconnectReason::ClosedByBroker { code, text },
            Error::Version(text) | Error::Protocol(text) => DisconnectReason::Protocol(text),
            Error::Disconnected(reason) => reason,
            other => DisconnectReason::lost(io::Error::other(other)),
        }
    }
}

/// Whether a client that was kicked with this code would be kicked again.
fn is_final(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Version | ErrorCode::Protocol | ErrorCode::Source | ErrorCode::Name)
}

/// The reason why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecvError {
    /// No message came in time.
    Empty,
    /// Events are missing at this place; others will come.
    Lost(Lost),
    /// The client disconnected: none will come.
    Ended,
}

impl fmt::Display for RecvError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecvError::Empty => formatter.write_str("no message came in time"),
            RecvError::Lost(lost) => lost.fmt(formatter),
            RecvError::Ended => {
                formatter.write_str("the client disconnected: no more messages will come")
            }
        }
    }
}

impl std::error::Error for RecvError {}
