//! The task of an async client: does what the core says.
//!
//! Reading and writing are two halves of one task, so a listener never runs at
//! the same time as a write, and a stuck write does not stop reading.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout_at;

use super::bells::{IncomingBell, RoomBell};
use super::client::Shared;
use super::outbox::{Outbox, Put};
use super::stream::{MAX_WRITE_BYTES, Stream, connect};
use crate::core::{Machine, Step};
use crate::error::{DisconnectReason, Error};
use crate::memory::{Descriptors, Taken};

/// Time for which an ended client still tries to write emitted events.
const DROP_FLUSH: Duration = Duration::from_millis(200);

/// Descriptors after which other tasks get their turn.
const YIELD_EVERY: u32 = 8;

/// Bytes that are being written.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    written: usize,
}

/// The way in which reading or writing ended.
enum Over {
    /// The core knows.
    Ended,
    /// The client is closed, and what was emitted is written.
    Closed,
    /// The connection is gone, by this error; `None`: by the broker.
    Gone(Option<io::Error>),
}

/// The driver, the task of an async client.
pub(super) struct Driver {
    shared: Arc<Shared>,
    machine: Machine<Outbox>,
    stream: Option<Stream>,
    /// Descriptors that came with an offer of memory.
    descriptors: Descriptors,
    batch: Batch,
    /// The error of writing the hello: the broker may have said why before it hung up,
    /// and that is read first.
    hello_failure: Option<io::Error>,
}

/// A runtime that is dropped drops its tasks wherever they wait: then who waits for
/// the client is told.
impl Drop for Driver {
    fn drop(&mut self) {
        let error = io::Error::other("the runtime that the client ran in is gone");
        self.machine.abandon(Error::Disconnected(DisconnectReason::lost(error)));
    }
}

impl Driver {
    /// Makes the driver of a client that connects to one of these sockets.
    ///
    /// # Errors
    /// A name in the options is not allowed.
    pub(super) fn new(shared: Arc<Shared>, paths: Vec<PathBuf>) -> Result<Driver, Error> {
        let seed = RandomState::new().hash_one(0);
        let mut machine = Machine::new(Arc::clone(&shared), paths, seed, now())?;
        machine.can_map();
        Ok(Driver {
            shared,
            machine,
            stream: None,
            descriptors: Descriptors::default(),
            batch: Batch::default(),
            hello_failure: None,
        })
    }

    /// Connects for the first time.
    ///
    /// # Errors
    /// There is no broker, it refuses, or does not answer in time.
    pub(super) async fn connect(&mut self) -> Result<(), Error> {
        while !self.machine.is_open() {
            if let Some(error) = self.step().await {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs until the client ends.
    pub(super) async fn run(mut self) {
        while self.step().await.is_none() {}
    }

    /// Does one thing; tells why the client is over, if it is.
    async fn step(&mut self) -> Option<Error> {
        match self.machine.poll() {
            Step::Connect(path, deadline) => self.open(&path, deadline).await,
            Step::Read(Some(deadline)) => self.greet(deadline).await,
            Step::Read(None) | Step::Map(_) | Step::Take | Step::Dispatch | Step::Hold => {
                self.converse().await
            }
            Step::Wait(until) => {
                // Who ended the connection waits for its other end.
                self.stream = None;
                self.shared.port.wait(Some(until.into()), || self.shared.closed()).await;
                self.machine.handle_timeout(now());
            }
            Step::Closed(error) => return Some(error),
        }
        None
    }

    async fn open(&mut self, path: &Path, deadline: Instant) {
        let timeout = self.shared.options.connect_timeout;
        let connected = match crate::path::check(path) {
            Ok(()) => connect(path, timeout).await,
            Err(error) => Err(error),
        };
        match connected {
            Ok(stream) => {
                let hello = self.machine.handle_connected();
                self.hello_failure =
                    match timeout_at(deadline.into(), write_all(&stream, &hello)).await {
                        Ok(written) => written.err(),
                        Err(_) => Some(io::ErrorKind::TimedOut.into()),
                    };
                self.descriptors.clear();
                self.stream = Some(stream);
            }
            Err(error) => self.machine.handle_failed(error, now()),
        }
    }

    async fn greet(&mut self, deadline: Instant) {
        let Some(stream) = self.stream.as_ref() else {
            return self.machine.handle_disconnected(None, now());
        };
        let closed = self.shared.port.wait(None, || self.shared.closed());
        let beside = self.machine.expects_offer().then_some(&mut self.descriptors);
        let read = stream.read(self.machine.space(), beside);
        let read = tokio::select! {
            read = timeout_at(deadline.into(), read) => read,
            _ = closed => return self.machine.handle_closed(now()),
        };
        match read {
            Ok(Ok(0)) => self.machine.handle_disconnected(self.hello_failure.take(), now()),
            Ok(Ok(bytes)) => self.machine.handle_input(bytes, now),
            Ok(Err(error)) => self.machine.handle_disconnected(Some(error), now()),
            Err(_) => self.machine.handle_timeout(now().max(deadline)),
        }
    }

    /// Reads and writes until the connection ends.
    async fn converse(&mut self) {
        let Some(stream) = self.stream.take() else {
            return self.machine.handle_disconnected(None, now());
        };
        let Driver { shared, machine, batch, descriptors, .. } = self;
        let over = tokio::select! {
            over = listen(machine, shared, &stream, descriptors) => over,
            over = write(&shared.port, &stream, batch) => over,
        };
        if matches!(over, Over::Ended) && shared.closed().is_some() {
            // The reader found the client closed first: what was emitted before still goes.
            let _ = write(&shared.port, &stream, batch).await;
        }
        drop(stream);
        let Batch { bytes, written } = std::mem::take(batch);
        shared.port.lock().put_back(bytes, written);
        match over {
            Over::Ended => {}
            Over::Closed => machine.handle_closed(now()),
            Over::Gone(error) => machine.handle_disconnected(error, now()),
        }
    }
}

/// Reads and dispatches, as long as the connection lives.
async fn listen(
    machine: &mut Machine<Outbox>,
    shared: &Shared,
    stream: &Stream,
    descriptors: &mut Descriptors,
) -> Over {
    let mut incoming = None;
    loop {
        match machine.poll() {
            Step::Dispatch => machine.dispatch(&mut || true, now),
            Step::Hold => {
                let room = || (!shared.is_held()).then_some(());
                shared.port.wait(None, room).await;
            }
            Step::Map(arena_bytes) => machine.handle_mapped(descriptors.map(arena_bytes)),
            Step::Take => {
                if let Err(over) = take(machine, shared, stream, &mut incoming).await {
                    return over;
                }
            }
            Step::Read(_) => {
                let beside = machine.expects_offer().then_some(&mut *descriptors);
                match stream.read(machine.space(), beside).await {
                    Ok(0) => return Over::Gone(None),
                    Ok(bytes) => machine.handle_input(bytes, now),
                    Err(error) => return Over::Gone(Some(error)),
                }
            }
            Step::Connect(..) | Step::Wait(_) | Step::Closed(_) => return Over::Ended,
        }
    }
}

/// The waiting for what comes by the broker's memory.
struct Waiting {
    bell: IncomingBell,
    taken: u32,
    /// The broker hung up, and what it left in its memory is taken.
    is_gone: bool,
}

/// Takes what comes by the broker's memory, or waits for it.
async fn take(
    machine: &mut Machine<Outbox>,
    shared: &Shared,
    stream: &Stream,
    waiting: &mut Option<Waiting>,
) -> Result<(), Over> {
    let gone = |error| Over::Gone(Some(error));
    let taken = machine.take(now);
    let Some(incoming) = machine.incoming() else { return Ok(()) };
    let waiting = match waiting {
        Some(waiting) => waiting,
        none => {
            let bell = IncomingBell::new(incoming).map_err(gone)?;
            none.insert(Waiting { bell, taken: 0, is_gone: false })
        }
    };
    match taken {
        Taken::Socket(bytes) => {
            let space = machine.space();
            let bytes = bytes.min(space.len());
            match stream.read_announced(&mut space[..bytes]).await.map_err(gone)? {
                0 => return Err(Over::Gone(None)),
                bytes => machine.handle_announced(bytes),
            }
        }
        Taken::Nothing if waiting.is_gone => return Err(Over::Gone(None)),
        Taken::Nothing => {
            waiting.taken = 0;
            let spin = shared.options.spin;
            waiting.is_gone = waiting.bell.wait(incoming, stream, spin).await.map_err(gone)?;
        }
        // The core knows.
        Taken::Range { .. } | Taken::Ahead | Taken::Revoked | Taken::Fault => {}
    }
    waiting.taken += 1;
    if waiting.taken >= YIELD_EVERY {
        waiting.taken = 0;
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn write_all(stream: &Stream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes).await? {
            0 => return Err(io::ErrorKind::WriteZero.into()),
            written => bytes = &bytes[written..],
        }
    }
    Ok(())
}

/// Writes what there is, as long as the connection lives.
async fn write(outbox: &Outbox, stream: &Stream, batch: &mut Batch) -> Over {
    let is_closed = || outbox.lock().closed();
    let mut room = None;
    loop {
        // To be seen before what waits is taken: nothing is appended afterwards.
        let was_closed = is_closed().is_some();
        if batch.bytes.is_empty() {
            match outbox.put() {
                Put::NoRing => outbox.lock().take(&mut batch.bytes),
                Put::All => {}
                Put::Some => continue,
                Put::Full => match wait_for_room(outbox, &mut room).await {
                    Ok(()) => continue,
                    // As below.
                    Err(_) if is_closed().is_none() => std::future::pending::<()>().await,
                    Err(error) => return Over::Gone(Some(error)),
                },
            }
        }
        if batch.bytes.is_empty() {
            if was_closed {
                return Over::Closed;
            }
            outbox.work.notified().await;
            continue;
        }
        let rest = &batch.bytes[batch.written..];
        let rest = &rest[..rest.len().min(MAX_WRITE_BYTES)];
        let wrote = match is_closed() {
            None => tokio::select! {
                wrote = stream.write(rest) => wrote,
                _ = outbox.wait(None, is_closed) => continue,
            },
            Some(_) => tokio::time::timeout(DROP_FLUSH, stream.write(rest))
                .await
                .unwrap_or(Err(io::ErrorKind::TimedOut.into())),
        };
        match wrote {
            Ok(0) => return Over::Gone(None),
            Ok(bytes) => {
                batch.written += bytes;
                if batch.written == batch.bytes.len() {
                    batch.bytes.clear();
                    batch.written = 0;
                }
                outbox.wrote(bytes);
            }
            // What the broker said last may wait to be read: that is the reader's.
            Err(_) if is_closed().is_none() => std::future::pending::<()>().await,
            Err(error) => return Over::Gone(Some(error)),
        }
    }
}

/// Waits until the ring has room, or the client is closed; then not for long.
async fn wait_for_room(outbox: &Outbox, bell: &mut Option<RoomBell>) -> io::Result<()> {
    let is_closed = || outbox.lock().closed();
    let bell = match bell {
        Some(bell) => bell,
        none => match RoomBell::new(&outbox.lock())? {
            Some(bell) => none.insert(bell),
            None => return Ok(()),
        },
    };
    if is_closed().is_some() {
        let heard = tokio::time::timeout(DROP_FLUSH, bell.heard()).await;
        return heard.unwrap_or(Err(io::ErrorKind::TimedOut.into()));
    }
    tokio::select! {
        heard = bell.heard() => heard,
        _ = outbox.wait(None, is_closed) => Ok(()),
    }
}

/// The time of the runtime, which tests may hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
