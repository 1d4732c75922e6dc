//! Promises of a client, kept by the blocking and by the async one.

#![cfg(feature = "tokio")]

mod suite;
mod support;
