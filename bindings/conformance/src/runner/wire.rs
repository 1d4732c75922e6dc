//! One end of a connection, frame by frame: a client that may break the protocol, or the
//! broker's end of a server that lies.

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use netcluster_wire::frame::{encode, set_encoding};
use netcluster_wire::{Encoding, Frame, Hello, Kind, Source, Welcome};

/// Longest wait for a frame.
const PATIENCE: Duration = Duration::from_secs(20);

/// Payloads that are taken.
const LIMIT_BYTES: usize = 64 << 20;

/// The source that a liar gives its clients.
pub const CLIENT: Source = Source { node: 0x2a, client: 3 };

/// A frame that was read.
#[derive(Debug)]
pub struct Received {
    /// Kind of the frame.
    pub kind: Kind,
    /// Its sequence, request or token.
    pub sequence: u64,
    /// Its name.
    pub name: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Its source.
    pub source: Source,
}

/// An end of a connection.
#[derive(Debug)]
pub struct Wire {
    stream: UnixStream,
    input: Vec<u8>,
    /// The client that it speaks for, or with.
    pub source: Source,
    sequence: u64,
}

impl Wire {
    /// The end of a connection that was accepted.
    ///
    /// # Errors
    /// The system's.
    pub fn accepted(stream: UnixStream) -> Result<Wire> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Wire { stream, input: Vec::new(), source: Source::NONE, sequence: 0 })
    }

    /// A client of a broker, on the channel `default`.
    ///
    /// # Errors
    /// There is none, or it does not welcome.
    pub fn connect(socket: impl AsRef<Path>) -> Result<Wire> {
        let mut wire = Wire::accepted(UnixStream::connect(socket)?)?;
        let hello = Hello { client_name: "raw".into(), ..Hello::default() };
        wire.frame(Kind::Hello, 0, "default", &hello.encode())?;
        let welcome = wire.read()?;
        ensure!(welcome.kind == Kind::Welcome, "a welcome, not {welcome:?}");
        wire.source = welcome.source;
        Ok(wire)
    }

    /// Reads a client's hello and welcomes it; what the hello said.
    ///
    /// # Errors
    /// It is none.
    pub fn welcome(&mut self, welcome: &Welcome) -> Result<Hello> {
        let hello = self.read()?;
        ensure!(hello.kind == Kind::Hello, "a hello, not {hello:?}");
        self.source = CLIENT;
        self.frame(Kind::Welcome, 0, "", &welcome.encode())?;
        Hello::decode(&hello.payload).context("a hello")
    }

    /// Writes bytes.
    ///
    /// # Errors
    /// The system's.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// Writes a frame from [`Wire::source`].
    ///
    /// # Errors
    /// The system's.
    pub fn frame(&mut self, kind: Kind, sequence: u64, name: &str, payload: &[u8]) -> Result<()> {
        self.send(&encode(kind, self.source, sequence, name.as_bytes(), payload))
    }

    /// The bytes of an event from [`Wire::source`].
    pub fn event(&mut self, name: &str, encoding: Encoding, payload: &[u8]) -> Vec<u8> {
        self.sequence += 1;
        let name = name.as_bytes();
        let mut event = encode(Kind::Event, self.source, self.sequence, name, payload);
        set_encoding(&mut event, encoding);
        event
    }

    /// Reads the next frame.
    ///
    /// # Errors
    /// None comes, or a broken one.
    pub fn read(&mut self) -> Result<Received> {
        loop {
            if let Some(frame) = Frame::read(&self.input, LIMIT_BYTES)? {
                let read = Received {
                    kind: frame.kind(),
                    sequence: frame.sequence(),
                    name: String::from_utf8_lossy(frame.name()).into_owned(),
                    payload: frame.payload().to_vec(),
                    source: frame.source(),
                };
                let bytes = frame.as_bytes().len();
                self.input.drain(..bytes);
                return Ok(read);
            }
            let mut buffer = [0; 64 << 10];
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the connection ended"),
                Ok(bytes) => self.input.extend_from_slice(&buffer[..bytes]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("a frame"),
            }
        }
    }

    /// Reads frames up to one of this kind.
    ///
    /// # Errors
    /// None comes.
    pub fn read_until(&mut self, kind: Kind) -> Result<Received> {
        loop {
            let read = self.read().with_context(|| format!("{kind:?}"))?;
            if read.kind == kind {
                return Ok(read);
            }
        }
    }

    /// Acknowledges requests until one of this pattern is.
    ///
    /// # Errors
    /// None comes.
    pub fn acknowledge(&mut self, pattern: &str) -> Result<()> {
        loop {
            let request = self.read_until(Kind::Subscribe)?;
            self.frame(Kind::Ack, request.sequence, "", b"")?;
            if request.name == pattern {
                return Ok(());
            }
        }
    }

    /// Ends its own direction.
    pub fn half_close(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// Reads and drops all that comes, until the other end closes.
    pub fn drain(&mut self) {
        let mut buffer = [0; 64 << 10];
        while matches!(self.stream.read(&mut buffer), Ok(1..)) {}
    }
}
