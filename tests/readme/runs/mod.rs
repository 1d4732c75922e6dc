//! Runs of the blocks of README and of `docs/`: a list for each document, with a row
//! for each block, found by the line that the block begins with.

mod benchmarks;
mod delivery;
mod languages;
mod networks;
mod operating;
mod readme;
mod testing;

/// Documents with blocks, by their path from the root of the tree, and their rows.
pub const DOCUMENTS: &[(&str, &[Row])] = &[
    ("README.md", readme::ROWS),
    ("docs/benchmarks.md", benchmarks::ROWS),
    ("docs/delivery.md", delivery::ROWS),
    ("docs/languages.md", languages::ROWS),
    ("docs/networks.md", networks::ROWS),
    ("docs/operating.md", operating::ROWS),
    ("docs/testing.md", testing::ROWS),
];

/// Way in which a block is checked.
pub enum How {
    /// The block is compared with compiled code of this name, which the script runs.
    Snippet(&'static str, &'static str),
    /// The block is run by this script, after `prelude.sh`.
    Script(&'static str),
    /// The block is not run here, for this reason.
    Elsewhere(&'static str),
}

/// Line with which a block begins, or its first words, and what is done with the block.
pub type Row = (&'static str, How);
