//! Messages of a subscription, taken by threads that wait for them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::waiting::take;
use crate::core::{ListenerId, Queue};
use crate::error::RecvError;
use crate::loss::Lost;
use crate::message::OwnedMessage;

/// Messages that match a pattern, to be taken. Dropping it ends it.
///
/// Where events are missing it says so, at their place in the order, as an error that
/// others follow. As an iterator it waits for each message (or loss) and ends when the
/// client does. It keeps the client alive. If nobody takes them, the reader waits once
/// they fill their room, and the broker's queue for this client fills behind it, as for any slow listener.
#[must_use = "dropping it ends it"]
pub struct Subscription {
    client: Client,
    listener: ListenerId,
    queue: Arc<Queue>,
}

impl Subscription {
    pub(crate) fn new(client: Client, listener: ListenerId, queue: Arc<Queue>) -> Subscription {
        Subscription { client, listener, queue }
    }

    /// Waits for the next message; inside a listener of the same client it does
    /// not wait.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// emitter.emit("a", "1")?;
    /// assert_eq!(events.recv().unwrap().payload(), b"1");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If events are missing here, or the client disconnected.
    pub fn recv(&self) -> Result<OwnedMessage, RecvError> {
        self.take(None)
    }

    /// Waits for the next message for so long.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use netcluster_client::{Client, RecvError};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// assert_eq!(events.recv_timeout(Duration::from_millis(1)), Err(RecvError::Empty));
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If none came, events are missing here, or the client disconnected.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<OwnedMessage, RecvError> {
        self.take(Instant::now().checked_add(timeout))
    }

    /// The next message if it is there.
    ///
    /// ```
    /// use netcluster_client::{Client, RecvError};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// assert_eq!(events.try_recv(), Err(RecvError::Empty));
    /// listener.disconnect()?;
    /// assert_eq!(events.try_recv(), Err(RecvError::Ended));
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it is not, events are missing here, or the client disconnected.
    pub fn try_recv(&self) -> Result<OwnedMessage, RecvError> {
        self.taken(self.queue.take())
    }

    fn take(&self, deadline: Option<Instant>) -> Result<OwnedMessage, RecvError> {
        if self.client.in_listener() {
            self.try_recv()
        } else {
            self.taken(take(&self.queue, deadline))
        }
    }

    fn taken(
        &self,
        (message, room): (Result<OwnedMessage, RecvError>, bool),
    ) -> Result<OwnedMessage, RecvError> {
        if room {
            self.client.drained();
        }
        message
    }

    /// The client it belongs to.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (emitter, listener) = (Client::connect(&socket)?, Client::connect(&socket)?);
    /// let events = listener.subscribe("a")?;
    /// assert_eq!(events.client().source(), listener.source());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Iterator for Subscription {
    type Item = Result<OwnedMessage, Lost>;

    fn next(&mut self) -> Option<Result<OwnedMessage, Lost>> {
        match self.recv() {
            Ok(message) => Some(Ok(message)),
            Err(RecvError::Lost(lost)) => Some(Err(lost)),
            Err(RecvError::Empty | RecvError::Ended) => None,
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.end();
        self.client.drained();
        self.client.remove_listener(self.listener);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Subscription").field("listener", &self.listener).finish()
    }
}
