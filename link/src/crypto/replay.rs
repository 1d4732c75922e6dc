//! Which counters of a session came before.
//!
//! ```text
//!        ◀──────── 1024 counters ────────▶
//!  too old │ seen? seen? …       … seen? │ newest │ new: moves the window
//! ```
//! Invariant: a counter is accepted at most once, and checking changes nothing:
//! only what is authentic may move the window.

use serde::{Deserialize, Serialize};

/// Number of counters by which a control datagram may be overtaken.
pub const REPLAY_WINDOW: u64 = 1024;

const WORD_BITS: u64 = u64::BITS as u64;
const WORDS: usize = (REPLAY_WINDOW / WORD_BITS) as usize;
const _: () = assert!(REPLAY_WINDOW.is_multiple_of(WORD_BITS) && WORDS.is_power_of_two());

/// The counters of one session.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReplayWindow {
    /// The largest counter accepted so far; `None`: none yet.
    newest: Option<u64>,
    /// A bit for each of the newest 1024 counters, at its remainder.
    seen: [u64; WORDS],
}

impl ReplayWindow {
    /// Whether this counter may still come.
    pub(super) fn is_new(&self, counter: u64) -> bool {
        match self.newest {
            None => true,
            Some(newest) if counter > newest => true,
            Some(newest) => {
                let (word, bit) = place(counter);
                newest - counter < REPLAY_WINDOW && self.seen[word] & bit == 0
            }
        }
    }

    /// Marks a counter as used: its datagram came, and was authentic.
    pub(super) fn accept(&mut self, counter: u64) {
        debug_assert!(self.is_new(counter), "counter {counter} came before");
        let newest = *self.newest.get_or_insert(counter);
        if counter > newest {
            // Those skipped have not been seen; their places held older ones.
            let skipped = (counter - newest - 1).min(REPLAY_WINDOW);
            for behind in 1..=skipped {
                let (word, bit) = place(counter - behind);
                self.seen[word] &= !bit;
            }
            self.newest = Some(counter);
        }
        let (word, bit) = place(counter);
        self.seen[word] |= bit;
    }
}

fn place(counter: u64) -> (usize, u64) {
    let at = counter % REPLAY_WINDOW;
    ((at / WORD_BITS) as usize, 1 << (at % WORD_BITS))
}
