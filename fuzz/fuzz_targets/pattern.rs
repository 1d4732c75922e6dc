//! Fuzz target of `netcluster_fuzz::pattern`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netcluster_fuzz::pattern::run(data));
