//! One derived key: what a run of nonces is sealed with.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::hkdf;

use netcluster_wire::link::limits::TAG_BYTES;

use super::{KEY_BYTES, Key, Unsealed};
use crate::peer_id::Session;

const _: () = assert!(ring::aead::MAX_TAG_LEN == TAG_BYTES);

/// An AES-256-GCM key, ready for use.
///
/// `LessSafeKey` leaves it to its user that nonces are used once; see the
/// invariant of the key schedule.
pub(super) struct DerivedKey {
    cipher: LessSafeKey,
    /// Key by which the audit knows one from another.
    #[cfg(any(test, feature = "audit"))]
    pub(super) bytes: [u8; KEY_BYTES],
}

impl DerivedKey {
    /// The key of this session for this use.
    pub(super) fn new(key: &Key, session: &Session, info: &[&[u8]]) -> DerivedKey {
        let mut bytes = [0; KEY_BYTES];
        expand(&key.bytes, session, info, &mut bytes);
        let unbound = UnboundKey::new(&AES_256_GCM, &bytes).expect("AES-256 takes 32 bytes");
        DerivedKey {
            cipher: LessSafeKey::new(unbound),
            #[cfg(any(test, feature = "audit"))]
            bytes,
        }
    }

    /// Encrypts the body in place and writes the tag of header and body.
    ///
    /// # Panics
    /// If the tag has not room for exactly [`TAG_BYTES`]; in tests also if this
    /// key has sealed with this nonce before.
    #[inline]
    pub(super) fn seal(&self, nonce: u64, header: &[u8], body: &mut [u8], tag: &mut [u8]) {
        #[cfg(any(test, feature = "audit"))]
        super::audit::record(&self.bytes, nonce);
        let sealed = self
            .cipher
            .seal_in_place_separate_tag(nonce_of(nonce), Aad::from(header), body)
            .expect("a datagram is far smaller than the cipher's limit");
        tag.copy_from_slice(sealed.as_ref());
    }

    /// Decrypts the body in place if it and the header are as they were sealed.
    /// Else the body holds nothing of use.
    #[inline]
    pub(super) fn open(
        &self,
        nonce: u64,
        header: &[u8],
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), Unsealed> {
        let tag = Tag::try_from(tag).map_err(|_| Unsealed::Forged)?;
        self.cipher
            .open_in_place_separate_tag(nonce_of(nonce), Aad::from(header), tag, body, 0..)
            .map(|_| ())
            .map_err(|_| Unsealed::Forged)
    }
}

fn nonce_of(number: u64) -> Nonce {
    let mut bytes = [0; ring::aead::NONCE_LEN];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// HKDF-SHA256: fills `out`.
pub(super) fn expand(secret: &[u8], salt: &[u8], info: &[&[u8]], out: &mut [u8]) {
    let bytes = OutputBytes(out.len());
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(info, bytes)
        .and_then(|material| material.fill(out))
        .expect("keys and ids are far below the limit of 255 hashes");
}

/// Number of bytes that HKDF is to give.
struct OutputBytes(usize);

impl hkdf::KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}
