//! The state machine of a client's connection: what its driver does next, and what
//! follows from what happened.
//!
//! ```text
//!            ┌────────── Wait ◄──────────────┐
//!            ▼                               │ failed, lost
//!   new ─► Connect ─► Read (welcome) ─► Dispatch ◄─► Read ─► Closed
//! ```
//! The driver asks [`Machine::poll`] what to do, does it, and says what came of it
//! by a `handle_` method. It is the only one that calls listeners.
//!
//! Invariants: the client is closed before anybody is told so; all listeners are
//! gone before whoever waits for the end is told.

use std::io;
use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use netcluster_wire::{LossReason, Source, Welcome};

use super::attempts::{Attempts, Next};
use super::dispatch::Dispatcher;
use super::in_place::Way;
use super::outgoing::Outgoing;
use super::session::{Inbound, Outbound, ReceiveBuffer};
use super::shared::{Port, Shared, lifecycle_of, requested};
use crate::error::{DisconnectReason, Error};
use crate::lifecycle::Lifecycle;
use crate::loss::Lost;

/// A step: what the driver does next.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Step {
    /// Connect to this socket, by this time; then say that it is connected, or that
    /// this failed.
    Connect(PathBuf, Instant),
    /// Read, by this time if there is one; then hand the input over, or say that the
    /// connection ended.
    Read(Option<Instant>),
    /// Dispatch what was read. Only for drivers that read in place.
    Dispatch,
    /// Map the memory that the broker offers with so large an arena, and say what came of
    /// it. Only for drivers that said they can.
    Map(u64),
    /// Take what comes by shared memory. Only for drivers that mapped it.
    Take,
    /// Read nothing until a subscription has room or the client is closed.
    Hold,
    /// Wait until this time, or until the client is closed; then say so.
    Wait(Instant),
    /// The client is over, for this reason.
    Closed(Error),
}

#[derive(Debug)]
enum Phase {
    Waiting { until: Instant },
    Connecting { path: PathBuf, deadline: Instant },
    Greeting { path: PathBuf, deadline: Instant },
    Open,
    Closed(Error),
}

/// The state machine of one client.
pub(crate) struct Machine<P: Port> {
    pub(super) shared: Arc<Shared<P>>,
    pub(super) dispatcher: Dispatcher,
    pub(super) inbound: Inbound,
    pub(super) received: ReceiveBuffer,
    pub(super) way: Way,
    /// The driver can map memory.
    pub(super) can_map: bool,
    pub(super) attempts: Attempts,
    phase: Phase,
    /// Received bytes are not dispatched yet.
    pub(super) undispatched: bool,
    /// `Connect` is to be told once all patterns are in force, or an event comes.
    pub(super) connecting: bool,
    /// Events are to be written once all patterns are in force.
    resuming: bool,
    /// This connection replaces another.
    resumed: bool,
    /// The broker holds what was emitted since that other one, or tells what it cannot.
    held: bool,
    /// The broker told why it ended the last connection.
    kicked: bool,
    /// Events in doubt since `Connect` was told, and the last sequence that was ever in
    /// doubt.
    doubtful: u64,
    last_doubtful: u64,
}

impl<P: Port> Machine<P> {
    /// Makes the machine of a client that is to connect to the first of `paths` that has a
    /// broker.
    ///
    /// # Errors
    /// If the options hold a name that is not allowed, or a path can be no socket's.
    pub(crate) fn new(
        shared: Arc<Shared<P>>,
        paths: Vec<PathBuf>,
        seed: u64,
        now: Instant,
    ) -> Result<Machine<P>, Error> {
        let options = &shared.options;
        Outbound::new().hello(&mut Vec::new(), &options.channel, &options.hello(Source::NONE))?;
        paths.iter().try_for_each(|path| crate::path::check_form(path))?;
        let attempts = Attempts::new(paths, options, seed, now);
        let mut machine = Machine {
            dispatcher: Dispatcher::new(),
            inbound: Inbound::new(),
            received: ReceiveBuffer::new(),
            way: Way::Socket,
            can_map: false,
            attempts,
            phase: Phase::Waiting { until: now },
            undispatched: false,
            connecting: false,
            resuming: false,
            resumed: false,
            held: false,
            kicked: false,
            doubtful: 0,
            last_doubtful: 0,
            shared,
        };
        machine.handle_timeout(now);
        Ok(machine)
    }

    /// Tells what the driver does next.
    pub(crate) fn poll(&self) -> Step {
        match &self.phase {
            Phase::Waiting { until } => Step::Wait(*until),
            Phase::Connecting { path, deadline } => Step::Connect(path.clone(), *deadline),
            Phase::Greeting { deadline, .. } => Step::Read(Some(*deadline)),
            Phase::Open => self.poll_open(),
            Phase::Closed(error) => Step::Closed(error.clone()),
        }
    }

    fn poll_open(&self) -> Step {
        match self.way {
            Way::Offered { arena_bytes } => Step::Map(arena_bytes),
            _ if self.undispatched => Step::Dispatch,
            _ if self.shared.is_held() => Step::Hold,
            Way::Memory { .. } => Step::Take,
            _ => Step::Read(None),
        }
    }

    /// Whether a connection is welcomed.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Takes in that time passed, or that the client was closed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        match &self.phase {
            Phase::Waiting { .. } if self.shared.closed().is_some() => self.end(requested()),
            Phase::Waiting { until } if now >= *until => {
                let next = self.attempts.begin(now);
                self.follow(next, now);
            }
            Phase::Greeting { deadline, .. } if now >= *deadline => {
                let after = self.shared.options.connect_timeout;
                self.handle_failed(Error::Timeout { waiting_for: "welcome", after }, now);
            }
            _ => {}
        }
    }

    /// Takes in that there is a connection; gives the bytes to be written to it first.
    pub(crate) fn handle_connected(&mut self) -> Vec<u8> {
        let mut hello = Vec::new();
        let Phase::Connecting { path, deadline } = &mut self.phase else { return hello };
        let options = &self.shared.options;
        let mut said = options.hello(self.shared.source());
        said.shared &= self.can_map;
        // The names were looked at when the machine was made.
        let encoded = Outbound::new().hello(&mut hello, &options.channel, &said);
        debug_assert!(encoded.is_ok());
        self.inbound = Inbound::limited(options.max_payload_bytes);
        self.received.clear();
        self.way = Way::Socket;
        self.phase = Phase::Greeting { path: mem::take(path), deadline: *deadline };
        hello
    }

    /// Takes in that there is no connection.
    pub(crate) fn handle_failed(&mut self, error: Error, now: Instant) {
        if matches!(self.phase, Phase::Connecting { .. } | Phase::Greeting { .. }) {
            let next = match self.shared.closed() {
                Some(_) => Next::GiveUp(requested()),
                None => self.attempts.failed(error, now),
            };
            self.follow(next, now);
        }
    }

    /// Gives the space to read to; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        self.received.space()
    }

    /// Takes in that so many bytes were read to the front of [`Machine::space`]. The time
    /// is asked for only if it matters.
    pub(crate) fn handle_input(&mut self, bytes: usize, now: impl FnOnce() -> Instant) {
        self.received.filled(bytes);
        match &mut self.phase {
            Phase::Open => self.undispatched = true,
            Phase::Greeting { path, .. } => {
                match super::greeting::read(&mut self.inbound, &mut self.received) {
                    Ok(None) => {}
                    Ok(Some((source, welcome))) => {
                        let path = mem::take(path);
                        self.welcomed(path, source, &welcome, now());
                    }
                    Err((error, has_successor)) => {
                        if has_successor {
                            self.attempts.has_successor();
                        }
                        self.handle_failed(error, now());
                    }
                }
            }
            _ => {}
        }
    }

    /// Takes in that the connection is gone, by this error; `None`: the broker ended it.
    pub(crate) fn handle_disconnected(&mut self, error: Option<io::Error>, now: Instant) {
        match &self.phase {
            Phase::Greeting { path, .. } => {
                let error = error.unwrap_or(io::ErrorKind::UnexpectedEof.into());
                let error = Error::connect(path, error);
                self.handle_failed(error, now);
            }
            Phase::Open => {
                let error = error.unwrap_or_else(|| {
                    let text = "the broker closed the connection";
                    io::Error::new(io::ErrorKind::UnexpectedEof, text)
                });
                self.lost_connection(DisconnectReason::lost(error), now);
            }
            _ => {}
        }
    }

    /// Takes in that the driver ended the connection because the client is closed.
    pub(crate) fn handle_closed(&mut self, now: Instant) {
        match self.phase {
            Phase::Open => self.lost_connection(DisconnectReason::Requested, now),
            _ => self.end(requested()),
        }
    }

    /// Calls the listeners for what was received. After some messages `go_on` is
    /// asked whether to; if not, the connection ends.
    pub(crate) fn dispatch(
        &mut self,
        go_on: &mut dyn FnMut() -> bool,
        now: impl FnOnce() -> Instant,
    ) {
        self.undispatched = false;
        self.check_in_force();
        if let Some(reason) = self.dispatch_any(go_on) {
            self.lost_connection(reason, now());
        }
    }

    /// The driver ends before the client did: `error` says why, unless the client is
    /// over.
    pub(crate) fn abandon(&mut self, error: Error) {
        if !matches!(self.phase, Phase::Closed(_)) {
            self.phase = Phase::Closed(error.clone());
            drop(mem::take(&mut self.dispatcher));
            self.shared.close(error);
            self.shared.finish();
        }
    }

    fn follow(&mut self, next: Next, now: Instant) {
        match next {
            Next::Connect(path) => {
                let deadline = now + self.shared.options.connect_timeout;
                self.phase = Phase::Connecting { path, deadline };
            }
            Next::Pause(pause) => self.phase = Phase::Waiting { until: now + pause },
            // Told by the call that connects.
            Next::GiveUp(error) if self.attempts.is_first() => self.phase = Phase::Closed(error),
            Next::GiveUp(error) => {
                if !error.is_transient() && !matches!(error, Error::Disconnected(_)) {
                    self.tell(&Lifecycle::Error(error.clone()));
                }
                self.end(error);
            }
        }
    }

    fn welcomed(&mut self, path: PathBuf, source: Source, welcome: &Welcome, now: Instant) {
        if self.shared.closed().is_some() {
            return self.end(requested());
        }
        self.resumed = !self.attempts.is_first();
        self.held = welcome.held;
        self.shared.welcomed(&path, source);
        self.attempts.welcomed(path, welcome.run, now);
        if self.resumed {
            self.resume(source, welcome.max_payload);
        } else {
            self.shared.port.with(|outgoing| outgoing.open(source, welcome.max_payload));
        }
        self.shared.port.link_changed();
        self.connecting = true;
        self.resuming = true;
        self.undispatched = true;
        self.phase = Phase::Open;
        if self.resumed
            && !mem::take(&mut self.kicked)
            && let Some((code, text)) = &welcome.reason
        {
            let error = Error::ClosedByBroker { code: *code, text: text.clone() };
            self.tell(&Lifecycle::Error(error));
        }
    }

    /// Asks for all patterns again, before anything else is written.
    fn resume(&mut self, source: Source, max_payload: u64) {
        let mut table = self.shared.registry.lock();
        let written = self.shared.port.with(|outgoing| {
            outgoing.resume(source, max_payload, |outbound, out| {
                table.resume(|pattern| outbound.subscribe(out, pattern));
            })
        });
        let known = self.shared.confirmed().max(self.last_doubtful);
        self.doubtful += written.saturating_sub(known);
        self.last_doubtful = self.last_doubtful.max(written);
    }

    /// Ends the connection that was welcomed; decides whether there will be another.
    pub(super) fn lost_connection(&mut self, reason: DisconnectReason, now: Instant) {
        let shared = Arc::clone(&self.shared);
        let fatal = match &reason {
            DisconnectReason::Requested => Some(requested()),
            _ if shared.closed().is_some() => Some(requested()),
            _ if shared.is_leaving() => Some(Error::Disconnected(reason.clone())),
            // Before whoever waits for an answer is told: they learn why.
            _ if self.attempts.is_never() => {
                let error = Error::Disconnected(reason.clone());
                shared.close(error.clone());
                Some(error)
            }
            _ => None,
        };
        shared.disconnected();
        self.way = Way::Socket;
        let reason = match &fatal {
            Some(Error::Disconnected(reason)) => reason.clone(),
            _ => reason,
        };
        self.report(&reason);
        self.attempts.disconnected(now);
        self.undispatched = false;
        self.connecting = false;
        self.resuming = false;
        self.kicked = matches!(reason, DisconnectReason::ClosedByBroker { .. });
        match fatal {
            Some(error) => self.end(error),
            None => {
                let next = self.attempts.retry(Error::Disconnected(reason));
                self.follow(next, now);
            }
        }
    }

    fn report(&mut self, reason: &DisconnectReason) {
        let error = match reason.clone() {
            DisconnectReason::ClosedByBroker { code, text } => {
                Some(Error::ClosedByBroker { code, text })
            }
            DisconnectReason::Protocol(text) => Some(Error::Protocol(text)),
            _ => None,
        };
        if let Some(error) = error {
            self.tell(&Lifecycle::Error(error));
        }
        let confirmed = self.shared.confirmed();
        self.tell(&Lifecycle::Disconnect { reason: reason.clone(), confirmed });
    }

    /// Ends the client for good.
    fn end(&mut self, error: Error) {
        if matches!(self.phase, Phase::Closed(_)) {
            return;
        }
        self.shared.close(error.clone());
        // Somebody else may have closed it before, for another reason.
        let error = self.shared.closed().unwrap_or(error);
        self.tell(&Lifecycle::Closed(error.clone()));
        self.phase = Phase::Closed(error);
        // What listeners own goes before anybody is told that all is over.
        drop(mem::take(&mut self.dispatcher));
        self.shared.finish();
    }

    /// The broker's memory is not to be used any more: the connection is over.
    pub(super) fn revoked(&mut self, now: Instant) {
        let text = "the broker took its memory back";
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, text);
        self.lost_connection(DisconnectReason::lost(error), now);
    }

    pub(super) fn tell(&mut self, event: &Lifecycle) {
        self.dispatcher.tell(&self.shared.registry, event);
    }

    /// Tells that events are missing here.
    pub(super) fn lost(&mut self, lost: Lost) {
        self.shared.lose(lost);
        self.tell(&lifecycle_of(lost));
    }

    /// Checks whether the patterns asked for after a reconnect are all answered.
    pub(super) fn check_in_force(&mut self) {
        if self.resuming && !self.shared.registry.lock().is_resuming() {
            self.resuming = false;
            self.shared.port.with(Outgoing::resumed);
            self.shared.port.link_changed();
            self.connected();
        }
    }

    /// Tells that everything is in force (or an event comes earlier).
    pub(super) fn connected(&mut self) {
        if !mem::take(&mut self.connecting) {
            return;
        }
        let (source, resumed) = (self.shared.source(), self.resumed);
        let doubtful = mem::take(&mut self.doubtful);
        self.tell(&Lifecycle::Connect { source, resumed, doubtful });
        if resumed && !self.held {
            let reason = LossReason::Disconnected;
            self.lost(Lost { source: None, count: None, reason });
        }
    }
}
