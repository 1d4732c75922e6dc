//! Questions to the broker, and the answers that calls wait for.

use std::time::Duration;

use netcluster_wire::control::Audience;

use super::session::Outbound;
use crate::error::Error;

/// The longest wait for other machines: a broker waits no longer either.
const MAX_CLUSTER_WAIT: Duration = Duration::from_secs(3600);

/// A question to the broker.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Question<'a> {
    /// Whether the brokers of all machines know of all listeners, within this time.
    Cluster(Duration),
    /// The audience of an event of this name, which is a legal one.
    Audience(&'a str),
    /// The broker's status.
    Status,
    /// A request of whoever runs the broker, as JSON.
    Control(&'a str),
    /// Whether it is there.
    Ping,
}

impl Question<'_> {
    /// Names what whoever asks waits for, as an error says it.
    pub(crate) fn waiting_for(&self) -> &'static str {
        match self {
            Question::Cluster(_) => "cluster",
            Question::Audience(_) => "audience",
            Question::Status => "status",
            Question::Control(_) => "answer",
            Question::Ping => "pong",
        }
    }

    /// Time that the broker may take to answer beyond that for other questions.
    pub(super) fn extra_wait(&self) -> Duration {
        match self {
            Question::Cluster(wait) => (*wait).min(MAX_CLUSTER_WAIT),
            _ => Duration::ZERO,
        }
    }

    pub(super) fn encode(&self, outbound: &mut Outbound, out: &mut Vec<u8>) -> u64 {
        match self {
            Question::Cluster(wait) => outbound.cluster(out, *wait),
            Question::Audience(event) => outbound.audience(out, event),
            Question::Status => outbound.stats(out),
            Question::Control(json) => outbound.control(out, json),
            Question::Ping => outbound.ping(out),
        }
    }
}

/// The broker's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The brokers that have not confirmed, one a line.
    Missing(String),
    /// The number of clients and brokers that would get the event.
    Audience(Audience),
    /// The status, as JSON.
    Status(String),
    /// The answer to a request of whoever runs the broker, as JSON.
    Control(String),
    /// The reason why the broker does not do what was asked for.
    Refused(String),
    /// The reason why access rules do not allow what was asked about.
    Forbidden(String),
    /// The broker is there.
    Pong,
}

impl Answer {
    /// Whether all brokers confirmed within `after`.
    ///
    /// # Errors
    /// [`Error::ClusterIncomplete`] names those that did not.
    pub(crate) fn check_complete(self, after: Duration) -> Result<(), Error> {
        match self {
            Answer::Missing(names) if names.is_empty() => Ok(()),
            Answer::Missing(names) => {
                let missing = names.lines().map(str::to_owned).collect();
                Err(Error::ClusterIncomplete { missing, after })
            }
            other => Err(other.misplaced()),
        }
    }

    /// Gives the audience.
    pub(crate) fn audience(self) -> Result<Audience, Error> {
        match self {
            Answer::Audience(audience) => Ok(audience),
            Answer::Forbidden(text) => Err(Error::Forbidden(text)),
            other => Err(other.misplaced()),
        }
    }

    /// The status.
    pub(crate) fn status(self) -> Result<String, Error> {
        match self {
            Answer::Status(json) => Ok(json),
            Answer::Refused(text) => Err(Error::Refused(text)),
            other => Err(other.misplaced()),
        }
    }

    /// The answer to a request.
    pub(crate) fn control(self) -> Result<String, Error> {
        match self {
            Answer::Control(json) => Ok(json),
            Answer::Refused(text) => Err(Error::Refused(text)),
            other => Err(other.misplaced()),
        }
    }

    /// The pong.
    pub(crate) fn pong(self) -> Result<(), Error> {
        match self {
            Answer::Pong => Ok(()),
            other => Err(other.misplaced()),
        }
    }

    fn misplaced(&self) -> Error {
        let kind = match self {
            Answer::Missing(_) => "of the cluster",
            Answer::Audience(_) => "of an audience",
            Answer::Status(_) => "of a status",
            Answer::Control(_) | Answer::Refused(_) | Answer::Forbidden(_) => "of a request",
            Answer::Pong => "of a ping",
        };
        Error::Protocol(format!("the answer {kind} to another question"))
    }
}

/// A function that is called with the answer; dropped if none can come any more.
pub(crate) type Reply = Box<dyn FnOnce(Answer) + Send>;
