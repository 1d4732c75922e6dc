//! The core against a broker in memory, in virtual time; `in_memory`: against the real one,
//! with which it shares memory.

mod cuts;
#[cfg(target_os = "linux")]
mod in_memory;
mod seeded;
mod states;
mod world;

use std::time::Instant;

/// The beginning of virtual time.
fn epoch() -> Instant {
    Instant::now()
}

/// Runs `test` with each of these seeds; says which one failed.
/// `SIM_SEED` runs one alone, `SIM_SEEDS` sets how many, `SIM_BASE` the first.
fn with_seeds(default: u64, test: impl Fn(u64)) {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let base = read("SIM_BASE").unwrap_or(0);
    let seeds = match read("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => base..base + read("SIM_SEEDS").unwrap_or(default),
    };
    for seed in seeds {
        let _says = Says(seed);
        test(seed);
    }
}

struct Says(u64);

impl Drop for Says {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "seed {0} failed: SIM_SEED={0} cargo test -p netcluster-client core::",
                self.0
            );
        }
    }
}
