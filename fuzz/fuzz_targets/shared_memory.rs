//! Fuzz target of `netcluster_fuzz::shared_memory`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netcluster_fuzz::shared_memory::run(data));
