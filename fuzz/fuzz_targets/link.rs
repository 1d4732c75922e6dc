//! Fuzz target of `netcluster_fuzz::link`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netcluster_fuzz::link::run(data));
