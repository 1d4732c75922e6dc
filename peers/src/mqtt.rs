//! MQTT 3.1.1 with quality of service 0: nothing is acknowledged or kept.
//!
//! ```text
//!   0       1 … 4             2 bytes
//!  +-------+-----------------+--------------+-------+---------+
//!  | type  | what follows in | topic length | topic | payload |   PUBLISH
//!  | flags | 7 bits per byte |  big endian  |       |         |
//!  +-------+-----------------+--------------+-------+---------+
//! ```

use anyhow::{Result, bail};

use crate::frames::{Decoded, Dialect, push_sevens};

const CONNECT: u8 = 0x10;
const CONNACK: u8 = 0x20;
const PUBLISH: u8 = 0x30;
/// Type of a SUBSCRIBE, with the flags that the standard wants.
const SUBSCRIBE: u8 = 0x82;
const SUBACK: u8 = 0x90;
const PINGREQ: u8 = 0xc0;
const PINGRESP: u8 = 0xd0;
/// Flags of a CONNECT: a clean session.
const CONNECT_FLAGS: u8 = 0x02;
const LEVEL: u8 = 4;
/// Code of a subscription that was refused.
const REFUSED: u8 = 0x80;
const MAX_LENGTH_BYTES: usize = 4;

/// The dialect; it keeps nothing but the name.
#[derive(Debug)]
pub struct Mqtt {
    name: String,
}

impl Dialect for Mqtt {
    fn new(name: &str, _only_publishes: bool) -> Mqtt {
        Mqtt { name: name.into() }
    }

    /// Connects without keep-alive: an emitter that waits to be told has nothing to say.
    fn hello(&mut self, out: &mut Vec<u8>) -> usize {
        out.push(CONNECT);
        push_sevens(out, 10 + 2 + self.name.len());
        push_text(out, "MQTT");
        out.extend_from_slice(&[LEVEL, CONNECT_FLAGS, 0, 0]);
        push_text(out, &self.name);
        1
    }

    fn subscribe(&mut self, topic: &str, out: &mut Vec<u8>) -> usize {
        out.push(SUBSCRIBE);
        push_sevens(out, 2 + 2 + topic.len() + 1);
        out.extend_from_slice(&[0, 1]);
        push_text(out, topic);
        out.push(0);
        1
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Vec<u8>) {
        out.push(PUBLISH);
        push_sevens(out, 2 + topic.len() + payload.len());
        push_text(out, topic);
        out.extend_from_slice(payload);
    }

    fn fence(&mut self, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(&[PINGREQ, 0]);
        1
    }

    /// Answers nothing: the server asks no questions.
    fn reply(&mut self, _out: &mut Vec<u8>) {}

    #[inline]
    fn decode<'b>(&'b mut self, bytes: &'b [u8]) -> Result<Decoded<'b>> {
        let Some((&kind, rest)) = bytes.split_first() else { return Ok(Decoded::Partial) };
        let Some((length, digits)) = read_length(rest)? else { return Ok(Decoded::Partial) };
        let Some(body) = rest.get(digits..digits + length) else { return Ok(Decoded::Partial) };
        let used = 1 + digits + length;
        match kind & 0xf0 {
            PUBLISH => {
                if kind & 0x06 != 0 {
                    bail!("MQTT: an event that wants to be acknowledged");
                }
                let topic = match body {
                    [high, low, ..] => usize::from(u16::from_be_bytes([*high, *low])),
                    _ => bail!("MQTT: an event without a topic"),
                };
                match body.get(2 + topic..) {
                    Some(payload) => Ok(Decoded::Event(payload, used)),
                    None => bail!("MQTT: a topic longer than its event"),
                }
            }
            CONNACK if body.get(1) != Some(&0) => bail!("MQTT: refused with {body:?}"),
            SUBACK if body.get(2).is_none_or(|&code| code == REFUSED) => {
                bail!("MQTT: a subscription was refused")
            }
            CONNACK | SUBACK | PINGRESP => Ok(Decoded::Answer(used)),
            _ => Ok(Decoded::Other(used)),
        }
    }
}

#[inline]
fn push_text(out: &mut Vec<u8>, text: &str) {
    // Names and topics are ours, and short.
    let length = u16::try_from(text.len()).expect("a short text");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// Reads the length that follows; returns it and how many bytes tell it.
#[inline]
fn read_length(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let mut length = 0;
    for (index, &byte) in bytes.iter().take(MAX_LENGTH_BYTES).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((length, index + 1)));
        }
    }
    if bytes.len() >= MAX_LENGTH_BYTES {
        bail!("MQTT: a length of more than {MAX_LENGTH_BYTES} bytes");
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::assert_awaits_all;

    fn mqtt() -> Mqtt {
        Mqtt::new("n", false)
    }

    #[test]
    fn frames_are_written_as_the_standard_says() {
        let mut out = Vec::new();
        mqtt().hello(&mut out);
        assert_eq!(out, [0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, b'n']);
        out.clear();
        mqtt().subscribe("e0", &mut out);
        assert_eq!(out, [0x82, 7, 0, 1, 0, 2, b'e', b'0', 0]);
        out.clear();
        mqtt().publish("e0", b"hello", &mut out);
        assert_eq!(out, *b"\x30\x09\x00\x02e0hello");
    }

    #[test]
    fn lengths_of_every_size_read_back() {
        for length in [0, 1, 127, 128, 16_383, 16_384, 65_540, 2_097_151, 2_097_152, 268_435_455] {
            let mut out = Vec::new();
            push_sevens(&mut out, length);
            assert_eq!(read_length(&out).unwrap(), Some((length, out.len())), "{length}");
            for cut in 0..out.len() {
                assert_eq!(read_length(&out[..cut]).unwrap(), None);
            }
        }
        assert!(read_length(&[0xff; 4]).is_err());
    }

    #[test]
    fn an_event_is_read_only_when_whole() {
        for size in [0, 5, 200, 70_000] {
            let (mut out, payload) = (Vec::new(), vec![7; size]);
            mqtt().publish("e0", &payload, &mut out);
            let whole = out.len();
            out.push(0xd0);
            assert_eq!(mqtt().decode(&out).unwrap(), Decoded::Event(&payload, whole));
            assert_awaits_all(&mut mqtt(), &out[..whole]);
        }
    }

    #[test]
    fn answers_are_told_apart_and_refusals_are_errors() {
        assert_eq!(mqtt().decode(&[0x20, 2, 0, 0]).unwrap(), Decoded::Answer(4));
        assert_eq!(mqtt().decode(&[0x90, 3, 0, 1, 0]).unwrap(), Decoded::Answer(5));
        assert_eq!(mqtt().decode(&[0xd0, 0]).unwrap(), Decoded::Answer(2));
        for bytes in [
            &[0x20, 2, 0, 5][..],
            &[0x90, 3, 0, 1, 0x80],
            &[0x90, 0],
            &[0x30, 1, 0],
            &[0x30, 2, 0, 9],
            &[0x32, 4, 0, 0, 0, 1],
        ] {
            assert!(mqtt().decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
