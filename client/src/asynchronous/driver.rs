//! The task of an async client: reads and dispatches, writes, reconnects.
//!
//! Reading and writing are two halves of one task, so a listener never runs at
//! the same time as a write, and a stuck write does not stop reading.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{io, mem};

use interprocess::local_socket::tokio::Stream;
use netcluster_wire::{LossReason, Source, Welcome};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::shared::{Link, Shared};
use super::stream::{MAX_WRITE_BYTES, connect};
use crate::backoff::{Backoff, FirstTries};
use crate::builder::Options;
use crate::client::write_audience;
use crate::dispatch::Dispatcher;
use crate::error::{DisconnectReason, Error, is_final};
use crate::lifecycle::Lifecycle;
use crate::loss::Lost;
use crate::path::{Search, check_directory, is_default};
use crate::reader::greeting;
use crate::registry::Standing;
use crate::session::{Inbound, Outbound, ReceiveBuffer, SessionEvent};
use crate::shared::requested;

/// How long an ended client still tries to write what was emitted.
const DROP_FLUSH: Duration = Duration::from_millis(200);

/// A connection that was welcomed.
pub(super) struct Welcomed {
    stream: Stream,
    inbound: Inbound,
    received: ReceiveBuffer,
    pub(super) source: Source,
    pub(super) welcome: Welcome,
}

/// Connects for the first time, as often as it is to be tried.
pub(super) async fn first_shake(
    paths: &[PathBuf],
    options: &Options,
) -> Result<(PathBuf, Welcomed), Error> {
    let mut tries = FirstTries::new(Instant::now(), options.broker_wait);
    loop {
        match find_broker(paths, options).await {
            Ok(found) => return Ok(found),
            Err(error) => tokio::time::sleep(tries.pause(error, Instant::now())?).await,
        }
    }
}

/// Connects to the broker at the first of these sockets that has one.
async fn find_broker(paths: &[PathBuf], options: &Options) -> Result<(PathBuf, Welcomed), Error> {
    let mut search = Search::new(paths);
    loop {
        let path = search.next()?;
        match shake_hands(&path, options, Source::NONE).await {
            Ok(connection) => return Ok((path, connection)),
            Err(error) => search.failed(error)?,
        }
    }
}

/// Connects and says hello.
async fn shake_hands(path: &Path, options: &Options, previous: Source) -> Result<Welcomed, Error> {
    let after = options.connect_timeout;
    match tokio::time::timeout(after, greet(path, options, previous)).await {
        Ok(done) => done,
        Err(_) => Err(Error::Timeout { waiting_for: "welcome", after }),
    }
}

async fn greet(path: &Path, options: &Options, previous: Source) -> Result<Welcomed, Error> {
    if is_default(path) {
        check_directory(path)?;
    }
    let lost = |error: io::Error| Error::Connect { path: path.into(), reason: error.to_string() };
    let mut out = Vec::new();
    Outbound::new().hello(&mut out, &options.channel, &options.hello(previous))?;
    let stream = connect(path, options.connect_timeout).await?;
    // If the broker hung up it may have said why: that is to be read.
    let written = (&stream).write_all(&out).await;
    let mut inbound = Inbound::limited(options.max_payload_bytes);
    let mut received = ReceiveBuffer::new();
    loop {
        let bytes = (&stream).read(received.space()).await.map_err(lost)?;
        if bytes == 0 {
            written.map_err(lost)?;
            return Err(lost(io::ErrorKind::UnexpectedEof.into()));
        }
        received.filled(bytes);
        if let Some((source, welcome)) = greeting(&mut inbound, &mut received)? {
            return Ok(Welcomed { stream, inbound, received, source, welcome });
        }
    }
}

/// What is being written: survives the connection.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    written: usize,
}

/// The reading half.
struct Listening {
    dispatcher: Dispatcher,
    connecting: bool,
    resumed: bool,
}

/// See the module.
pub(super) struct Driver {
    shared: Arc<Shared>,
    listening: Listening,
    backoff: Backoff,
    batch: Batch,
    /// The last field: what listeners own goes before anybody is told that all is
    /// over.
    _end: End,
}

/// Tells whoever waits that the task is gone, also if it did not run to its end:
/// a runtime that is dropped drops its tasks wherever they wait.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let reason = "the runtime that the client ran in is gone".to_owned();
        self.0.finish(Error::Disconnected(DisconnectReason::ConnectionLost(reason)));
    }
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>) -> Driver {
        let backoff = Backoff::new(shared.options.reconnect.clone());
        let listening =
            Listening { dispatcher: Dispatcher::new(), connecting: true, resumed: false };
        let end = End(Arc::clone(&shared));
        Driver { shared, listening, backoff, batch: Batch::default(), _end: end }
    }

    /// Runs until the client ends.
    pub(super) async fn run(mut self, mut connection: Welcomed) {
        loop {
            let since = Instant::now();
            self.backoff.welcomed(connection.welcome.run);
            let reason = self.converse(&mut connection).await;
            let shared = Arc::clone(&self.shared);
            let final_error = match &reason {
                DisconnectReason::Requested => Some(requested()),
                _ if shared.closed().is_some() => Some(requested()),
                _ if shared.lock().leaving => Some(Error::Disconnected(reason.clone())),
                // Before whoever waits for an answer is told: they learn why.
                _ if self.backoff.is_never() => {
                    let error = Error::Disconnected(reason.clone());
                    shared.close(error.clone());
                    Some(error)
                }
                _ => None,
            };
            shared.disconnected();
            let reason = match &final_error {
                Some(Error::Disconnected(reason)) => reason.clone(),
                _ => reason,
            };
            self.listening.report(&shared, &reason);
            if since.elapsed() >= self.backoff.lasting() {
                self.backoff.reset();
            }
            let next = match final_error {
                Some(error) => Err(error),
                None => self.reconnect(reason).await,
            };
            match next {
                Ok(next) => connection = next,
                Err(error) => {
                    shared.close(error.clone());
                    // Somebody else may have closed it before, for another reason.
                    let error = shared.closed().unwrap_or(error);
                    self.listening.tell(&shared, &Lifecycle::Closed(error));
                    return;
                }
            }
        }
    }

    /// Reads and writes until the connection ends; how it did.
    async fn converse(&mut self, connection: &mut Welcomed) -> DisconnectReason {
        let Welcomed { stream, inbound, received, .. } = connection;
        let stream = &*stream;
        let (shared, batch) = (&*self.shared, &mut self.batch);
        tokio::select! {
            reason = self.listening.read(shared, stream, inbound, received) => reason,
            reason = write(shared, stream, batch) => reason,
        }
    }

    /// Tries until there is a connection, or trying makes no sense.
    async fn reconnect(&mut self, reason: DisconnectReason) -> Result<Welcomed, Error> {
        if let DisconnectReason::Kicked { code, .. } = &reason
            && is_final(*code)
        {
            return Err(Error::Disconnected(reason));
        }
        let shared = Arc::clone(&self.shared);
        let mut last = Error::Disconnected(reason.clone());
        loop {
            let Some(pause) = self.backoff.next(&last) else { return Err(last) };
            if shared.wait_closed(pause).await.is_some() {
                return Err(requested());
            }
            match shake_hands(&shared.path, &shared.options, shared.source()).await {
                Ok(next) => {
                    self.resume(&next, &reason);
                    return Ok(next);
                }
                Err(error) if error.is_transient() => last = error,
                Err(error) => {
                    self.listening.tell(&shared, &Lifecycle::Error(error.clone()));
                    return Err(error);
                }
            }
        }
    }

    fn resume(&mut self, next: &Welcomed, reason: &DisconnectReason) {
        let shared = &self.shared;
        shared.source.store(next.source.to_u64(), Ordering::Release);
        let mut table = shared.registry.lock();
        let batch = mem::take(&mut self.batch);
        shared.lock().resume(
            &batch.bytes,
            batch.written,
            |outbound| outbound.welcomed(next.source, next.welcome.max_payload),
            |outbound, out| table.resume(|pattern| outbound.subscribe(out, pattern)),
        );
        drop(table);
        shared.work.notify_one();
        self.listening.connecting = true;
        self.listening.resumed = true;
        if let Some((code, text)) = &next.welcome.reason
            && !matches!(reason, DisconnectReason::Kicked { .. })
        {
            let error = Error::Kicked { code: *code, text: text.clone() };
            self.listening.tell(shared, &Lifecycle::Error(error));
        }
    }
}

/// Writes what there is, as long as the connection lives.
async fn write(shared: &Shared, mut stream: &Stream, batch: &mut Batch) -> DisconnectReason {
    loop {
        if batch.bytes.is_empty() {
            shared.lock().take(&mut batch.bytes);
        }
        if batch.bytes.is_empty() {
            if shared.closed().is_some() {
                return DisconnectReason::Requested;
            }
            shared.work.notified().await;
            continue;
        }
        let rest = &batch.bytes[batch.written..];
        let rest = &rest[..rest.len().min(MAX_WRITE_BYTES)];
        let wrote = match shared.closed() {
            None => tokio::select! {
                wrote = stream.write(rest) => wrote,
                _ = shared.until_closed() => continue,
            },
            Some(_) => tokio::time::timeout(DROP_FLUSH, stream.write(rest))
                .await
                .unwrap_or(Err(io::ErrorKind::TimedOut.into())),
        };
        match wrote {
            Ok(0) => return DisconnectReason::ConnectionLost("the broker is gone".into()),
            Ok(bytes) => batch.written += bytes,
            // What the broker said last may wait to be read: that is the reader's.
            Err(_) if shared.closed().is_none() => std::future::pending::<()>().await,
            Err(error) => return DisconnectReason::ConnectionLost(error.to_string()),
        }
        let mut outgoing = shared.lock();
        outgoing.in_flight = batch.bytes.len() - batch.written;
        if outgoing.in_flight == 0 {
            outgoing.request_bytes = 0;
            batch.bytes.clear();
            batch.written = 0;
        }
        drop(outgoing);
        shared.room.notify_waiters();
    }
}

impl Listening {
    fn tell(&mut self, shared: &Shared, event: &Lifecycle) {
        self.dispatcher.tell(&shared.registry, event);
    }

    fn report(&mut self, shared: &Shared, reason: &DisconnectReason) {
        let error = match reason.clone() {
            DisconnectReason::Kicked { code, text } => Some(Error::Kicked { code, text }),
            DisconnectReason::Protocol(text) => Some(Error::Protocol(text)),
            _ => None,
        };
        if let Some(error) = error {
            self.tell(shared, &Lifecycle::Error(error));
        }
        let confirmed = shared.confirmed.load(Ordering::Acquire);
        self.tell(shared, &Lifecycle::Disconnect { reason: reason.clone(), confirmed });
    }

    fn connected(&mut self, shared: &Shared) {
        if !mem::take(&mut self.connecting) {
            return;
        }
        self.tell(shared, &Lifecycle::Connect { source: shared.source(), resumed: self.resumed });
        if self.resumed {
            let reason = LossReason::Disconnected;
            self.lost(shared, Lost { source: None, count: None, reason });
        }
    }

    /// Events are missing here.
    fn lost(&mut self, shared: &Shared, lost: Lost) {
        shared.queues().iter().for_each(|queue| queue.lose(lost));
        let Lost { source, count, reason } = lost;
        self.tell(shared, &Lifecycle::Lost { source, count, reason });
    }

    fn check_in_force(&mut self, shared: &Shared) {
        if self.connecting && !shared.registry.lock().is_resuming() {
            let mut outgoing = shared.lock();
            if matches!(outgoing.link, Link::Resuming) {
                outgoing.link = Link::Up;
            }
            drop(outgoing);
            shared.work.notify_one();
            shared.room.notify_waiters();
            self.connected(shared);
        }
    }

    async fn read(
        &mut self,
        shared: &Shared,
        mut stream: &Stream,
        inbound: &mut Inbound,
        received: &mut ReceiveBuffer,
    ) -> DisconnectReason {
        self.check_in_force(shared);
        loop {
            if let Some(end) = self.dispatch(shared, inbound, received) {
                return end;
            }
            while shared.queues().iter().any(|queue| queue.is_full())
                && !shared.lock().leaving
                && shared.closed().is_none()
            {
                shared.drained.notified().await;
            }
            match stream.read(received.space()).await {
                Ok(0) => return DisconnectReason::ConnectionLost("the broker is gone".into()),
                Ok(bytes) => received.filled(bytes),
                Err(error) => return DisconnectReason::ConnectionLost(error.to_string()),
            }
        }
    }

    fn dispatch(
        &mut self,
        shared: &Shared,
        inbound: &mut Inbound,
        received: &mut ReceiveBuffer,
    ) -> Option<DisconnectReason> {
        let retire = |id| {
            shared.remove_listener(id);
        };
        let (lent, range) = received.lend();
        let bytes = &lent[..range.end];
        let mut at = range.start;
        let end = loop {
            let Some(frame) = inbound.next_event(&bytes[at..]) else {
                match inbound.next(&bytes[at..]) {
                    Ok(Some((event, length))) => {
                        at += length;
                        match self.control(shared, event, inbound) {
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
                self.connected(shared);
            }
            if let Err(error) = self.dispatcher.dispatch(&shared.registry, &retire, frame, &lent) {
                break Some(error.into_reason());
            }
        };
        received.give_back(lent, at - range.start);
        end
    }

    fn control(
        &mut self,
        shared: &Shared,
        event: SessionEvent<'_>,
        inbound: &mut Inbound,
    ) -> Option<DisconnectReason> {
        match event {
            SessionEvent::Ack { request } => self.answered(shared, request, Standing::InForce),
            SessionEvent::Refused { request, text, .. } => {
                self.answered(shared, request, Standing::Refused(text.clone()));
                self.tell(shared, &Lifecycle::Error(Error::PatternRefused(text)));
            }
            SessionEvent::Kicked { code, text } => {
                return Some(DisconnectReason::Kicked { code, text });
            }
            SessionEvent::Ping { token } => {
                // Full or over: then the broker need not be answered.
                let _ = shared.request(|outbound, out| outbound.pong(out, token));
            }
            SessionEvent::Pong { token, .. } => {
                shared.confirmed.fetch_max(inbound.confirmed(), Ordering::AcqRel);
                shared.answer(token, String::new);
            }
            SessionEvent::Lost { source, count, reason } => {
                self.lost(shared, Lost { source, count, reason });
            }
            SessionEvent::Bye { .. } => {
                let outgoing = shared.lock();
                if !outgoing.leaving {
                    return Some(DisconnectReason::BrokerClosed);
                }
                // The broker has queued all of it.
                let last = outgoing.outbound.last_sequence();
                shared.confirmed.store(last, Ordering::Release);
                return Some(DisconnectReason::Requested);
            }
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

    fn answered(&mut self, shared: &Shared, request: u64, standing: Standing) {
        if shared.registry.lock().answered(request, standing) {
            shared.changed.notify_waiters();
        }
        self.check_in_force(shared);
    }
}
