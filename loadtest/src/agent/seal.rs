//! Seal of lines, which shows that the other side wrote them, here and now.
//!
//! ```text
//!   line = mac, 64 hex digits | space | JSON | newline
//!   mac  = HMAC-SHA256(key of this direction and greeting, number of the line u64 | JSON)
//! ```
//! The number is counted by both and never sent: a line that was changed, repeated, left
//! out, moved, sent back or kept from another run has a wrong mac, and the connection
//! ends. Whoever cuts the connection can do so; that nothing more came is seen as such.

use anyhow::{Context, Result, ensure};
use ring::hmac;

/// Number of digits of a mac.
const MAC_DIGITS: usize = 64;

/// Seal of one direction of one connection.
#[derive(Debug)]
pub struct Seal {
    key: hmac::Key,
    lines: u64,
}

impl Seal {
    /// Makes a seal with a key of its own.
    pub fn new(key: &[u8]) -> Seal {
        Seal { key: hmac::Key::new(hmac::HMAC_SHA256, key), lines: 0 }
    }

    /// Returns the mac of the next line and a space, to be written before the JSON.
    pub fn mac(&mut self, json: &[u8]) -> String {
        let tag = hmac::sign(&self.key, &self.claim(json));
        self.lines += 1;
        let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        digits + " "
    }

    /// Checks the next line and returns its JSON.
    ///
    /// # Errors
    /// If the other side has not written the line as its next one.
    pub fn open<'a>(&mut self, line: &'a [u8]) -> Result<&'a [u8]> {
        let (digits, json) =
            line.split_at_checked(MAC_DIGITS + 1).context("a line that is not sealed")?;
        let tag: Option<Vec<u8>> = digits[..MAC_DIGITS]
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let tag = tag.context("a line that is not sealed")?;
        let is_sealed = hmac::verify(&self.key, &self.claim(json), &tag).is_ok();
        ensure!(
            is_sealed && digits[MAC_DIGITS] == b' ',
            "a line that the other side has not written, or not now: somebody interferes with the \
             connection"
        );
        self.lines += 1;
        Ok(json)
    }

    fn claim(&self, json: &[u8]) -> Vec<u8> {
        [&self.lines.to_le_bytes(), json].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(seal: &mut Seal, json: &str) -> Vec<u8> {
        (seal.mac(json.as_bytes()) + json).into_bytes()
    }

    #[test]
    fn lines_are_taken_once_in_their_order_and_unchanged() {
        let writer = || Seal::new(b"a key");
        let mut here = writer();
        let lines = ["1", "2", "3"].map(|json| sealed(&mut here, json));
        let mut there = writer();
        for (line, json) in lines.iter().zip(["1", "2", "3"]) {
            assert_eq!(there.open(line).unwrap(), json.as_bytes());
        }
        assert!(there.open(&lines[2]).is_err(), "repeated");
        assert!(writer().open(&lines[1]).is_err(), "one was left out");
        assert!(Seal::new(b"another key").open(&lines[0]).is_err());
        for at in 0..lines[0].len() {
            let mut changed = lines[0].clone();
            changed[at] ^= 1;
            assert!(writer().open(&changed).is_err(), "byte {at}");
        }
        for line in [&b""[..], b"1", &[b'0'; 65], "\u{e9}".repeat(40).as_bytes()] {
            assert!(writer().open(line).is_err(), "{line:?}");
        }
    }
}
