//! The key schedule: what seals and opens datagrams.
//!
//! ```text
//!   key file (32 bytes) ──HKDF──▶ key id, in clear in every datagram
//!          │
//!          │ salt = session (16 bytes, new at each start of a broker)
//!          ├──"netcluster stream" ‖ stream ‖ epoch──▶ key of 2^28 data datagrams
//!          │                                          nonce = number
//!          └──"netcluster control"──────────────────▶ key of all control datagrams
//!                                                     nonce = counter
//! ```
//! HKDF is that of RFC 5869 with SHA-256, the cipher AES-256-GCM: the header is
//! the associated data, the body is encrypted, the tag has 16 bytes. Integers are
//! little endian; a nonce is the number in 8 bytes and four zeros.
//!
//! A link without a key is open: sealers and openers then pass everything as it
//! is, and datagrams name key 0. Between an open and a keyed link nothing opens.
//!
//! It does not say which datagrams of a stream came before (the stream itself
//! does), nor where keys come from.
//!
//! Invariant: no derived key seals two datagrams with the same nonce. Sessions
//! are never used twice, each stream has its own keys, a number is sealed once (a
//! retransmission resends the same bytes), and the counter of the control datagrams is
//! the sealer's own. Tests and simulations watch over it: `audit`.
//!
//! Decisions, in `docs/decisions`:
//! `025-keys-read-once.md`, `027-ring.md`, `063-keys-change-live.md`.

#[cfg(any(test, feature = "audit"))]
pub mod audit;
mod control;
mod derived;
mod replay;
mod stream;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use netcluster_wire::link::limits::TAG_BYTES;

pub use control::{ControlOpener, ControlSealer};
pub use replay::{REPLAY_WINDOW, ReplayWindow};
pub use stream::{EPOCH_DATAGRAMS, StreamOpener, StreamSealer};

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// Most keys that are valid at once: the old and the new one of a rotation.
pub const MAX_KEYS: usize = 2;

/// Label that separates this use of a key from its others.
const KEY_ID_INFO: &[u8] = b"netcluster key id";

/// A secret that brokers of a cluster share.
#[derive(Clone)]
pub struct Key {
    bytes: [u8; KEY_BYTES],
    id: u32,
}

impl Key {
    /// The key with these bytes, which should come from a random source.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Key {
        let mut id = [0; 4];
        derived::expand(&bytes, &[], &[KEY_ID_INFO], &mut id);
        // 0 says that there is no key.
        Key { bytes, id: u32::from_le_bytes(id).max(1) }
    }

    /// The secret itself.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.bytes
    }

    /// Id by which datagrams name the key; never 0. Nothing of the key can be told from it.
    pub fn id(&self) -> u32 {
        self.id
    }
}

/// A key shows nothing of its bytes, which are secret.
impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Key({:08x})", self.id)
    }
}

/// The keys of a link: the first one seals, each of them opens. None: an open
/// link. Cloning is cheap.
#[derive(Clone, Debug, Default)]
pub struct Keys(Arc<Vec<Key>>);

impl Keys {
    /// Makes no key: whoever reaches the link is a part of it.
    pub fn open_link() -> Keys {
        Keys::default()
    }

    /// These keys.
    ///
    /// # Panics
    /// If there are more than [`MAX_KEYS`], or two with one id.
    pub fn new(keys: Vec<Key>) -> Keys {
        assert!(keys.len() <= MAX_KEYS, "at most {MAX_KEYS} keys");
        if let [first, second] = keys.as_slice() {
            assert!(first.id != second.id, "the same key twice");
        }
        Keys(Arc::new(keys))
    }

    /// The keys, the one that seals first.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_open(&self) -> bool {
        self.0.is_empty()
    }

    /// The id of the key that seals; 0 on an open link.
    pub fn id(&self) -> u32 {
        self.0.first().map_or(0, Key::id)
    }

    /// Whether a datagram that names this key may be opened.
    pub fn knows(&self, id: u32) -> bool {
        if self.is_open() { id == 0 } else { self.find(id).is_some() }
    }

    /// Bytes that sealing adds to a datagram.
    pub fn tag_bytes(&self) -> usize {
        if self.is_open() { 0 } else { TAG_BYTES }
    }

    fn first(&self) -> Option<&Key> {
        self.0.first()
    }

    /// The key with this id, and its place.
    fn find(&self, id: u32) -> Option<(usize, &Key)> {
        self.0.iter().enumerate().find(|(_, key)| key.id == id)
    }
}

/// Reason why a datagram was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsealed {
    /// The datagram names this key, which is none of ours; also 0 on a link with a key, and
    /// any other on an open one.
    WrongKey(u32),
    /// The datagram names a key of ours, but that did not seal it as it is.
    Forged,
    /// The datagram is control that came before, or too old to tell.
    Replayed,
}

impl fmt::Display for Unsealed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unsealed::WrongKey(0) => formatter.write_str("it is not sealed, and this link is"),
            Unsealed::WrongKey(id) => write!(formatter, "it is sealed by another key ({id:08x})"),
            Unsealed::Forged => formatter.write_str("it was changed or forged"),
            Unsealed::Replayed => formatter.write_str("it came before"),
        }
    }
}

impl std::error::Error for Unsealed {}
