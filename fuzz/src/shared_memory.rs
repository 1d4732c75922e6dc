//! Rings and descriptors of shared memory, whatever the other side writes there.
//!
//! One side is the real code, the other one writes any value to any word and any bytes to
//! the ring, whenever it wants. A model says what must follow from each: a fault is told and
//! changes nothing, never more is taken than fits, positions only grow, what was released
//! is counted once, and what the other side must not write is not looked at.

mod hostile_broker;
mod hostile_client;

use std::sync::Arc;

use netcluster_shm::Region;
use netcluster_shm::layout::{MAX_RING_BYTES, MIN_RING_BYTES};

use super::choices::Choices;

/// Words of the control page, by the numbers of [`Region::set_word`].
mod word {
    pub const RING_HEAD: usize = 0;
    pub const DESCRIPTOR_TAIL: usize = 1;
    pub const RELEASE_AT: usize = 2;
    pub const RING_TAIL: usize = 3;
    pub const DESCRIPTOR_HEAD: usize = 4;
    pub const ROOM_AT: usize = 5;
    pub const RING_LIMIT: usize = 6;
    pub const BROKER_WAITS: usize = 7;
    pub const RING_BYTES: usize = 9;
    pub const CLIENT_WAITS: usize = 10;
    pub const RING_END: usize = 11;
}

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    if choices.chance(128) {
        hostile_client::run(&mut choices);
    } else {
        hostile_broker::run(&mut choices);
    }
}

/// Memory of a connection, and what its words hold.
struct Memory {
    region: Arc<Region>,
    words: [u64; Region::WORDS],
}

impl Memory {
    fn new() -> Memory {
        Memory { region: Region::in_memory(), words: [0; Region::WORDS] }
    }

    /// Writes a word; the short ones take its lower half.
    fn set(&mut self, word: usize, value: u64) {
        self.region.set_word(word, value);
        let is_short = (word::RING_LIMIT..word::RING_END).contains(&word);
        self.words[word] = if is_short { u64::from(value as u32) } else { value };
    }

    /// Whether a side that asked is rung, as it is once: `reached` is what it asked for.
    fn is_rung(&mut self, word: usize, reached: impl Fn(u64) -> bool) -> bool {
        let asked = self.words[word];
        let is_rung = asked != 0 && reached(asked);
        if is_rung {
            self.words[word] = 0;
        }
        is_rung
    }

    /// Writes any value to any word, rather around one that is right.
    fn scribble(&mut self, choices: &mut Choices<'_>) {
        let word = choices.below(Region::WORDS);
        let now = self.words[word];
        let value = match choices.below(8) {
            0 => now.wrapping_add(choices.below(65_536) as u64),
            1 => now.wrapping_sub(u64::from(choices.byte())),
            2 => now.wrapping_add(MIN_RING_BYTES as u64 + u64::from(choices.byte() % 2)),
            3 => now.wrapping_add(MAX_RING_BYTES as u64 + u64::from(choices.byte() % 2)),
            4 => choices.of(&[0, 1, 2, 511, 512, 513, u64::MAX, u64::MAX - 1, 1 << 32, 1 << 63]),
            5 => 1 << choices.below(64),
            6 => u64::from(choices.byte()),
            _ => (0..8).fold(0, |value, _| value << 8 | u64::from(choices.byte())),
        };
        self.set(word, value);
    }
}
