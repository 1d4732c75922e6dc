//! A peer's protocol without its socket: bytes in, bytes out, frames taken where
//! they lie.
//!
//! ```text
//!   publish, subscribe … ──► outbound ──► what is to be written
//!   each(payload) ◄── Dialect::decode ◄── inbound ◄── what was read
//!                                          | taken | frames … | part | free |
//!                                                  start             end
//! ```
//! The dialect knows the bytes; whoever moves them, one connection on a blocking
//! socket or thousands on one thread, does so around this. Invariant: `start ≤ end ≤
//! inbound.len()`, and bytes before `start` are never looked at again.

use anyhow::{Result, bail};

/// Longest frame: a longer one is no event of ours.
pub const MAX_FRAME_BYTES: usize = 64 << 20;
/// Longest line: what a server tells of itself is long.
const MAX_LINE_BYTES: usize = 64 * 1024;
const _: () = assert!(MAX_LINE_BYTES <= MAX_FRAME_BYTES);

/// First frame of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decoded<'b> {
    /// A frame that is not all there yet.
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
    /// Makes the dialect of a client of this name, which may only ever publish.
    fn new(name: &str, only_publishes: bool) -> Self;

    /// Writes the first bytes; returns how many answers follow.
    fn hello(&mut self, out: &mut Vec<u8>) -> usize;

    /// Writes a subscription; returns how many answers follow.
    fn subscribe(&mut self, topic: &str, out: &mut Vec<u8>) -> usize;

    /// Writes an event.
    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Vec<u8>);

    /// Writes a question behind all that was published; returns how many answers follow.
    fn fence(&mut self, out: &mut Vec<u8>) -> usize;

    /// Writes the answer to [`Decoded::Question`].
    fn reply(&mut self, out: &mut Vec<u8>);

    /// Decodes the first frame. An event may lie in the dialect, if the peer cuts it into
    /// pieces.
    fn decode<'b>(&'b mut self, bytes: &'b [u8]) -> Result<Decoded<'b>>;
}

/// Checks that bytes are no frame before all of them are there.
#[cfg(test)]
pub fn assert_awaits_all(dialect: &mut impl Dialect, bytes: &[u8]) {
    for cut in 0..bytes.len() {
        assert_eq!(dialect.decode(&bytes[..cut]).unwrap(), Decoded::Partial, "{cut}");
    }
}

/// Appends a number in decimal digits, in which text protocols tell lengths.
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

/// Appends a number in as few bytes as it takes, seven bits in each, the lowest first:
/// binary protocols tell lengths so.
#[inline]
pub fn push_sevens(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Returns the first line and the length of the line with its end; `None` if the line is
/// not all there.
///
/// # Errors
/// If the line is longer than any of these protocols.
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

/// Reads a number in decimal digits, the length of a frame that may be.
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

/// Bytes of both directions of a connection.
#[derive(Debug)]
pub struct Frames<D> {
    dialect: D,
    outbound: Vec<u8>,
    inbound: Vec<u8>,
    start: usize,
    end: usize,
    /// Answers that are still to come.
    awaited: usize,
}

impl<D: Dialect> Frames<D> {
    /// Makes the frames of a connection that says hello; `read_bytes` is the room for
    /// what one read may bring.
    pub fn new(mut dialect: D, read_bytes: usize) -> Frames<D> {
        let mut outbound = Vec::new();
        let awaited = dialect.hello(&mut outbound);
        Frames { dialect, outbound, inbound: vec![0; read_bytes], start: 0, end: 0, awaited }
    }

    /// Subscribes to a topic.
    pub fn subscribe(&mut self, topic: &str) {
        self.awaited += self.dialect.subscribe(topic, &mut self.outbound);
    }

    /// Publishes an event.
    #[inline]
    pub fn publish(&mut self, topic: &str, payload: &[u8]) {
        self.dialect.publish(topic, payload, &mut self.outbound);
    }

    /// Asks whether all that was published has been read.
    pub fn fence(&mut self) {
        self.awaited += self.dialect.fence(&mut self.outbound);
    }

    /// Returns how many answers are still to come.
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// Returns the bytes that are to be written.
    #[inline]
    pub fn outbound(&self) -> &[u8] {
        &self.outbound
    }

    /// Forgets the bytes that were to be written: they are, or nobody will write them.
    pub fn written(&mut self) {
        self.outbound.clear();
    }

    /// Returns the room for the next read, behind the bytes that are there; never empty.
    ///
    /// # Errors
    /// If a frame is longer than any of ours.
    pub fn room(&mut self) -> Result<&mut [u8]> {
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
        Ok(&mut self.inbound[self.end..])
    }

    /// Takes note that so many bytes were read into the room.
    pub fn filled(&mut self, bytes: usize) {
        self.end += bytes;
        assert!(self.end <= self.inbound.len(), "more was read than there was room for");
    }

    /// Takes frames up to the last answer that is awaited, or as far as there are frames.
    /// Events among them are not expected, and not given to anybody.
    ///
    /// # Errors
    /// If the peer does not speak the protocol, or refuses.
    pub fn take_answers(&mut self) -> Result<()> {
        while self.awaited > 0 {
            match self.dialect.decode(&self.inbound[self.start..self.end])? {
                Decoded::Partial => return Ok(()),
                Decoded::Answer(length) => {
                    self.start += length;
                    self.awaited -= 1;
                }
                Decoded::Question(length) => {
                    self.dialect.reply(&mut self.outbound);
                    self.start += length;
                }
                Decoded::Event(_, length) | Decoded::Other(length) => self.start += length,
            }
        }
        Ok(())
    }

    /// Takes all frames that are there and gives the events to `each`; returns the number
    /// of events.
    ///
    /// # Errors
    /// As [`Frames::take_answers`].
    #[inline]
    pub fn take(&mut self, mut each: impl FnMut(&[u8])) -> Result<usize> {
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
                Decoded::Answer(length) => {
                    self.awaited = self.awaited.saturating_sub(1);
                    at += length;
                }
                Decoded::Other(length) => at += length,
            }
        }
        self.start = at;
        Ok(events)
    }
}

#[cfg(test)]
mod tests;
