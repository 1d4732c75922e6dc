//! A running broker, and its end. [`crate::start`] says how it comes to run.

use std::ffi::OsStr;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, OnceLock};
use std::thread;

use netcluster_platform::{Backend, BackendUnavailable, BindError, Waker};

use crate::heir::Heir;
use crate::keeper::Keeper;
use crate::options::BrokerOptions;
use crate::pulse::{Pulse, Watch};
use crate::reload::Reloader;
#[cfg(doc)]
use crate::start::Claimant;
use crate::start::Prepared;

/// Reason why a broker did not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// An option is out of range: which one, and what is allowed.
    Option(String),
    /// The socket cannot be bound.
    Bind(BindError),
    /// The sockets of the link cannot be opened.
    Link(String),
    /// The back end that was asked for cannot be had.
    Backend(BackendUnavailable),
    /// A thread cannot be started.
    Thread(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Option(text) | StartError::Link(text) => formatter.write_str(text),
            StartError::Backend(error) => error.fmt(formatter),
            StartError::Bind(error) => error.fmt(formatter),
            StartError::Thread(error) => write!(formatter, "cannot start a shard: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    /// Returns the system's error; the others are told whole by this error's text.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Bind(error) => error.source(),
            StartError::Thread(error) => Some(error),
            StartError::Option(_) | StartError::Link(_) | StartError::Backend(_) => None,
        }
    }
}

/// A running broker. Dropping it shuts it down.
#[must_use = "a broker ends when it is dropped"]
#[derive(Debug)]
pub struct Broker {
    pub(crate) socket: PathBuf,
    pub(crate) shutdown: Shutdown,
    pub(crate) threads: Vec<thread::JoinHandle<io::Result<()>>>,
    pub(crate) node: u32,
    pub(crate) backend: Backend,
    pub(crate) shards: u16,
    pub(crate) keeper: Option<Keeper>,
    pub(crate) heir: Heir,
    pub(crate) pulse: Pulse,
    pub(crate) reloader: Reloader,
}

/// Handle that asks a broker to shut down, from any thread.
#[derive(Clone, Debug)]
pub struct Shutdown {
    pub(crate) asked: Arc<AtomicBool>,
    /// Wakers of the shards, set once all of them have a back end.
    pub(crate) wakers: Arc<OnceLock<Vec<Waker>>>,
}

impl Shutdown {
    /// Asks the broker to end: clients get what is queued for them and a goodbye first.
    /// Returns at once. Asking again does nothing.
    pub fn request(&self) {
        self.asked.store(true, Ordering::Relaxed);
        self.wakers.get().into_iter().flatten().for_each(Waker::wake);
    }
}

impl Broker {
    /// Binds the socket and starts the shards. Clients can connect when this
    /// returns.
    ///
    /// # Errors
    /// Reason why the broker cannot start, and what to change.
    pub fn start(options: BrokerOptions) -> Result<Broker, StartError> {
        Broker::prepare(options)?.bind()?.start()
    }

    /// Prepares a broker: all that can fail but its socket, which may be that of a broker
    /// whose place it takes.
    ///
    /// # Errors
    /// Reason why the broker cannot start, and what to change.
    #[doc(hidden)]
    pub fn prepare(options: BrokerOptions) -> Result<Prepared, StartError> {
        Prepared::new(options)
    }

    /// Returns the path of the socket where clients connect.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Returns the node id of this broker.
    pub fn node(&self) -> u32 {
        self.node
    }

    /// Returns the back end in use.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Returns the number of shards.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// Returns a handle that gives this broker other settings while it runs.
    pub fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Returns a handle that shuts this broker down, from another thread or a signal
    /// handler.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown.clone()
    }

    /// Returns a handle that asks whether all shards turn.
    #[doc(hidden)]
    pub fn watch(&self) -> Watch {
        Watch::new(self.pulse.clone(), Arc::clone(&self.shutdown.wakers))
    }

    /// Gives this broker's place to the one that listens on a socket of this name beside its
    /// own ([`Claimant::name`]), on these terms for the link ([`Claimant::terms`]), and shuts
    /// it down.
    ///
    /// # Errors
    /// Reason why not; then nothing has changed.
    #[doc(hidden)]
    pub fn hand_over(&self, heir: &OsStr, terms: Option<String>) -> Result<(), String> {
        let (answer, answered) = mpsc::channel();
        let answer = Box::new(move |outcome| drop(answer.send(outcome)));
        self.heir.appoint(heir.to_owned(), terms, answer)?;
        answered.recv().unwrap_or_else(|_| Err("the broker ends already".to_owned()))?;
        self.shutdown.request();
        Ok(())
    }

    /// Returns what tells, also after this broker's end, whether another one took its place.
    #[doc(hidden)]
    pub fn heir(&self) -> Heir {
        self.heir.clone()
    }

    /// Waits until the broker has ended: after [`Shutdown::request`], or because
    /// a shard broke (then the others are shut down).
    ///
    /// # Errors
    /// Error of the shard that broke.
    pub fn join(mut self) -> io::Result<()> {
        self.join_threads()
    }

    fn join_threads(&mut self) -> io::Result<()> {
        let mut result = Ok(());
        for thread in self.threads.drain(..) {
            let ended = thread
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a shard panicked: this is a bug")));
            result = result.and(ended);
        }
        self.keeper = None;
        result
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.shutdown.request();
        if let Err(error) = self.join_threads() {
            tracing::error!(%error, "a shard broke");
        }
    }
}

/// Returns a number that the system chose at random: each hash state has keys of its own.
pub fn random() -> u64 {
    RandomState::new().hash_one(0)
}

#[cfg(test)]
mod tests {
    use super::random;

    #[test]
    fn runs_differ() {
        assert_ne!(random(), random());
    }
}
