//! Listeners of an async client: adding, removing, pulling.

use std::sync::Arc;

use netcluster_wire::Pattern;

use super::super::subscription::AsyncSubscription;
use super::{AsyncClient, Cleanup, deadline};
use crate::core::{Listener, ListenerId, Placement, Port};
use crate::error::Error;
use crate::lifecycle::Lifecycle;
use crate::message::Message;

impl AsyncClient {
    /// Calls `listener` for every event whose name matches; returns once the broker
    /// acknowledged. The listener runs on the client's task and must not block.
    ///
    /// If it is dropped before it is complete the listener is removed, as if it had
    /// failed; it may have been called meanwhile.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("sensor.*", move |message| {
    ///     sender.send(message.into_owned()).unwrap();
    /// }).await?;
    /// emitter.emit("sensor.kitchen", "21.5").await?;
    /// assert_eq!(heard.recv().unwrap().payload(), b"21.5");
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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

    /// Adds a listener, as [`AsyncClient::on`] does, for one event only; also if it is dropped.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// listener.once("start", |message| println!("{} of {}", message.event(), message.source())).await?;
    /// emitter.emit("start", "").await?;
    /// emitter.ping().await?;
    /// listener.ping().await?;
    /// assert_eq!(listener.listener_count("start"), 0);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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

    /// Adds a listener, as [`AsyncClient::on`] does, that is called before those that are
    /// there; also if it is dropped.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// let (sender, order) = std::sync::mpsc::channel();
    /// let first = sender.clone();
    /// listener.on("job", move |_| sender.send("second").unwrap()).await?;
    /// listener.prepend_listener("job", move |_| first.send("first").unwrap()).await?;
    /// emitter.emit("job", "").await?;
    /// assert_eq!([order.recv().unwrap(), order.recv().unwrap()], ["first", "second"]);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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

    /// Adds a listener, as [`AsyncClient::once`] does, that is called before those that are
    /// there; also if it is dropped.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// let (sender, order) = std::sync::mpsc::channel();
    /// let first = sender.clone();
    /// listener.on("job", move |_| sender.send("always").unwrap()).await?;
    /// listener.prepend_once_listener("job", move |_| first.send("once").unwrap()).await?;
    /// emitter.emit("job", "").await?;
    /// emitter.emit("job", "").await?;
    /// assert_eq!([(); 3].map(|()| order.recv().unwrap()), ["once", "always", "always"]);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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
        answered.unwrap_or_else(|| Err(shared.not_in_force(after)))
    }

    /// Removes a listener; tells whether it was there.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// let id = client.on("log", |_| {}).await?;
    /// assert!(client.remove_listener(id));
    /// assert!(!client.remove_listener(id));
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn remove_listener(&self, id: ListenerId) -> bool {
        self.shared().remove_listener(id)
    }

    /// Removes the listeners of exactly this pattern, or all; how many.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.on("a", |_| {}).await?;
    /// client.on("a", |_| {}).await?;
    /// client.on("b.*", |_| {}).await?;
    /// assert_eq!(client.remove_all_listeners(Some("a")), 2);
    /// assert_eq!(client.remove_all_listeners(None), 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn remove_all_listeners(&self, pattern: Option<&str>) -> usize {
        self.shared().remove_all_listeners(pattern)
    }

    /// How many listeners exactly this pattern has here.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.on("log", |_| {}).await?;
    /// assert_eq!(client.listener_count("log"), 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn listener_count(&self, pattern: &str) -> usize {
        self.shared().registry.lock().count(pattern)
    }

    /// The patterns that have listeners here, sorted.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// client.on("log", |_| {}).await?;
    /// client.on("a.*", |_| {}).await?;
    /// assert_eq!(client.event_names(), ["a.*", "log"]);
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    #[must_use]
    pub fn event_names(&self) -> Vec<String> {
        self.shared().registry.lock().patterns()
    }

    /// The pull style: a stream of the events that match `pattern`. If it is dropped
    /// before it is complete there is no subscription.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let emitter = AsyncClient::connect(&socket).await?;
    /// let listener = AsyncClient::connect(&socket).await?;
    /// let mut events = listener.subscribe("sensor.*").await?;
    /// emitter.emit("sensor.kitchen", "21.5").await?;
    /// assert_eq!(events.recv().await.unwrap().event(), "sensor.kitchen");
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
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

    /// Notes that a subscription has room again.
    pub(in crate::tokio) fn drained(&self) {
        self.shared().port.changed();
    }

    /// Calls `listener` for what happens to the connection from now on.
    ///
    /// ```
    /// use netcluster_client::AsyncClient;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// # tokio::runtime::Runtime::new().unwrap().block_on(async {
    /// let client = AsyncClient::connect(&socket).await?;
    /// let (sender, told) = std::sync::mpsc::channel();
    /// client.on_lifecycle(move |event| sender.send(event.clone()).unwrap());
    /// client.disconnect().await?;
    /// assert!(matches!(told.iter().last(), Some(netcluster_client::Lifecycle::Closed(_))));
    /// # Ok::<(), netcluster_client::Error>(())
    /// # }).unwrap();
    /// ```
    pub fn on_lifecycle(&self, listener: impl FnMut(&Lifecycle) + Send + 'static) {
        self.shared().on_lifecycle(Box::new(listener));
    }
}
