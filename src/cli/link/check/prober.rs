//! The probes that are sent: random, numbered, sealed.
//!
//! Invariant: no probe is too small for the answer to it, since brokers never
//! answer with more bytes than they were sent.

use netcluster_link::keys::{ControlSealer, Keys};
use netcluster_link::peer_id::Session;
use netcluster_wire::link::limits::{
    CONTROL_HEADER_BYTES, MAX_TEXT_BYTES, MIN_DATAGRAM_BYTES, NONCE_BYTES, SESSION_BYTES, TAG_BYTES,
};
use netcluster_wire::link::{ControlHeader, ControlKind, Probe};
use ring::rand::{SecureRandom, SystemRandom};

/// Nonce that a probe and its answer have in common.
pub type Nonce = [u8; NONCE_BYTES];

/// The fixed part of an answer, see the wire format.
const REPLY_HEAD_BYTES: usize = 56;

/// The whole datagram of a small probe: the longest answer is not longer.
pub const SMALL_PROBE_BYTES: usize =
    CONTROL_HEADER_BYTES + REPLY_HEAD_BYTES + 2 * (1 + MAX_TEXT_BYTES) + TAG_BYTES;

const _: () = assert!(SMALL_PROBE_BYTES < MIN_DATAGRAM_BYTES);

/// Makes the probes of one session.
pub struct Prober {
    random: SystemRandom,
    session: Session,
    sealer: ControlSealer,
}

impl Prober {
    /// A session of its own; `None` if the system gives no random bytes.
    pub fn new(keys: &Keys) -> Option<Prober> {
        let random = SystemRandom::new();
        let mut session = Session::default();
        random.fill(&mut session).ok()?;
        Some(Prober { random, session, sealer: ControlSealer::new(keys, &session) })
    }

    /// Session that asks.
    pub fn session(&self) -> Session {
        self.session
    }

    /// A datagram of so many bytes, and what it will be answered with. `None` if
    /// the system gives no random bytes.
    ///
    /// # Panics
    /// If that is less than [`SMALL_PROBE_BYTES`].
    pub fn probe(&mut self, datagram_bytes: usize) -> Option<(Nonce, Vec<u8>)> {
        assert!(datagram_bytes >= SMALL_PROBE_BYTES, "room for the answer");
        let mut nonce = Nonce::default();
        self.random.fill(&mut nonce).ok()?;
        let tag_bytes = self.sealer.tag_bytes();
        let head_bytes = CONTROL_HEADER_BYTES + NONCE_BYTES + SESSION_BYTES;
        let padding_bytes = datagram_bytes - head_bytes - tag_bytes;
        let mut datagram = Vec::with_capacity(datagram_bytes);
        let (key_id, counter) = (self.sealer.key_id(), self.sealer.counter());
        ControlHeader::new(ControlKind::Probe, key_id, &self.session, counter).write(&mut datagram);
        Probe { nonce, to: Session::default(), padding_bytes }.encode(&mut datagram);
        datagram.resize(datagram_bytes, 0);
        let (header, rest) = datagram.split_at_mut(CONTROL_HEADER_BYTES);
        let (body, tag) = rest.split_at_mut(NONCE_BYTES + SESSION_BYTES + padding_bytes);
        self.sealer.seal(header, body, tag);
        Some((nonce, datagram))
    }
}
