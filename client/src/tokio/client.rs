//! The handle of an async client.

mod asking;
mod listening;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use netcluster_wire::Encoding;

use super::driver::Driver;
use super::outbox::Outbox;
use crate::builder::ClientBuilder;
use crate::core::{self, requested};
use crate::error::Error;
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
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::builder().name("thermometer").connect_async(&socket).await?;
    /// client.emit("temperature", "21.5").await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`].
    pub async fn connect_async(self, path: impl AsRef<Path>) -> Result<AsyncClient, Error> {
        AsyncClient::start(self, &[path.as_ref().to_owned()]).await
    }

    /// Connects to the machine's broker from a tokio runtime. If it is dropped before it is
    /// complete there is no connection.
    ///
    /// ```no_run
    /// use netcluster_client::AsyncClient;
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::builder().connect_default_async().await?;
    /// client.emit("temperature", "21.5").await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit("greeting", "hello").await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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
    /// ```no_run
    /// use netcluster_client::AsyncClient;
    ///
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect_default().await?;
    /// client.emit("greeting", "hello").await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`AsyncClient::connect`] and
    /// [`Client::connect_default`](crate::Client::connect_default).
    pub async fn connect_default() -> Result<AsyncClient, Error> {
        ClientBuilder::default().connect_default_async().await
    }

    /// Gives a builder, for more than the defaults: then [`ClientBuilder::connect_async`].
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::builder().name("thermometer").channel("kitchen").connect_async(&socket).await?;
    /// client.emit("temperature", "21.5").await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit("sensor.kitchen", "21.5").await?;
    /// client.emit("sensor.kitchen", [21, 5]).await?;
    /// assert!(client.emit("sensor.*", "").await.is_err(), "no name of an event");
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`Client::emit`](crate::Client::emit). Nothing was emitted then.
    pub async fn emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        self.emit_encoded(event, Encoding::Bytes, data).await
    }

    /// Emits text. Cancel safe as [`AsyncClient::emit`].
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit_text("sensor.kitchen", "21.5").await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`AsyncClient::emit`].
    pub async fn emit_text(&self, event: &str, text: &str) -> Result<(), Error> {
        self.emit_encoded(event, Encoding::Text, text).await
    }

    /// Emits data that is encoded already, and as what. Cancel safe as
    /// [`AsyncClient::emit`].
    ///
    /// ```
    /// use netcluster_client::{AsyncClient, Encoding};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit_encoded("sensor.kitchen", Encoding::Json, "[21.5,40.0]").await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`Client::emit_encoded`](crate::Client::emit_encoded).
    pub async fn emit_encoded(
        &self,
        event: &str,
        encoding: Encoding,
        data: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.shared().port.emit(event, encoding, data.as_ref()).await
    }

    /// Emits an event without waiting, as listeners must.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// let answering = listener.clone();
    /// listener.on("ask", move |_| answering.try_emit("answer", "42").unwrap()).await?;
    /// let mut answers = emitter.subscribe("answer").await?;
    /// emitter.emit("ask", "").await?;
    /// assert_eq!(answers.recv().await.unwrap().payload(), b"42");
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// [`Error::Backpressure`] if the buffer is full; else as [`AsyncClient::emit`].
    pub fn try_emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        self.try_emit_encoded(event, Encoding::Bytes, data)
    }

    /// Emits data that is encoded already without waiting, as listeners must.
    ///
    /// ```
    /// use netcluster_client::{AsyncClient, Encoding};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.try_emit_encoded("sensor.kitchen", Encoding::Text, "21.5")?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// As [`AsyncClient::try_emit`].
    pub fn try_emit_encoded(
        &self,
        event: &str,
        encoding: Encoding,
        data: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.shared().port.try_emit(event, encoding, data.as_ref())
    }

    /// Emits a value as JSON. Cancel safe as [`AsyncClient::emit`].
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit_json("sensor.kitchen", &[21.5, 40.0]).await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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
        self.emit_encoded(event, Encoding::Json, data).await
    }

    /// Returns once everything emitted so far is written to the socket. Cancel safe:
    /// dropping it changes nothing.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit("sensor.kitchen", "21.5").await?;
    /// client.flush().await?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    ///
    /// # Errors
    /// If the client ended or the connection stays down.
    pub async fn flush(&self) -> Result<(), Error> {
        self.shared().port.flush().await
    }

    /// Ends the connection in order: returns once everything emitted is queued at
    /// every target and the last listener ran. If it is dropped before that, after its
    /// first poll, the client ends all the same, but without a limit of time.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.emit("goodbye", "").await?;
    /// client.disconnect().await?;
    /// assert!(client.is_closed());
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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
}

/// Computes the time so long from now; `None`: for ever.
fn deadline(after: Duration) -> Option<tokio::time::Instant> {
    tokio::time::Instant::now().checked_add(after)
}

/// A function that is called if a future fails or is dropped before it is complete.
pub(super) struct Cleanup<F: FnMut()> {
    act: F,
    cancelled: bool,
}

impl<F: FnMut()> Cleanup<F> {
    pub(super) fn new(act: F) -> Cleanup<F> {
        Cleanup { act, cancelled: false }
    }

    /// Notes that the future is complete: nothing need be done.
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
