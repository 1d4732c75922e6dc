//! Fuzz target of `netcluster_fuzz::broker_session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netcluster_fuzz::broker_session::run(data));
