//! Fuzz target of `netcluster_fuzz::client_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netcluster_fuzz::client_session::run(data));
