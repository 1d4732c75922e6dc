//! Connection that speaks frames by hand, for what a well-behaved client never does: not
//! reading, reading slowly, asking for many patterns at once.
//!
//! The connection blocks, with a deadline on every read. It is no client: events that
//! arrive while it waits for an answer are thrown away.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netcluster_wire::frame::append;
use netcluster_wire::limits::HARD_MAX_PAYLOAD_BYTES;
use netcluster_wire::{Frame, Hello, Kind, Source, control};

/// Longest wait for any answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest wait for stats, which are a courtesy: a run goes on without them.
const STATS_TIMEOUT: Duration = Duration::from_secs(2);
const READ_BYTES: usize = 64 * 1024;
/// Number of subscriptions on the way at once: their acks fit into the socket's buffer,
/// so that neither side waits for the other.
const PATTERNS_PER_BATCH: usize = 256;

/// Connection that was welcomed.
#[derive(Debug)]
pub struct Raw {
    stream: UnixStream,
    source: Source,
    requests: u64,
    inbound: Vec<u8>,
}

/// Frame, copied out.
#[derive(Debug)]
pub struct Answer {
    /// Kind of the frame.
    pub kind: Kind,
    /// Source that the frame names.
    pub source: Source,
    /// Sequence of the frame.
    pub sequence: u64,
    /// Payload of the frame.
    pub payload: Vec<u8>,
}

impl Raw {
    /// Connects and says hello on the default channel.
    pub fn connect(socket: &Path, name: &str) -> Result<Raw> {
        let stream = UnixStream::connect(socket)
            .with_context(|| format!("cannot connect to {}", socket.display()))?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let mut raw = Raw { stream, source: Source::NONE, requests: 0, inbound: Vec::new() };
        let hello = Hello { client_name: name.into(), ..Hello::default() };
        raw.send(Kind::Hello, 0, b"default", &hello.encode())?;
        raw.source = raw.wait_for(Kind::Welcome)?.source;
        Ok(raw)
    }

    /// Subscribes to all of these patterns; returns once each is acknowledged.
    pub fn subscribe<'p>(&mut self, patterns: impl IntoIterator<Item = &'p str>) -> Result<()> {
        let patterns: Vec<&str> = patterns.into_iter().collect();
        for batch in patterns.chunks(PATTERNS_PER_BATCH) {
            let mut frames = Vec::new();
            for pattern in batch {
                self.requests += 1;
                let name = pattern.as_bytes();
                append(&mut frames, Kind::Subscribe, self.source, self.requests, name, &[]);
            }
            self.stream.write_all(&frames).context("cannot subscribe")?;
            for _ in batch {
                self.wait_for(Kind::Ack)?;
            }
        }
        Ok(())
    }

    /// Asks the broker for its status.
    pub fn stats(&mut self) -> Result<serde_json::Value> {
        self.requests += 1;
        self.stream.set_read_timeout(Some(STATS_TIMEOUT))?;
        self.send(Kind::Stats, self.requests, b"", b"")?;
        let answer = self.wait_for(Kind::Stats)?;
        serde_json::from_slice(&answer.payload).context("the broker's stats are not JSON")
    }

    /// Returns the stream behind the connection, to be read or left alone.
    pub fn stream(&mut self) -> &mut UnixStream {
        &mut self.stream
    }

    fn send(&mut self, kind: Kind, sequence: u64, name: &[u8], payload: &[u8]) -> Result<()> {
        let mut frame = Vec::new();
        append(&mut frame, kind, self.source, sequence, name, payload);
        self.stream.write_all(&frame).context("the connection broke")
    }

    fn wait_for(&mut self, kind: Kind) -> Result<Answer> {
        loop {
            let answer = read_frame(&mut self.stream, &mut self.inbound)?;
            match answer.kind {
                other if other == kind => return Ok(answer),
                Kind::Error => {
                    let (code, text) = control::decode_error(&answer.payload)?;
                    bail!("the broker refuses ({code:?}): {text}");
                }
                Kind::Bye => bail!("the broker is shutting down"),
                Kind::Ping => {
                    self.send(Kind::Pong, answer.sequence, b"", &control::encode_pong(0))?
                }
                _ => {}
            }
        }
    }
}

/// Reads the next whole frame; the bytes behind it stay in `inbound`.
pub fn read_frame(stream: &mut UnixStream, inbound: &mut Vec<u8>) -> Result<Answer> {
    loop {
        if let Some(frame) = Frame::read(inbound, HARD_MAX_PAYLOAD_BYTES)? {
            let answer = Answer {
                kind: frame.kind(),
                source: frame.source(),
                sequence: frame.sequence(),
                payload: frame.payload().to_vec(),
            };
            let length = frame.as_bytes().len();
            inbound.drain(..length);
            return Ok(answer);
        }
        let start = inbound.len();
        inbound.resize(start + READ_BYTES, 0);
        let read = stream.read(&mut inbound[start..]);
        inbound.truncate(start + read.as_ref().map_or(0, |&read| read));
        if read.context("no answer from the broker")? == 0 {
            bail!("the broker closed the connection");
        }
    }
}
