//! The fuzz targets in short: each body over the inputs that were kept (`fuzz/seeds`), and
//! over seeded ones.
//!
//! The long form is `cargo +nightly fuzz run TARGET`, see CONTRIBUTING.md. A
//! failing seed is printed; `FUZZ_SEED=N` runs that input alone, `FUZZ_INPUTS=N`
//! so many of each, `FUZZ_BASE=N` from that one on, and `FUZZ_FILE=PATH` an input
//! that the fuzzer has kept.

mod seeds;

use std::panic::{catch_unwind, resume_unwind};

use seeds::Seeds;

const SEEDS: Seeds = Seeds { kind: "FUZZ", count: "FUZZ_INPUTS", suite: "fuzz_smoke" };

// Included, not depended on: the fuzz crate needs a nightly compiler.
#[path = "../fuzz/src/lib.rs"]
mod bodies;

fn run(target: &str, inputs: u64, body: fn(&[u8])) {
    if let Some(path) = std::env::var_os("FUZZ_FILE") {
        return body(&std::fs::read(path).expect("a file that can be read"));
    }
    for (line, input) in kept(target) {
        if let Err(panic) = catch_unwind(|| body(&input)) {
            eprintln!("the input in line {line} of fuzz/seeds/{target}.hex failed");
            resume_unwind(panic);
        }
    }
    SEEDS.run(target, inputs, |seed| body(&input(seed)));
}

/// Reads the inputs that were kept of a target, with their lines.
fn kept(target: &str) -> Vec<(usize, Vec<u8>)> {
    let path = format!("{}/fuzz/seeds/{target}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with('#'));
    let inputs: Vec<_> = lines.map(|(at, line)| (at + 1, bytes(line, &path))).collect();
    assert!(inputs.len() > 10, "{path} has next to nothing; see fuzz/grow");
    inputs
}

fn bytes(hex: &str, path: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2) && hex.is_ascii(), "{path}: no hexadecimal: {hex}");
    let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16);
    let byte = |at| digits(at).unwrap_or_else(|error| panic!("{path}: {error}: {hex}"));
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// Makes pseudo-random bytes; short inputs are more frequent than long ones.
fn input(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let most = 16 << (next() % 7);
    let length = next() % most;
    // Runs of one byte now and then, so that sizes and kinds repeat.
    let mut bytes = Vec::new();
    while (bytes.len() as u64) < length {
        let word = next();
        match word % 16 {
            0 => bytes.extend([(word >> 8) as u8; 7]),
            _ => bytes.extend_from_slice(&word.to_le_bytes()[1..]),
        }
    }
    bytes
}

#[test]
fn framer() {
    run("framer", 3000, bodies::framer::run);
}

#[test]
fn pattern() {
    run("pattern", 5000, bodies::pattern::run);
}

#[test]
fn datagram() {
    run("datagram", 5000, bodies::datagram::run);
}

#[test]
fn client_session() {
    run("client_session", 2000, bodies::client_session::run);
}

#[test]
fn broker_session() {
    run("broker_session", 600, bodies::broker_session::run);
}

#[test]
fn link() {
    run("link", 600, bodies::link::run);
}

#[cfg(target_os = "linux")]
#[test]
fn shared_memory() {
    run("shared_memory", 3000, bodies::shared_memory::run);
}
