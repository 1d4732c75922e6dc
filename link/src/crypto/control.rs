//! Sealing the own control datagrams, opening those of one peer.

use super::derived::DerivedKey;
use super::replay::ReplayWindow;
use super::{Key, Keys, MAX_KEYS, Unsealed};
use crate::peer_id::Session;

const CONTROL_INFO: &[u8] = b"netcluster control";

pub(super) fn control_key(key: &Key, session: &Session) -> DerivedKey {
    DerivedKey::new(key, session, &[CONTROL_INFO])
}

/// Seals the control datagrams of the own session, and counts them. One for a
/// session: two would use the same nonces.
pub struct ControlSealer {
    keys: Keys,
    key: Option<DerivedKey>,
    counter: u64,
}

impl ControlSealer {
    /// Makes the sealer of this own session.
    pub fn new(keys: &Keys, session: &Session) -> ControlSealer {
        ControlSealer::resumed(keys, session, 0)
    }

    /// Makes the sealer of a session that another broker used up to this counter, and uses
    /// no more.
    pub fn resumed(keys: &Keys, session: &Session, counter: u64) -> ControlSealer {
        let key = keys.first().map(|key| control_key(key, session));
        ControlSealer { keys: keys.clone(), key, counter }
    }

    /// Id of the key, which the header must name.
    pub fn key_id(&self) -> u32 {
        self.keys.id()
    }

    /// The counter that the next datagram's header must have.
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// Bytes that `tag` must have: 0 on an open link.
    pub fn tag_bytes(&self) -> usize {
        self.keys.tag_bytes()
    }

    /// Seals by the first of these keys from now on. The counter goes on: back at an older
    /// key, no nonce comes again.
    pub fn set_keys(&mut self, keys: &Keys, session: &Session) {
        self.key = keys.first().map(|key| control_key(key, session));
        self.keys = keys.clone();
    }

    /// Encrypts the body of a datagram in place and writes the tag, then counts
    /// on. The header has been written with [`counter`](ControlSealer::counter).
    ///
    /// # Panics
    /// If the tag has other than [`tag_bytes`](ControlSealer::tag_bytes).
    pub fn seal(&mut self, header: &[u8], body: &mut [u8], tag: &mut [u8]) {
        match &self.key {
            Some(key) => key.seal(self.counter, header, body, tag),
            None => assert!(tag.is_empty(), "an open link has no tags"),
        }
        self.counter += 1;
    }
}

/// Opens the control datagrams of one session of a peer, each of them once.
pub struct ControlOpener {
    keys: Keys,
    session: Session,
    /// Derived keys at the places of `keys`, made when first named.
    ready: [Option<DerivedKey>; MAX_KEYS],
    /// Window of both keys: the sender has one counter.
    window: ReplayWindow,
}

impl ControlOpener {
    /// Makes the opener of this session of a peer.
    pub fn new(keys: &Keys, session: &Session) -> ControlOpener {
        ControlOpener::resumed(keys, session, ReplayWindow::default())
    }

    /// Makes the opener of a session that was a peer before: what came then does not come
    /// again.
    pub fn resumed(keys: &Keys, session: &Session, window: ReplayWindow) -> ControlOpener {
        ControlOpener { keys: keys.clone(), session: *session, ready: Default::default(), window }
    }

    /// Opens by these keys from now on. What came does not come again.
    pub fn set_keys(&mut self, keys: &Keys) {
        self.keys = keys.clone();
        self.ready = Default::default();
    }

    /// Window of the counters that came so far.
    pub fn window(&self) -> &ReplayWindow {
        &self.window
    }

    /// Decrypts the body in place. On an open link it stays as it is, and nothing
    /// counts as replayed: whoever likes could forge a counter that shuts the
    /// true sender out.
    ///
    /// # Errors
    /// Why the datagram must not be used; the body may then be destroyed.
    pub fn open(
        &mut self,
        key_id: u32,
        counter: u64,
        header: &[u8],
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Unsealed> {
        if self.keys.is_open() {
            return if key_id == 0 { Ok(()) } else { Err(Unsealed::WrongKey(key_id)) };
        }
        let (at, key) = self.keys.find(key_id).ok_or(Unsealed::WrongKey(key_id))?;
        if !self.window.is_new(counter) {
            return Err(Unsealed::Replayed);
        }
        let key = self.ready[at].get_or_insert_with(|| control_key(key, &self.session));
        key.open(counter, header, body, tag)?;
        self.window.accept(counter);
        Ok(())
    }
}
