//! Listeners of a blocking client: adding, removing, pulling.

use std::sync::Arc;
use std::time::Instant;

use netcluster_wire::Pattern;

use super::super::subscription::Subscription;
use super::Client;
use crate::core::{Listener, ListenerId, Placement, Port};
use crate::error::Error;
use crate::lifecycle::Lifecycle;
use crate::message::Message;

impl Client {
    /// Calls `listener` for every event whose name matches `pattern`, in the order
    /// in which listeners were added.
    ///
    /// Returns once the broker acknowledged: an event emitted afterwards anywhere
    /// on the machine is not missed. A listener that panics stays; the panic is
    /// told as [`Lifecycle::Error`]. While a listener runs nothing else is
    /// received: hand long work to another thread.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let emitter = Client::connect(&socket)?;
    /// let listener = Client::connect(&socket)?;
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// listener.on("sensor.*", move |message| {
    ///     sender.send(message.into_owned()).unwrap();
    /// })?;
    /// emitter.emit("sensor.kitchen", "21.5")?;
    /// assert_eq!(heard.recv().unwrap().payload(), b"21.5");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the pattern is not allowed, the client ended, or the broker does not
    /// answer in time; the listener is not added then.
    pub fn on(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.add(pattern, Placement::default(), Box::new(listener))
    }

    /// Adds a listener, as [`Client::on`] does, for one event only.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let emitter = Client::connect(&socket)?;
    /// let listener = Client::connect(&socket)?;
    /// listener.once("start", |message| println!("{} of {}", message.event(), message.source()))?;
    /// emitter.emit("start", "")?;
    /// emitter.ping()?;
    /// listener.ping()?;
    /// assert_eq!(listener.listener_count("start"), 0);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::on`].
    pub fn once(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.add(pattern, Placement { once: true, prepend: false }, Box::new(listener))
    }

    /// Adds a listener, as [`Client::on`] does, that is called before those that are there.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let emitter = Client::connect(&socket)?;
    /// let listener = Client::connect(&socket)?;
    /// let (sender, order) = std::sync::mpsc::channel();
    /// let first = sender.clone();
    /// listener.on("job", move |_| sender.send("second").unwrap())?;
    /// listener.prepend_listener("job", move |_| first.send("first").unwrap())?;
    /// emitter.emit("job", "")?;
    /// assert_eq!([order.recv().unwrap(), order.recv().unwrap()], ["first", "second"]);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::on`].
    pub fn prepend_listener(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.add(pattern, Placement { once: false, prepend: true }, Box::new(listener))
    }

    /// Adds a listener, as [`Client::once`] does, that is called before those that are there.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let emitter = Client::connect(&socket)?;
    /// let listener = Client::connect(&socket)?;
    /// let (sender, order) = std::sync::mpsc::channel();
    /// let first = sender.clone();
    /// listener.on("job", move |_| sender.send("always").unwrap())?;
    /// listener.prepend_once_listener("job", move |_| first.send("once").unwrap())?;
    /// emitter.emit("job", "")?;
    /// emitter.emit("job", "")?;
    /// assert_eq!([(); 3].map(|()| order.recv().unwrap()), ["once", "always", "always"]);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::on`].
    pub fn prepend_once_listener(
        &self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        self.add(pattern, Placement { once: true, prepend: true }, Box::new(listener))
    }

    fn add(
        &self,
        pattern: &str,
        placement: Placement,
        listener: Listener,
    ) -> Result<ListenerId, Error> {
        let shared = self.shared();
        let pattern = Pattern::new(pattern.as_bytes())?;
        let id = shared.add_listener(&pattern, placement, listener)?;
        if self.in_listener() {
            return Ok(id);
        }
        let mut waited = self.wait_in_force(&pattern);
        if let (Ok(()), Some(wait)) = (&waited, shared.options.cluster_wait) {
            waited = self.wait_for_cluster(wait);
        }
        waited.inspect_err(|_| {
            shared.remove_listener(id);
        })?;
        Ok(id)
    }

    fn wait_in_force(&self, pattern: &Pattern) -> Result<(), Error> {
        let shared = self.shared();
        let after = shared.options.connect_timeout;
        let deadline = Instant::now().checked_add(after);
        let answered = shared.port.bell.wait(deadline, || shared.in_force(pattern));
        answered.unwrap_or_else(|| Err(shared.not_in_force(after)))
    }

    /// Removes a listener; tells whether it was there. Called from a listener, it is not
    /// called again; from another thread, a call that runs already may finish.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// let id = client.on("log", |_| {})?;
    /// assert!(client.remove_listener(id));
    /// assert!(!client.remove_listener(id));
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn remove_listener(&self, id: ListenerId) -> bool {
        self.shared().remove_listener(id)
    }

    /// Removes the listeners of exactly this pattern, or all; tells how many.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.on("a", |_| {})?;
    /// client.on("a", |_| {})?;
    /// client.on("b.*", |_| {})?;
    /// assert_eq!(client.remove_all_listeners(Some("a")), 2);
    /// assert_eq!(client.remove_all_listeners(None), 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn remove_all_listeners(&self, pattern: Option<&str>) -> usize {
        self.shared().remove_all_listeners(pattern)
    }

    /// Counts the listeners that exactly this pattern has here.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.on("log", |_| {})?;
    /// assert_eq!(client.listener_count("log"), 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn listener_count(&self, pattern: &str) -> usize {
        self.shared().registry.lock().count(pattern)
    }

    /// The patterns that have listeners here, sorted.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.on("log", |_| {})?;
    /// client.on("a.*", |_| {})?;
    /// assert_eq!(client.event_names(), ["a.*", "log"]);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn event_names(&self) -> Vec<String> {
        self.shared().registry.lock().patterns()
    }

    /// The pull style: an iterator over the events that match `pattern`.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let emitter = Client::connect(&socket)?;
    /// let listener = Client::connect(&socket)?;
    /// let events = listener.subscribe("sensor.*")?;
    /// emitter.emit("sensor.kitchen", "21.5")?;
    /// for event in events.take(1) {
    ///     assert_eq!(event.unwrap().event(), "sensor.kitchen");
    /// }
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::on`].
    pub fn subscribe(&self, pattern: &str) -> Result<Subscription, Error> {
        let queue = self.shared().queue();
        let filled = Arc::clone(&queue);
        let id = self.on(pattern, move |message| filled.push(message.into_owned()))?;
        queue.hand_out();
        Ok(Subscription::new(self.clone(), id, queue))
    }

    /// Notes that a subscription has room again.
    pub(in crate::blocking) fn drained(&self) {
        self.shared().port.changed();
    }

    /// Calls `listener` for what happens to the connection from now on. To hear
    /// the first connect use [`ClientBuilder::on_lifecycle`](crate::ClientBuilder::on_lifecycle).
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// let (sender, told) = std::sync::mpsc::channel();
    /// client.on_lifecycle(move |event| sender.send(event.clone()).unwrap());
    /// client.disconnect()?;
    /// assert!(matches!(told.iter().last(), Some(netcluster_client::Lifecycle::Closed(_))));
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn on_lifecycle(&self, listener: impl FnMut(&Lifecycle) + Send + 'static) {
        self.shared().on_lifecycle(Box::new(listener));
    }

    /// Whether this thread runs a listener of this client.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let emitter = Client::connect(&socket)?;
    /// let listener = Client::connect(&socket)?;
    /// let (sender, heard) = std::sync::mpsc::channel();
    /// let inside = listener.clone();
    /// listener.on("a", move |_| sender.send(inside.in_listener()).unwrap())?;
    /// emitter.emit("a", "")?;
    /// assert!(heard.recv().unwrap() && !listener.in_listener());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn in_listener(&self) -> bool {
        self.shared().port.on_reader()
    }
}
