//! The handle of an async client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use netcluster_wire::control::Audience;
use netcluster_wire::{Pattern, Source, check_event};
use tokio::sync::oneshot;

use super::driver::Driver;
use super::outbox::Outbox;
use super::subscription::AsyncSubscription;
use crate::builder::ClientBuilder;
use crate::core::{self, Answer, Listener, ListenerId, Placement, Port, Question, requested};
use crate::error::Error;
use crate::lifecycle::Lifecycle;
use crate::message::Message;
use crate::path::place;

pub(super) type Shared = core::Shared<Outbox>;

/// The async form of [`Client`](crate::Client): see there for what the calls
/// promise. Clones share the connection; when the last is dropped the task
/// writes what was emitted for a moment and ends.
///
/// It belongs to the process that connected: a child process that is forked without
/// a new program has neither the runtime's threads nor a use for the client.
///
/// The task lives in the runtime that connected: when that is dropped the client
/// is over, also for handles that are used elsewhere.
#[derive(Clone)]
pub struct AsyncClient {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(requested());
    }
}

impl ClientBuilder {
    /// Connects from a tokio runtime. If it is dropped before it is complete there is no
    /// connection.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect_async(self, path: impl AsRef<Path>) -> Result<AsyncClient, Error> {
        AsyncClient::start(self, &[path.as_ref().to_owned()]).await
    }

    /// Connects to the machine's broker from a tokio runtime. If it is dropped before it is
    /// complete there is no connection.
    ///
    /// # Errors
    /// As [`ClientBuilder::connect_default`].
    pub async fn connect_default_async(self) -> Result<AsyncClient, Error> {
        AsyncClient::start(self, &crate::default_socket_paths()).await
    }
}

impl AsyncClient {
    /// Connects to the broker whose socket this is. If it is dropped before it is
    /// complete there is no connection.
    ///
    /// # Errors
    /// If there is none, it refuses, or does not answer in time.
    pub async fn connect(path: impl AsRef<Path>) -> Result<AsyncClient, Error> {
        ClientBuilder::default().connect_async(path).await
    }

    /// Connects to the machine's broker: see
    /// [`Client::connect_default`](crate::Client::connect_default). If it is dropped
    /// before it is complete there is no connection.
    ///
    /// # Errors
    /// As [`AsyncClient::connect`] and
    /// [`Client::connect_default`](crate::Client::connect_default).
    pub async fn connect_default() -> Result<AsyncClient, Error> {
        ClientBuilder::default().connect_default_async().await
    }

    /// For more than the defaults: then [`ClientBuilder::connect_async`].
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    async fn start(builder: ClientBuilder, paths: &[PathBuf]) -> Result<AsyncClient, Error> {
        let ClientBuilder { options, lifecycle } = builder;
        let paths: Vec<PathBuf> = paths.iter().map(|path| place(path)).collect();
        let outbox = Outbox::new(options.max_buffer_bytes, options.connect_timeout);
        let shared = Arc::new(Shared::new(options, lifecycle, outbox));
        let mut driver = Driver::new(Arc::clone(&shared), paths)?;
        driver.connect().await?;
        tokio::spawn(driver.run());
        Ok(AsyncClient { handle: Arc::new(Handle { shared }) })
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Emits an event, waiting for room if the broker or a listener that this
    /// emitter feeds does not keep up. It leaves when the client's task runs.
    ///
    /// Cancel safe: if it is dropped before it is complete, nothing was emitted.
    ///
    /// # Errors
    /// As [`Client::emit`](crate::Client::emit). Nothing was emitted then.
    pub async fn emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        self.shared().port.emit(event, data.as_ref()).await
    }

    /// Emits an event without waiting, as listeners must.
    ///
    /// # Errors
    /// [`Error::Backpressure`] if the buffer is full; else as [`AsyncClient::emit`].
    pub fn try_emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        self.shared().port.try_emit(event, data.as_ref())
    }

    /// Emits a value as JSON. Cancel safe as [`AsyncClient::emit`].
    ///
    /// # Errors
    /// As [`AsyncClient::emit`], or if it is not representable as JSON.
    #[cfg(feature = "json")]
    pub async fn emit_json<T: serde::Serialize + ?Sized>(
        &self,
        event: &str,
        value: &T,
    ) -> Result<(), Error> {
        let data = serde_json::to_vec(value).map_err(|error| Error::Json(Arc::new(error)))?;
        self.emit(event, data).await
    }

    /// Returns once everything emitted so far is written to the socket. Cancel safe:
    /// dropping it changes nothing.
    ///
    /// # Errors
    /// If the client ended or the connection stays down.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared().port.flush().await
    }

    /// Calls `listener` for every event whose name matches; returns once the broker
    /// acknowledged. The listener runs on the client's task and must not block.
    ///
    /// If it is dropped before it is complete the listener is removed, as if it had
    /// failed; it may have been called meanwhile.
    ///
    /// # Errors
    /// As [`Client::on`](crate::Client::on).
    pub async fn on(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.add(pattern, Placement::default(), Box::new(listener)).await
    }

    /// As [`AsyncClient::on`], for one event only; also if it is dropped.
    ///
    /// # Errors
    /// As [`AsyncClient::on`].
    pub async fn once(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.add(pattern, Placement { once: true, prepend: false }, Box::new(listener)).await
    }

    /// As [`AsyncClient::on`], but called before the listeners that are there; also if
    /// it is dropped.
    ///
    /// # Errors
    /// As [`AsyncClient::on`].
    pub async fn prepend_listener(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.add(pattern, Placement { once: false, prepend: true }, Box::new(listener)).await
    }

    /// As [`AsyncClient::once`], but called before the listeners that are there; also
    /// if it is dropped.
    ///
    /// # Errors
    /// As [`AsyncClient::on`].
    pub async fn prepend_once_listener(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.add(pattern, Placement { once: true, prepend: true }, Box::new(listener)).await
    }

    async fn add(
        &self,
        pattern: &str,
        placement: Placement,
        listener: Listener,
    ) -> Result<ListenerId, Error> {
        let pattern = Pattern::new(pattern.as_bytes())?;
        let id = self.shared().add_listener(&pattern, placement, listener)?;
        // If it fails or is dropped before all know of it, the listener goes again.
        let adding = Cleanup::new(|| {
            self.remove_listener(id);
        });
        self.wait_in_force(&pattern).await?;
        if let Some(wait) = self.shared().options.cluster_wait {
            self.wait_for_cluster(wait).await?;
        }
        adding.cancel();
        Ok(id)
    }

    async fn wait_in_force(&self, pattern: &Pattern) -> Result<(), Error> {
        let shared = self.shared();
        let after = shared.options.connect_timeout;
        let answered = shared.port.wait(deadline(after), || shared.in_force(pattern)).await;
        let waiting_for = "acknowledgement of a listener";
        answered.unwrap_or(Err(Error::Timeout { waiting_for, after }))
    }

    /// Removes a listener; whether it was there.
    pub fn remove_listener(&self, id: ListenerId) -> bool {
        self.shared().remove_listener(id)
    }

    /// Removes the listeners of exactly this pattern, or all; how many.
    pub fn remove_all_listeners(&self, pattern: Option<&str>) -> usize {
        self.shared().remove_all_listeners(pattern)
    }

    /// How many listeners exactly this pattern has here.
    pub fn listener_count(&self, pattern: &str) -> usize {
        self.shared().registry.lock().count(pattern)
    }

    /// The patterns that have listeners here, sorted.
    pub fn event_names(&self) -> Vec<String> {
        self.shared().registry.lock().patterns()
    }

    /// The pull style: a stream of the events that match `pattern`. If it is dropped
    /// before it is complete there is no subscription.
    ///
    /// # Errors
    /// As [`AsyncClient::on`].
    pub async fn subscribe(&self, pattern: &str) -> Result<AsyncSubscription, Error> {
        let queue = self.shared().queue();
        let filled = Arc::clone(&queue);
        // A queue that nobody takes from must not hold up the task.
        let subscribing = Cleanup::new(|| {
            queue.end();
            self.drained();
        });
        let id = self.on(pattern, move |message| filled.push(message.into_owned())).await?;
        subscribing.cancel();
        queue.hand_out();
        Ok(AsyncSubscription::new(self.clone(), id, queue))
    }

    /// A subscription has room again.
    pub(super) fn drained(&self) {
        self.shared().port.changed();
    }

    /// Calls `listener` for what happens to the connection from now on.
    pub fn on_lifecycle(&self, listener: impl FnMut(&Lifecycle) + Send + 'static) {
        self.shared().on_lifecycle(Box::new(listener));
    }

    /// Ends the connection in order: returns once everything emitted is queued at
    /// every target and the last listener ran. If it is dropped before that, after its
    /// first poll, the client ends all the same, but without a limit of time.
    ///
    /// # Errors
    /// As [`Client::disconnect`](crate::Client::disconnect).
    pub async fn disconnect(&self) -> Result<(), Error> {
        let shared = self.shared();
        shared.leave()?;
        let finished = || shared.is_finished().then_some(());
        let deadline = deadline(shared.options.disconnect_timeout);
        shared.left(shared.port.wait(deadline, finished).await.is_some())
    }

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
    /// # Errors
    /// [`Error::ClusterIncomplete`] names those that have not confirmed in time;
    /// the listeners stay. Otherwise as [`AsyncClient::status`].
    pub async fn wait_for_cluster(&self, timeout: Duration) -> Result<(), Error> {
        self.ask(Question::Cluster(timeout)).await?.check_complete(timeout)
    }

    /// Who would get an event of this name: see
    /// [`Client::audience`](crate::Client::audience). Cancel safe: dropping it changes
    /// nothing.
    ///
    /// # Errors
    /// If the name is not allowed; else as [`AsyncClient::status`].
    pub async fn audience(&self, event: &str) -> Result<Audience, Error> {
        check_event(event.as_bytes())?;
        self.ask(Question::Audience(event)).await?.audience()
    }

    /// The broker's status, as JSON. Cancel safe: dropping it changes nothing.
    ///
    /// # Errors
    /// If it does not come in time.
    pub async fn status(&self) -> Result<String, Error> {
        self.ask(Question::Status).await?.status()
    }

    /// How long the broker takes to answer, once everything emitted so far is
    /// queued at every target. Cancel safe: dropping it changes nothing.
    ///
    /// # Errors
    /// As [`AsyncClient::status`].
    pub async fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        self.ask(Question::Ping).await?.pong()?;
        Ok(start.elapsed())
    }

    /// The socket of its broker.
    pub fn socket(&self) -> &Path {
        self.shared().path()
    }

    /// Who this client is for others; another one after a reconnect.
    pub fn source(&self) -> Source {
        self.shared().source()
    }

    /// Sequence of the last event emitted; 0: none yet.
    pub fn last_sequence(&self) -> u64 {
        self.shared().last_sequence()
    }

    /// Sequence of the last own event known to be queued at every target.
    pub fn confirmed_sequence(&self) -> u64 {
        self.shared().confirmed()
    }

    /// Whether the client ended for good: disconnected as it was told to, gave up
    /// connecting again, or its runtime is gone. Told as [`Lifecycle::Closed`],
    /// except by a runtime that is gone.
    pub fn is_closed(&self) -> bool {
        self.shared().closed().is_some()
    }

    /// The largest payload that the broker takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.shared().max_payload()
    }
}

/// So long from now; `None`: for ever.
fn deadline(after: Duration) -> Option<tokio::time::Instant> {
    tokio::time::Instant::now().checked_add(after)
}

/// What is done if a future fails or is dropped before it is complete.
pub(super) struct Cleanup<F: FnMut()> {
    act: F,
    cancelled: bool,
}

impl<F: FnMut()> Cleanup<F> {
    pub(super) fn new(act: F) -> Cleanup<F> {
        Cleanup { act, cancelled: false }
    }

    /// It is complete: nothing need be done.
    pub(super) fn cancel(mut self) {
        self.cancelled = true;
    }
}

impl<F: FnMut()> Drop for Cleanup<F> {
    fn drop(&mut self) {
        if !self.cancelled {
            (self.act)();
        }
    }
}

impl std::fmt::Debug for AsyncClient {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("AsyncClient").field("path", &self.shared().path()).finish()
    }
}
