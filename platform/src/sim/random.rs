//! The simulator's source of chance: splitmix64, seeded.
//!
//! Not for anything secret. Invariant: the same seed gives the same numbers on
//! every machine, for as long as this file is not changed.

/// A seeded generator of numbers.
#[derive(Clone, Debug)]
pub(super) struct Random {
    state: u64,
}

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random { state: seed }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number less than `limit`, 0 if `limit` is 0. The bias of the remainder
    /// does not matter here.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.next() % limit }
    }

    /// Whether something happens that happens `chance` times in `of`. A chance of
    /// zero draws no number, so a fault that is off does not shift the others.
    pub(super) fn happens(&mut self, chance: u32, of: u32) -> bool {
        chance > 0 && self.below(u64::from(of)) < u64::from(chance)
    }

    /// A length from 1 to `most`, short ones as likely as long ones: first the
    /// magnitude is drawn, then the number.
    pub(super) fn length(&mut self, most: usize) -> usize {
        if most <= 1 {
            return most;
        }
        let magnitude = self.below(u64::from(usize::BITS - most.leading_zeros())) + 1;
        let limit = (1u64 << magnitude).min(most as u64);
        1 + self.below(limit) as usize
    }
}
