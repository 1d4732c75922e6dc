//! The thread that connects, reads and runs the listeners: does what the core says.
//!
//! Invariant: it never waits for a write, nor for a lock held during one.

use std::hash::{BuildHasher, RandomState};
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Shared;
use super::outbox::Outbox;
use super::stream::Socket;
use crate::core::{Machine, Step};
use crate::error::{DisconnectReason, Error};
use crate::memory::{Descriptors, Taken};

/// Time after which events that listeners emitted are written, if the listeners go on.
const PUSH_WITHIN: Duration = Duration::from_micros(100);

/// The driver, on whose thread listeners run.
pub(super) struct Driver {
    shared: Arc<Shared>,
    machine: Machine<Outbox>,
    socket: Option<Arc<Socket>>,
    /// Descriptors that came with an offer of memory.
    descriptors: Descriptors,
    /// The broker hung up, and what it left in its memory is taken.
    is_gone: bool,
    /// The error of writing the hello: the broker may have said why before it hung up,
    /// and that is read first.
    hello_failure: Option<io::Error>,
}

/// A thread that ends before the client did takes it along: then who waits for the
/// client is told.
impl Drop for Driver {
    fn drop(&mut self) {
        let error = io::Error::other("the thread that ran the client is gone");
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
        let mut machine = Machine::new(Arc::clone(&shared), paths, seed, Instant::now())?;
        machine.can_map();
        Ok(Driver {
            shared,
            machine,
            socket: None,
            descriptors: Descriptors::default(),
            is_gone: false,
            hello_failure: None,
        })
    }

    /// Connects for the first time, on the caller's thread.
    ///
    /// # Errors
    /// There is no broker, it refuses, or does not answer in time.
    pub(super) fn connect(&mut self) -> Result<(), Error> {
        while !self.machine.is_open() {
            if let Some(error) = self.step() {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs until the client ends.
    pub(super) fn run(mut self) {
        self.shared.port.enter_reader();
        while self.step().is_none() {}
    }

    /// Does one thing; tells why the client is over, if it is.
    fn step(&mut self) -> Option<Error> {
        match self.machine.poll() {
            Step::Connect(path, _) => self.open(&path),
            Step::Read(deadline) => self.read(deadline),
            Step::Dispatch => self.dispatch(),
            Step::Map(arena_bytes) => {
                self.machine.handle_mapped(self.descriptors.map(arena_bytes));
            }
            Step::Take => self.take(),
            Step::Hold => {
                self.shared.port.bell.wait(None, || (!self.shared.is_held()).then_some(()));
            }
            Step::Wait(until) => {
                // Who ended the connection waits for its other end.
                self.socket = None;
                self.shared.port.detach();
                self.shared.port.bell.wait(Some(until), || self.shared.closed());
                self.machine.handle_timeout(Instant::now());
            }
            Step::Closed(error) => return Some(error),
        }
        None
    }

    fn open(&mut self, path: &Path) {
        let timeout = self.shared.options.connect_timeout;
        let connected = crate::path::check(path).and_then(|()| Socket::connect(path, timeout));
        match connected {
            Ok(socket) => {
                let socket = Arc::new(socket);
                self.descriptors.clear();
                self.is_gone = false;
                self.shared.port.attach(&socket);
                let hello = self.machine.handle_connected();
                // Far less than what an empty socket takes at once.
                self.hello_failure = socket.write(&[IoSlice::new(&hello)], true).err();
                self.socket = Some(socket);
            }
            Err(error) => self.machine.handle_failed(error, Instant::now()),
        }
    }

    fn read(&mut self, deadline: Option<Instant>) {
        if deadline.is_none() && self.shared.closed().is_some() {
            return self.machine.handle_closed(Instant::now());
        }
        match self.receive(deadline) {
            Ok(0) => self.machine.handle_disconnected(self.hello_failure.take(), Instant::now()),
            Ok(bytes) => self.machine.handle_input(bytes, Instant::now),
            Err(error)
                if deadline.is_some()
                    && matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                    ) =>
            {
                self.machine.handle_timeout(Instant::now());
            }
            Err(error) => self.machine.handle_disconnected(Some(error), Instant::now()),
        }
    }

    fn receive(&mut self, deadline: Option<Instant>) -> io::Result<usize> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let beside = self.machine.expects_offer().then_some(&mut self.descriptors);
        socket.read(self.machine.space(), deadline, beside)
    }

    /// Takes what comes by the broker's memory, or waits for it.
    fn take(&mut self) {
        if self.shared.closed().is_some() {
            return self.machine.handle_closed(Instant::now());
        }
        match self.machine.take(Instant::now) {
            Taken::Socket(bytes) => match self.receive_announced(bytes) {
                Ok(0) => self.machine.handle_disconnected(None, Instant::now()),
                Ok(bytes) => self.machine.handle_announced(bytes),
                Err(error) => self.machine.handle_disconnected(Some(error), Instant::now()),
            },
            Taken::Nothing if self.is_gone => {
                self.machine.handle_disconnected(None, Instant::now());
            }
            Taken::Nothing => self.wait(),
            // The core knows.
            Taken::Range { .. } | Taken::Ahead | Taken::Revoked | Taken::Fault => {}
        }
    }

    fn receive_announced(&mut self, bytes: usize) -> io::Result<usize> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        let space = self.machine.space();
        let bytes = bytes.min(space.len());
        socket.read(&mut space[..bytes], None, None)
    }

    fn wait(&mut self) {
        let (Some(socket), Some(incoming)) = (&self.socket, self.machine.incoming()) else {
            return;
        };
        match socket.wait(incoming, self.shared.options.spin) {
            // What it did before is taken first.
            Ok(is_gone) => self.is_gone = is_gone,
            Err(error) => self.machine.handle_disconnected(Some(error), Instant::now()),
        }
    }

    fn dispatch(&mut self) {
        let outbox = &self.shared.port;
        let mut pushed = None;
        let mut go_on = || {
            if outbox.has_emitted() {
                let now = Instant::now();
                if now - *pushed.get_or_insert(now) >= PUSH_WITHIN {
                    outbox.push_emitted();
                    pushed = Some(now);
                }
            }
            outbox.lock().out.closed().is_none()
        };
        self.machine.dispatch(&mut go_on, Instant::now);
        self.shared.port.push_emitted();
    }
}
