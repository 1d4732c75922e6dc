//! The core for one thread: what bindings of other languages drive, and tests that
//! have the time in their hand.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use netcluster_wire::{Encoding, Pattern, check_event};

#[cfg(test)]
use super::Queue;
use super::answers::{Answer, Question};
use super::lock;
use super::machine::{Machine, Step};
use super::outgoing::Outgoing;
use super::registry::{ListenerId, Placement};
use super::shared::{Port, Shared, requested};
use crate::builder::ClientBuilder;
use crate::error::Error;
use crate::lifecycle::Lifecycle;
use crate::message::Message;

/// Frames that wait to be written. Nobody waits for anything here.
pub(super) struct Local(Mutex<Outgoing>);

impl Port for Local {
    fn with<T>(&self, act: impl FnOnce(&mut Outgoing) -> T) -> T {
        act(&mut lock(&self.0))
    }

    fn requested(&self) {}

    fn link_changed(&self) {}

    fn changed(&self) {}
}

/// Bytes that were taken to be written.
#[derive(Debug, Default)]
struct Transmit {
    bytes: Vec<u8>,
    written: usize,
}

/// A client without IO, threads or a clock, to be driven by one thread.
///
/// The driver does what [`Core::poll_step`] says, writes what [`Core::poll_transmit`]
/// gives as the connection takes it, and says what happened by the `handle_` methods;
/// after each of them it looks at both again. Listeners and replies are called inside
/// [`Core::handle_input`], [`Core::handle_timeout`] and the like; what they have to
/// change they hand to the driver.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use netcluster_client::Client;
/// use netcluster_client::core::{Core, Step};
///
/// let now = Instant::now();
/// let mut core = Core::new(Client::builder(), vec!["a.sock".into()], 1, now)?;
/// let Step::Connect(path, by) = core.poll_step() else { panic!("it connects first") };
/// assert!(path.ends_with("a.sock") && by > now);
/// core.handle_connected();
/// assert!(!core.poll_transmit().is_empty(), "the hello");
/// // Nobody answers: it is given up once its time is over.
/// core.handle_timeout(by);
/// assert!(matches!(core.poll_step(), Step::Closed(_)));
/// # Ok::<(), netcluster_client::Error>(())
/// ```
pub struct Core {
    shared: Arc<Shared<Local>>,
    machine: Machine<Local>,
    transmit: Transmit,
}

impl Core {
    /// Makes a client that is to connect to the first of these sockets that has a broker.
    /// `seed` spreads the pauses between its attempts.
    ///
    /// # Errors
    /// If there is no socket, or the builder holds a name that is not allowed.
    pub fn new(
        builder: ClientBuilder,
        paths: Vec<PathBuf>,
        seed: u64,
        now: Instant,
    ) -> Result<Core, Error> {
        let ClientBuilder { options, lifecycle } = builder;
        let outgoing = Outgoing::new(options.max_buffer_bytes, 0);
        let shared = Arc::new(Shared::new(options, lifecycle, Local(Mutex::new(outgoing))));
        let machine = Machine::new(Arc::clone(&shared), paths, seed, now)?;
        Ok(Core { shared, machine, transmit: Transmit::default() })
    }

    /// Tells what the driver does next.
    #[must_use]
    pub fn poll_step(&self) -> Step {
        match self.machine.poll() {
            // Dispatched with the input.
            Step::Dispatch => Step::Read(None),
            step => step,
        }
    }

    /// Tells when [`Core::handle_timeout`] is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.machine.poll() {
            Step::Connect(_, by) | Step::Read(Some(by)) | Step::Wait(by) => Some(by),
            _ => None,
        }
    }

    /// Gives bytes to be written to the connection, if there are any: say by
    /// [`Core::handle_transmitted`] how many were.
    pub fn poll_transmit(&mut self) -> &[u8] {
        if self.transmit.bytes.is_empty() {
            self.shared.port.with(|outgoing| outgoing.take(&mut self.transmit.bytes));
        }
        &self.transmit.bytes[self.transmit.written..]
    }

    /// Takes in that so many bytes of [`Core::poll_transmit`] were written.
    pub fn handle_transmitted(&mut self, bytes: usize) {
        let Transmit { bytes: taken, written } = &mut self.transmit;
        *written += bytes;
        assert!(*written <= taken.len());
        self.shared.port.with(|outgoing| outgoing.wrote(bytes.min(outgoing.in_flight)));
        if *written == taken.len() {
            taken.clear();
            *written = 0;
        }
    }

    /// Takes in that the connection that [`Step::Connect`] asked for is there.
    pub fn handle_connected(&mut self) {
        self.transmit = Transmit { bytes: self.machine.handle_connected(), written: 0 };
    }

    /// Takes in that this connection cannot be made.
    pub fn handle_connect_failed(&mut self, error: io::Error, now: Instant) {
        if let Step::Connect(path, _) = self.machine.poll() {
            self.machine.handle_failed(Error::connect(&path, error), now);
        }
    }

    /// Takes in bytes that came: calls listeners and replies.
    pub fn handle_input(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() && matches!(self.machine.poll(), Step::Read(_) | Step::Hold) {
            let space = self.machine.space();
            let taken = space.len().min(bytes.len());
            space[..taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            self.machine.handle_input(taken, || now);
            self.dispatch(now);
        }
        self.keep_unwritten();
    }

    /// Takes in that the connection ended, by this error; `None`: by the broker.
    pub fn handle_disconnected(&mut self, error: Option<io::Error>, now: Instant) {
        self.machine.handle_disconnected(error, now);
        self.keep_unwritten();
    }

    /// Takes in that time passed: to be called at [`Core::poll_timeout`], earlier does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Step::Connect(path, by) = self.machine.poll()
            && now >= by
        {
            let error = Error::connect(&path, io::ErrorKind::TimedOut.into());
            self.machine.handle_failed(error, now);
        }
        self.machine.handle_timeout(now);
        self.keep_unwritten();
    }

    fn dispatch(&mut self, now: Instant) {
        if matches!(self.machine.poll(), Step::Dispatch) {
            self.machine.dispatch(&mut || true, || now);
        }
    }

    /// Keeps what the connection did not take for the next one.
    pub(super) fn keep_unwritten(&mut self) {
        if !matches!(self.machine.poll(), Step::Read(_) | Step::Hold) {
            let Transmit { bytes, written } = std::mem::take(&mut self.transmit);
            self.shared.port.with(|outgoing| {
                // A hello was never in the core's hands.
                if outgoing.in_flight > 0 {
                    outgoing.put_back(bytes, written);
                }
            });
        }
    }

    /// Emits an event, see [`Client::emit`](crate::Client::emit).
    ///
    /// # Errors
    /// As [`Client::emit`](crate::Client::emit) inside a listener.
    pub fn emit(&mut self, event: &str, data: impl AsRef<[u8]>) -> Result<(), Error> {
        self.emit_encoded(event, Encoding::Bytes, data)
    }

    /// Emits text, see [`Client::emit_text`](crate::Client::emit_text).
    ///
    /// # Errors
    /// As [`Core::emit`].
    pub fn emit_text(&mut self, event: &str, text: &str) -> Result<(), Error> {
        self.emit_encoded(event, Encoding::Text, text)
    }

    /// Emits a value as JSON, see [`Client::emit_json`](crate::Client::emit_json).
    ///
    /// # Errors
    /// As [`Core::emit`], or if it is not representable as JSON.
    #[cfg(feature = "json")]
    pub fn emit_json<T: serde::Serialize + ?Sized>(
        &mut self,
        event: &str,
        value: &T,
    ) -> Result<(), Error> {
        let data = serde_json::to_vec(value).map_err(|error| Error::Json(Arc::new(error)))?;
        self.emit_encoded(event, Encoding::Json, data)
    }

    /// Emits data that is encoded already, see
    /// [`Client::emit_encoded`](crate::Client::emit_encoded).
    ///
    /// # Errors
    /// As [`Core::emit`].
    pub fn emit_encoded(
        &mut self,
        event: &str,
        encoding: Encoding,
        data: impl AsRef<[u8]>,
    ) -> Result<(), Error> {
        self.shared.port.with(|outgoing| {
            let bound = outgoing.max_buffer_bytes;
            outgoing.append(event, encoding, data.as_ref(), bound).map(drop)
        })
    }

    /// Adds a listener, see [`Client::on`](crate::Client::on). Whether the broker
    /// acknowledged its pattern is told by [`Core::in_force`].
    ///
    /// # Errors
    /// If the pattern is not allowed, or the client ended.
    pub fn on(
        &mut self,
        pattern: &str,
        listener: impl FnMut(&Message<'_>) + Send + 'static,
    ) -> Result<ListenerId, Error> {
        let pattern = Pattern::new(pattern.as_bytes())?;
        self.shared.add_listener(&pattern, Placement::default(), Box::new(listener))
    }

    /// Removes a listener; tells whether it was there.
    pub fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.shared.remove_listener(id)
    }

    /// Whether a pattern that is listened to is in force, or why not; `None`: the
    /// broker has not answered yet.
    #[must_use]
    pub fn in_force(&self, pattern: &str) -> Option<Result<(), Error>> {
        match Pattern::new(pattern.as_bytes()) {
            Ok(pattern) => self.shared.in_force(&pattern),
            Err(error) => Some(Err(error.into())),
        }
    }

    /// Asks the broker. `reply` is called once: with the answer, or `None` if none can
    /// come any more.
    ///
    /// # Errors
    /// There is no connection, or the event's name is not allowed; `reply` is called
    /// all the same.
    pub fn ask(
        &mut self,
        question: Question<'_>,
        reply: impl FnOnce(Option<Answer>) + Send + 'static,
    ) -> Result<u64, Error> {
        let mut reply = Once(Some(reply));
        if let Question::Audience(event) = question {
            check_event(event.as_bytes())?;
        }
        self.shared.ask(question, Box::new(move |answer| reply.call(Some(answer))))
    }

    /// Forgets a question by its number: its reply is called with `None`.
    pub fn withdraw(&mut self, question: u64) {
        self.shared.withdraw(question);
    }

    /// Begins the orderly end: [`Step::Closed`] follows once the broker has queued all
    /// that was emitted.
    ///
    /// # Errors
    /// It cannot be said; the client is closed at once then.
    pub fn disconnect(&mut self, now: Instant) -> Result<(), Error> {
        let left = self.shared.leave();
        if self.shared.closed().is_some() {
            self.close(now);
        }
        left
    }

    /// Ends the client at once.
    pub fn close(&mut self, now: Instant) {
        self.shared.close(requested());
        self.machine.handle_closed(now);
    }

    /// The machine, for tests that drive it.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn machine(&mut self) -> &mut Machine<Local> {
        &mut self.machine
    }

    /// Acts on what is to be written, for tests that drive it.
    #[cfg(all(test, target_os = "linux"))]
    pub(super) fn outgoing<T>(&self, act: impl FnOnce(&mut Outgoing) -> T) -> T {
        self.shared.port.with(act)
    }

    /// The patterns that have listeners, sorted.
    #[cfg(test)]
    pub(super) fn patterns(&self) -> Vec<String> {
        self.shared.registry.lock().patterns()
    }

    /// Makes a queue of the events that match `pattern`, for tests.
    #[cfg(test)]
    pub(super) fn subscribe(&mut self, pattern: &str) -> Arc<Queue> {
        let queue = self.shared.queue();
        let filled = Arc::clone(&queue);
        self.on(pattern, move |message| filled.push(message.into_owned())).unwrap();
        queue.hand_out();
        queue
    }

    /// Adds a lifecycle listener, see
    /// [`Client::on_lifecycle`](crate::Client::on_lifecycle).
    pub fn on_lifecycle(&mut self, listener: impl FnMut(&Lifecycle) + Send + 'static) {
        self.shared.on_lifecycle(Box::new(listener));
    }
}

impl std::fmt::Debug for Core {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Core").field("step", &self.poll_step()).finish_non_exhaustive()
    }
}

/// A reply that is called even if nobody has an answer.
struct Once<F: FnOnce(Option<Answer>)>(Option<F>);

impl<F: FnOnce(Option<Answer>)> Once<F> {
    fn call(&mut self, answer: Option<Answer>) {
        if let Some(reply) = self.0.take() {
            reply(answer);
        }
    }
}

impl<F: FnOnce(Option<Answer>)> Drop for Once<F> {
    fn drop(&mut self) {
        self.call(None);
    }
}
