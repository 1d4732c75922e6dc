//! A connection of a peer whose protocol is bytes on a stream, for a thread of its
//! own: one write per batch, one read for all that is there.
//!
//! ```text
//!   publish ──► Frames ═══ write ═══►  peer
//!   each(payload) ◄── Frames ◄══ read ══
//! ```
//! What the bytes are is for [`Frames`] and its dialect; here they are moved, and it
//! is decided how long to wait.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::address::{Address, Stream};
use crate::connection::{Connection, Received};
use crate::frames::{Dialect, Frames};

/// Length of a batch that is written at once, in bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// Room for what one read may bring, in bytes.
const READ_BYTES: usize = 256 * 1024;
/// Longest wait for an answer.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for an event.
const EVENT_TIMEOUT: Duration = Duration::from_secs(3);

/// A connection that speaks a dialect.
#[derive(Debug)]
pub struct Pipe<D> {
    stream: Stream,
    frames: Frames<D>,
}

impl<D: Dialect> Pipe<D> {
    /// Connects and says hello.
    pub fn connect(address: &Address, name: &str, only_publishes: bool) -> Result<Pipe<D>> {
        let stream = address.connect().context("cannot connect to the peer")?;
        stream.set_read_timeout(Some(EVENT_TIMEOUT))?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
        let frames = Frames::new(D::new(name, only_publishes), READ_BYTES);
        let mut pipe = Pipe { stream, frames };
        pipe.answered().context("the peer's hello")?;
        Ok(pipe)
    }

    /// Asks for a subscription; an answer tells when the subscription is in force.
    pub fn ask_for(&mut self, topic: &str) -> Result<()> {
        self.frames.subscribe(topic);
        self.flush()
    }

    /// Sends the bytes that there are and waits for all answers to them.
    fn answered(&mut self) -> Result<()> {
        if self.answered_within(ANSWER_TIMEOUT)? {
            Ok(())
        } else {
            bail!("no answer within {ANSWER_TIMEOUT:?}")
        }
    }

    /// Sends the bytes that there are and waits for all answers for a while; returns
    /// whether the answers have come. Events that come meanwhile are not expected:
    /// nothing is emitted before everyone has subscribed.
    pub fn answered_within(&mut self, limit: Duration) -> Result<bool> {
        self.flush()?;
        if self.frames.awaited() == 0 {
            return Ok(true);
        }
        let deadline = Instant::now() + limit;
        self.stream.set_read_timeout(Some(limit))?;
        loop {
            self.frames.take_answers()?;
            self.flush()?;
            if self.frames.awaited() == 0 || Instant::now() > deadline {
                break;
            }
            if self.fill()? == Received::Closed {
                bail!("the peer closed the connection");
            }
        }
        self.stream.set_read_timeout(Some(EVENT_TIMEOUT))?;
        Ok(self.frames.awaited() == 0)
    }

    /// Takes the bytes that have come and does not wait for more: for a connection that
    /// is only written to, whose peer talks all the same.
    pub fn take_waiting(&mut self) -> Result<()> {
        loop {
            match self.stream.read_waiting(self.frames.room()?) {
                Ok(Some(read)) if read > 0 => self.frames.filled(read),
                // That it is closed, the next write tells.
                Ok(_) => return Ok(()),
                Err(error) => return Err(error).context("cannot read from the peer"),
            }
            self.frames.take(|_| ())?;
            self.flush()?;
        }
    }

    /// Reads once, behind the bytes that are there.
    fn fill(&mut self) -> Result<Received> {
        match self.stream.read(self.frames.room()?) {
            Ok(0) => Ok(Received::Closed),
            Ok(read) => {
                self.frames.filled(read);
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
        self.ask_for(topic)?;
        self.answered().context("a subscription")
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<()> {
        self.frames.publish(topic, payload);
        if self.frames.outbound().len() >= BATCH_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        if self.frames.outbound().is_empty() {
            return Ok(());
        }
        let written = self.stream.write_all(self.frames.outbound());
        self.frames.written();
        written.context("cannot write to the peer")
    }

    fn fence(&mut self) -> Result<()> {
        self.frames.fence();
        self.answered().context("the end of what was published")
    }

    fn receive(&mut self, mut each: impl FnMut(&[u8])) -> Result<Received> {
        loop {
            let events = self.frames.take(&mut each)?;
            self.flush()?;
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
