//! Whether the shards still turn, asked from outside: for a watchdog.
//!
//! Who asks raises a number and wakes the shards; each copies it at the end of its turn. An
//! idle shard does nothing for it until it is asked, and a busy one reads a number in a turn.
//!
//! Invariant: a shard that answers has ended a turn after it was asked.
//!
//! Decision: `docs/decisions/081-a-watchdog-asks-the-shards.md`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use netcluster_platform::Waker;

/// Numbers of questions and answers, as the shards share them.
#[derive(Clone, Debug)]
pub struct Pulse(Arc<Beats>);

#[derive(Debug)]
struct Beats {
    /// Number of the latest question.
    asked: AtomicU64,
    /// Number that each shard has answered last.
    answered: Box<[AtomicU64]>,
}

impl Pulse {
    /// A pulse of so many shards, that nobody has asked for.
    pub fn new(shards: usize) -> Pulse {
        let answered = (0..shards).map(|_| AtomicU64::new(0)).collect();
        Pulse(Arc::new(Beats { asked: AtomicU64::new(0), answered }))
    }

    /// Answers for a shard whose turn began before the question, or after it.
    #[inline]
    pub fn answer(&self, shard: usize) {
        let asked = self.0.asked.load(Ordering::Relaxed);
        let answered = &self.0.answered[shard];
        // A store to a line that others read is made only if there is something to say.
        if answered.load(Ordering::Relaxed) != asked {
            answered.store(asked, Ordering::Relaxed);
        }
    }
}

/// Handle that asks a broker's shards whether they turn, from any thread.
#[derive(Clone, Debug)]
pub struct Watch {
    pulse: Pulse,
    wakers: Arc<OnceLock<Vec<Waker>>>,
}

impl Watch {
    /// Watches shards with this pulse and these wakers.
    pub(crate) fn new(pulse: Pulse, wakers: Arc<OnceLock<Vec<Waker>>>) -> Watch {
        Watch { pulse, wakers }
    }

    /// Asks all shards. They answer within a turn, which is bounded.
    pub fn ask(&self) {
        self.pulse.0.asked.fetch_add(1, Ordering::Relaxed);
        self.wakers.get().into_iter().flatten().for_each(Waker::wake);
    }

    /// Returns the shards that have not answered the latest question.
    pub fn silent(&self) -> Vec<usize> {
        let beats = &self.pulse.0;
        let asked = beats.asked.load(Ordering::Relaxed);
        let answers = beats.answered.iter().map(|answered| answered.load(Ordering::Relaxed));
        answers.enumerate().filter(|(_, answered)| *answered != asked).map(|(at, _)| at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_not_turned_since_the_question_is_silent() {
        let pulse = Pulse::new(3);
        let watch = Watch::new(pulse.clone(), Arc::default());
        assert_eq!(watch.silent(), [0; 0], "nobody was asked");
        watch.ask();
        assert_eq!(watch.silent(), [0, 1, 2]);
        pulse.answer(1);
        pulse.answer(1);
        assert_eq!(watch.silent(), [0, 2]);
        pulse.answer(0);
        pulse.answer(2);
        assert_eq!(watch.silent(), [0; 0]);
        watch.ask();
        assert_eq!(watch.silent(), [0, 1, 2]);
    }
}
