//! Bytes of a batch that is whole, read from the front: an end before its time is
//! the peer's error, not a matter of waiting.
//!
//! Numbers have 7 bits in a byte, the lowest first, the top bit telling that more
//! follow; a ninth byte has all of its 8. Extensions are a chain, skipped unread:
//!
//! ```text
//!   0                1 …
//!  +----------------+--------------------------------------+
//!  | more | kind 2  | nothing, a number, or a number of    | … next
//!  | must | id 4    | bytes and these, as the kind says    |
//!  +----------------+--------------------------------------+
//! ```

use anyhow::{Result, bail};

use crate::frames::push_sevens;

/// Flag of a header: extensions follow. In an extension's header: another one does.
pub const EXTENDED: u8 = 0x80;

const KIND: u8 = 0x60;
const UNIT: u8 = 0x00;
const NUMBER: u8 = 0x20;
const BYTES: u8 = 0x40;
/// Place of the last byte of the longest number.
const LAST: usize = 8;

/// Bytes that are left to read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    /// Reads these bytes.
    #[inline]
    pub fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes }
    }

    /// Returns how many bytes are left.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes all bytes that are left.
    #[inline]
    pub fn rest(&mut self) -> &'b [u8] {
        std::mem::take(&mut self.bytes)
    }

    /// Looks at the next byte and does not take it.
    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    /// Takes a byte.
    #[inline]
    pub fn byte(&mut self) -> Result<u8> {
        let Some((&byte, rest)) = self.bytes.split_first() else { return early() };
        self.bytes = rest;
        Ok(byte)
    }

    /// Takes so many bytes.
    #[inline]
    pub fn take(&mut self, length: u64) -> Result<&'b [u8]> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else { return early() };
        self.bytes = rest;
        Ok(taken)
    }

    /// Takes a number.
    #[inline]
    pub fn number(&mut self) -> Result<u64> {
        let first = self.byte()?;
        if first < 0x80 { Ok(first.into()) } else { self.longer(first) }
    }

    fn longer(&mut self, first: u8) -> Result<u64> {
        let mut number = u64::from(first & 0x7f);
        for index in 1..LAST {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Ok(number | u64::from(self.byte()?) << (7 * LAST))
    }

    /// Takes the bytes behind a number that tells how many.
    #[inline]
    pub fn sized(&mut self) -> Result<&'b [u8]> {
        let length = self.number()?;
        self.take(length)
    }

    /// Skips the extensions behind this header, if there are any.
    #[inline]
    pub fn skip_extensions(&mut self, header: u8) -> Result<()> {
        let mut more = header & EXTENDED != 0;
        while more {
            let extension = self.byte()?;
            match extension & KIND {
                UNIT => {}
                NUMBER => drop(self.number()?),
                BYTES => drop(self.sized()?),
                _ => bail!("Zenoh: an extension of no kind, {extension:#x}"),
            }
            more = extension & EXTENDED != 0;
        }
        Ok(())
    }
}

/// Appends a number.
#[inline]
pub fn push_number(out: &mut Vec<u8>, number: u32) {
    push_sevens(out, number as usize);
}

#[cold]
fn early<T>() -> Result<T> {
    bail!("Zenoh: a message that ends early")
}
