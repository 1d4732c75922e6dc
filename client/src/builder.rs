//! The builder of clients and their options.

use std::path::Path;
use std::time::Duration;

use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;
use netcluster_wire::{Hello, Source};

use crate::blocking::Client;
use crate::core::Reconnect;
use crate::core::session::Outbound;
use crate::error::Error;
use crate::lifecycle::{Lifecycle, LifecycleListener};

/// The broker's policy when this client's listeners do not keep up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueuePolicy {
    /// Emitters that feed this client wait. Nothing is lost.
    #[default]
    Backpressure,
    /// This client loses the oldest events, told as `Lost`, and delays nobody.
    Latest,
}

/// Use of memory that the broker shares with its clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum SharedMemory {
    /// Shared memory where the system (Linux) has it and the broker offers it; else the
    /// socket does the work.
    #[default]
    Auto,
    /// The socket alone.
    Off,
}

/// Options that a connection is made with, and made again with.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) channel: String,
    pub(crate) name: String,
    pub(crate) echo: bool,
    pub(crate) queue: QueuePolicy,
    pub(crate) max_queue_bytes: u64,
    pub(crate) max_buffer_bytes: usize,
    pub(crate) max_payload_bytes: usize,
    pub(crate) reconnect: Reconnect,
    pub(crate) connect_timeout: Duration,
    pub(crate) disconnect_timeout: Duration,
    pub(crate) cluster_wait: Option<Duration>,
    pub(crate) broker_wait: Duration,
    pub(crate) shared_memory: SharedMemory,
    pub(crate) spin: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            channel: "default".into(),
            name: String::new(),
            echo: false,
            queue: QueuePolicy::Backpressure,
            max_queue_bytes: 0,
            max_buffer_bytes: 4 << 20,
            max_payload_bytes: HARD_MAX_PAYLOAD_BYTES,
            reconnect: Reconnect::default(),
            connect_timeout: Duration::from_secs(5),
            disconnect_timeout: Duration::from_secs(5),
            cluster_wait: None,
            broker_wait: Duration::ZERO,
            shared_memory: SharedMemory::Auto,
            spin: Duration::ZERO,
        }
    }
}

impl Options {
    /// Whether the hello says that memory can be shared, if the driver can do that.
    pub(crate) fn hello_shares(&self) -> bool {
        self.shared_memory == SharedMemory::Auto && crate::memory::IS_THERE
    }

    pub(crate) fn hello(&self, previous: Source) -> Hello {
        Hello {
            echo: self.echo,
            latest: self.queue == QueuePolicy::Latest,
            shared: self.hello_shares(),
            leaves: self.reconnect == Reconnect::Never,
            max_queue: self.max_queue_bytes,
            previous,
            client_name: self.name.clone(),
        }
    }
}

/// The builder of a client; made by [`Client::builder`].
#[derive(Default)]
#[must_use = "it does nothing until it connects"]
pub struct ClientBuilder {
    pub(crate) options: Options,
    pub(crate) lifecycle: Vec<LifecycleListener>,
}

impl ClientBuilder {
    /// Checks what connecting checks before it asks anybody: the names.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// let error = Client::builder().channel("").check().unwrap_err();
    /// assert!(error.to_string().starts_with("channel name refused"));
    /// ```
    ///
    /// # Errors
    /// [`Error::ChannelName`] and [`Error::ClientName`].
    pub fn check(&self) -> Result<(), Error> {
        let hello = self.options.hello(Source::NONE);
        Outbound::new().hello(&mut Vec::new(), &self.options.channel, &hello)
    }

    /// The channel: only clients of the same one hear each other.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().channel("kitchen").connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn channel(mut self, channel: impl Into<String>) -> Self {
        self.options.channel = channel.into();
        self
    }

    /// Gives the client a name for the broker's `status`.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().name("thermometer").connect(&socket)?;
    /// assert!(client.status()?.contains("thermometer"));
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// Whether own listeners hear own events; they do not by default.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().echo(true).connect(&socket)?;
    /// let heard = client.subscribe("a")?;
    /// client.emit("a", "")?;
    /// assert!(heard.recv().is_ok());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn echo(mut self, echo: bool) -> Self {
        self.options.echo = echo;
        self
    }

    /// What happens when own listeners do not keep up.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().queue(netcluster_client::QueuePolicy::Latest).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn queue(mut self, queue: QueuePolicy) -> Self {
        self.options.queue = queue;
        self
    }

    /// Sets how many bytes the broker may hold for this client. It takes the smaller
    /// of this and its own limit.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().max_queue(64 << 20).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn max_queue(mut self, bytes: u64) -> Self {
        self.options.max_queue_bytes = bytes;
        self
    }

    /// Sets how many emitted bytes wait here while listeners emit or the connection is
    /// down; 4 MiB by default.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().max_buffer(1 << 20).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn max_buffer(mut self, bytes: usize) -> Self {
        self.options.max_buffer_bytes = bytes;
        self
    }

    /// The largest event that is taken from the broker, which may be set to a lower limit
    /// itself. A larger one ends the client with [`Error::Protocol`]. By default what the
    /// broker allows, 1 GiB at most; memory is used as bytes come, not as they are
    /// announced. The broker's own answers take 8 MiB at most.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().max_payload(64 << 10).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.options.max_payload_bytes = bytes;
        self
    }

    /// Whether and how a lost connection is made again; by default for ever, with
    /// pauses from 20 ms to 2 s.
    ///
    /// ```
    /// use netcluster_client::{Client, Reconnect};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().reconnect(Reconnect::Never).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.options.reconnect = reconnect;
        self
    }

    /// Sets how long the first connection is tried again while no broker is there, or
    /// it has no place or time; once by default. What waiting does not change, such
    /// as a missing permission, is an error at once. A try that began in time may
    /// take [`ClientBuilder::connect_timeout`].
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().wait_for_broker(Duration::from_secs(30)).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn wait_for_broker(mut self, wait: Duration) -> Self {
        self.options.broker_wait = wait;
        self
    }

    /// Sets how long to wait for a connection and the broker's answers (welcome,
    /// acknowledged listeners, status), and how long an emitter waits for a lost connection once the
    /// buffer is full; 5 s by default.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().connect_timeout(Duration::from_secs(1)).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// Sets how long [`Client::disconnect`] waits; 5 s by default.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().disconnect_timeout(Duration::from_secs(1)).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn disconnect_timeout(mut self, timeout: Duration) -> Self {
        self.options.disconnect_timeout = timeout;
        self
    }

    /// Lets `on`, `once` and `subscribe` return only when the brokers of all
    /// machines know of the listener, so that an event emitted afterwards anywhere
    /// in the cluster is not missed; with [`Error::ClusterIncomplete`] after this
    /// time (the listener is not added then). By default they wait for this
    /// machine alone. Not inside listeners, which never wait.
    ///
    /// [`Error::ClusterIncomplete`]: crate::Error::ClusterIncomplete
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().wait_for_cluster(Duration::from_secs(5)).connect(&socket)?;
    /// // Known on all machines once this returns.
    /// client.on("log", |_| {})?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn wait_for_cluster(mut self, timeout: Duration) -> Self {
        self.options.cluster_wait = Some(timeout);
        self
    }

    /// Whether events may go through memory that the broker shares with this client, which
    /// costs fewer copies than a socket. Where it cannot, or the broker does not offer it,
    /// they go by the socket. By default it is used where the system has it (Linux).
    ///
    /// ```
    /// use netcluster_client::{Client, SharedMemory};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().shared_memory(SharedMemory::Off).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn shared_memory(mut self, shared_memory: SharedMemory) -> Self {
        self.options.shared_memory = shared_memory;
        self
    }

    /// Sets how long the client looks for events in shared memory before it sleeps: being
    /// woken takes some 50 µs; looking takes what is left of a core, which others have
    /// between looks. By default it sleeps at once. Without shared memory it has no
    /// effect.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().spin(Duration::from_micros(50)).connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn spin(mut self, spin: Duration) -> Self {
        self.options.spin = spin;
        self
    }

    /// Adds a lifecycle listener that also hears the first connect.
    ///
    /// ```
    /// use netcluster_client::{Client, Lifecycle};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let (sender, told) = std::sync::mpsc::channel();
    /// let client = Client::builder()
    ///     .on_lifecycle(move |event| sender.send(event.clone()).unwrap())
    ///     .connect(&socket)?;
    /// assert!(matches!(told.recv().unwrap(), Lifecycle::Connect { resumed: false, .. }));
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn on_lifecycle(mut self, listener: impl FnMut(&Lifecycle) + Send + 'static) -> Self {
        self.lifecycle.push(Box::new(listener));
        self
    }

    /// Connects to the broker whose socket this is. A relative path is the one it
    /// is now, also for later connections.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().connect(&socket)?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is none, it refuses, or does not answer in time. The first
    /// connection is tried once, unless [`ClientBuilder::wait_for_broker`] says otherwise.
    pub fn connect(self, path: impl AsRef<Path>) -> Result<Client, Error> {
        Client::start(self, &[path.as_ref().to_owned()])
    }

    /// Connects to the machine's broker: see [`Client::connect_default`].
    ///
    /// ```no_run
    /// use netcluster_client::Client;
    ///
    /// let client = Client::builder().name("thermometer").connect_default()?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`ClientBuilder::connect`] and [`Client::connect_default`].
    pub fn connect_default(self) -> Result<Client, Error> {
        Client::start(self, &crate::default_socket_paths())
    }
}

impl std::fmt::Debug for ClientBuilder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ClientBuilder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
