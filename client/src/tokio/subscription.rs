//! Messages of a subscription as a [`Stream`].

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::client::AsyncClient;
use crate::core::{ListenerId, Queue};
use crate::error::RecvError;
use crate::loss::Lost;
use crate::message::OwnedMessage;

/// Messages that match a pattern, to be taken. Where events are missing it says so, at
/// their place in the order, as an error that others follow. Dropping it ends it; it
/// keeps the client alive.
#[must_use = "dropping it ends it"]
pub struct AsyncSubscription {
    client: AsyncClient,
    listener: ListenerId,
    queue: Arc<Queue>,
    /// The waker of the task that waits, or waited last.
    waker: Option<Waker>,
}

impl AsyncSubscription {
    pub(super) fn new(
        client: AsyncClient,
        listener: ListenerId,
        queue: Arc<Queue>,
    ) -> AsyncSubscription {
        AsyncSubscription { client, listener, queue, waker: None }
    }

    /// Waits for the next message. Cancel safe: if it is dropped before it is complete,
    /// no message is lost.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// let mut events = listener.subscribe("a").await?;
    /// emitter.emit("a", "1").await?;
    /// assert_eq!(events.recv().await.unwrap().payload(), b"1");
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// If events are missing here (others follow), or the client disconnected.
    pub async fn recv(&mut self) -> Result<OwnedMessage, RecvError> {
        match std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await {
            Some(Ok(message)) => Ok(message),
            Some(Err(lost)) => Err(RecvError::Lost(lost)),
            None => Err(RecvError::Ended),
        }
    }

    /// The next message if it is there.
    ///
    /// ```
    /// use netcluster_client::{AsyncClient, RecvError};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// let mut events = listener.subscribe("a").await?;
    /// assert_eq!(events.try_recv(), Err(RecvError::Empty));
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// If it is not, events are missing here, or the client disconnected.
    pub fn try_recv(&mut self) -> Result<OwnedMessage, RecvError> {
        let (message, room) = self.queue.take();
        if room {
            self.client.drained();
        }
        message
    }
}

impl Stream for AsyncSubscription {
    type Item = Result<OwnedMessage, Lost>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<OwnedMessage, Lost>>> {
        // Only this task is to be woken, whoever polled before.
        if let Some(waker) = self.waker.take() {
            self.queue.stop_waiting(&waker);
        }
        loop {
            match self.try_recv() {
                Ok(message) => return Poll::Ready(Some(Ok(message))),
                Err(RecvError::Lost(lost)) => return Poll::Ready(Some(Err(lost))),
                Err(RecvError::Ended) => return Poll::Ready(None),
                Err(RecvError::Empty) => {}
            }
            if self.queue.wait(context.waker()) {
                self.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
        }
    }
}

impl Drop for AsyncSubscription {
    fn drop(&mut self) {
        self.queue.end();
        self.client.remove_listener(self.listener);
        self.client.drained();
    }
}

impl std::fmt::Debug for AsyncSubscription {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AsyncSubscription").field("listener", &self.listener).finish()
    }
}
