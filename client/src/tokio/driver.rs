//! The task of an async client: does what the core says.
//!
//! Reading and writing are two halves of one task, so a listener never runs at
//! the same time as a write, and a stuck write does not stop reading.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use interprocess::local_socket::tokio::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout_at;

use super::client::Shared;
use super::outbox::Outbox;
use super::stream::{MAX_WRITE_BYTES, connect};
use crate::core::{Machine, Step};
use crate::error::{DisconnectReason, Error};

/// Time for which an ended client still tries to write emitted events.
const DROP_FLUSH: Duration = Duration::from_millis(200);

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
        let machine = Machine::new(Arc::clone(&shared), paths, seed, now())?;
        let batch = Batch::default();
        Ok(Driver { shared, machine, stream: None, batch, hello_failure: None })
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
                    match timeout_at(deadline.into(), (&stream).write_all(&hello)).await {
                        Ok(written) => written.err(),
                        Err(_) => Some(io::ErrorKind::TimedOut.into()),
                    };
                self.stream = Some(stream);
            }
            Err(error) => self.machine.handle_failed(error, now()),
        }
    }

    async fn greet(&mut self, deadline: Instant) {
        let Some(mut stream) = self.stream.as_ref() else {
            return self.machine.handle_disconnected(None, now());
        };
        let closed = self.shared.port.wait(None, || self.shared.closed());
        let read = tokio::select! {
            read = timeout_at(deadline.into(), stream.read(self.machine.space())) => read,
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
        let Driver { shared, machine, batch, .. } = self;
        let over = tokio::select! {
            over = listen(machine, shared, &stream) => over,
            over = write(&shared.port, &stream, batch) => over,
        };
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
async fn listen(machine: &mut Machine<Outbox>, shared: &Shared, mut stream: &Stream) -> Over {
    loop {
        match machine.poll() {
            Step::Dispatch => machine.dispatch(&mut || true, now),
            Step::Hold => {
                let room = || (!shared.is_held()).then_some(());
                shared.port.wait(None, room).await;
            }
            Step::Read(_) => match stream.read(machine.space()).await {
                Ok(0) => return Over::Gone(None),
                Ok(bytes) => machine.handle_input(bytes, now),
                Err(error) => return Over::Gone(Some(error)),
            },
            Step::Map(_) | Step::Take => unreachable!("it never says that it can"),
            Step::Connect(..) | Step::Wait(_) | Step::Closed(_) => return Over::Ended,
        }
    }
}

/// Writes what there is, as long as the connection lives.
async fn write(outbox: &Outbox, mut stream: &Stream, batch: &mut Batch) -> Over {
    let is_closed = || outbox.lock().closed();
    loop {
        if batch.bytes.is_empty() {
            outbox.lock().take(&mut batch.bytes);
        }
        if batch.bytes.is_empty() {
            if is_closed().is_some() {
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

/// The time of the runtime, which tests may hold.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
