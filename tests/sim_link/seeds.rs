//! Seeds, and a small generator, so that a run depends on nothing but its seed.

use netcluster_link::crypto::audit::Audit;

use super::which_seeds::Seeds;

const SEEDS: Seeds = Seeds { kind: "SIM", count: "SIM_SEEDS", suite: "sim_link" };

/// Small generator of pseudo-random numbers.
pub struct Random(u64);

impl Random {
    /// Makes the generator of a seed; `purpose` keeps those of different tests apart.
    pub fn new(seed: u64, purpose: u64) -> Random {
        Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ purpose)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Draws a number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// Draws one of some values.
    pub fn one_of<T: Copy>(&mut self, some: &[T]) -> T {
        some[self.below(some.len() as u64) as usize]
    }

    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Runs a test for each seed; in each no key may seal twice with one nonce.
pub fn for_seeds(test: &str, default: u64, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    SEEDS.run(test, default, |seed| {
        let _audit = Audit::start();
        run(seed);
    });
}
