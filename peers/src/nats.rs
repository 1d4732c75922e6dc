//! NATS by its text protocol.
//!
//! ```text
//!   PUB <subject> <bytes>\r\n<payload>\r\n                       to the server
//!   MSG <subject> <id> [<reply>] <bytes>\r\n<payload>\r\n        from it
//! ```

use anyhow::{Result, bail};

use crate::frames::{Decoded, Dialect, decimal, line, push_decimal};

/// The dialect; it keeps nothing but the name.
#[derive(Debug)]
pub struct Nats {
    name: String,
}

impl Dialect for Nats {
    fn new(name: &str, _only_publishes: bool) -> Nats {
        Nats { name: name.into() }
    }

    fn hello(&mut self, out: &mut Vec<u8>) -> usize {
        let options = serde_json::json!({
            "verbose": false, "pedantic": false, "lang": "rust", "version": "0", "protocol": 1,
            "name": self.name,
        });
        out.extend_from_slice(format!("CONNECT {options}\r\n").as_bytes());
        self.fence(out)
    }

    /// Asks for an answer behind the subscription, which has none of its own.
    fn subscribe(&mut self, topic: &str, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(format!("SUB {topic} 1\r\n").as_bytes());
        self.fence(out)
    }

    #[inline]
    fn publish(&mut self, topic: &str, payload: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(b"PUB ");
        out.extend_from_slice(topic.as_bytes());
        out.push(b' ');
        push_decimal(out, payload.len());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(payload);
        out.extend_from_slice(b"\r\n");
    }

    fn fence(&mut self, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(b"PING\r\n");
        1
    }

    fn reply(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"PONG\r\n");
    }

    #[inline]
    fn decode<'b>(&'b mut self, bytes: &'b [u8]) -> Result<Decoded<'b>> {
        let Some((text, used)) = line(bytes)? else { return Ok(Decoded::Partial) };
        if let Some(fields) = text.strip_prefix(b"MSG ") {
            let length = fields.rsplit(|&byte| byte == b' ').next().unwrap_or_default();
            let end = used + decimal(length)?;
            let Some(payload) = bytes.get(used..end) else { return Ok(Decoded::Partial) };
            return match bytes.get(end..end + 2) {
                Some(b"\r\n") => Ok(Decoded::Event(payload, end + 2)),
                Some(_) => bail!("an event longer than it says"),
                None => Ok(Decoded::Partial),
            };
        }
        match text {
            b"PONG" => Ok(Decoded::Answer(used)),
            b"PING" => Ok(Decoded::Question(used)),
            _ if text.starts_with(b"-ERR") => bail!("NATS: {}", String::from_utf8_lossy(text)),
            // INFO, now and again.
            _ => Ok(Decoded::Other(used)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::assert_awaits_all;

    fn nats() -> Nats {
        Nats::new("n", false)
    }

    #[test]
    fn an_event_is_written_as_the_protocol_says() {
        let mut out = Vec::new();
        nats().publish("e0", b"hello", &mut out);
        assert_eq!(out, b"PUB e0 5\r\nhello\r\n");
        out.clear();
        assert_eq!(nats().subscribe("e0", &mut out), 1);
        assert_eq!(out, b"SUB e0 1\r\nPING\r\n");
        out.clear();
        assert_eq!(nats().hello(&mut out), 1);
        assert!(out.starts_with(b"CONNECT {") && out.ends_with(b"}\r\nPING\r\n"));
    }

    #[test]
    fn events_with_and_without_a_reply_subject_are_read_only_when_whole() {
        for bytes in [&b"MSG e0 1 4\r\na\r\nb\r\nnext"[..], b"MSG e0 1 inbox 4\r\na\r\nb\r\nnext"] {
            let whole = bytes.len() - 4;
            assert_eq!(nats().decode(bytes).unwrap(), Decoded::Event(b"a\r\nb", whole));
            assert_awaits_all(&mut nats(), &bytes[..whole]);
        }
    }

    #[test]
    fn other_lines_are_told_apart() {
        assert_eq!(nats().decode(b"PING\r\n").unwrap(), Decoded::Question(6));
        assert_eq!(nats().decode(b"PONG\r\n").unwrap(), Decoded::Answer(6));
        assert_eq!(nats().decode(b"INFO {}\r\nP").unwrap(), Decoded::Other(9));
        let error = nats().decode(b"-ERR 'Slow Consumer'\r\n").unwrap_err().to_string();
        assert!(error.contains("Slow Consumer"), "{error}");
    }

    #[test]
    fn nonsense_is_an_error_and_no_panic() {
        for bytes in [
            &b"MSG e0 1 x\r\n"[..],
            b"MSG \r\n",
            b"MSG e0 1 99999999999999999999999\r\n",
            b"MSG e0 1 1\r\nabc\r\n",
        ] {
            assert!(nats().decode(bytes).is_err(), "{}", String::from_utf8_lossy(bytes));
        }
        assert!(nats().decode(&[b'a'; 70_000]).is_err());
    }
}
