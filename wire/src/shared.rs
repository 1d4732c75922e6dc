//! The payload of a `shared` frame: how a connection goes from sockets to shared memory.
//!
//! ```text
//!   0 step u32 | 4 zero u32 | 8 arena_bytes u64 | 16 text …
//! ```
//! Its steps: the broker offers, with descriptors beside the frame; the client accepts or
//! declines; the broker begins. What lies in the memory is the crate `netcluster-shm`'s.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::control::ControlError;

/// Descriptors that go with an offer: the arena, the connection's memory, the bells of
/// broker, client and room.
pub const OFFERED_DESCRIPTORS: usize = 5;

/// The longest reason for declining, in bytes; what is longer is cut.
pub const MAX_DECLINE_BYTES: usize = 512;

const OFFER: u32 = 1;
const ACCEPT: u32 = 2;
const DECLINE: u32 = 3;
const BEGIN: u32 = 4;

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct SharedBytes {
    step: U32,
    zero: U32,
    arena_bytes: U64,
}

/// A step from sockets to shared memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedStep {
    /// Broker to client: memory that both can use goes with this frame.
    Offer {
        /// Size of the arena, in bytes.
        arena_bytes: u64,
    },
    /// Client to broker: what I send after this comes by the ring.
    Accept,
    /// Client to broker: I cannot use the memory, for this reason.
    Decline(String),
    /// Broker to client: what I send after this is announced by descriptors.
    Begin,
}

impl SharedStep {
    /// Writes the payload.
    pub fn encode(&self) -> Vec<u8> {
        let (step, arena_bytes, text) = match self {
            SharedStep::Offer { arena_bytes } => (OFFER, *arena_bytes, ""),
            SharedStep::Accept => (ACCEPT, 0, ""),
            SharedStep::Decline(text) => (DECLINE, 0, text.as_str()),
            SharedStep::Begin => (BEGIN, 0, ""),
        };
        let head = SharedBytes {
            step: U32::new(step),
            zero: U32::new(0),
            arena_bytes: U64::new(arena_bytes),
        };
        let text = &text.as_bytes()[..text.len().min(MAX_DECLINE_BYTES)];
        [head.as_bytes(), text].concat()
    }

    /// Reads the payload.
    ///
    /// # Errors
    /// It is too short, or of no known step.
    pub fn decode(payload: &[u8]) -> Result<SharedStep, ControlError> {
        let (head, text) =
            SharedBytes::ref_from_prefix(payload).map_err(|_| ControlError::Length)?;
        match head.step.get() {
            OFFER => Ok(SharedStep::Offer { arena_bytes: head.arena_bytes.get() }),
            ACCEPT => Ok(SharedStep::Accept),
            DECLINE => {
                let text = &text[..text.len().min(MAX_DECLINE_BYTES)];
                Ok(SharedStep::Decline(String::from_utf8_lossy(text).into()))
            }
            BEGIN => Ok(SharedStep::Begin),
            step => Err(ControlError::Step(step)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_read_back() {
        let steps = [
            SharedStep::Offer { arena_bytes: 1 << 40 },
            SharedStep::Accept,
            SharedStep::Decline("no memory".into()),
            SharedStep::Begin,
        ];
        for step in steps {
            assert_eq!(SharedStep::decode(&step.encode()), Ok(step));
        }
        assert_eq!(SharedStep::decode(b"short"), Err(ControlError::Length));
        assert_eq!(SharedStep::decode(&[9; 16]), Err(ControlError::Step(0x0909_0909)));
        let long = SharedStep::Decline("x".repeat(MAX_DECLINE_BYTES + 1)).encode();
        assert_eq!(long.len(), 16 + MAX_DECLINE_BYTES);
    }
}
