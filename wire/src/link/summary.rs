//! Summary: the state of a broker in short, told to the others for a table of all machines.
//!
//! ```text
//!  summary     0 uptime_ms u64 | 8 in_per_s u64 | 16 out_per_s u64 | 24 lost u64
//!             32 queued_bytes u64 | 40 clients u32 | 44 flags u32 | 48 version text
//! ```
//! It is told unasked, so that nobody can have it sent elsewhere.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::control::{BodyError, push_text, split_text};

/// Flag of a broker that is about to end.
const DRAINING: u32 = 1;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SummaryBytes {
    uptime_ms: U64,
    in_per_s: U64,
    out_per_s: U64,
    lost: U64,
    queued_bytes: U64,
    clients: U32,
    flags: U32,
}

const _: () = assert!(size_of::<SummaryBytes>() == 48);

/// State of a broker, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary<'a> {
    /// Milliseconds since the broker started.
    pub uptime_ms: u64,
    /// Events per second that its clients emit.
    pub in_per_s: u64,
    /// Events per second that are queued to its clients.
    pub out_per_s: u64,
    /// Events that its clients lost, and those from other brokers that did not arrive.
    pub lost: u64,
    /// Bytes in the queues of its clients.
    pub queued_bytes: u64,
    /// Clients that are connected to it.
    pub clients: u32,
    /// Whether it is about to end.
    pub is_draining: bool,
    /// Release of the broker.
    pub version: &'a str,
}

impl<'a> Summary<'a> {
    /// Reads an opened body.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn decode(body: &'a [u8]) -> Result<Summary<'a>, BodyError> {
        let (head, rest) = SummaryBytes::ref_from_prefix(body).map_err(|_| BodyError::Length)?;
        let (version, rest) = split_text(rest)?;
        if !rest.is_empty() {
            return Err(BodyError::Length);
        }
        Ok(Summary {
            uptime_ms: head.uptime_ms.get(),
            in_per_s: head.in_per_s.get(),
            out_per_s: head.out_per_s.get(),
            lost: head.lost.get(),
            queued_bytes: head.queued_bytes.get(),
            clients: head.clients.get(),
            is_draining: head.flags.get() & DRAINING != 0,
            version,
        })
    }

    /// Appends the body.
    ///
    /// # Panics
    /// If the version is over 255 bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let head = SummaryBytes {
            uptime_ms: U64::new(self.uptime_ms),
            in_per_s: U64::new(self.in_per_s),
            out_per_s: U64::new(self.out_per_s),
            lost: U64::new(self.lost),
            queued_bytes: U64::new(self.queued_bytes),
            clients: U32::new(self.clients),
            flags: U32::new(if self.is_draining { DRAINING } else { 0 }),
        };
        out.extend_from_slice(head.as_bytes());
        push_text(self.version, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Summary<'_> = Summary {
        uptime_ms: 1,
        in_per_s: 2,
        out_per_s: 3,
        lost: 4,
        queued_bytes: 5,
        clients: 6,
        is_draining: true,
        version: "0.1.0",
    };

    #[test]
    fn a_summary_is_as_long_as_it_says_and_its_version_is_plain_text() {
        let mut body = Vec::new();
        GOOD.encode(&mut body);
        assert_eq!(Summary::decode(&body), Ok(GOOD));
        for bytes in 0..body.len() {
            assert_eq!(Summary::decode(&body[..bytes]), Err(BodyError::Length));
        }
        body[47] = 0x80;
        assert_eq!(Summary::decode(&body), Ok(GOOD), "flags that are not named are not looked at");
        body[50] = 0x1b;
        assert_eq!(Summary::decode(&body), Err(BodyError::Text));
        body[50] = b'.';
        body.push(0);
        assert_eq!(Summary::decode(&body), Err(BodyError::Length));
    }
}
