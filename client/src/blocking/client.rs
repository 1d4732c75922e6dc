//! The handle of a blocking client: what every thread may call.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use netcluster_wire::control::Audience;
use netcluster_wire::{Pattern, Source, check_event};

use super::driver::Driver;
use super::outbox::Outbox;
use super::subscription::Subscription;
use crate::builder::ClientBuilder;
use crate::core::{self, Answer, Listener, ListenerId, Placement, Question, requested};
use crate::error::Error;
use crate::lifecycle::Lifecycle;
use crate::message::Message;
use crate::path::place;

pub(super) type Shared = core::Shared<Outbox>;

/// How long dropping the last handle tries to write what was emitted.
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
    /// # Errors
    /// As [`Client::connect`]; [`Error::NoneAnswers`] says of each socket why it is not
    /// used. One in a directory that somebody else may control is not, if it is where
    /// anybody may create one, such as in `/tmp`.
    pub fn connect_default() -> Result<Client, Error> {
        Client::builder().connect_default()
    }

    /// For more than the defaults.
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

    /// Emits an event to every other client with a matching listener (and to own
    /// listeners with `echo`).
    ///
    /// Returns before it is written; call it in a loop, events travel together.
    /// They leave at once when it is quiet, within 100 µs otherwise, and what a
    /// listener emits when it returns at the latest. Waits while the broker or a
    /// listener that this emitter feeds does not keep up.
    ///
    /// # Errors
    /// If the name or the size of the payload is not allowed, if the client ended,
    /// if the connection is down and the buffer full for long. Inside a listener
    /// [`Error::Backpressure`] instead of waiting. Nothing was emitted then.
    #[inline]
    pub fn emit(&self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        self.handle.shared.port.emit(event, data.as_ref())
    }

    /// Emits a value as JSON.
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
        self.emit(event, data)
    }

    /// Returns once everything emitted so far is written to the socket.
    ///
    /// # Errors
    /// If the client ended or the connection stays down; inside a listener also if
    /// the socket is full.
    pub fn flush(&self) -> Result<(), Error> {
        self.shared().port.flush(None)
    }

    /// Calls `listener` for every event whose name matches `pattern`, in the order
    /// in which listeners were added.
    ///
    /// Returns once the broker acknowledged: an event emitted afterwards anywhere
    /// on the machine is not missed. A listener that panics stays; the panic is
    /// told as [`Lifecycle::Error`]. While a listener runs nothing else is
    /// received: hand long work to another thread.
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

    /// As [`Client::on`], for one event only.
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

    /// As [`Client::on`], but called before the listeners that are there.
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

    /// As [`Client::once`], but called before the listeners that are there.
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
        let waiting_for = "acknowledgement of a listener";
        answered.unwrap_or(Err(Error::Timeout { waiting_for, after }))
    }

    /// Removes a listener; whether it was there. Called from a listener, it is not
    /// called again; from another thread, a call that runs already may finish.
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

    /// The pull style: an iterator over the events that match `pattern`.
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

    /// A subscription has room again.
    pub(super) fn drained(&self) {
        core::Port::changed(&self.shared().port);
    }

    /// Calls `listener` for what happens to the connection from now on. To hear
    /// the first connect use [`ClientBuilder::on_lifecycle`].
    pub fn on_lifecycle(&self, listener: impl FnMut(&Lifecycle) + Send + 'static) {
        self.shared().on_lifecycle(Box::new(listener));
    }

    /// Ends the connection in order: returns once everything emitted is queued at
    /// every target and the last listener ran. Inside a listener it does not wait.
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

    fn ask(&self, question: Question<'_>) -> Result<Answer, Error> {
        let shared = self.shared();
        let waiting_for = question.waiting_for();
        if self.in_listener() {
            return Err(Error::InsideListener(waiting_for));
        }
        let after = shared.patience(&question);
        let (sender, receiver) = sync_channel(1);
        // Whoever asked may have given up.
        let number = shared.ask(question, Box::new(move |answer| drop(sender.send(answer))))?;
        receiver.recv_timeout(after).map_err(|error| match error {
            RecvTimeoutError::Disconnected => shared.unanswered(),
            RecvTimeoutError::Timeout => {
                shared.withdraw(number);
                Error::Timeout { waiting_for, after }
            }
        })
    }

    /// Returns once the brokers of all machines know of every listener added so
    /// far: an event emitted afterwards anywhere in the cluster is not missed.
    /// Without a link that is at once. See also
    /// [`ClientBuilder::wait_for_cluster`](crate::ClientBuilder::wait_for_cluster).
    ///
    /// # Errors
    /// [`Error::ClusterIncomplete`] names those that have not confirmed in time;
    /// the listeners stay. Otherwise as [`Client::status`].
    pub fn wait_for_cluster(&self, timeout: Duration) -> Result<(), Error> {
        self.ask(Question::Cluster(timeout))?.check_complete(timeout)
    }

    /// Who would get an event of this name if it were emitted now: as many clients and
    /// brokers as it finds when the broker reads the question, in its order among what
    /// is emitted here.
    ///
    /// # Errors
    /// If the name is not allowed; else as [`Client::status`].
    pub fn audience(&self, event: &str) -> Result<Audience, Error> {
        check_event(event.as_bytes())?;
        self.ask(Question::Audience(event))?.audience()
    }

    /// The broker's status, as JSON.
    ///
    /// # Errors
    /// If it does not come in time; [`Error::InsideListener`] in a listener.
    pub fn status(&self) -> Result<String, Error> {
        self.ask(Question::Status)?.status()
    }

    /// How long the broker takes to answer, once everything emitted so far is
    /// queued at every target.
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        self.ask(Question::Ping)?.pong()?;
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

    /// Sequence of the last own event known to be queued at every target. Advances
    /// every 4 MiB, and by [`Client::ping`].
    pub fn confirmed_sequence(&self) -> u64 {
        self.shared().confirmed()
    }

    /// Whether the client ended for good: disconnected as it was told to, or gave
    /// up connecting again. Told as [`Lifecycle::Closed`].
    pub fn is_closed(&self) -> bool {
        self.shared().closed().is_some()
    }

    /// The largest payload that the broker takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.shared().max_payload()
    }

    /// Whether this thread runs a listener of this client.
    pub fn in_listener(&self) -> bool {
        self.shared().port.on_reader()
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
