//! The thread that reads, runs the listeners and makes lost connections again.
//!
//! Invariant: it never waits for a write, nor for a lock held during one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{io, mem};

use netcluster_wire::{ErrorCode, LossReason, Source, Welcome};

use crate::backoff::{Backoff, FirstTries};
use crate::builder::Options;
use crate::client::write_audience;
use crate::dispatch::Dispatcher;
use crate::error::{DisconnectReason, Error};
use crate::lifecycle::Lifecycle;
use crate::loss::Lost;
use crate::path::{Search, check_directory, is_default};
use crate::registry::Standing;
use crate::session::{Inbound, Outbound, ReceiveBuffer, SessionEvent};
use crate::shared::{Shared, requested};
use crate::stream::Socket;

/// After so many messages the clock is looked at, if a listener emitted, ...
const LOOK_EVERY_MESSAGES: u32 = 64;
/// ... and after so long what they emitted is written.
const PUSH_WITHIN: Duration = Duration::from_micros(100);

/// A connection that was welcomed.
pub(crate) struct Welcomed {
    pub(crate) socket: Arc<Socket>,
    pub(crate) inbound: Inbound,
    pub(crate) received: ReceiveBuffer,
    pub(crate) source: Source,
    pub(crate) welcome: Welcome,
}

/// Connects for the first time, as often as it is to be tried.
pub(crate) fn first_shake(
    paths: &[PathBuf],
    options: &Options,
) -> Result<(PathBuf, Welcomed), Error> {
    let mut tries = FirstTries::new(Instant::now(), options.broker_wait);
    loop {
        match find_broker(paths, options) {
            Ok(found) => return Ok(found),
            Err(error) => std::thread::sleep(tries.pause(error, Instant::now())?),
        }
    }
}

/// Connects to the broker at the first of these sockets that has one.
fn find_broker(paths: &[PathBuf], options: &Options) -> Result<(PathBuf, Welcomed), Error> {
    let mut search = Search::new(paths);
    loop {
        let path = search.next()?;
        match shake_hands(&path, options, Source::NONE) {
            Ok(connection) => return Ok((path, connection)),
            Err(error) => search.failed(error)?,
        }
    }
}

/// Connects and says hello.
fn shake_hands(path: &Path, options: &Options, previous: Source) -> Result<Welcomed, Error> {
    let timeout = options.connect_timeout;
    let mut out = Vec::new();
    Outbound::new().hello(&mut out, &options.channel, &options.hello(previous))?;
    if is_default(path) {
        check_directory(path)?;
    }
    let deadline = Instant::now() + timeout;
    let socket = Socket::connect(path, timeout)?;
    let lost = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            Error::Timeout { waiting_for: "welcome", after: timeout }
        }
        _ => Error::Connect { path: path.to_owned(), reason: error.to_string() },
    };
    let mut inbound = Inbound::limited(options.max_payload_bytes);
    let mut received = ReceiveBuffer::new();
    // Far less than what an empty socket takes at once. If the broker hung up it
    // may have said why: that is to be read.
    let written = socket.write(&[io::IoSlice::new(&out)], true);
    loop {
        let wait = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(wait.max(Duration::from_millis(1)))).map_err(lost)?;
        let bytes = socket.read(received.space()).map_err(lost)?;
        if bytes == 0 {
            written.map_err(lost)?;
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        received.filled(bytes);
        let greeting = greeting(&mut inbound, &mut received)?;
        if let Some((source, welcome)) = greeting {
            socket.set_read_timeout(None).map_err(lost)?;
            return Ok(Welcomed { socket: Arc::new(socket), inbound, received, source, welcome });
        }
    }
}

/// The welcome, once it is received.
pub(crate) fn greeting(
    inbound: &mut Inbound,
    received: &mut ReceiveBuffer,
) -> Result<Option<(Source, Welcome)>, Error> {
    let (lent, range) = received.lend();
    let (greeting, used) = match inbound.next(&lent[range])? {
        None => (None, 0),
        Some((SessionEvent::Welcome { source, welcome }, used)) => (Some((source, welcome)), used),
        Some((SessionEvent::Kicked { code, text }, _)) => return Err(Error::Kicked { code, text }),
        Some((SessionEvent::Bye { .. }, _)) => {
            let text = "the broker is shutting down".into();
            return Err(Error::Kicked { code: ErrorCode::Shutdown, text });
        }
        Some((other, _)) => {
            return Err(Error::Protocol(format!("{other:?} instead of a welcome")));
        }
    };
    received.give_back(lent, used);
    Ok(greeting)
}

/// See the module.
pub(crate) struct Reader {
    shared: Arc<Shared>,
    dispatcher: Dispatcher,
    backoff: Backoff,
    /// `Connect` is to be told once all patterns are in force.
    connecting: bool,
    /// This connection replaces another.
    resumed: bool,
}

impl Reader {
    pub(crate) fn new(shared: Arc<Shared>) -> Reader {
        let backoff = Backoff::new(shared.options.reconnect.clone());
        Reader { shared, dispatcher: Dispatcher::new(), backoff, connecting: true, resumed: false }
    }

    /// Runs until the client ends.
    pub(crate) fn run(mut self, mut connection: Welcomed) {
        self.shared.outbox.enter_reader();
        loop {
            let since = Instant::now();
            self.backoff.welcomed(connection.welcome.run);
            let reason = self.converse(&mut connection);
            let final_error = match &reason {
                DisconnectReason::Requested => Some(requested()),
                _ if self.shared.outbox.closed().is_some() => Some(requested()),
                _ if self.shared.outbox.is_leaving() => Some(Error::Disconnected(reason.clone())),
                // Before whoever waits for an answer is told: they learn why.
                _ if self.backoff.is_never() => {
                    let error = Error::Disconnected(reason.clone());
                    self.shared.outbox.close(error.clone());
                    Some(error)
                }
                _ => None,
            };
            self.shared.outbox.disconnected();
            self.shared.registry.lock().disconnected();
            self.shared.forget_answers();
            let reason = match &final_error {
                Some(Error::Disconnected(reason)) => reason.clone(),
                _ => reason,
            };
            self.report(&reason);
            if since.elapsed() >= self.backoff.lasting() {
                self.backoff.reset();
            }
            let next = match final_error {
                Some(error) => Err(error),
                None => self.reconnect(reason),
            };
            match next {
                Ok(next) => connection = next,
                Err(error) => {
                    self.shared.close(error.clone());
                    // Somebody else may have closed it before, for another reason.
                    let error = self.shared.outbox.closed().unwrap_or(error);
                    self.tell(&Lifecycle::Closed(error));
                    break;
                }
            }
        }
        let Reader { shared, dispatcher, .. } = self;
        // What listeners own goes before anybody is told that all is over.
        drop(dispatcher);
        shared.finish();
    }

    fn tell(&mut self, event: &Lifecycle) {
        self.dispatcher.tell(&self.shared.registry, event);
    }

    fn report(&mut self, reason: &DisconnectReason) {
        let error = match reason.clone() {
            DisconnectReason::Kicked { code, text } => Some(Error::Kicked { code, text }),
            DisconnectReason::Protocol(text) => Some(Error::Protocol(text)),
            _ => None,
        };
        if let Some(error) = error {
            self.tell(&Lifecycle::Error(error));
        }
        let confirmed = self.shared.confirmed.load(Ordering::Acquire);
        self.tell(&Lifecycle::Disconnect { reason: reason.clone(), confirmed });
    }

    /// Tries until there is a connection, or trying makes no sense.
    fn reconnect(&mut self, reason: DisconnectReason) -> Result<Welcomed, Error> {
        if let DisconnectReason::Kicked { code, .. } = &reason
            && crate::error::is_final(*code)
        {
            return Err(Error::Disconnected(reason));
        }
        let shared = Arc::clone(&self.shared);
        let mut last = Error::Disconnected(reason.clone());
        loop {
            let Some(pause) = self.backoff.next(&last) else { return Err(last) };
            if !shared.pause(pause) {
                return Err(requested());
            }
            match shake_hands(&shared.path, &shared.options, shared.source()) {
                Ok(next) => {
                    self.resume(&next, &reason);
                    return Ok(next);
                }
                Err(error) if error.is_transient() => last = error,
                Err(error) => {
                    self.tell(&Lifecycle::Error(error.clone()));
                    return Err(error);
                }
            }
        }
    }

    /// Asks for all patterns again, before anything else is written.
    fn resume(&mut self, next: &Welcomed, reason: &DisconnectReason) {
        let shared = &self.shared;
        shared.source.store(next.source.to_u64(), Ordering::Release);
        let mut table = shared.registry.lock();
        shared.outbox.resume(
            Arc::clone(&next.socket),
            |outbound| outbound.welcomed(next.source, next.welcome.max_payload),
            |outbound, out| table.resume(|pattern| outbound.subscribe(out, pattern)),
        );
        drop(table);
        self.connecting = true;
        self.resumed = true;
        if let Some((code, text)) = &next.welcome.reason
            && !matches!(reason, DisconnectReason::Kicked { .. })
        {
            let error = Error::Kicked { code: *code, text: text.clone() };
            self.tell(&Lifecycle::Error(error));
        }
    }

    /// Everything is in force (or an event comes earlier): tell so.
    fn connected(&mut self) {
        if !mem::take(&mut self.connecting) {
            return;
        }
        let source = self.shared.source();
        self.tell(&Lifecycle::Connect { source, resumed: self.resumed });
        if self.resumed {
            let reason = LossReason::Disconnected;
            self.lost(Lost { source: None, count: None, reason });
        }
    }

    /// Events are missing here.
    fn lost(&mut self, lost: Lost) {
        self.shared.lose(lost);
        let Lost { source, count, reason } = lost;
        self.tell(&Lifecycle::Lost { source, count, reason });
    }

    /// Whether the patterns asked for after a reconnect are all answered.
    fn check_in_force(&mut self) {
        if self.connecting && !self.shared.registry.lock().is_resuming() {
            self.shared.outbox.resumed();
            self.connected();
        }
    }

    /// Reads and dispatches until the connection ends; how it did.
    fn converse(&mut self, connection: &mut Welcomed) -> DisconnectReason {
        self.check_in_force();
        loop {
            if let Some(end) = self.dispatch(connection) {
                return end;
            }
            self.shared.outbox.push_emitted();
            if self.shared.outbox.closed().is_some() {
                return DisconnectReason::Requested;
            }
            match connection.socket.read(connection.received.space()) {
                Ok(0) => return DisconnectReason::ConnectionLost("the broker is gone".into()),
                Ok(bytes) => connection.received.filled(bytes),
                Err(error) => return DisconnectReason::ConnectionLost(error.to_string()),
            }
        }
    }

    /// Dispatches the whole frames that were read. `Some`: the end, and how.
    fn dispatch(&mut self, connection: &mut Welcomed) -> Option<DisconnectReason> {
        let (lent, range) = connection.received.lend();
        let shared = Arc::clone(&self.shared);
        let retire = |id| {
            shared.remove_listener(id);
        };
        let mut at = range.start;
        let mut messages = 0;
        let mut pushed = None;
        let bytes = &lent[..range.end];
        let end = loop {
            let Some(frame) = connection.inbound.next_event(&bytes[at..]) else {
                match connection.inbound.next(&bytes[at..]) {
                    Ok(Some((event, length))) => {
                        at += length;
                        match self.control(event, &mut connection.inbound) {
                            None => continue,
                            end => break end,
                        }
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error.into_reason()),
                }
            };
            at += frame.layout().frame_len;
            if self.connecting {
                self.connected();
            }
            let done = self.dispatcher.dispatch(&shared.registry, &retire, frame, &lent);
            if let Err(error) = done {
                break Some(error.into_reason());
            }
            messages += 1;
            if messages % LOOK_EVERY_MESSAGES == 0 {
                if shared.outbox.has_emitted() {
                    let now = Instant::now();
                    if now - *pushed.get_or_insert(now) >= PUSH_WITHIN {
                        shared.outbox.push_emitted();
                        pushed = Some(now);
                    }
                }
                if shared.outbox.closed().is_some() {
                    break Some(DisconnectReason::Requested);
                }
            }
        };
        connection.received.give_back(lent, at - range.start);
        end
    }

    #[cold]
    #[inline(never)]
    fn control(
        &mut self,
        event: SessionEvent<'_>,
        inbound: &mut Inbound,
    ) -> Option<DisconnectReason> {
        let shared = &self.shared;
        match event {
            SessionEvent::Ack { request } => self.answered(request, Standing::InForce),
            SessionEvent::Refused { request, text, .. } => {
                self.answered(request, Standing::Refused(text.clone()));
                self.tell(&Lifecycle::Error(Error::PatternRefused(text)));
            }
            SessionEvent::Kicked { code, text } => {
                return Some(DisconnectReason::Kicked { code, text });
            }
            SessionEvent::Ping { token } => {
                // Full or over: then the broker need not be answered.
                let _ = shared.outbox.request(|outbound, out| outbound.pong(out, token));
            }
            SessionEvent::Pong { token, .. } => {
                shared.confirmed.fetch_max(inbound.confirmed(), Ordering::AcqRel);
                shared.answer(token, String::new);
            }
            SessionEvent::Lost { source, count, reason } => {
                self.lost(Lost { source, count, reason });
            }
            SessionEvent::Bye { .. } if shared.outbox.is_leaving() => {
                // The broker has queued all of it.
                shared
                    .confirmed
                    .store(shared.outbox.lock().outbound.last_sequence(), Ordering::Release);
                return Some(DisconnectReason::Requested);
            }
            SessionEvent::Bye { .. } => return Some(DisconnectReason::BrokerClosed),
            SessionEvent::Cluster { token, missing } => {
                shared.answer(token, || missing.to_owned());
            }
            SessionEvent::Audience { token, audience } => {
                shared.answer(token, || write_audience(audience));
            }
            SessionEvent::Stats { token, json } => {
                shared.answer(token, || String::from_utf8_lossy(json).into_owned());
            }
            // Events were taken before, a second welcome is an error.
            SessionEvent::Event(_) | SessionEvent::Welcome { .. } => {}
        }
        None
    }

    fn answered(&mut self, request: u64, standing: Standing) {
        if self.shared.registry.lock().answered(request, standing) {
            self.shared.registry.changed.notify_all();
        }
        self.check_in_force();
    }
}
