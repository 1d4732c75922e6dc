//! The key schedule: what seals and opens datagrams.
