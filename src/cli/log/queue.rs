//! Lines that wait to be written. Whoever logs holds the lock for as long as it takes
//! to put a line in; the writer never holds it while it writes.
//!
//! Invariant: at most [`MAX_QUEUED_BYTES`] wait. Where lines had no room, their number
//! stands.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netcluster::internals::LogCounts;

/// Largest amount that waits, in bytes: some thousand lines.
pub const MAX_QUEUED_BYTES: usize = 1 << 20;

/// Entry that is to be written next.
#[derive(Debug, PartialEq, Eq)]
pub enum Entry {
    /// A line with its end.
    Line(Vec<u8>),
    /// The number of lines that are missing here.
    Lost(u64),
}

/// The queue.
pub struct Queue {
    state: Mutex<State>,
    /// Something is there for the writer.
    filled: Condvar,
    /// The writer has come further.
    written: Condvar,
    counts: Arc<LogCounts>,
}

#[derive(Default)]
struct State {
    entries: VecDeque<Entry>,
    queued_bytes: usize,
    /// Lines that had no room since the last entry.
    lost: u64,
    /// Entries taken so far, and whether the last one is still being written.
    taken: u64,
    is_writing: bool,
}

impl Queue {
    /// Empty.
    pub fn new(counts: Arc<LogCounts>) -> Queue {
        Queue { state: Mutex::default(), filled: Condvar::new(), written: Condvar::new(), counts }
    }

    /// Puts a line in, or counts it.
    pub fn push(&self, line: Vec<u8>) {
        let mut state = self.lock();
        if state.queued_bytes + line.len() > MAX_QUEUED_BYTES {
            state.lost += 1;
            drop(state);
            return self.counts.lost(1);
        }
        let lost = std::mem::take(&mut state.lost);
        if lost > 0 {
            state.entries.push_back(Entry::Lost(lost));
        }
        state.queued_bytes += line.len();
        state.entries.push_back(Entry::Line(line));
        drop(state);
        self.filled.notify_one();
    }

    /// Takes the next entry, for which it waits until `deadline`, if there is one. What
    /// was taken before counts as written.
    pub fn take(&self, deadline: Option<Instant>) -> Option<Entry> {
        let mut state = self.lock();
        state.is_writing = false;
        self.written.notify_all();
        loop {
            if let Some(entry) = state.pop() {
                state.taken += 1;
                state.is_writing = true;
                return Some(entry);
            }
            state = match deadline {
                None => self.filled.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return None;
                    }
                    let waited = self.filled.wait_timeout(state, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Waits until all that is there now is written, at most so long.
    pub fn flush(&self, timeout: Duration) {
        let state = self.lock();
        let last = state.taken + state.entries.len() as u64 + u64::from(state.lost > 0);
        let is_written =
            |state: &State| state.taken > last || state.taken == last && !state.is_writing;
        let waited = self.written.wait_timeout_while(state, timeout, |state| !is_written(state));
        drop(waited);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Option<Entry> {
        let entry = self.entries.pop_front();
        if let Some(Entry::Line(line)) = &entry {
            self.queued_bytes -= line.len();
        }
        entry.or_else(|| {
            let lost = std::mem::take(&mut self.lost);
            (lost > 0).then_some(Entry::Lost(lost))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF: usize = MAX_QUEUED_BYTES / 2;

    #[test]
    fn what_has_no_room_is_counted_and_told_in_its_place() {
        let counts = Arc::new(LogCounts::default());
        let queue = Queue::new(Arc::clone(&counts));
        let line = |byte: u8| vec![byte; HALF];
        queue.push(line(1));
        queue.push(line(2));
        queue.push(line(3));
        queue.push(line(4));
        assert_eq!(counts.status().lost, 2);
        assert_eq!(queue.take(None), Some(Entry::Line(line(1))));
        queue.push(line(5));
        assert_eq!(queue.take(None), Some(Entry::Line(line(2))));
        assert_eq!(queue.take(None), Some(Entry::Lost(2)));
        assert_eq!(queue.take(None), Some(Entry::Line(line(5))));
        assert_eq!(queue.take(Some(Instant::now())), None);
    }

    #[test]
    fn what_is_missing_at_the_end_is_told_as_well() {
        let queue = Queue::new(Arc::default());
        queue.push(vec![1; MAX_QUEUED_BYTES]);
        queue.push(vec![2]);
        assert!(matches!(queue.take(None), Some(Entry::Line(_))));
        assert_eq!(queue.take(None), Some(Entry::Lost(1)));
    }

    #[test]
    fn a_flush_waits_for_the_writer_but_not_forever() {
        let queue = Queue::new(Arc::default());
        queue.push(vec![1]);
        // Nobody takes it: it returns nevertheless.
        queue.flush(Duration::from_millis(1));
        std::thread::scope(|scope| {
            let flush = scope.spawn(|| queue.flush(Duration::from_secs(600)));
            assert!(queue.take(None).is_some());
            assert_eq!(queue.take(Some(Instant::now())), None);
            flush.join().unwrap();
        });
    }
}
