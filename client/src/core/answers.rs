//! Questions to the broker, and the answers that calls wait for.

use std::time::Duration;

use netcluster_wire::control::Audience;

use super::session::Outbound;
use crate::error::Error;

/// The longest wait for other machines: a broker waits no longer either.
const MAX_CLUSTER_WAIT: Duration = Duration::from_secs(3600);

/// What the broker is asked.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Question<'a> {
    /// Whether the brokers of all machines know of all listeners, within this time.
    Cluster(Duration),
    /// Who would get an event of this name, which is a legal one.
    Audience(&'a str),
    /// Its status.
    Status,
    /// Whether it is there.
    Ping,
}

impl Question<'_> {
    /// What whoever asks waits for, as an error says it.
    pub(crate) fn waiting_for(&self) -> &'static str {
        match self {
            Question::Cluster(_) => "cluster",
            Question::Audience(_) => "audience",
            Question::Status => "status",
            Question::Ping => "pong",
        }
    }

    /// How much longer than for other questions the broker may take to answer.
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
            Question::Ping => outbound.ping(out),
        }
    }
}

/// What the broker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The brokers that have not confirmed, one a line.
    Missing(String),
    /// How many would get the event.
    Audience(Audience),
    /// The status, as JSON.
    Status(String),
    /// It is there.
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

    /// The audience.
    pub(crate) fn audience(self) -> Result<Audience, Error> {
        match self {
            Answer::Audience(audience) => Ok(audience),
            other => Err(other.misplaced()),
        }
    }

    /// The status.
    pub(crate) fn status(self) -> Result<String, Error> {
        match self {
            Answer::Status(json) => Ok(json),
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
            Answer::Pong => "of a ping",
        };
        Error::Protocol(format!("the answer {kind} to another question"))
    }
}

/// What is done with an answer; dropped if none can come any more.
pub(crate) type Reply = Box<dyn FnOnce(Answer) + Send>;
