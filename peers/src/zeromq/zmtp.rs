//! ZMTP 3.0 without security, one part for each event: topic, a zero byte, payload.
//!
//! ```text
//!   0       1             9      10      12          32        33       64
//!  +------+-------------+------+-------+-----------+---------+---------+
//!  | 0xff | padding     | 0x7f | 3 | 0 | mechanism | server? | filler  |  greeting
//!  +------+-------------+------+-------+-----------+---------+---------+
//!   0       1               2 or 9
//!  +-------+---------------+-------------------+
//!  | flags | length, 1 or  | body              |  flags: 1 more, 2 long, 4 command
//!  |       | 8 bytes       |                   |
//!  +-------+---------------+-------------------+
//! ```
//! The zero byte keeps `e1` from matching `e11`, since a subscription is the start of
//! what it matches. A publisher here sends everything and leaves it to the forwarder
//! to throw away what nobody wants.

use anyhow::{Context, Result, bail};

use crate::frames::{Decoded, Dialect, MAX_FRAME_BYTES};

const GREETING_BYTES: usize = 64;
const SIGNATURE: u8 = 0xff;
const SIGNATURE_END: u8 = 0x7f;
const SIGNATURE_END_AT: usize = 9;
const VERSION_AT: usize = 10;
const VERSION: u8 = 3;
const MECHANISM_AT: usize = 12;
const MECHANISM_BYTES: usize = 20;
const MECHANISM: &[u8] = b"NULL";
const _: () = assert!(MECHANISM_AT + MECHANISM_BYTES < GREETING_BYTES);

const MORE: u8 = 1;
const LONG: u8 = 2;
const COMMAND: u8 = 4;
const KNOWN_FLAGS: u8 = MORE | LONG | COMMAND;
const SUBSCRIBE: u8 = 1;
const CANCEL: u8 = 0;
const SEPARATOR: u8 = 0;
/// First letter of what a subscriber says to itself; no topic of a run starts with it.
const WORD: char = '?';
/// Bytes in front of a PING's context.
const TTL_BYTES: usize = 2;
const MAX_CONTEXT_BYTES: usize = 16;

/// The dialect of a publisher or a subscriber.
#[derive(Debug)]
pub struct Zmtp {
    publishes: bool,
    greeted: bool,
    /// Word that the subscriber says to itself, with the separator.
    word: Vec<u8>,
    /// Topic with the separator; empty before there is one.
    topic: Vec<u8>,
    /// Context of the last PING.
    context: Vec<u8>,
}

/// Returns the topic on which subscribers of this name hear themselves.
pub fn word(name: &str) -> String {
    format!("{WORD}{name}")
}

impl Dialect for Zmtp {
    fn new(name: &str, only_publishes: bool) -> Zmtp {
        let mut word = word(name).into_bytes();
        word.push(SEPARATOR);
        let (topic, context) = (Vec::new(), Vec::new());
        Zmtp { publishes: only_publishes, greeted: false, word, topic, context }
    }

    /// Writes greeting and READY at once; the peer's are the answers, for which nothing
    /// has to wait, as there is one mechanism only.
    fn hello(&mut self, out: &mut Vec<u8>) -> usize {
        let mut greeting = [0; GREETING_BYTES];
        greeting[0] = SIGNATURE;
        greeting[SIGNATURE_END_AT] = SIGNATURE_END;
        greeting[VERSION_AT] = VERSION;
        greeting[MECHANISM_AT..MECHANISM_AT + MECHANISM.len()].copy_from_slice(MECHANISM);
        out.extend_from_slice(&greeting);
        let kind: &[u8] = if self.publishes { b"PUB" } else { b"SUB" };
        push_header(out, COMMAND, 6 + 12 + 4 + kind.len());
        out.extend_from_slice(b"\x05READY\x0bSocket-Type\0\0\0\x03");
        out.extend_from_slice(kind);
        2
    }

    /// Subscribes to the topic and to the own word, which is the answer once somebody
    /// says it.
    fn subscribe(&mut self, topic: &str, out: &mut Vec<u8>) -> usize {
        self.topic = topic.as_bytes().to_vec();
        self.topic.push(SEPARATOR);
        for wanted in [&self.topic, &self.word] {
            push_header(out, 0, 1 + wanted.len());
            out.push(SUBSCRIBE);
            out.extend_from_slice(wanted);
        }
        1
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Vec<u8>) {
        push_header(out, 0, topic.len() + 1 + payload.len());
        out.extend_from_slice(topic.as_bytes());
        out.push(SEPARATOR);
        out.extend_from_slice(payload);
    }

    /// Asks nothing: there is no such question.
    fn fence(&mut self, _out: &mut Vec<u8>) -> usize {
        0
    }

    fn reply(&mut self, out: &mut Vec<u8>) {
        push_header(out, COMMAND, 5 + self.context.len());
        out.extend_from_slice(b"\x04PONG");
        out.extend_from_slice(&self.context);
    }

    #[inline]
    fn decode<'b>(&'b mut self, bytes: &'b [u8]) -> Result<Decoded<'b>> {
        if !self.greeted {
            return self.greeting(bytes);
        }
        let Some((flags, start, length)) = read_header(bytes)? else {
            return Ok(Decoded::Partial);
        };
        let end = start + length;
        let Some(body) = bytes.get(start..end) else { return Ok(Decoded::Partial) };
        if flags & COMMAND != 0 {
            return self.command(body, end);
        }
        if flags & MORE != 0 {
            bail!("ZMTP: an event of several parts");
        }
        if self.publishes {
            return match body.first() {
                Some(&(SUBSCRIBE | CANCEL)) => Ok(Decoded::Other(end)),
                _ => bail!("ZMTP: an event for a publisher"),
            };
        }
        match body.strip_prefix(&self.topic[..]) {
            Some(payload) if !self.topic.is_empty() => Ok(Decoded::Event(payload, end)),
            _ if body == self.word => Ok(Decoded::Answer(end)),
            _ => bail!("ZMTP: an event that was not subscribed to"),
        }
    }
}

impl Zmtp {
    fn greeting(&mut self, bytes: &[u8]) -> Result<Decoded<'static>> {
        let wrong =
            |at: usize, fits: fn(u8) -> bool| bytes.get(at).is_some_and(|&byte| !fits(byte));
        if wrong(0, |byte| byte == SIGNATURE)
            || wrong(SIGNATURE_END_AT, |byte| byte == SIGNATURE_END)
            || wrong(VERSION_AT, |byte| byte >= VERSION)
        {
            bail!("ZMTP: no greeting of version {VERSION}");
        }
        let Some(greeting) = bytes.get(..GREETING_BYTES) else { return Ok(Decoded::Partial) };
        let mechanism = &greeting[MECHANISM_AT..MECHANISM_AT + MECHANISM_BYTES];
        let padding = mechanism.strip_prefix(MECHANISM);
        if padding.is_none_or(|padding| padding.iter().any(|&byte| byte != 0)) {
            bail!("ZMTP: a mechanism other than NULL");
        }
        self.greeted = true;
        Ok(Decoded::Answer(GREETING_BYTES))
    }

    fn command(&mut self, body: &[u8], used: usize) -> Result<Decoded<'static>> {
        let (name, rest) = short_text(body).context("ZMTP: a command without a name")?;
        match name {
            b"READY" => {
                let kinds: [&[u8]; 2] =
                    if self.publishes { [b"XSUB", b"SUB"] } else { [b"XPUB", b"PUB"] };
                match socket_type(rest) {
                    Some(kind) if kinds.contains(&kind) => Ok(Decoded::Answer(used)),
                    kind => bail!(
                        "ZMTP: a peer of the type {:?}",
                        String::from_utf8_lossy(kind.unwrap_or_default())
                    ),
                }
            }
            b"PING" => {
                let context = rest.get(TTL_BYTES..).context("ZMTP: a PING without a time")?;
                if context.len() > MAX_CONTEXT_BYTES {
                    bail!("ZMTP: a PING with a context of {} bytes", context.len());
                }
                self.context = context.to_vec();
                Ok(Decoded::Question(used))
            }
            b"PONG" | b"SUBSCRIBE" | b"CANCEL" => Ok(Decoded::Other(used)),
            b"ERROR" => {
                let reason = short_text(rest).map_or(&b""[..], |(reason, _)| reason);
                bail!("ZMTP: {}", String::from_utf8_lossy(reason))
            }
            other => bail!("ZMTP: a command {:?}", String::from_utf8_lossy(other)),
        }
    }
}

/// Splits off a text behind one byte of length.
fn short_text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(length))
}

/// Finds the socket's type in a READY's properties: each a name behind one byte of
/// length, a value behind four.
fn socket_type(mut properties: &[u8]) -> Option<&[u8]> {
    loop {
        let (name, rest) = short_text(properties)?;
        let (length, rest) = rest.split_first_chunk()?;
        let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            return Some(value);
        }
        properties = rest;
    }
}

#[inline]
fn push_header(out: &mut Vec<u8>, flags: u8, length: usize) {
    match u8::try_from(length) {
        Ok(short) => out.extend_from_slice(&[flags, short]),
        Err(_) => {
            out.push(flags | LONG);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// Reads a header: flags, where the body starts, and its length.
#[inline]
fn read_header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>> {
    let Some((&flags, rest)) = bytes.split_first() else { return Ok(None) };
    if flags & !KNOWN_FLAGS != 0 || flags & (MORE | COMMAND) == MORE | COMMAND {
        bail!("ZMTP: a frame with the flags {flags:#04x}");
    }
    if flags & LONG == 0 {
        return Ok(rest.first().map(|&length| (flags, 2, usize::from(length))));
    }
    let Some(length) = rest.first_chunk() else { return Ok(None) };
    match usize::try_from(u64::from_be_bytes(*length)) {
        Ok(length) if length <= MAX_FRAME_BYTES => Ok(Some((flags, 9, length))),
        _ => bail!("ZMTP: a frame of more than {MAX_FRAME_BYTES} bytes"),
    }
}

#[cfg(test)]
mod tests;
