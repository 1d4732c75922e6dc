//! Promises of a client, kept by the blocking and by the async one.

#![cfg(all(feature = "tokio", feature = "json"))]

mod suite;
mod support;
