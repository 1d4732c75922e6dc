//! Purpose of a completion: the 64 bits that an operation carries.
//!
//! ```text
//!   63       40 39            8 7      0
//!   [ unused  ][ slot          ][ kind ]
//! ```
//! No generation is needed: a slot is used again only after every operation on
//! it has ended, so that no completion can name its successor. (The link's sockets
//! have one in their slot.)

/// Array of all kinds, in the order of their numbers.
const KINDS: [Kind; 14] = [
    Kind::Wake,
    Kind::Accept,
    Kind::CancelAccept,
    Kind::Receive,
    Kind::CancelReceive,
    Kind::HangUp,
    Kind::Fill,
    Kind::Send,
    Kind::Writable,
    Kind::CancelEnd,
    Kind::Datagrams,
    Kind::DatagramsWritable,
    Kind::Bell,
    Kind::CancelBell,
];

/// The kinds of operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// The read of the event descriptor.
    Wake = 1,
    /// The poll for connections to accept.
    Accept,
    /// The cancellation of the poll for connections.
    CancelAccept,
    /// Multishot receive.
    Receive,
    /// The cancellation of a multishot receive, or of a hang-up poll.
    CancelReceive,
    /// The poll for the peer's hang-up.
    HangUp,
    /// A receive into a frame's own buffer.
    Fill,
    /// A gather-write.
    Send,
    /// The poll for room to write.
    Writable,
    /// The cancellation of an operation of a connection that ends.
    CancelEnd,
    /// Multishot receive on a socket of the link.
    Datagrams,
    /// The poll for room on the link's socket.
    DatagramsWritable,
    /// The poll of the bell of a connection with shared memory.
    Bell,
    /// The cancellation of that poll.
    CancelBell,
}

/// An operation's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    /// The connection, 0 for what belongs to none; for the link's sockets see
    /// `datagram`.
    pub(super) slot: u32,
}

impl Token {
    pub(super) fn new(kind: Kind, slot: u32) -> Token {
        Token { kind, slot }
    }

    pub(super) fn bits(self) -> u64 {
        u64::from(self.slot) << 8 | self.kind as u64
    }

    pub(super) fn from_bits(bits: u64) -> Option<Token> {
        let kind = *KINDS.get((bits as u8).checked_sub(1)? as usize)?;
        Some(Token { kind, slot: (bits >> 8) as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        for kind in KINDS {
            let token = Token::new(kind, u32::MAX - 1);
            assert_eq!(Token::from_bits(token.bits()), Some(token));
        }
        assert_eq!(Token::from_bits(0), None);
        assert_eq!(Token::from_bits(KINDS.len() as u64 + 1), None);
    }
}
