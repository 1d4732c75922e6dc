//! Redis by RESP3, in which a connection that has subscribed may publish too.
//!
//! ```text
//!   *3 $7 PUBLISH $<n> <channel> $<bytes> <payload>              to the server
//!   >3 $7 message $<n> <channel> $<bytes> <payload>              from it
//! ```
//! (each item ends with CR LF). Who only publishes turns the answers off: they
//! would cost the server a write for each event, and nobody reads them.

use anyhow::{Result, bail};

use crate::frames::{Decoded, Dialect, decimal, line, push_decimal};

const MESSAGE: &[u8] = b">3\r\n$7\r\nmessage\r\n";

/// The dialect of RESP3.
#[derive(Debug)]
pub struct Redis {
    only_publishes: bool,
}

impl Dialect for Redis {
    fn new(_name: &str, only_publishes: bool) -> Redis {
        Redis { only_publishes }
    }

    fn hello(&mut self, out: &mut Vec<u8>) -> usize {
        command(&[b"HELLO", b"3"], out);
        if self.only_publishes {
            command(&[b"CLIENT", b"REPLY", b"OFF"], out);
        }
        1
    }

    fn subscribe(&mut self, topic: &str, out: &mut Vec<u8>) -> usize {
        command(&[b"SUBSCRIBE", topic.as_bytes()], out);
        1
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"*3\r\n$7\r\nPUBLISH\r\n");
        bulk(topic.as_bytes(), out);
        bulk(payload, out);
    }

    fn fence(&mut self, out: &mut Vec<u8>) -> usize {
        if self.only_publishes {
            command(&[b"CLIENT", b"REPLY", b"ON"], out);
            command(&[b"CLIENT", b"REPLY", b"OFF"], out);
        } else {
            command(&[b"PING"], out);
        }
        1
    }

    /// Answers nothing: the server asks no questions.
    fn reply(&mut self, _out: &mut Vec<u8>) {}

    #[inline]
    fn decode<'b>(&'b mut self, bytes: &'b [u8]) -> Result<Decoded<'b>> {
        if let Some(rest) = bytes.strip_prefix(MESSAGE) {
            let Some((_, channel)) = read_bulk(rest)? else { return Ok(Decoded::Partial) };
            let Some((payload, length)) = read_bulk(&rest[channel..])? else {
                return Ok(Decoded::Partial);
            };
            return Ok(Decoded::Event(payload, MESSAGE.len() + channel + length));
        }
        let Some(length) = value_length(bytes)? else { return Ok(Decoded::Partial) };
        match bytes[0] {
            // What PUBLISH answers: how many got it.
            b':' => Ok(Decoded::Other(length)),
            b'-' => bail!("Redis: {}", String::from_utf8_lossy(&bytes[..length]).trim_end()),
            _ => Ok(Decoded::Answer(length)),
        }
    }
}

fn command(words: &[&[u8]], out: &mut Vec<u8>) {
    out.push(b'*');
    push_decimal(out, words.len());
    out.extend_from_slice(b"\r\n");
    words.iter().for_each(|word| bulk(word, out));
}

#[inline]
fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'$');
    push_decimal(out, bytes.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Reads a bulk string; returns its bytes and the length of its frame.
#[inline]
fn read_bulk(bytes: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some((text, used)) = line(bytes)? else { return Ok(None) };
    let Some(length) = text.strip_prefix(b"$") else {
        bail!("Redis: no string where one must be");
    };
    let end = used + decimal(length)?;
    match bytes.get(end..end + 2) {
        Some(b"\r\n") => Ok(Some((&bytes[used..end], end + 2))),
        Some(_) => bail!("Redis: a string longer than it says"),
        None => Ok(None),
    }
}

/// Returns the length of any value with all that is in it.
fn value_length(bytes: &[u8]) -> Result<Option<usize>> {
    let (mut at, mut values) = (0, 1);
    while values > 0 {
        let Some((text, used)) = line(&bytes[at..])? else { return Ok(None) };
        let Some((kind, rest)) = text.split_first() else { bail!("Redis: an empty line") };
        at += used;
        values -= 1;
        match kind {
            b'*' | b'>' | b'~' => values += decimal(rest)?,
            b'%' => values += 2 * decimal(rest)?,
            b'$' | b'=' | b'!' if rest != b"-1" => at += decimal(rest)? + 2,
            b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' | b'$' => {}
            other => bail!("Redis: a value of the kind {:?}", char::from(*other)),
        }
        if at > bytes.len() {
            return Ok(None);
        }
    }
    Ok(Some(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::assert_awaits_all;

    fn redis() -> Redis {
        Redis::new("n", false)
    }

    #[test]
    fn an_event_is_written_as_the_protocol_says() {
        let mut out = Vec::new();
        redis().publish("e0", b"hello", &mut out);
        assert_eq!(out, b"*3\r\n$7\r\nPUBLISH\r\n$2\r\ne0\r\n$5\r\nhello\r\n");
    }

    #[test]
    fn who_only_publishes_gets_no_answers_but_to_the_hello_and_the_fence() {
        let mut quiet = Redis::new("n", true);
        let mut out = Vec::new();
        assert_eq!(quiet.hello(&mut out), 1);
        assert!(out.ends_with(b"$5\r\nREPLY\r\n$3\r\nOFF\r\n"));
        out.clear();
        assert_eq!(quiet.fence(&mut out), 1);
        assert!(out.starts_with(b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n"));
    }

    #[test]
    fn an_event_is_read_only_when_whole() {
        let bytes = b">3\r\n$7\r\nmessage\r\n$2\r\ne0\r\n$4\r\na\r\nb\r\n:1";
        let whole = bytes.len() - 2;
        assert_eq!(redis().decode(bytes).unwrap(), Decoded::Event(b"a\r\nb", whole));
        assert_awaits_all(&mut redis(), &bytes[..whole]);
    }

    #[test]
    fn answers_are_passed_over_with_all_that_is_in_them() {
        for bytes in [
            &b"+OK\r\n"[..],
            b"%2\r\n$5\r\nproto\r\n:3\r\n$7\r\nmodules\r\n*1\r\n$1\r\na\r\n",
            b">3\r\n$9\r\nsubscribe\r\n$2\r\ne0\r\n:1\r\n",
            b"$-1\r\n",
            b"_\r\n",
        ] {
            assert_eq!(redis().decode(bytes).unwrap(), Decoded::Answer(bytes.len()));
            assert_awaits_all(&mut redis(), bytes);
        }
        assert_eq!(redis().decode(b":1\r\n").unwrap(), Decoded::Other(4));
    }

    #[test]
    fn errors_and_nonsense_are_errors_and_no_panic() {
        for bytes in [
            &b"-ERR unknown command\r\n"[..],
            b"\r\n",
            b"?\r\n",
            b"*x\r\n",
            b"*99999999999999999999\r\n",
            b">3\r\n$7\r\nmessage\r\n:1\r\n",
            b">3\r\n$7\r\nmessage\r\n$1\r\nabcd\r\n",
        ] {
            assert!(redis().decode(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
    }
}
