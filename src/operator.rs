//! Errands that the program around a broker does for whoever runs it: to change its log, to
//! read its configuration anew. That may take longer than a shard may wait, so a thread does
//! it.

use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use netcluster_platform::Waker;

use crate::target::Target;

/// The program that a broker runs in, as far as the broker's owner can ask it for
/// something: by `netcluster log-level` and `netcluster reload`, or a request `control`.
///
/// Each call runs on a thread of its own, and several may run at a time.
pub trait Operator: fmt::Debug + Send + Sync {
    /// Tells which messages the log has; with a filter from now on those. Returns the
    /// filter that is in force.
    ///
    /// # Errors
    /// Reason why there is no such filter.
    fn log_level(&self, filter: Option<&str>) -> Result<String, String>;

    /// Reads the configuration anew, and uses what can change in a broker that runs.
    /// Returns what changed and what needs a restart, as a JSON object.
    ///
    /// # Errors
    /// Reason why nothing changed.
    fn reload(&self) -> Result<String, String>;
}

/// Something that the operator is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// The log's filter, and another one perhaps.
    LogLevel(Option<String>),
    /// The configuration is to be read anew.
    Reload,
}

/// An errand that was done.
pub struct Done {
    /// The client that asked.
    pub target: Target,
    /// The number of its request.
    pub request: u64,
    /// The answer as JSON, or the reason why there is none.
    pub answer: Result<String, String>,
}

/// The operator, for the clients of one shard: one errand at a time.
pub struct Errands {
    operator: Arc<dyn Operator>,
    waker: Waker,
    sender: mpsc::Sender<Done>,
    done: mpsc::Receiver<Done>,
    is_out: bool,
}

impl Errands {
    /// Returns what wakes its shard when an errand is done.
    pub fn new(operator: Arc<dyn Operator>, waker: Waker) -> Errands {
        let (sender, done) = mpsc::channel();
        Errands { operator, waker, sender, done, is_out: false }
    }

    /// Begins an errand.
    ///
    /// # Errors
    /// Reason why not.
    pub fn begin(&mut self, target: Target, request: u64, errand: Errand) -> Result<(), String> {
        if self.is_out {
            return Err("another request is being carried out: try again".to_owned());
        }
        let operator = Arc::clone(&self.operator);
        let (waker, sender) = (self.waker.clone(), self.sender.clone());
        let run = move || {
            let answer = match errand {
                Errand::LogLevel(filter) => operator
                    .log_level(filter.as_deref())
                    .map(|level| serde_json::json!({ "level": level }).to_string()),
                Errand::Reload => operator.reload(),
            };
            // A shard that is gone needs none.
            let _ = sender.send(Done { target, request, answer });
            waker.wake();
        };
        let started: io::Result<_> = thread::Builder::new().name("operator".into()).spawn(run);
        started.map_err(|error| format!("cannot start a thread: {error}"))?;
        self.is_out = true;
        Ok(())
    }

    /// Takes the errand that was done, if there is one.
    pub fn take_done(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.is_out = false;
        Some(done)
    }
}
