//! Names of peers within one broker.

/// A session id: 128 bits from the system, new at each start of a broker.
pub type Session = [u8; 16];

/// The first half of a session id, which every data datagram carries.
#[inline]
pub fn session_tag(session: &Session) -> u64 {
    u64::from_le_bytes(session[..8].try_into().expect("it has 16 bytes"))
}

/// A session of another broker, as this one numbers it. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u32);
