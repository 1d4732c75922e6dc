//! Attempts to connect: which socket is tried, how long to wait before the next,
//! and when to give up.
//!
//! Before the first welcome an attempt is a search through all sockets and failing
//! is told by the call that connects; afterwards the socket is the one that
//! answered, and the pauses are those of the [`Reconnect`](crate::Reconnect) policy.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::backoff::{Backoff, FirstTries};
use super::search::Search;
use crate::builder::Options;
use crate::error::Error;

/// Times in a row that a client follows a broker's word that its successor listens already,
/// without a pause.
const MAX_FOLLOWED: u32 = 4;

/// The step that follows a failure.
#[derive(Debug)]
pub(super) enum Next {
    /// Connect to this socket.
    Connect(PathBuf),
    /// Wait for so long, then [`Attempts::begin`].
    Pause(Duration),
    /// The end: trying again makes no sense, or its time is over.
    GiveUp(Error),
}

/// The attempts of one client.
#[derive(Debug)]
pub(super) struct Attempts {
    paths: Vec<PathBuf>,
    search: Search,
    /// Until the first welcome.
    first: Option<FirstTries>,
    backoff: Backoff,
    /// The time at which the connection was welcomed.
    since: Instant,
    /// The broker said that its successor listens already.
    has_successor: bool,
    /// Successors that were followed since the last welcome.
    followed: u32,
}

impl Attempts {
    /// Attempts at these sockets, of which there is at least one.
    pub(super) fn new(paths: Vec<PathBuf>, options: &Options, seed: u64, now: Instant) -> Attempts {
        Attempts {
            search: Search::new(&paths),
            first: Some(FirstTries::new(now, options.broker_wait, seed)),
            backoff: Backoff::new(options.reconnect.clone(), seed),
            paths,
            since: now,
            has_successor: false,
            followed: 0,
        }
    }

    /// Whether nothing was welcomed so far.
    pub(super) fn is_first(&self) -> bool {
        self.first.is_some()
    }

    /// Whether a lost connection is the end.
    pub(super) fn is_never(&self) -> bool {
        self.backoff.is_never()
    }

    /// Begins a round through the sockets.
    pub(super) fn begin(&mut self, now: Instant) -> Next {
        self.search = Search::new(&self.paths);
        self.go_on(now)
    }

    /// Notes that the broker said, as it ended, that its successor listens already.
    pub(super) fn has_successor(&mut self) {
        self.has_successor = true;
    }

    /// Whether the next try is to come at once.
    fn follows(&mut self) -> bool {
        let follows = std::mem::take(&mut self.has_successor) && self.followed < MAX_FOLLOWED;
        self.followed += u32::from(follows);
        follows
    }

    /// Notes why the socket that was tried cannot be used.
    pub(super) fn failed(&mut self, error: Error, now: Instant) -> Next {
        if self.follows() {
            return Next::Pause(Duration::ZERO);
        }
        if self.first.is_none() {
            return self.retry(error);
        }
        match self.search.failed(error) {
            Ok(()) => self.go_on(now),
            Err(error) => self.retry_first(error, now),
        }
    }

    /// Notes that a connection is welcomed, by this run of the broker at this socket.
    pub(super) fn welcomed(&mut self, path: PathBuf, run: u64, now: Instant) {
        self.paths = vec![path];
        self.first = None;
        self.since = now;
        self.has_successor = false;
        self.followed = 0;
        self.backoff.welcomed(run);
    }

    /// The connection that was welcomed is gone.
    pub(super) fn disconnected(&mut self, now: Instant) {
        if now.saturating_duration_since(self.since) >= self.backoff.lasting() {
            self.backoff.reset();
        }
    }

    /// Decides what to do after `last`, on the way to another connection.
    pub(super) fn retry(&mut self, last: Error) -> Next {
        if !last.is_transient() {
            return Next::GiveUp(last);
        }
        if self.follows() {
            return Next::Pause(Duration::ZERO);
        }
        match self.backoff.next(&last) {
            Some(pause) => Next::Pause(pause),
            None => Next::GiveUp(last),
        }
    }

    fn go_on(&mut self, now: Instant) -> Next {
        match self.search.next() {
            Ok(path) => Next::Connect(path),
            Err(error) => self.retry_first(error, now),
        }
    }

    fn retry_first(&mut self, error: Error, now: Instant) -> Next {
        let Some(tries) = &mut self.first else { return self.retry(error) };
        match tries.pause(error, now) {
            Ok(pause) => Next::Pause(pause),
            Err(error) => Next::GiveUp(error),
        }
    }
}
