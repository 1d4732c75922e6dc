//! Questions that a blocking client answers: by its broker, or by itself.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use netcluster_wire::control::Audience;
use netcluster_wire::limits::MAX_CONTROL_PAYLOAD_BYTES;
use netcluster_wire::{Source, check_event};

use super::Client;
use crate::core::{Answer, Question};
use crate::error::Error;

impl Client {
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
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.on("log", |_| {})?;
    /// // Without a link that is at once.
    /// client.wait_for_cluster(std::time::Duration::from_secs(5))?;
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::ClusterIncomplete`] names those that have not confirmed in time;
    /// the listeners stay. Otherwise as [`Client::status`].
    pub fn wait_for_cluster(&self, timeout: Duration) -> Result<(), Error> {
        self.ask(Question::Cluster(timeout))?.check_complete(timeout)
    }

    /// Counts who would get an event of this name if it were emitted now: the clients and
    /// brokers as it finds when the broker reads the question, in its order among what
    /// is emitted here.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let emitter = Client::connect(&socket)?;
    /// let listener = Client::connect(&socket)?;
    /// listener.on("sensor.*", |_| {})?;
    /// assert_eq!(emitter.audience("sensor.kitchen")?.clients, 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If the name is not allowed; else as [`Client::status`].
    pub fn audience(&self, event: &str) -> Result<Audience, Error> {
        check_event(event.as_bytes())?;
        self.ask(Question::Audience(event))?.audience()
    }

    /// The broker's status, as JSON.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// assert!(client.status()?.starts_with('{'));
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// If it does not come in time; [`Error::InsideListener`] in a listener.
    pub fn status(&self) -> Result<String, Error> {
        self.ask(Question::Status)?.status()
    }

    /// Asks something that whoever runs the broker may ask for, in JSON of 4096 bytes at most
    /// (see `control` in PROTOCOL.md), as `netcluster kick`, `log-level` and others do.
    /// Returns the broker's answer, in JSON.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// let error = client.control(r#"{"do":"kick","client":7}"#).unwrap_err();
    /// assert_eq!(error.to_string(), "refused: there is no client 7");
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Refused`] with the broker's reason; else as [`Client::status`], or
    /// [`Error::PayloadTooLarge`].
    pub fn control(&self, request: &str) -> Result<String, Error> {
        let limit = MAX_CONTROL_PAYLOAD_BYTES;
        if request.len() > limit {
            return Err(Error::PayloadTooLarge { bytes: request.len(), limit });
        }
        self.ask(Question::Control(request))?.control()
    }

    /// Measures how long the broker takes to answer, once everything emitted so far is
    /// queued at every target.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit("sensor.kitchen", "21.5")?;
    /// println!("{:?}", client.ping()?);
    /// assert_eq!(client.confirmed_sequence(), 1);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Client::status`].
    pub fn ping(&self) -> Result<Duration, Error> {
        let start = Instant::now();
        self.ask(Question::Ping)?.pong()?;
        Ok(start.elapsed())
    }

    /// The socket of its broker.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// assert_eq!(client.socket(), socket);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn socket(&self) -> &Path {
        self.shared().path()
    }

    /// Who this client is for others; another one after a reconnect.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let emitter = Client::connect(&socket)?;
    /// let listener = Client::connect(&socket)?;
    /// assert_ne!(emitter.source(), listener.source());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn source(&self) -> Source {
        self.shared().source()
    }

    /// Sequence of the last event emitted; 0: none yet.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit("a", "")?;
    /// client.emit("b", "")?;
    /// assert_eq!(client.last_sequence(), 2);
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn last_sequence(&self) -> u64 {
        self.shared().last_sequence()
    }

    /// Sequence of the last own event known to be queued at every target. Advances
    /// every 4 MiB, and by [`Client::ping`].
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// client.emit("a", "")?;
    /// client.ping()?;
    /// assert_eq!(client.confirmed_sequence(), client.last_sequence());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn confirmed_sequence(&self) -> u64 {
        self.shared().confirmed()
    }

    /// Whether the client ended for good: disconnected as it was told to, or gave
    /// up connecting again. Told as [`Lifecycle::Closed`](crate::Lifecycle::Closed).
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// assert!(!client.is_closed());
    /// client.disconnect()?;
    /// assert!(client.is_closed());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared().closed().is_some()
    }

    /// The largest payload that the broker takes, in bytes.
    ///
    /// ```
    /// use netcluster_client::Client;
    ///
    /// # let (_bus, socket) = include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/broker.inc"));
    /// let client = Client::connect(&socket)?;
    /// let large = vec![0; client.max_payload() + 1];
    /// assert!(client.emit("large", large).is_err());
    /// # Ok::<(), netcluster_client::Error>(())
    /// ```
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.shared().max_payload()
    }
}
