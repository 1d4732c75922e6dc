//! A connection of a peer whose protocol is bytes on a stream: one write per
//! batch, one read for all that is there, frames taken where they lie.
//!
//! ```text
//!   publish ──► outbound ═══ write ═══►  peer
//!   each(payload) ◄── Dialect::decode ◄── inbound ◄══ read ══
//!                                          | taken | frames … | part | free |
//!                                                  start             end
//! ```
//! The dialect knows the bytes and nothing of sockets. Invariant: `start ≤ end ≤
//! inbound.len()`, and bytes before `start` are never looked at again.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::peers::address::{Address, Stream};
use crate::peers::connection::{Connection, Received};

/// A batch of this many bytes is written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// Room for what one read may bring; doubled for a frame that is longer.
const READ_BYTES: usize = 256 * 1024;
/// A longer frame is no event of ours.
const MAX_FRAME_BYTES: usize = 64 << 20;
/// What a server tells of itself in a line is long.
const MAX_LINE_BYTES: usize = 64 * 1024;
/// The longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(3);

/// The first frame of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'b> {
    /// Not all of it is there.
    Partial,
    /// An event, and its frame's length.
    Event(&'b [u8], usize),
    /// An answer that was asked for, and its length.
    Answer(usize),
    /// A question that [`Dialect::reply`] answers, and its length.
    Question(usize),
    /// Nothing of interest, and its length.
    Other(usize),
}

/// A protocol: how its frames are written and read.
pub trait Dialect: Sized {
    /// For a client of this name, which may only ever publish.
    fn new(name: &str, only_publishes: bool) -> Self;

    /// The first bytes, and how many answers follow.
    fn hello(&mut self, out: &mut Vec<u8>) -> usize;

    /// A subscription, and how many answers follow.
    fn subscribe(&mut self, topic: &str, out: &mut Vec<u8>) -> usize;

    /// An event.
    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Vec<u8>);

    /// A question behind all that was published, and how many answers follow.
    fn fence(&mut self, out: &mut Vec<u8>) -> usize;

    /// The answer to [`Decoded::Question`].
    fn reply(&mut self, out: &mut Vec<u8>);

    /// The first frame. An event may lie in the dialect, if the peer cuts it into pieces.
    fn decode<'b>(&'b mut self, bytes: &'b [u8]) -> Result<Decoded<'b>>;
}

/// Appends a number in decimal digits, as text protocols tell lengths.
#[inline]
pub fn push_decimal(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The first line and the length of it with its end; `None` if it is not all
/// there.
///
/// # Errors
/// If it is longer than any line of these protocols.
#[inline]
pub fn line(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    match bytes.iter().take(MAX_LINE_BYTES).position(|&byte| byte == b'\n') {
        Some(end) => {
            let text = &bytes[..end];
            Ok(Some((text.strip_suffix(b"\r").unwrap_or(text), end + 1)))
        }
        None if bytes.len() >= MAX_LINE_BYTES => {
            bail!("a line of more than {MAX_LINE_BYTES} bytes")
        }
        None => Ok(None),
    }
}

/// A number in decimal digits, of a length that may be.
#[inline]
pub fn decimal(text: &[u8]) -> Result<usize> {
    let mut number = 0;
    for &digit in text {
        if !digit.is_ascii_digit() || number > MAX_FRAME_BYTES {
            bail!("{:?} is no length", String::from_utf8_lossy(text));
        }
        number = number * 10 + usize::from(digit - b'0');
    }
    if text.is_empty() || number > MAX_FRAME_BYTES {
        bail!("{:?} is no length", String::from_utf8_lossy(text));
    }
    Ok(number)
}

/// A connection that speaks a dialect.
#[derive(Debug)]
pub struct Pipe<D> {
    stream: Stream,
    dialect: D,
    outbound: Vec<u8>,
    inbound: Vec<u8>,
    start: usize,
    end: usize,
}

impl<D: Dialect> Pipe<D> {
    /// Connects and says hello.
    pub fn connect(address: &Address, name: &str, only_publishes: bool) -> Result<Pipe<D>> {
        let stream = address.connect().context("cannot connect to the peer")?;
        stream.set_read_timeout(Some(EVENT_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let mut pipe = Pipe {
            stream,
            dialect: D::new(name, only_publishes),
            outbound: Vec::with_capacity(2 * BATCH_BYTES),
            inbound: vec![0; READ_BYTES],
            start: 0,
            end: 0,
        };
        let answers = pipe.dialect.hello(&mut pipe.outbound);
        pipe.flush()?;
        pipe.wait_for(answers).context("the peer's hello")?;
        Ok(pipe)
    }

    /// Events that come meanwhile are not expected: nothing is emitted before
    /// everyone has subscribed.
    fn wait_for(&mut self, mut answers: usize) -> Result<()> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while answers > 0 {
            let unread = &self.inbound[self.start..self.end];
            let (is_answer, length) = match self.dialect.decode(unread)? {
                Decoded::Partial => match self.fill()? {
                    Received::Closed => bail!("the peer closed the connection"),
                    _ if Instant::now() > deadline => bail!("no answer within {ANSWER_TIMEOUT:?}"),
                    _ => continue,
                },
                Decoded::Answer(length) => (true, length),
                Decoded::Question(length) => {
                    self.dialect.reply(&mut self.outbound);
                    self.flush()?;
                    (false, length)
                }
                Decoded::Event(_, length) | Decoded::Other(length) => (false, length),
            };
            self.start += length;
            answers -= usize::from(is_answer);
        }
        Ok(())
    }

    /// One read behind what is there.
    fn fill(&mut self) -> Result<Received> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.inbound.len() {
            // Part of a frame: to the front, and more room if it has it all.
            self.inbound.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.end == self.inbound.len() {
                if self.end >= MAX_FRAME_BYTES {
                    bail!("a frame of more than {MAX_FRAME_BYTES} bytes");
                }
                self.inbound.resize(2 * self.end, 0);
            }
        }
        match self.stream.read(&mut self.inbound[self.end..]) {
            Ok(0) => Ok(Received::Closed),
            Ok(read) => {
                self.end += read;
                Ok(Received::Events(0))
            }
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {
                    Ok(Received::Nothing)
                }
                // So does a peer end that drops whoever is too slow.
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Ok(Received::Closed),
                _ => Err(error).context("cannot read from the peer"),
            },
        }
    }
}

impl<D: Dialect> Connection for Pipe<D> {
    fn subscribe(&mut self, topic: &str) -> Result<()> {
        let answers = self.dialect.subscribe(topic, &mut self.outbound);
        self.flush()?;
        self.wait_for(answers).context("a subscription")
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        self.dialect.publish(topic, payload, &mut self.outbound);
        if self.outbound.len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let written = self.stream.write_all(&self.outbound);
        self.outbound.clear();
        written.context("cannot write to the peer")
    }

    fn fence(&mut self) -> Result<()> {
        let answers = self.dialect.fence(&mut self.outbound);
        self.flush()?;
        self.wait_for(answers).context("the end of what was published")
    }

    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<Received> {
        loop {
            let (mut at, mut events) = (self.start, 0);
            loop {
                match self.dialect.decode(&self.inbound[at..self.end])? {
                    Decoded::Event(payload, length) => {
                        each(payload);
                        events += 1;
                        at += length;
                    }
                    Decoded::Partial => break,
                    Decoded::Question(length) => {
                        self.dialect.reply(&mut self.outbound);
                        at += length;
                    }
                    Decoded::Answer(length) | Decoded::Other(length) => at += length,
                }
            }
            self.start = at;
            if !self.outbound.is_empty() {
                self.flush()?;
            }
            if events > 0 {
                return Ok(Received::Events(events));
            }
            match self.fill()? {
                Received::Events(_) => {}
                end => return Ok(end),
            }
        }
    }
}

#[cfg(test)]
mod tests;
