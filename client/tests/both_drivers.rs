//! What a client promises, of the blocking and of the async one.

#![cfg(feature = "tokio")]

mod suite;
mod support;
