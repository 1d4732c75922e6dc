//! Errands that the program around a broker does for whoever runs it: to change its log, to
//! read its configuration anew. That may take longer than a shard may wait, so a thread does
//! it.

use std::fmt;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread;

use netcluster_platform::Waker;

use crate::apart;
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

/// The operator, for the clients of one shard: one errand at a time of the owner, and one of
/// all others, who so keep the owner from nothing.
pub struct Errands {
    operator: Arc<dyn Operator>,
    waker: Waker,
    sender: mpsc::Sender<(Done, bool)>,
    done: mpsc::Receiver<(Done, bool)>,
    /// Whether one is being done, of others and of the owner.
    is_out: [bool; 2],
}

impl Errands {
    /// Returns what wakes its shard when an errand is done.
    pub fn new(operator: Arc<dyn Operator>, waker: Waker) -> Errands {
        let (sender, done) = mpsc::channel();
        Errands { operator, waker, sender, done, is_out: [false; 2] }
    }

    /// Begins an errand, of the owner or of somebody else.
    ///
    /// # Errors
    /// Reason why not.
    pub fn begin(
        &mut self,
        target: Target,
        request: u64,
        errand: Errand,
        is_owner: bool,
    ) -> Result<(), String> {
        if self.is_out[usize::from(is_owner)] {
            return Err("another request is being carried out: try again".to_owned());
        }
        let operator = Arc::clone(&self.operator);
        let (waker, sender) = (self.waker.clone(), self.sender.clone());
        let run = move || {
            let answer = apart::answer_of(|| match errand {
                Errand::LogLevel(filter) => operator
                    .log_level(filter.as_deref())
                    .map(|level| serde_json::json!({ "level": level }).to_string()),
                Errand::Reload => operator.reload(),
            });
            // A shard that is gone needs none.
            let _ = sender.send((Done { target, request, answer }, is_owner));
            waker.wake();
        };
        let started: io::Result<_> = thread::Builder::new().name("operator".into()).spawn(run);
        started.map_err(|error| format!("cannot start a thread: {error}"))?;
        self.is_out[usize::from(is_owner)] = true;
        Ok(())
    }

    /// Takes the errand that was done, if there is one.
    pub fn take_done(&mut self) -> Option<Done> {
        let (done, is_owner) = self.done.try_recv().ok()?;
        self.is_out[usize::from(is_owner)] = false;
        Some(done)
    }
}

#[cfg(test)]
mod tests {
    use netcluster_platform::{Conn, Io, PollConfig, PollIo};

    use super::*;
    use crate::target::ShardId;

    /// Waits for the first errand to be let go on; the next one panics.
    #[derive(Debug)]
    struct Odd(std::sync::Mutex<Vec<mpsc::Receiver<()>>>);

    impl Operator for Odd {
        fn log_level(&self, _filter: Option<&str>) -> Result<String, String> {
            let wait = self.0.lock().unwrap().pop();
            wait.map(|it| it.recv().unwrap()).ok_or("there is no log")?;
            Ok("info".to_owned())
        }

        fn reload(&self) -> Result<String, String> {
            panic!("a fault of the program")
        }
    }

    fn next(errands: &mut Errands) -> Done {
        loop {
            if let Some(done) = errands.take_done() {
                return done;
            }
            thread::yield_now();
        }
    }

    /// Whoever may connect kept the owner out, and a panic everybody for ever.
    #[test]
    fn neither_others_nor_a_panic_keep_the_owner_out() {
        let io = PollIo::new(PollConfig::default()).unwrap();
        let (go_on, wait) = mpsc::channel();
        let odd = Odd(std::sync::Mutex::new(vec![wait]));
        let mut errands = Errands::new(Arc::new(odd), io.waker());
        let target = Target { shard: ShardId(0), conn: Conn(0), client: 1 };
        errands.begin(target, 1, Errand::LogLevel(None), false).unwrap();
        let refused = errands.begin(target, 2, Errand::LogLevel(None), false);
        assert!(refused.unwrap_err().contains("try again"));
        for request in 3..5 {
            errands.begin(target, request, Errand::Reload, true).unwrap();
            let done = next(&mut errands);
            assert_eq!(done.request, request);
            assert!(done.answer.unwrap_err().contains("bug"));
        }
        go_on.send(()).unwrap();
        assert_eq!((next(&mut errands)).request, 1);
        errands.begin(target, 5, Errand::LogLevel(None), false).unwrap();
        assert_eq!(next(&mut errands).answer, Err("there is no log".to_owned()));
    }
}
