//! Events in the life of a connection, told to `on_lifecycle` at its place in the
//! order of the messages.

use netcluster_wire::{LossReason, Source};

use crate::error::{DisconnectReason, Error};
use crate::loss::Lost;

/// One thing that happened to the connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Lifecycle {
    /// The client is connected, and all patterns are in force.
    Connect {
        /// The source that this client is now.
        source: Source,
        /// Whether a connection was lost before: listeners may have missed events.
        resumed: bool,
        /// Number of own events that an earlier connection had written and its broker had
        /// not confirmed: they may not have arrived, and are not sent again.
        doubtful: u64,
    },
    /// The connection ended. Another is made unless [`Lifecycle::Closed`] follows.
    Disconnect {
        /// The way in which it ended.
        reason: DisconnectReason,
        /// Sequence of the last own event known to be queued at every target.
        /// Later ones that were written are in doubt and are not sent again; the next
        /// [`Lifecycle::Connect`] says how many these are.
        confirmed: u64,
    },
    /// Something went wrong that no call could return.
    Error(Error),
    /// Events are missing at this place in the order.
    Lost {
        /// Whose; `None` if several or unknown.
        source: Option<Source>,
        /// The number of missing events; `None` if unknown.
        count: Option<u64>,
        /// The reason of the loss.
        reason: LossReason,
    },
    /// The client ended for good, as it was told to or because connecting again
    /// failed or makes no sense. Always the last; calls fail with this error.
    Closed(Error),
}

impl Lifecycle {
    /// Tells the program's log of this event, if it has one.
    pub(crate) fn trace(&self) {
        use DisconnectReason::Requested;
        match self {
            Lifecycle::Connect { source, resumed, doubtful } => {
                tracing::debug!(%source, resumed, doubtful, "connected to the broker");
            }
            Lifecycle::Disconnect { reason: Requested, .. }
            | Lifecycle::Closed(Error::Disconnected(Requested)) => {
                tracing::debug!("disconnected from the broker as requested");
            }
            Lifecycle::Disconnect { reason, confirmed } => {
                tracing::warn!(confirmed, "disconnected from the broker: {reason}");
            }
            Lifecycle::Error(error) => tracing::warn!("{error}"),
            Lifecycle::Lost { source, count, reason } => {
                let lost = Lost { source: *source, count: *count, reason: *reason };
                tracing::warn!("{lost}");
            }
            Lifecycle::Closed(error) => tracing::error!("the client gave up: {error}"),
        }
    }
}

/// A lifecycle listener.
pub(crate) type LifecycleListener = Box<dyn FnMut(&Lifecycle) + Send + 'static>;
