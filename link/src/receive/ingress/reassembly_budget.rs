//! The memory that incomplete large frames, and datagrams before their turn, may
//! take over all streams.
//!
//! Frames of up to [`LARGE_FRAME_BYTES`] fit the chunk that every stream has
//! anyway; a larger one is charged whole from the time its header is known until
//! it is complete or given up. What is over the limit waits, and its sender with
//! it; a single frame is always let through, however large.
//!
//! ```text
//!   charge ──fits, and nobody waits longer──▶ charged until complete or given up
//!      └─────else─▶ queue of peers, one turn each; the first takes what gets free
//! ```
//! No peer keeps others out: those that wait take turns, whatever the number of
//! streams in which each of them waits, and one peer's frames together may take
//! half of the budget (or one frame alone all of it).
//!
//! Datagrams before their turn are those behind a hole. Whoever opens streams with
//! holes and never fills them could else take any amount of memory.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::peer_id::PeerId;

/// Bytes that incomplete frames of all streams take together.
pub const REASSEMBLY_BYTES: usize = 64 << 20;

/// Frames up to this size are not charged.
pub const LARGE_FRAME_BYTES: usize = 256 << 10;

/// Part of the budget that several frames of one peer may take.
const PEER_PART: usize = 2;

const _: () = assert!(LARGE_FRAME_BYTES < REASSEMBLY_BYTES / PEER_PART);

/// Bytes of datagrams before their turn, of all streams together: a full store of
/// more than forty streams with the usual size of datagrams.
pub const REORDER_BYTES: usize = 256 << 20;

/// Bytes of these that a stream has in any case, whatever others do.
pub const FREE_REORDER_BYTES: usize = 256 << 10;

const _: () = assert!(FREE_REORDER_BYTES < REORDER_BYTES);

/// The budget, as one peer sees it. Cloning gives another handle to it.
#[derive(Clone, Debug)]
pub struct ReassemblyBudget {
    shared: Arc<Shared>,
    peer: PeerId,
}

/// Streams of different shards could share it; large frames are too rare for the
/// lock to matter.
#[derive(Debug)]
struct Shared {
    limit_bytes: usize,
    state: Mutex<State>,
    reorder_bytes: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    used_bytes: usize,
    /// Bytes of these that each peer's frames take; peers without any are not in it.
    by_peer: BTreeMap<PeerId, usize>,
    /// Peers that wait, longest first, and in how many streams.
    queue: VecDeque<(PeerId, usize)>,
}

/// Share of one stream in what is kept of datagrams before their turn, counted with all
/// others'.
#[derive(Debug)]
pub(super) struct Share {
    shared: Arc<Shared>,
    bytes: usize,
}

/// Bytes that are charged until this is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    budget: ReassemblyBudget,
    bytes: usize,
}

/// A place in the queue, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn(ReassemblyBudget);

impl ReassemblyBudget {
    /// Makes a budget of so many bytes.
    pub fn new(limit_bytes: usize) -> ReassemblyBudget {
        let (state, reorder_bytes) = (Mutex::default(), AtomicUsize::new(0));
        let shared = Arc::new(Shared { limit_bytes, state, reorder_bytes });
        ReassemblyBudget { shared, peer: PeerId(0) }
    }

    /// The budget as the streams of this peer use it.
    pub fn of(&self, peer: PeerId) -> ReassemblyBudget {
        ReassemblyBudget { shared: Arc::clone(&self.shared), peer }
    }

    /// Makes the share of one more stream.
    pub(super) fn share(&self) -> Share {
        Share { shared: self.shared.clone(), bytes: 0 }
    }

    /// Bytes charged now.
    pub fn used_bytes(&self) -> usize {
        self.state().used_bytes
    }

    /// Whether another peer waits.
    pub(super) fn is_scarce(&self) -> bool {
        self.state().queue.iter().any(|(peer, _)| *peer != self.peer)
    }

    /// Takes room for a frame of so many bytes; `None` if there is none now, or others come
    /// first. Then the frame waits for its turn.
    pub(super) fn charge(&self, bytes: usize, turn: &mut Option<Turn>) -> Option<Charge> {
        let limit = self.shared.limit_bytes;
        let mut state = self.state();
        let held = state.by_peer.get(&self.peer).copied().unwrap_or(0);
        if held > 0 && held.saturating_add(bytes) > limit / PEER_PART {
            // It waits for its own frames, and nobody for it.
            return None;
        }
        let is_next = state.queue.front().is_none_or(|(peer, _)| *peer == self.peer);
        let used = state.used_bytes;
        if is_next && (used == 0 || used.saturating_add(bytes) <= limit) {
            state.used_bytes += bytes;
            *state.by_peer.entry(self.peer).or_default() += bytes;
            drop(state);
            *turn = None;
            return Some(Charge { budget: self.clone(), bytes });
        }
        if turn.is_none() {
            match state.queue.iter_mut().find(|(peer, _)| *peer == self.peer) {
                Some((_, streams)) => *streams += 1,
                None => state.queue.push_back((self.peer, 1)),
            }
            *turn = Some(Turn(self.clone()));
        }
        None
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let peer = self.0.peer;
        let mut state = self.0.state();
        let Some(at) = state.queue.iter().position(|(other, _)| *other == peer) else { return };
        let Some((_, streams)) = state.queue.remove(at) else { return };
        if streams > 1 {
            // Its other streams wait for the next turn.
            state.queue.push_back((peer, streams - 1));
        }
    }
}

impl Share {
    /// Whether so many bytes may be kept besides.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let all_bytes = self.shared.reorder_bytes.load(Ordering::Relaxed);
        self.bytes + bytes <= FREE_REORDER_BYTES || all_bytes + bytes <= REORDER_BYTES
    }

    /// Counts bytes that are kept.
    pub(super) fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.shared.reorder_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes that are no longer kept.
    pub(super) fn remove(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.shared.reorder_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.remove(self.bytes);
    }
}

impl Default for ReassemblyBudget {
    fn default() -> ReassemblyBudget {
        ReassemblyBudget::new(REASSEMBLY_BYTES)
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        let peer = self.budget.peer;
        let mut state = self.budget.state();
        state.used_bytes -= self.bytes;
        if let Some(held) = state.by_peer.get_mut(&peer) {
            *held -= self.bytes;
            if *held == 0 {
                state.by_peer.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(budget: &ReassemblyBudget, bytes: usize) -> Option<Charge> {
        budget.charge(bytes, &mut None)
    }

    #[test]
    fn one_frame_always_fits_and_more_only_within_the_limit() {
        let budget = ReassemblyBudget::new(100);
        let (one, other) = (budget.of(PeerId(1)), budget.of(PeerId(2)));
        let first = charge(&one, 1000).expect("nobody else holds any");
        assert!(charge(&other, 1).is_none());
        drop(first);
        let _first = charge(&one, 60).unwrap();
        assert!(charge(&other, 41).is_none());
        let second = charge(&other, 40).unwrap();
        assert_eq!(budget.used_bytes(), 100);
        drop(second);
        assert_eq!(budget.used_bytes(), 60);
    }

    #[test]
    fn the_frames_of_one_peer_take_half_of_it_and_leave_the_rest_to_others() {
        let budget = ReassemblyBudget::new(100);
        let (one, other) = (budget.of(PeerId(1)), budget.of(PeerId(2)));
        let mut turn = None;
        let first = charge(&one, 30).unwrap();
        let _second = charge(&one, 20).unwrap();
        assert!(one.charge(1, &mut turn).is_none());
        assert!(turn.is_none() && !other.is_scarce(), "it waits for itself alone");
        let _third = charge(&other, 50).unwrap();
        drop(first);
        assert!(charge(&one, 30).is_some());
    }

    #[test]
    fn who_waits_gets_its_turn_although_others_ask_more_often() {
        let budget = ReassemblyBudget::new(100);
        let (hog, other) = (budget.of(PeerId(1)), budget.of(PeerId(2)));
        let held = charge(&hog, 90).unwrap();
        let mut waits = None;
        assert!(other.charge(20, &mut waits).is_none());
        assert!(hog.is_scarce() && !other.is_scarce());
        drop(held);
        // In many streams, and at once.
        let mut turns: Vec<_> = (0..5).map(|_| None).collect();
        for turn in &mut turns {
            assert!(hog.charge(90, turn).is_none(), "others wait longer");
        }
        let held = other.charge(20, &mut waits).expect("it is its turn");
        assert!(waits.is_none());
        drop(held);
        assert!(other.charge(90, &mut waits).is_none(), "again, behind the others");
        let held = hog.charge(90, &mut turns[3]).unwrap();
        assert!(hog.charge(90, &mut turns[0]).is_none());
        drop(held);
        assert!(hog.charge(90, &mut turns[0]).is_none(), "it had a turn");
        assert!(other.charge(90, &mut waits).is_some());
        // One that does not wait any more holds nobody up.
        turns.clear();
        assert!(charge(&other, 90).is_some());
    }
}
