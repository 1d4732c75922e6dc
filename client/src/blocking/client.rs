//! The handle of a blocking client: what every thread may call.

mod asking;
mod listening;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use netcluster_wire::Encoding;

use super::driver::Driver;
use super::outbox::Outbox;
use crate::builder::ClientBuilder;
use crate::core::{self, requested};
use crate::error::Error;
use crate::path::place;

pub(super) type Shared = core::Shared<Outbox>;

/// Time for which dropping the last handle tries to write emitted events.
const DROP_FLUSH: Duration = Duration::from_millis(200);

/// A connection to the broker, with the shape of an event emitter.
///
/// Clones share the connection. All methods may be called from any thread, also
/// inside listeners, where nothing waits: `on` and the like return before the
/// broker acknowledged, [`Client::emit`] returns [`Error::Backpressure`] instead
/// of waiting for room, [`Client::ping`] and [`Client::status`] are refused.
///
/// It belongs to the process that connected: a child process that is forked without
/// a new program has none of its threads and must connect anew. Calls there fail
/// with [`Error::Forked`], at the latest when something is to be written (a fork
/// while another thread uses the client can also leave a lock taken for ever); they
/// never disturb the parent's connection.
///
/// When the last handle is dropped the connection ends at once, after a short
/// try to write what was emitted; [`Client::disconnect`] makes sure instead. A
/// listener that owns a handle of its own client keeps it connected.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if self.shared.port.on_reader() {
            self.shared.port.push();
        } else {
            // Best effort: who must know calls `disconnect`.
            let _ = self.shared.port.flush(Some(Instant::now() + DROP_FLUSH));
        }
        self.shared.close(requested());
    }
}

impl Client {
    /// Connects to the broker whose socket this is.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit("greeting", "hello")?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If there is none, it refuses, or does not answer in time.
    pub fn connect(path: impl AsRef<Path>) -> Result<Client, Error> {
        Client::builder().connect(path)
    }

    /// Connects to the machine's broker: at the socket that the environment names
    /// (`NETCLUSTER_SOCKET`), and no other; else at the user's own, and if nobody
    /// listens there at the system's, `/run/netcluster/default.sock`. See
    /// [`default_socket_paths`](crate::default_socket_paths). A lost connection is made
    /// again at the same socket.
    ///
    /// ```no_run
    /// use netcluster_client::Client;
    ///
    /// let client = Client::connect_default()?;
    /// client.emit("greeting", "hello")?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::connect`]; [`Error::NoneAnswers`] says of each socket why it is not
    /// used. One in a directory that somebody else may control is not, if it is where
    /// anybody may create one, such as in `/tmp`.
    pub fn connect_default() -> Result<Client, Error> {
        Client::builder().connect_default()
    }

    /// Gives a builder, for more than the defaults.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::builder().name("thermometer").channel("kitchen").connect(&socket)?;
    /// client.emit("temperature", "21.5")?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }

    pub(crate) fn start(builder: ClientBuilder, paths: &[PathBuf]) -> Result<Client, Error> {
        let ClientBuilder { options, lifecycle } = builder;
        let paths: Vec<PathBuf> = paths.iter().map(|path| place(path)).collect();
        let outbox = Outbox::new(options.max_buffer_bytes, options.connect_timeout);
        let shared = Arc::new(Shared::new(options, lifecycle, outbox));
        let mut driver = Driver::new(Arc::clone(&shared), paths)?;
        driver.connect()?;
        // Made first: if a thread cannot be started, dropping it ends the other.
        let client = Client { handle: Arc::new(Handle { shared: Arc::clone(&shared) }) };
        let start = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let started = thread::Builder::new().name(name.to_owned()).spawn(run);
            started.map(drop).map_err(|error| Error::Thread(Arc::new(error)))
        };
        start("netcluster-flush", Box::new(move || shared.port.run_flusher()))?;
        start("netcluster-read", Box::new(move || driver.run()))?;
        Ok(client)
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// Emits an event of bytes to every other client with a matching listener (and to own
    /// listeners with `echo`).
    ///
    /// Returns before it is written; call it in a loop, events travel together.
    /// They leave at once when it is quiet, within 100 µs otherwise (the last of a flood
    /// within 1 ms), and what a listener emits when it returns at the latest. Waits while the broker or a
    /// listener that this emitter feeds does not keep up.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit("sensor.kitchen", "21.5")?;
    /// client.emit("sensor.kitchen", [21, 5])?;
    /// assert!(client.emit("sensor.*", "").is_err(), "no name of an event");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the name or the size of the payload is not allowed, if the client ended,
    /// if the connection is down and the buffer full for long. Inside a listener
    /// [`Error::Backpressure`] instead of waiting. Nothing was emitted then.
    #[inline]
    pub fn emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        self.handle.shared.port.emit(event, Encoding::Bytes, data.as_ref())
    }

    /// Emits text. Listeners in other languages get a string, see [`Encoding`].
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit_text("sensor.kitchen", "21.5")?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::emit`].
    #[inline]
    pub fn emit_text(&self, event: &str, text: &str) -> Result<(), Error> {
        self.handle.shared.port.emit(event, Encoding::Text, text.as_bytes())
    }

    /// Emits data that is encoded already, and as what.
    ///
    /// ```
    /// use netcluster_client::{Client, Encoding};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit_encoded("sensor.kitchen", Encoding::Json, "[21.5,40.0]")?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::emit`]. Whether the data is what is said of it nobody checks.
    #[inline]
    pub fn emit_encoded(
        &self,
        event: &str,
        encoding: Encoding,
        data: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.handle.shared.port.emit(event, encoding, data.as_ref())
    }

    /// Emits, as [`Client::emit`] does, if there is room: it never waits. For threads that
    /// must not, such as those of event loops.
    ///
    /// ```
    /// use netcluster_client::{Client, Error};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// match client.try_emit("sensor.kitchen", "21.5") {
    ///     Err(Error::Backpressure) => println!("not now"),
    ///     emitted => emitted?,
    /// }
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Backpressure`] if there is no room; else as [`Client::emit`].
    pub fn try_emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        self.try_emit_encoded(event, Encoding::Bytes, data)
    }

    /// Emits data that is encoded already, as [`Client::try_emit`] does.
    ///
    /// ```
    /// use netcluster_client::{Client, Encoding};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.try_emit_encoded("sensor.kitchen", Encoding::Json, "[21.5]")?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::try_emit`].
    pub fn try_emit_encoded(
        &self,
        event: &str,
        encoding: Encoding,
        data: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.handle.shared.port.try_emit(event, encoding, data.as_ref())
    }

    /// Emits data that is encoded already; waits for room only while `go_on` says so, which
    /// is asked about every 100 ms, under no lock. For threads that must look at something
    /// else meanwhile, such as signals.
    ///
    /// ```
    /// use netcluster_client::{Client, Encoding};
    /// use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// let stopped = AtomicBool::new(false);
    /// client.emit_while("sensor.kitchen", Encoding::Text, "21.5", || !stopped.load(Relaxed))?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Backpressure`] if it shall not wait on; else as [`Client::emit`].
    pub fn emit_while(
        &self,
        event: &str,
        encoding: Encoding,
        data: impl AsRef<[u8]>,
        go_on: impl FnMut() -> bool,
    ) -> Result<(), Error> {
        self.handle.shared.port.emit_while(event, encoding, data.as_ref(), go_on)
    }

    /// Emits a value as JSON. Listeners in other languages get it as one of theirs.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit_json("sensor.kitchen", &[21.5, 40.0])?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::emit`], or if it is not representable as JSON.
    #[cfg(feature = "json")]
    pub fn emit_json<T: serde::Serialize + ?Sized>(
        &self,
        event: &str,
        value: &T,
    ) -> Result<(), Error> {
        let data = serde_json::to_vec(value).map_err(|error| Error::Json(Arc::new(error)))?;
        self.emit_encoded(event, Encoding::Json, data)
    }

    /// Returns once everything emitted so far is written to the socket.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit("sensor.kitchen", "21.5")?;
    /// client.flush()?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the client ended or the connection stays down; inside a listener also if
    /// the socket is full.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared().port.flush(None)
    }

    /// Ends the connection in order: returns once everything emitted is queued at
    /// every target and the last listener ran. Inside a listener it does not wait.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit("goodbye", "")?;
    /// client.disconnect()?;
    /// assert!(client.is_closed());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If that takes longer than the builder's `disconnect_timeout`, or the
    /// connection broke meanwhile. The connection is over in any case.
    pub fn disconnect(&self) -> Result<(), Error> {
        let shared = self.shared();
        shared.leave()?;
        if self.in_listener() {
            return Ok(());
        }
        let deadline = Instant::now().checked_add(shared.options.disconnect_timeout);
        let finished = || shared.is_finished().then_some(());
        shared.left(shared.port.bell.wait(deadline, finished).is_some())
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("path", &self.shared().path())
            .field("source", &self.source())
            .finish()
    }
}
