//! Proof that a session is reached at an address: nobody else can know the nonce
//! that was sent there.
//!
//! ```text
//!   nonce = SHA-256(secret ‖ address)[..16]      another one for each address
//! ```
//! So an answer that comes from elsewhere than the challenge went to proves nothing,
//! and nothing is to be remembered of the addresses that were challenged.
//!
//! Invariant: a secret is of one session, and of it until it has moved once.
//!
//! Decision: `docs/decisions/040-proof-of-address.md`.

use core::net::{IpAddr, SocketAddr};

use ring::digest::{Context, SHA256};

use netcluster_wire::link::limits::NONCE_BYTES;

/// Secret that the nonces of one session are made of.
pub(crate) struct AddressProof([u8; NONCE_BYTES]);

impl AddressProof {
    /// Makes a proof of a secret from the system's random source.
    pub fn new(secret: [u8; NONCE_BYTES]) -> AddressProof {
        AddressProof(secret)
    }

    /// Nonce that a challenge asks for that is sent to this address.
    pub fn nonce(&self, address: SocketAddr) -> [u8; NONCE_BYTES] {
        let mut context = Context::new(&SHA256);
        context.update(&self.0);
        match address.ip() {
            IpAddr::V4(ip) => context.update(&ip.octets()),
            IpAddr::V6(ip) => context.update(&ip.octets()),
        }
        context.update(&address.port().to_le_bytes());
        let digest = context.finish();
        digest.as_ref()[..NONCE_BYTES].try_into().expect("a digest has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_and_each_secret_has_a_nonce_of_its_own() {
        let addresses = ["10.0.0.1:1", "10.0.0.1:2", "10.0.0.2:1", "[::1]:1", "[::2]:1"];
        let mut nonces = std::collections::BTreeSet::new();
        for secret in [[1; 16], [2; 16]] {
            let proof = AddressProof::new(secret);
            for address in addresses {
                assert_eq!(
                    proof.nonce(address.parse().unwrap()),
                    proof.nonce(address.parse().unwrap())
                );
                nonces.insert(proof.nonce(address.parse().unwrap()));
            }
        }
        assert_eq!(nonces.len(), 2 * addresses.len());
    }
}
