//! The way by which another broker takes this one's place: who keeps the socket gives its
//! name away, and the broker ends in order.
//!
//! ```text
//!   request `take-over` ─► Heir ─► keeper's thread: the name changes ── from here on
//!        ▲                                            │                 there is an heir
//!        └───────────────── answered ◄────────────────┘  then the broker ends
//! ```
//!
//! Invariant: a broker with an heir ends, and one that ends for another reason gets none.
//!
//! Decision: `docs/decisions/090-succession.md`.

use std::ffi::OsString;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};

use crate::broker::Shutdown;

/// Function that is called once the name has changed, or could not.
pub type Answer = Box<dyn FnOnce(Result<(), String>) + Send>;

/// An order to the thread that keeps the socket.
pub enum Order {
    /// Give the socket's name to this file beside it.
    HandOver(OsString, Answer),
    /// End.
    Stop,
}

/// The heir of a broker, if there is one; shared by all of its threads.
#[derive(Clone, Default)]
pub struct Heir(Arc<Inner>);

#[derive(Default)]
struct Inner {
    is_there: AtomicBool,
    /// This broker waits for the one before it.
    is_settling: AtomicBool,
    keeper: OnceLock<mpsc::Sender<Order>>,
    shutdown: OnceLock<Shutdown>,
    /// Terms on which it goes on with the link's session, if it would.
    terms: Mutex<Option<String>>,
}

impl Heir {
    /// Returns whether clients that connect find another broker.
    pub fn is_there(&self) -> bool {
        self.0.is_there.load(Ordering::Acquire)
    }

    /// Notes that they do.
    pub fn appear(&self) {
        self.0.is_there.store(true, Ordering::Release);
    }

    /// Returns whether this broker still waits for the one whose place it took.
    pub fn is_settling(&self) -> bool {
        self.0.is_settling.load(Ordering::Acquire)
    }

    /// Notes that it does.
    pub fn unsettle(&self) {
        self.0.is_settling.store(true, Ordering::Release);
    }

    /// Notes that it does no longer.
    pub fn settle(&self) {
        self.0.is_settling.store(false, Ordering::Release);
    }

    /// Sets who gives the name away, and how the broker ends then.
    pub fn set_keeper(&self, keeper: mpsc::Sender<Order>, shutdown: Shutdown) {
        let _ = self.0.keeper.set(keeper);
        let _ = self.0.shutdown.set(shutdown);
    }

    /// Notes the terms on which an heir goes on with the link's session, if it would.
    pub fn want(&self, terms: Option<String>) {
        *self.0.terms.lock().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    /// Returns whether the heir goes on with a link's session of these terms and this node id.
    pub fn can_have(&self, terms: &str, node: u32) -> bool {
        let wanted = self.0.terms.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.as_deref().is_some_and(|it| it == terms || it == terms_of_node(terms, node))
    }

    /// Has the broker end, as its name is given away.
    pub fn begin_end(&self) {
        self.0.shutdown.get().into_iter().for_each(Shutdown::request);
    }

    /// Has the socket's name given to a file beside it; `answer` is called on another thread.
    /// With the terms of the link's session, the heir goes on with that.
    ///
    /// # Errors
    /// Reason why not.
    pub fn appoint(
        &self,
        heir: OsString,
        terms: Option<String>,
        answer: Answer,
    ) -> Result<(), String> {
        self.want(terms);
        let keeper = self.0.keeper.get().ok_or(
            "its socket cannot be given away; one that the service manager has made stays when \
             the broker is restarted",
        )?;
        keeper.send(Order::HandOver(heir, answer)).map_err(|_| {
            "another broker has just taken its place, or is about to: ask that one".to_owned()
        })
    }
}

/// Returns terms of a link's session for a broker that must have this node id.
pub fn terms_of_node(terms: &str, node: u32) -> String {
    format!("{terms} {node:08x}")
}

impl fmt::Debug for Heir {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Heir").field("is_there", &self.is_there()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_the_service_manager_and_a_place_that_is_taken_are_told_apart() {
        let reason = |heir: &Heir| heir.appoint("b".into(), None, Box::new(|_| {})).unwrap_err();
        let heir = Heir::default();
        assert!(reason(&heir).contains("service manager"));
        let (keeper, gone) = mpsc::channel();
        let shutdown = Shutdown { asked: Arc::default(), wakers: Arc::default() };
        heir.set_keeper(keeper, shutdown);
        drop(gone);
        assert!(reason(&heir).contains("another broker has just taken its place"));
    }
}
