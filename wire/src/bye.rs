//! The payload of a `bye` of a broker that ends.
//!
//! ```text
//!  nothing, or 0 confirmed u64, or also 8 flags u32 | 12 zero u32
//! ```
//! The `bye` of a client, and its answer, have none.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Flag: a successor of the broker listens already.
const FLAG_SUCCESSOR: u32 = 1 << 0;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct FlagBytes {
    flags: U32,
    zero: U32,
}

/// The end of a broker, as a client is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bye {
    /// Sequence of the last event that the broker read on this connection.
    pub confirmed: u64,
    /// A successor of the broker listens already.
    pub has_successor: bool,
}

impl Bye {
    /// Writes the payload.
    pub fn encode(self) -> Vec<u8> {
        let mut payload = self.confirmed.to_le_bytes().to_vec();
        if self.has_successor {
            let flags = FlagBytes { flags: U32::new(FLAG_SUCCESSOR), zero: U32::new(0) };
            payload.extend_from_slice(flags.as_bytes());
        }
        payload
    }

    /// Reads the payload: what is not there is not so, and whatever else is there is for
    /// later versions.
    pub fn decode(payload: &[u8]) -> Bye {
        let Ok((confirmed, rest)) = U64::ref_from_prefix(payload) else { return Bye::default() };
        let flags = FlagBytes::ref_from_prefix(rest).map_or(0, |(flags, _)| flags.flags.get());
        Bye { confirmed: confirmed.get(), has_successor: flags & FLAG_SUCCESSOR != 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_back_and_what_else_it_says_is_ignored() {
        for (confirmed, has_successor) in [(0, false), (7, false), (0, true), (u64::MAX, true)] {
            let bye = Bye { confirmed, has_successor };
            assert_eq!(Bye::decode(&bye.encode()), bye);
        }
        assert_eq!(Bye::decode(b""), Bye::default());
        assert_eq!(Bye::decode(b"1234567"), Bye::default());
        assert!(!Bye::decode(&[2; 16]).has_successor);
    }
}
