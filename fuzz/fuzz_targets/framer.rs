//! Fuzz target of `netcluster_fuzz::framer`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netcluster_fuzz::framer::run(data));
