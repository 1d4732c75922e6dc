//! Sealing one outbound stream, opening one of a peer's.
//!
//! Keys are derived when an epoch begins, not per datagram.

use super::derived::DerivedKey;
use super::{Key, Keys, Unsealed};
use crate::peer_id::Session;
use crate::stream::StreamId;

/// Datagrams that one key seals: 2^28 of 1400 bytes are 2^34.5 blocks of the
/// cipher, where an outsider's advantage is still below 2^-57.
pub const EPOCH_DATAGRAMS: u64 = 1 << EPOCH_BITS;
const EPOCH_BITS: u32 = 28;

/// Keys of a stream that an opener holds ready: those around the change of an
/// epoch, or of the key.
const READY_KEYS: usize = 2;

const STREAM_INFO: &[u8] = b"netcluster stream";

/// Epoch that a datagram belongs to. It would come again after 2^60 datagrams, and even
/// then with other nonces.
#[inline]
fn epoch_of(number: u64) -> u32 {
    (number >> EPOCH_BITS) as u32
}

pub(super) fn stream_key(key: &Key, session: &Session, stream: StreamId, epoch: u32) -> DerivedKey {
    DerivedKey::new(key, session, &[STREAM_INFO, &stream.0.to_le_bytes(), &epoch.to_le_bytes()])
}

/// Seals the datagrams of one outbound stream.
pub struct StreamSealer {
    keys: Keys,
    session: Session,
    stream: StreamId,
    /// Current epoch and its key; `None` on an open link.
    current: Option<(u32, DerivedKey)>,
}

impl StreamSealer {
    /// Makes the sealer of a stream of this own session.
    pub fn new(keys: &Keys, session: &Session, stream: StreamId) -> StreamSealer {
        let current = keys.first().map(|key| (0, stream_key(key, session, stream, 0)));
        StreamSealer { keys: keys.clone(), session: *session, stream, current }
    }

    /// Id of the key, which the header must name.
    pub fn key_id(&self) -> u32 {
        self.keys.id()
    }

    /// Bytes that `tag` must have: 0 on an open link.
    pub fn tag_bytes(&self) -> usize {
        self.keys.tag_bytes()
    }

    /// Seals by the first of these keys from now on.
    pub fn set_keys(&mut self, keys: &Keys) {
        let epoch = self.current.as_ref().map_or(0, |(epoch, _)| *epoch);
        let first = keys.first();
        self.current = first.map(|key| (epoch, stream_key(key, &self.session, self.stream, epoch)));
        self.keys = keys.clone();
    }

    /// Encrypts the body of datagram `number` in place and writes the tag. Each
    /// number once. On an open link nothing happens.
    ///
    /// # Panics
    /// If the tag has other than [`tag_bytes`](StreamSealer::tag_bytes).
    #[inline]
    pub fn seal(&mut self, number: u64, header: &[u8], body: &mut [u8], tag: &mut [u8]) {
        let Some((epoch, key)) = &mut self.current else {
            assert!(tag.is_empty(), "an open link has no tags");
            return;
        };
        if *epoch != epoch_of(number) {
            let first = self.keys.first().expect("a link with a current key has one");
            *epoch = epoch_of(number);
            *key = stream_key(first, &self.session, self.stream, *epoch);
        }
        key.seal(number, header, body, tag);
    }
}

/// A derived key, and what it is for.
struct Ready {
    key_id: u32,
    epoch: u32,
    key: DerivedKey,
}

impl Ready {
    fn is(&self, key_id: u32, epoch: u32) -> bool {
        self.key_id == key_id && self.epoch == epoch
    }
}

/// Opens the datagrams of one stream of a peer.
pub struct StreamOpener {
    keys: Keys,
    session: Session,
    stream: StreamId,
    /// Keys that have opened something, the newest first.
    ready: Vec<Ready>,
    /// Key that has not opened anything yet. Forged numbers of far epochs come no further
    /// than here, so that they never push a good key out.
    tried: Option<Box<Ready>>,
}

impl StreamOpener {
    /// Makes the opener of a stream of this session of a peer.
    pub fn new(keys: &Keys, session: &Session, stream: StreamId) -> StreamOpener {
        StreamOpener {
            keys: keys.clone(),
            session: *session,
            stream,
            ready: Vec::new(),
            tried: None,
        }
    }

    /// Bytes that end each datagram of this link.
    pub fn tag_bytes(&self) -> usize {
        self.keys.tag_bytes()
    }

    /// Opens by these keys from now on.
    pub fn set_keys(&mut self, keys: &Keys) {
        self.keys = keys.clone();
        self.ready.retain(|ready| keys.knows(ready.key_id));
        self.tried = None;
    }

    /// Decrypts the body of datagram `number` in place. It does not notice what
    /// came before. On an open link the body stays as it is.
    ///
    /// # Errors
    /// Why it must not be used; the body is then destroyed.
    #[inline]
    pub fn open(
        &mut self,
        key_id: u32,
        number: u64,
        header: &[u8],
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Unsealed> {
        if self.keys.is_open() {
            return if key_id == 0 { Ok(()) } else { Err(Unsealed::WrongKey(key_id)) };
        }
        let epoch = epoch_of(number);
        match self.ready.iter().find(|ready| ready.is(key_id, epoch)) {
            Some(ready) => ready.key.open(number, header, body, tag),
            None => self.open_first(key_id, number, header, body, tag),
        }
    }

    /// Key ids and epochs of the keys that are held ready.
    #[cfg(test)]
    pub(super) fn ready_keys(&self) -> Vec<(u32, u32)> {
        self.ready.iter().map(|ready| (ready.key_id, ready.epoch)).collect()
    }

    /// Opens the first datagram of an epoch, or of a key, whose derived key is not ready yet.
    #[cold]
    fn open_first(
        &mut self,
        key_id: u32,
        number: u64,
        header: &[u8],
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Unsealed> {
        let (_, key) = self.keys.find(key_id).ok_or(Unsealed::WrongKey(key_id))?;
        let epoch = epoch_of(number);
        let tried = match self.tried.take() {
            Some(tried) if tried.is(key_id, epoch) => tried,
            _ => {
                let key = stream_key(key, &self.session, self.stream, epoch);
                Box::new(Ready { key_id, epoch, key })
            }
        };
        let result = tried.key.open(number, header, body, tag);
        if result.is_ok() {
            self.ready.truncate(READY_KEYS - 1);
            self.ready.insert(0, *tried);
        } else {
            self.tried = Some(tried);
        }
        result
    }
}
