//! Kinds of errors, without their details: for programs that decide by them, and
//! for bindings of other languages.

use crate::error::Error;

/// The kind of an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No broker answers at this path.
    BrokerNotRunning,
    /// The socket is there, but this user may not connect to it.
    PermissionDenied,
    /// The directory of a default socket may be a stranger's, who would get what is
    /// emitted.
    UntrustedSocket,
    /// None of the default sockets can be used.
    NoneAnswers,
    /// The connection could not be made for another reason.
    Connect,
    /// The connection is down at the moment, and the emit buffer is full or the
    /// answer can no longer come.
    NotConnected,
    /// The connection ended and will not come back.
    Disconnected,
    /// The broker ended the connection, and why.
    ClosedByBroker,
    /// The other end speaks another version of the protocol, or none.
    Version,
    /// The broker sent bytes that are no protocol.
    Protocol,
    /// A name is not allowed: an event's, the channel's or the client's.
    Name,
    /// The pattern is not allowed.
    Pattern,
    /// The broker refused the pattern.
    PatternRefused,
    /// The broker does not do what was asked for.
    Refused,
    /// Whoever runs the broker will end it soon.
    Draining,
    /// The broker's access rules do not allow it.
    Forbidden,
    /// The payload is larger than the broker takes. Nothing was sent.
    PayloadTooLarge,
    /// The emit buffer is full and the caller cannot wait. Nothing was appended.
    Backpressure,
    /// An answer did not come in time.
    Timeout,
    /// Brokers of other machines have not confirmed in time that they know of the
    /// listeners here: what is emitted there may be missed until they do.
    ClusterIncomplete,
    /// The client belongs to the process that connected, of which this one was
    /// forked.
    Forked,
    /// The call waits for the broker, and a listener must not wait.
    InsideListener,
    /// A listener panicked; it stays registered.
    ListenerPanicked,
    /// A thread could not be started.
    Thread,
    /// The bytes are not the text in UTF-8 that was expected.
    Text,
    /// The bytes are not the JSON that was expected.
    Json,
}

impl ErrorKind {
    /// The name of this kind for other languages. It never changes.
    ///
    /// ```
    /// assert_eq!(netcluster_client::ErrorKind::NotConnected.code(), "NOT_CONNECTED");
    /// ```
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            ErrorKind::BrokerNotRunning => "BROKER_NOT_RUNNING",
            ErrorKind::PermissionDenied => "PERMISSION_DENIED",
            ErrorKind::UntrustedSocket => "UNTRUSTED_SOCKET",
            ErrorKind::NoneAnswers => "NONE_ANSWERS",
            ErrorKind::Connect => "CONNECT",
            ErrorKind::NotConnected => "NOT_CONNECTED",
            ErrorKind::Disconnected => "DISCONNECTED",
            ErrorKind::ClosedByBroker => "CLOSED_BY_BROKER",
            ErrorKind::Version => "VERSION",
            ErrorKind::Protocol => "PROTOCOL",
            ErrorKind::Name => "NAME",
            ErrorKind::Pattern => "PATTERN",
            ErrorKind::PatternRefused => "PATTERN_REFUSED",
            ErrorKind::Refused => "REFUSED",
            ErrorKind::Draining => "DRAINING",
            ErrorKind::Forbidden => "FORBIDDEN",
            ErrorKind::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            ErrorKind::Backpressure => "BACKPRESSURE",
            ErrorKind::Timeout => "TIMEOUT",
            ErrorKind::ClusterIncomplete => "CLUSTER_INCOMPLETE",
            ErrorKind::Forked => "FORKED",
            ErrorKind::InsideListener => "INSIDE_LISTENER",
            ErrorKind::ListenerPanicked => "LISTENER_PANICKED",
            ErrorKind::Thread => "THREAD",
            ErrorKind::Text => "TEXT",
            ErrorKind::Json => "JSON",
        }
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.code())
    }
}

impl Error {
    /// What it is about.
    ///
    /// ```
    /// use netcluster_client::{Error, ErrorKind};
    ///
    /// assert_eq!(Error::Backpressure.kind(), ErrorKind::Backpressure);
    /// ```
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self {
            Error::BrokerNotRunning { .. } => ErrorKind::BrokerNotRunning,
            Error::PermissionDenied { .. } => ErrorKind::PermissionDenied,
            Error::UntrustedSocket { .. } => ErrorKind::UntrustedSocket,
            Error::NoneAnswers { .. } => ErrorKind::NoneAnswers,
            Error::Connect { .. } => ErrorKind::Connect,
            Error::NotConnected => ErrorKind::NotConnected,
            Error::Disconnected(_) => ErrorKind::Disconnected,
            Error::ClosedByBroker { .. } => ErrorKind::ClosedByBroker,
            Error::Version(_) => ErrorKind::Version,
            Error::Protocol(_) => ErrorKind::Protocol,
            Error::Name(_) | Error::ChannelName(_) | Error::ClientName(_) => ErrorKind::Name,
            Error::Pattern(_) => ErrorKind::Pattern,
            Error::PatternRefused(_) => ErrorKind::PatternRefused,
            Error::Refused(_) => ErrorKind::Refused,
            Error::Draining(_) => ErrorKind::Draining,
            Error::Forbidden(_) => ErrorKind::Forbidden,
            Error::PayloadTooLarge { .. } => ErrorKind::PayloadTooLarge,
            Error::Backpressure => ErrorKind::Backpressure,
            Error::Timeout { .. } => ErrorKind::Timeout,
            Error::ClusterIncomplete { .. } => ErrorKind::ClusterIncomplete,
            Error::Forked => ErrorKind::Forked,
            Error::InsideListener(_) => ErrorKind::InsideListener,
            Error::ListenerPanicked { .. } => ErrorKind::ListenerPanicked,
            Error::Thread(_) => ErrorKind::Thread,
            Error::Text(_) => ErrorKind::Text,
            #[cfg(feature = "json")]
            Error::Json(_) => ErrorKind::Json,
        }
    }

    /// The name of its kind for other languages: see [`ErrorKind::code`].
    ///
    /// ```
    /// assert_eq!(netcluster_client::Error::Backpressure.code(), "BACKPRESSURE");
    /// ```
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.kind().code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Other languages have these names in their code.
    #[test]
    fn codes_are_what_they_were() {
        let codes = [
            (ErrorKind::BrokerNotRunning, "BROKER_NOT_RUNNING"),
            (ErrorKind::PermissionDenied, "PERMISSION_DENIED"),
            (ErrorKind::UntrustedSocket, "UNTRUSTED_SOCKET"),
            (ErrorKind::NoneAnswers, "NONE_ANSWERS"),
            (ErrorKind::Connect, "CONNECT"),
            (ErrorKind::NotConnected, "NOT_CONNECTED"),
            (ErrorKind::Disconnected, "DISCONNECTED"),
            (ErrorKind::ClosedByBroker, "CLOSED_BY_BROKER"),
            (ErrorKind::Version, "VERSION"),
            (ErrorKind::Protocol, "PROTOCOL"),
            (ErrorKind::Name, "NAME"),
            (ErrorKind::Pattern, "PATTERN"),
            (ErrorKind::PatternRefused, "PATTERN_REFUSED"),
            (ErrorKind::Refused, "REFUSED"),
            (ErrorKind::Draining, "DRAINING"),
            (ErrorKind::Forbidden, "FORBIDDEN"),
            (ErrorKind::PayloadTooLarge, "PAYLOAD_TOO_LARGE"),
            (ErrorKind::Backpressure, "BACKPRESSURE"),
            (ErrorKind::Timeout, "TIMEOUT"),
            (ErrorKind::ClusterIncomplete, "CLUSTER_INCOMPLETE"),
            (ErrorKind::Forked, "FORKED"),
            (ErrorKind::InsideListener, "INSIDE_LISTENER"),
            (ErrorKind::ListenerPanicked, "LISTENER_PANICKED"),
            (ErrorKind::Thread, "THREAD"),
            (ErrorKind::Text, "TEXT"),
            (ErrorKind::Json, "JSON"),
        ];
        for (kind, code) in codes {
            assert_eq!((kind.code(), kind.to_string().as_str()), (code, code));
        }
        let unique: std::collections::HashSet<_> = codes.iter().map(|(_, code)| code).collect();
        assert_eq!(unique.len(), codes.len());
    }
}
