//! Other keys while the link runs: sessions, streams and peers stay.
//!
//! What is laid out already is sealed by the key that its header names; what is begun from
//! now on, by the new one. Numbers and counters go on, so that no key seals two datagrams
//! with one nonce, not even one that comes back.
//!
//! Invariant: a datagram is opened by a key that is known now, whatever was known before.
//!
//! Decision: `docs/decisions/063-keys-change-live.md`.

use netcluster_platform::Instant;

use crate::Link;
use crate::crypto::Keys;

impl Link {
    /// Seals by the first of these keys from now on, and opens by each of them. Returns false,
    /// and changes nothing, if that would close an open link or open a closed one: datagrams
    /// would have another length.
    pub fn set_keys(&mut self, now: Instant, keys: &Keys) -> bool {
        if keys.is_open() != self.local.config.keys.is_open() {
            return false;
        }
        self.local.config.keys = keys.clone();
        self.control.set_keys(keys);
        self.outbound.set_keys(keys);
        self.membership.handshakes.set_keys(keys);
        for peer in self.peers.iter_mut() {
            peer.opener.set_keys(keys);
            peer.inbound.iter_mut().for_each(|inbound| inbound.ingress.set_keys(keys));
        }
        // Brokers that this one could not open are heard at once.
        self.hurry(now);
        true
    }
}
