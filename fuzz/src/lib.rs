//! The bodies of the fuzz targets: each takes any bytes and panics on a bug.
//!
//! They need no fuzzer: `tests/fuzz_smoke.rs` includes this file and runs each
//! over seeded inputs, `fuzz_targets/` hands them to libFuzzer. Here is no IO, no
//! clock and no randomness: the same bytes always do the same.

#![forbid(unsafe_code)]

pub mod broker_session;
pub mod choices;
pub mod client_session;
pub mod datagram;
pub mod framer;
pub mod link;
pub mod links;
pub mod mallory;
pub mod pattern;
#[cfg(target_os = "linux")]
pub mod shared_memory;
pub mod stream;
