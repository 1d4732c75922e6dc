//! The paths that are counted, over the simulator or between two links in memory.
//!
//! The simulator's own code is counted with them: some instructions per chunk of
//! 64 KiB, and copies, which are the C library's.

use crate::support::links::{Chunk, LinkPair};
use crate::support::{Bed, Block, names, repeat};

/// Number of a pass's events, and the pass.
pub type Pass = (u64, Box<dyn FnMut()>);

/// Paths that are counted.
pub const PATHS: &[Path] = &[
    // Scan and route, runs as long as can be: what a frame of a run costs.
    Path { name: "receive_one_name", prepare: || receive(&["tick".to_owned()], 16) },
    // The same with another name in each frame: what a run costs.
    Path { name: "receive_1000_names", prepare: || receive(&names(1000), 64) },
    // Fan-out of long runs.
    Path { name: "fan_out_1_to_8", prepare: || fan_out(&["tick"], 8) },
    // Runs of one frame, each to four queues, sent as lists of slices.
    Path { name: "fan_out_apart_2_to_8", prepare: || fan_out(&["tick", "tock"], 8) },
    // From one link into the other, trains as long as can be.
    Path { name: "link_64_b", prepare: || link(64, None) },
    Path { name: "link_1_kb", prepare: || link(1024, None) },
    // Every hundredth datagram is lost, asked for and repaired.
    Path { name: "link_64_b_repairs", prepare: || link(64, Some(100)) },
];

/// Path that is counted.
pub struct Path {
    /// Name of the path in the file of figures.
    pub name: &'static str,
    /// Makes the path ready.
    pub prepare: fn() -> Pass,
}

/// Prepares frames that nobody listens to, into one shard.
fn receive(names: &[String], payload_bytes: usize) -> Pass {
    let mut bed = Bed::new(1, &[]);
    let block = Block::of_rounds(bed.emitter.source, names, payload_bytes);
    (block.frames, Box::new(move || bed.swallow(&block.bytes)))
}

/// Prepares events of these names in turn to so many listeners, each of which hears one
/// of the names. An event counts once for each that hears it.
fn fan_out(names: &[&str], listeners: usize) -> Pass {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let patterns: Vec<String> =
        names.iter().flat_map(|name| repeat(name, listeners / names.len())).collect();
    let mut bed = Bed::new(1, &patterns);
    let block = Block::of_rounds(bed.emitter.source, &names, 16);
    let heard_by = listeners / names.len();
    let expected = block.bytes.len() * heard_by;
    (block.frames * heard_by as u64, Box::new(move || bed.pass(&block.bytes, expected)))
}

/// Prepares a chunk of 64 KiB from one link to the other.
fn link(payload_bytes: usize, lose_every: Option<u64>) -> Pass {
    let mut pair = LinkPair::new(lose_every);
    let chunk = Chunk::new(payload_bytes);
    (chunk.frames as u64, Box::new(move || pair.pass(&chunk)))
}
