//! Fuzz target of `netcluster_fuzz::datagram`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netcluster_fuzz::datagram::run(data));
