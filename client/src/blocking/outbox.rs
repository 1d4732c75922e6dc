//! The outbox of emitted events that are not written yet: makes a plain `emit` loop coalesce.
//!
//! ```text
//!   emit ─► buffer ─┬─ 64 KiB are there: the emitter writes them
//!                   ├─ nothing was written for a while: the emitter writes at once
//!                   └─ else: the flusher writes within 100 µs (1 ms behind a flood)
//!   emit ─► ring of shared memory ─ 32 KiB are there, or as above: put
//!   listener's emit ─► buffer ─► the reader writes without waiting, the flusher the rest
//! ```
//! An emit costs a lock and a copy; only the first into an empty buffer looks at
//! the clock. What a listener emits leaves when it returns at the latest. One thread writes at a time, without the lock, so others go on
//! appending meanwhile.
//!
//! Invariants: `front` and `buffer` start with a whole frame each (`front_at`
//! bytes of `front` are written); the reader's thread never waits here.
//!
//! Decision: `docs/decisions/032-inline-write-after-10-us.md`.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netcluster_wire::Encoding;
use netcluster_wire::limits::MAX_HEAD_BYTES;

use super::stream::Socket;
use super::waiting::Bell;
use crate::core::{EMITTERS_WAIT_AT_BYTES, Link, Outgoing, lock};
use crate::error::Error;
use crate::memory::{PUT_AT_BYTES, Ring};

mod flusher;
mod memory;
mod port;
mod trying;
mod write;

/// An emitter writes when this much is there.
pub(crate) const WRITE_AT_BYTES: usize = 64 << 10;
/// Larger payloads are written from where they are.
const GATHER_AT_BYTES: usize = 16 << 10;
/// A pause after which an event is written at once. It is long against the
/// gap between the emits of a loop (20 ns), short against a round trip (25 µs),
/// so that neither a flood of small writes nor a late answer comes of it.
const INLINE_AFTER: Duration = Duration::from_micros(10);

thread_local! {
    /// The outbox of the client whose reader this thread is; 0: nobody's.
    static READER_OF: Cell<u64> = const { Cell::new(0) };
    /// Whether listeners on this thread emitted since the last write.
    static EMITTED: Cell<bool> = const { Cell::new(false) };
    /// This thread is taken for the reader's, because it must not wait either.
    static TRIES: Cell<bool> = const { Cell::new(false) };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

pub(crate) struct State {
    pub(crate) out: Outgoing,
    /// The socket that is written to, while there is a connection.
    socket: Option<Arc<Socket>>,
    /// An empty buffer that keeps its memory for the next swap.
    spare: Vec<u8>,
    writing: bool,
    /// No thread but the reader sees to it that `buffer` is written: the next
    /// emitter must.
    unclaimed: bool,
    last_write: Instant,
    /// Threads that wait for `room`.
    waiters: usize,
    /// The flusher waits for `work`.
    parked: bool,
    /// Batches that were left to the flusher.
    deferred: u64,
    /// Batches that emitters wrote because they were full.
    filled: u64,
    /// The flusher need not wait for more.
    urgent: bool,
}

/// The outbox of a blocking client.
pub(crate) struct Outbox {
    id: u64,
    patience: Duration,
    state: Mutex<State>,
    /// A bell that is rung when something else than the room changed.
    pub(super) bell: Bell,
    room: Condvar,
    work: Condvar,
}

type Guard<'a> = MutexGuard<'a, State>;

impl Outbox {
    /// Makes an outbox without a connection yet; waiting for one takes no longer than `patience`.
    pub(crate) fn new(max_buffer_bytes: usize, patience: Duration) -> Outbox {
        let state = State {
            out: Outgoing::new(max_buffer_bytes, WRITE_AT_BYTES * 2),
            socket: None,
            spare: Vec::with_capacity(WRITE_AT_BYTES * 2),
            writing: false,
            unclaimed: true,
            last_write: Instant::now() - INLINE_AFTER,
            waiters: 0,
            parked: false,
            deferred: 0,
            filled: 0,
            urgent: false,
        };
        Outbox {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            patience,
            state: Mutex::new(state),
            bell: Bell::default(),
            room: Condvar::new(),
            work: Condvar::new(),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        lock(&self.state)
    }

    /// Makes this thread the one that must not wait.
    pub(crate) fn enter_reader(&self) {
        READER_OF.set(self.id);
    }

    /// Whether this thread runs the listeners.
    pub(crate) fn on_reader(&self) -> bool {
        READER_OF.get() == self.id
    }

    /// Emits; inlined to where the encoding is known, so that it costs nothing.
    #[inline(always)]
    pub(crate) fn emit(
        &self,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<(), Error> {
        let mut state = self.lock();
        let State { out, unclaimed, .. } = &mut *state;
        let Outgoing { outbound, buffer, front, ring, limit, .. } = out;
        if buffer.len() + payload.len() + MAX_HEAD_BYTES > *limit {
            return self.emit_slowly(state, event, encoding, payload);
        }
        if let Some(ring) = ring
            && buffer.is_empty()
            && front.is_empty()
        {
            if ring.is_forked() || !outbound.emit_in_place(ring, event, encoding, payload)? {
                return self.emit_slowly(state, event, encoding, payload);
            }
            if *unclaimed || ring.appended() >= PUT_AT_BYTES {
                return self.appended(state);
            }
            return Ok(());
        }
        if payload.len() >= GATHER_AT_BYTES {
            return self.emit_slowly(state, event, encoding, payload);
        }
        outbound.append_event(buffer, event, encoding, payload)?;
        if *unclaimed || buffer.len() >= WRITE_AT_BYTES {
            return self.appended(state);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn emit_slowly(
        &self,
        state: Guard<'_>,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<(), Error> {
        let limit = state.out.outbound.max_payload();
        if payload.len() > limit {
            return Err(Error::PayloadTooLarge { bytes: payload.len(), limit });
        }
        let mut state = self.admit(state, payload.len() + MAX_HEAD_BYTES)?;
        let gathers = payload.len() >= GATHER_AT_BYTES && !self.on_reader();
        // Not for ever: who writes for others may always come first.
        if gathers && state.writing {
            state = self.wait_for_room(state);
        }
        if state.out.ring.is_some() && !self.on_reader() {
            return self.emit_to_ring(state, event, encoding, payload);
        }
        if gathers {
            if matches!(state.out.link, Link::Up) && !state.out.leaving && !state.writing {
                let Outgoing { outbound, buffer, .. } = &mut state.out;
                outbound.emit_head(buffer, event, encoding, payload.len())?;
                drop(self.write(state, true, payload));
                return Ok(());
            }
            state = self.admit(state, payload.len() + MAX_HEAD_BYTES)?;
        }
        let Outgoing { outbound, buffer, .. } = &mut state.out;
        outbound.emit_encoded(buffer, event, encoding, payload)?;
        self.appended(state)
    }

    /// Waits until so many bytes may be appended; the reader's thread does not wait.
    fn admit<'a>(&'a self, mut state: Guard<'a>, bytes: usize) -> Result<Guard<'a>, Error> {
        let deadline = Instant::now() + self.patience;
        let mut waited = false;
        loop {
            state.out.check_open()?;
            if self.on_reader() {
                if self.has_room(&state, bytes) {
                    return Ok(state);
                }
                if matches!(state.out.link, Link::Up) && !state.writing {
                    state = self.write(state, false, b"");
                }
                return if self.has_room(&state, bytes) {
                    Ok(state)
                } else {
                    Err(Error::Backpressure)
                };
            }
            if state.out.buffer.is_empty() || state.out.buffer.len() + bytes <= state.out.limit {
                return Ok(state);
            }
            // After a turn it may go, or listeners that emit all the time would fill
            // the room again and again before this thread gets to it.
            if waited && state.out.pending() <= 2 * state.out.max_buffer_bytes {
                return Ok(state);
            }
            waited = matches!(state.out.link, Link::Up);
            state = match &state.out.link {
                Link::Up if !state.writing => self.write(state, true, b""),
                Link::Up => self.wait_for_room(state),
                _ if Instant::now() >= deadline => return Err(Error::NotConnected),
                _ => self.wait_for_room_until(state, deadline),
            };
        }
    }

    /// Whether a listener may append: an empty buffer takes any legal frame.
    fn has_room(&self, state: &State, bytes: usize) -> bool {
        let pending = state.out.pending();
        pending == 0 || pending + bytes <= state.out.max_buffer_bytes
    }

    /// Decides who writes what was appended.
    #[cold]
    #[inline(never)]
    fn appended<'a>(&'a self, mut state: Guard<'a>) -> Result<(), Error> {
        let Link::Up = state.out.link else { return Ok(()) };
        let in_ring = state.out.ring.as_ref().map_or(0, Ring::appended);
        let full = state.out.buffer.len() >= WRITE_AT_BYTES || in_ring >= PUT_AT_BYTES;
        if self.on_reader() {
            if TRIES.get() {
                return self.tried(state, full);
            }
            EMITTED.set(true);
            // With something in front the socket was full a moment ago.
            if full && !state.writing && state.out.front.is_empty() {
                drop(self.write(state, false, b""));
            }
            return Ok(());
        }
        if !state.writing && (full || state.last_write.elapsed() >= INLINE_AFTER) {
            state.filled += u64::from(full);
            state = self.write(state, true, b"");
            state.check_forked()?;
        } else if std::mem::take(&mut state.unclaimed) {
            state.deferred += 1;
            self.wake_flusher(state);
        }
        Ok(())
    }

    fn wake_flusher(&self, mut state: Guard<'_>) {
        if std::mem::take(&mut state.parked) {
            drop(state);
            self.work.notify_one();
        }
    }

    fn wait_for_room<'a>(&'a self, mut state: Guard<'a>) -> Guard<'a> {
        state.waiters += 1;
        let mut state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
        state
    }

    fn wait_for_room_until<'a>(&'a self, mut state: Guard<'a>, deadline: Instant) -> Guard<'a> {
        let wait = deadline.saturating_duration_since(Instant::now());
        state.waiters += 1;
        let (mut state, _) =
            self.room.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
        state
    }
}
