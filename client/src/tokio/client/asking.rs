//! Questions that an async client answers: by its broker, or by itself.

use std::path::Path;
use std::time::{Duration, Instant};

use netcluster_wire::control::Audience;
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;
use netcluster_wire::{Source, check_event};
use tokio::sync::oneshot;

use super::{AsyncClient, Cleanup};
use crate::core::{Answer, Question};
use crate::error::Error;

impl AsyncClient {
    async fn ask(&self, question: Question<'_>) -> Result<Answer, Error> {
        let shared = self.shared();
        let (waiting_for, after) = (question.waiting_for(), shared.patience(&question));
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may have given up.
        let number = shared.ask(question, Box::new(move |answer| drop(sender.send(answer))))?;
        // Also if it is dropped: nobody waits for the answer then.
        let _asking = Cleanup::new(|| shared.withdraw(number));
        match tokio::time::timeout(after, receiver).await {
            Ok(answered) => answered.map_err(|_| shared.unanswered()),
            Err(_) => Err(Error::Timeout { waiting_for, after }),
        }
    }

    /// Returns once the brokers of all machines know of every listener added so
    /// far: an event emitted afterwards anywhere in the cluster is not missed.
    /// Without a link that is at once. See also
    /// [`ClientBuilder::wait_for_cluster`](crate::ClientBuilder::wait_for_cluster). Cancel safe:
    /// dropping it changes nothing.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.on("log", |_| {}).await?;
    /// // Without a link that is at once.
    /// client.wait_for_cluster(std::time::Duration::from_secs(5)).await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Error::ClusterIncomplete`] names those that have not confirmed in time;
    /// the listeners stay. Otherwise as [`AsyncClient::status`].
    pub async fn wait_for_cluster(&self, timeout: Duration) -> Result<(), Error> {
        self.ask(Question::Cluster(timeout)).await?.check_complete(timeout)
    }

    /// Counts who would get an event of this name: see
    /// [`Client::audience`](crate::Client::audience). Cancel safe: dropping it changes
    /// nothing.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// listener.on("sensor.*", |_| {}).await?;
    /// assert_eq!(emitter.audience("sensor.kitchen").await?.clients, 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// If the name is not allowed; else as [`AsyncClient::status`].
    pub async fn audience(&self, event: &str) -> Result<Audience, Error> {
        check_event(event.as_bytes())?;
        self.ask(Question::Audience(event)).await?.audience()
    }

    /// The broker's status, as JSON. Cancel safe: dropping it changes nothing.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// assert!(client.status().await?.starts_with('{'));
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// If it does not come in time.
    pub async fn status(&self) -> Result<String, Error> {
        self.ask(Question::Status).await?.status()
    }

    /// Asks something that whoever runs the broker may ask for: see
    /// [`Client::control`](crate::Client::control). Cancel safe, but for that what was asked
    /// for may be done.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// let error = client.control(r#"{"do":"kick","client":7}"#).await.unwrap_err();
    /// assert_eq!(error.to_string(), "refused: there is no client 7");
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] with the broker's reason; else as [`AsyncClient::status`], or
    /// [`Error::PayloadTooLarge`].
    pub async fn control(&self, request: &str) -> Result<String, Error> {
        let limit = MAX_CONTROL_PAYLOAD_BYTES;
        if request.len() > limit {
            return Err(Error::PayloadTooLarge { bytes: request.len(), limit });
        }
        self.ask(Question::Control(request)).await?.control()
    }

    /// Measures how long the broker takes to answer, once everything emitted so far is
    /// queued at every target. Cancel safe: dropping it changes nothing.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit("sensor.kitchen", "21.5").await?;
    /// println!("{:?}", client.ping().await?);
    /// assert_eq!(client.confirmed_sequence(), 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`AsyncClient::status`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        self.ask(Question::Ping).await?.pong()?;
        Ok(start.elapsed())
    }

    /// The socket of its broker.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// assert_eq!(client.socket(), socket);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.shared().path()
    }

    /// Who this client is for others; another one after a reconnect.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// assert_ne!(emitter.source(), listener.source());
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn source(&self) -> Source {
        self.shared().source()
    }

    /// Sequence of the last event emitted; 0: none yet.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit("a", "").await?;
    /// client.emit("b", "").await?;
    /// assert_eq!(client.last_sequence(), 2);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.shared().last_sequence()
    }

    /// Sequence of the last own event known to be queued at every target.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit("a", "").await?;
    /// client.ping().await?;
    /// assert_eq!(client.confirmed_sequence(), client.last_sequence());
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn confirmed_sequence(&self) -> u64 {
        self.shared().confirmed()
    }

    /// Whether the client ended for good: disconnected as it was told to, gave up
    /// connecting again, or its runtime is gone. Told as [`Lifecycle::Closed`](crate::Lifecycle::Closed),
    /// except by a runtime that is gone.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// assert!(!client.is_closed());
    /// client.disconnect().await?;
    /// assert!(client.is_closed());
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared().closed().is_some()
    }

    /// The largest payload that the broker takes, in bytes.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// let large = vec![0; client.max_payload() + 1];
    /// assert!(client.emit("large", large).await.is_err());
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.shared().max_payload()
    }
}
