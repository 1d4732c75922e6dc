//! One suite for the clients of all languages; see `README.md` beside it.
//!
//! - [`vectors`]: bytes and their meaning, from `PROTOCOL.md`.

#![forbid(unsafe_code)]

pub mod vectors;
