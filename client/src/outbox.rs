//! What was emitted and is not written yet: makes a plain `emit` loop coalesce.
//!
//! ```text
//!   emit ─► buffer ─┬─ 64 KiB are there: the emitter writes them
//!                   ├─ nothing was written for a while: the emitter writes at once
//!                   └─ else: the flusher writes within 100 µs
//!   listener's emit ─► buffer ─► the reader writes without waiting, the flusher the rest
//! ```
//! An emit costs a lock and a copy; only the first into an empty buffer looks at
//! the clock. What a listener emits leaves when it returns at the latest. One thread writes at a time, without the lock, so others go on
//! appending meanwhile.
//!
//! Invariants: `front` and `buffer` start with a whole frame each (`front_at`
//! bytes of `front` are written); the reader's thread never waits here.

use std::cell::Cell;
use std::io::IoSlice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use netcluster_wire::frame::padding_of;
use netcluster_wire::limits::MAX_HEAD_BYTES;

use crate::error::{DisconnectReason, Error};
use crate::registry::lock;
use crate::session::{Outbound, unwritten};
use crate::stream::Socket;

mod flusher;

/// An emitter writes when this much is there.
pub(crate) const WRITE_AT_BYTES: usize = 64 << 10;
/// Larger payloads are written from where they are.
const GATHER_AT_BYTES: usize = 16 << 10;
/// Emitters wait when this much is there and somebody else writes.
const EMITTERS_WAIT_AT_BYTES: usize = 512 << 10;
/// Requests may overshoot the bound by so much before they are refused.
const REQUEST_ROOM_BYTES: usize = 1 << 20;
/// After a pause of this length an event is written at once. Long against the
/// gap between the emits of a loop (20 ns), short against a round trip (25 µs),
/// so that neither a flood of small writes nor a late answer comes of it.
const INLINE_AFTER: Duration = Duration::from_micros(10);
/// Counting starts here so that corrections can go below.
const WRITTEN_ORIGIN: u64 = 1 << 48;

thread_local! {
    /// Whose reader this thread is; 0: nobody's.
    static READER_OF: Cell<u64> = const { Cell::new(0) };
    /// Whether listeners on this thread emitted since the last write.
    static EMITTED: Cell<bool> = const { Cell::new(false) };
}

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// Where written bytes go.
#[derive(Debug)]
enum Link {
    Up(Arc<Socket>),
    /// Only `front`, the subscriptions, may be written yet.
    Resuming(Arc<Socket>),
    Down,
    Closed(Error),
}

pub(crate) struct State {
    pub(crate) outbound: Outbound,
    buffer: Vec<u8>,
    /// Empty, keeps its memory for the next swap.
    spare: Vec<u8>,
    front: Vec<u8>,
    front_at: usize,
    in_flight: usize,
    writing: bool,
    /// No thread but the reader sees to it that `buffer` is written: the next
    /// emitter must.
    unclaimed: bool,
    link: Link,
    /// Threads outside the reader append up to this; 0: not at all.
    limit: usize,
    /// Nothing may be emitted any more: the bye is appended.
    leaving: bool,
    written: u64,
    last_write: Instant,
    /// Threads that wait for `room`.
    waiters: usize,
    /// The flusher waits for `work`.
    parked: bool,
    /// Batches that were left to the flusher.
    deferred: u64,
    /// The flusher need not wait for more.
    urgent: bool,
}

/// See the module.
pub(crate) struct Outbox {
    id: u64,
    max_buffer_bytes: usize,
    patience: Duration,
    state: Mutex<State>,
    room: Condvar,
    work: Condvar,
}

type Guard<'a> = MutexGuard<'a, State>;

impl Outbox {
    pub(crate) fn new(
        socket: Arc<Socket>,
        outbound: Outbound,
        max_buffer_bytes: usize,
        patience: Duration,
    ) -> Outbox {
        let state = State {
            outbound,
            buffer: Vec::with_capacity(WRITE_AT_BYTES * 2),
            spare: Vec::with_capacity(WRITE_AT_BYTES * 2),
            front: Vec::new(),
            front_at: 0,
            in_flight: 0,
            writing: false,
            unclaimed: true,
            link: Link::Up(socket),
            limit: EMITTERS_WAIT_AT_BYTES,
            leaving: false,
            written: WRITTEN_ORIGIN,
            last_write: Instant::now() - INLINE_AFTER,
            waiters: 0,
            parked: false,
            deferred: 0,
            urgent: false,
        };
        Outbox {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            max_buffer_bytes,
            patience,
            state: Mutex::new(state),
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

    #[inline]
    pub(crate) fn emit(&self, event: &str, payload: &[u8]) -> Result<(), Error> {
        let mut state = self.lock();
        if state.buffer.len() + payload.len() + MAX_HEAD_BYTES > state.limit
            || payload.len() >= GATHER_AT_BYTES
        {
            return self.emit_slowly(state, event, payload);
        }
        let State { outbound, buffer, unclaimed, .. } = &mut *state;
        outbound.emit(buffer, event, payload)?;
        if *unclaimed || buffer.len() >= WRITE_AT_BYTES {
            self.appended(state);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn emit_slowly(&self, state: Guard<'_>, event: &str, payload: &[u8]) -> Result<(), Error> {
        let limit = state.outbound.max_payload();
        if payload.len() > limit {
            return Err(Error::PayloadTooLarge { bytes: payload.len(), limit });
        }
        let mut state = self.admit(state, payload.len() + MAX_HEAD_BYTES)?;
        if payload.len() >= GATHER_AT_BYTES && !self.on_reader() {
            while state.writing {
                state = self.wait_for_room(state);
            }
            if matches!(state.link, Link::Up(_)) && !state.leaving {
                let State { outbound, buffer, .. } = &mut *state;
                outbound.emit_head(buffer, event, payload.len())?;
                drop(self.write(state, true, payload));
                return Ok(());
            }
            state = self.admit(state, payload.len() + MAX_HEAD_BYTES)?;
        }
        let State { outbound, buffer, .. } = &mut *state;
        outbound.emit(buffer, event, payload)?;
        self.appended(state);
        Ok(())
    }

    /// Waits until so many bytes may be appended; the reader's thread does not wait.
    fn admit<'a>(&'a self, mut state: Guard<'a>, bytes: usize) -> Result<Guard<'a>, Error> {
        let deadline = Instant::now() + self.patience;
        loop {
            if let Link::Closed(error) = &state.link {
                return Err(error.clone());
            }
            if state.leaving {
                return Err(Error::Disconnected(DisconnectReason::Requested));
            }
            if self.on_reader() {
                if self.has_room(&state, bytes) {
                    return Ok(state);
                }
                if matches!(state.link, Link::Up(_)) && !state.writing {
                    state = self.write(state, false, b"");
                }
                return match self.has_room(&state, bytes) {
                    true => Ok(state),
                    false => Err(Error::Backpressure),
                };
            }
            if state.buffer.is_empty() || state.buffer.len() + bytes <= state.limit {
                return Ok(state);
            }
            state = match &state.link {
                Link::Up(_) if !state.writing => self.write(state, true, b""),
                Link::Up(_) => self.wait_for_room(state),
                _ if Instant::now() >= deadline => return Err(Error::NotConnected),
                _ => self.wait_for_room_until(state, deadline),
            };
        }
    }

    /// Whether a listener may append: an empty buffer takes any legal frame.
    fn has_room(&self, state: &State, bytes: usize) -> bool {
        let pending = state.pending();
        pending == 0 || pending + bytes <= self.max_buffer_bytes
    }

    /// Something was appended, and this is the moment to decide who writes it.
    #[cold]
    #[inline(never)]
    fn appended(&self, mut state: Guard<'_>) {
        let Link::Up(_) = state.link else { return };
        let full = state.buffer.len() >= WRITE_AT_BYTES;
        if self.on_reader() {
            EMITTED.set(true);
            // With something in front the socket was full a moment ago.
            if full && !state.writing && state.front.is_empty() {
                drop(self.write(state, false, b""));
            }
            return;
        }
        if !state.writing && (full || state.last_write.elapsed() >= INLINE_AFTER) {
            drop(self.write(state, true, b""));
        } else if std::mem::take(&mut state.unclaimed) {
            state.deferred += 1;
            self.wake_flusher(state);
        }
    }

    fn wake_flusher(&self, mut state: Guard<'_>) {
        if std::mem::take(&mut state.parked) {
            drop(state);
            self.work.notify_one();
        }
    }

    /// Writes what is there, then `payload`, whose head was appended last. With
    /// `wait` all of it; else what the socket takes, the rest is the flusher's.
    /// The caller made sure that nobody writes.
    fn write<'a>(&'a self, mut state: Guard<'a>, wait: bool, payload: &[u8]) -> Guard<'a> {
        let (socket, whole) = match &state.link {
            Link::Up(socket) => (Arc::clone(socket), true),
            Link::Resuming(socket) => (Arc::clone(socket), false),
            _ => return state,
        };
        state.writing = true;
        let front = std::mem::take(&mut state.front);
        let from = std::mem::take(&mut state.front_at);
        let spare = std::mem::take(&mut state.spare);
        let body = if whole { std::mem::replace(&mut state.buffer, spare) } else { spare };
        state.unclaimed |= whole;
        let padding = padding_of(payload.len());
        let parts = [&front[from..], &body[..], payload, padding];
        let total: usize = parts.iter().map(|part| part.len()).sum();
        state.in_flight = total;
        drop(state);
        let (written, failed) = write_parts(&socket, parts, wait);
        let mut state = self.lock();
        state.keep_rest(front, from, body, written, [payload, padding]);
        state.writing = false;
        state.in_flight = 0;
        state.written += written as u64;
        state.last_write = Instant::now();
        if failed {
            if matches!(&state.link, Link::Up(used) | Link::Resuming(used) if Arc::ptr_eq(used, &socket))
            {
                state.link = Link::Down;
                state.limit = if state.leaving { 0 } else { self.max_buffer_bytes };
            }
            // The reader notices and starts over.
            socket.shut_down();
        }
        if state.waiters > 0 {
            self.room.notify_all();
        }
        if written < total && !failed {
            state.urgent = true;
            if std::mem::take(&mut state.parked) {
                self.work.notify_one();
            }
        }
        state
    }

    /// Writes what is there without waiting; the flusher does the rest.
    pub(crate) fn push(&self) {
        let state = self.lock();
        if state.has_work() && !state.writing && state.front_at == 0 {
            drop(self.write(state, false, b""));
        } else if state.has_work() {
            self.wake_flusher(state);
        }
    }

    /// What listeners on this thread emitted, if anything, is pushed.
    #[inline]
    pub(crate) fn push_emitted(&self) {
        if EMITTED.get() {
            EMITTED.set(false);
            self.push();
        }
    }

    /// Whether listeners on this thread emitted since the last push.
    #[inline]
    pub(crate) fn has_emitted(&self) -> bool {
        EMITTED.get()
    }

    /// Waits until everything appended so far is written; the reader's thread
    /// only tries.
    pub(crate) fn flush(&self, deadline: Option<Instant>) -> Result<(), Error> {
        let mut state = self.lock();
        let target = state.written + state.pending() as u64;
        let mut tried = false;
        while state.written < target {
            if let Link::Closed(error) = &state.link {
                return Err(error.clone());
            }
            let reader = self.on_reader();
            if reader && (tried || state.writing) {
                return Err(Error::Backpressure);
            }
            tried = true;
            if !state.writing && matches!(state.link, Link::Up(_)) && deadline.is_none() {
                state = self.write(state, !reader, b"");
                continue;
            }
            // With a deadline this thread must not block in a write: the flusher does.
            let deadline = deadline.unwrap_or_else(|| Instant::now() + self.patience);
            if Instant::now() >= deadline || reader {
                return Err(Error::NotConnected);
            }
            state.urgent = true;
            if std::mem::take(&mut state.parked) {
                self.work.notify_one();
            }
            state = self.wait_for_room_until(state, deadline);
        }
        Ok(())
    }

    /// Appends a request by `encode`; what it returns.
    ///
    /// # Errors
    /// If too much waits already, or the connection is over for good.
    pub(crate) fn request<T>(
        &self,
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>) -> T,
    ) -> Result<T, Error> {
        let mut state = self.lock();
        if let Link::Closed(error) = &state.link {
            return Err(error.clone());
        }
        if state.leaving {
            return Err(Error::Disconnected(DisconnectReason::Requested));
        }
        if state.pending() > self.max_buffer_bytes + REQUEST_ROOM_BYTES {
            return Err(Error::Backpressure);
        }
        let State { outbound, buffer, .. } = &mut *state;
        let number = encode(outbound, buffer);
        if self.on_reader() {
            EMITTED.set(true);
        }
        Ok(number)
    }

    /// Appends the bye, after which nothing may be emitted.
    pub(crate) fn leave(&self) -> Result<(), Error> {
        if !matches!(self.lock().link, Link::Up(_) | Link::Closed(_)) {
            return Err(Error::NotConnected);
        }
        self.request(|outbound, buffer| outbound.bye(buffer))?;
        let mut state = self.lock();
        state.leaving = true;
        state.limit = 0;
        drop(state);
        self.push();
        Ok(())
    }

    /// The connection is gone; what was not written is kept.
    pub(crate) fn disconnected(&self) {
        let mut state = self.lock();
        if let Link::Up(socket) | Link::Resuming(socket) = &state.link {
            socket.shut_down();
        }
        if !matches!(state.link, Link::Closed(_)) {
            state.link = Link::Down;
            state.limit = if state.leaving { 0 } else { self.max_buffer_bytes };
        }
        self.room.notify_all();
    }

    /// A new connection is welcomed: `outbound` has been told. Its subscriptions
    /// (by `encode`) go first; events wait for [`Outbox::resumed`].
    pub(crate) fn resume(
        &self,
        socket: Arc<Socket>,
        welcomed: impl FnOnce(&mut Outbound),
        encode: impl FnOnce(&mut Outbound, &mut Vec<u8>),
    ) {
        let mut state = self.lock();
        // Its socket is shut down, so it will not be long.
        while state.writing {
            state = self.wait_for_room(state);
        }
        if matches!(state.link, Link::Closed(_)) {
            return;
        }
        let end = state.written + state.pending() as u64;
        let mut old = unwritten(&state.front, state.front_at).to_vec();
        old.extend_from_slice(&state.buffer);
        let State { outbound, buffer, front, front_at, .. } = &mut *state;
        welcomed(outbound);
        buffer.clear();
        outbound.reconnect(&old, buffer);
        front.clear();
        *front_at = 0;
        encode(outbound, front);
        // Whoever waits for `flush` waits for the same event as before.
        state.written = end - state.pending() as u64;
        state.link = Link::Resuming(socket);
        drop(state);
        self.push();
    }

    /// All subscriptions are in force: events may go.
    pub(crate) fn resumed(&self) {
        let mut state = self.lock();
        if let Link::Resuming(socket) = &state.link {
            state.link = Link::Up(Arc::clone(socket));
            state.limit = if state.leaving { 0 } else { EMITTERS_WAIT_AT_BYTES };
            state.unclaimed = true;
        }
        self.room.notify_all();
        drop(state);
        self.push();
    }

    /// It is over.
    pub(crate) fn close(&self, error: Error) {
        let mut state = self.lock();
        if let Link::Up(socket) | Link::Resuming(socket) = &state.link {
            socket.shut_down();
        }
        if !matches!(state.link, Link::Closed(_)) {
            state.link = Link::Closed(error);
        }
        state.limit = 0;
        state.parked = false;
        self.room.notify_all();
        self.work.notify_all();
    }

    /// Whether there is a connection.
    pub(crate) fn is_connected(&self) -> bool {
        matches!(self.lock().link, Link::Up(_) | Link::Resuming(_))
    }

    /// Whether the bye was appended.
    pub(crate) fn is_leaving(&self) -> bool {
        self.lock().leaving
    }

    /// Why it is over, if it is.
    pub(crate) fn closed(&self) -> Option<Error> {
        match &self.lock().link {
            Link::Closed(error) => Some(error.clone()),
            _ => None,
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

impl State {
    /// Bytes that are appended and not written.
    fn pending(&self) -> usize {
        self.buffer.len() + self.front.len() - self.front_at + self.in_flight
    }

    /// Whether there is something that may be written now.
    fn has_work(&self) -> bool {
        match self.link {
            Link::Up(_) => !self.front.is_empty() || !self.buffer.is_empty(),
            Link::Resuming(_) => !self.front.is_empty(),
            _ => false,
        }
    }

    /// After a write: what is left becomes the front again, from a frame's start.
    fn keep_rest(
        &mut self,
        mut front: Vec<u8>,
        from: usize,
        mut body: Vec<u8>,
        written: usize,
        tail: [&[u8]; 2],
    ) {
        let front_rest = front.len() - from;
        let tail_bytes = tail[0].len() + tail[1].len();
        if written == front_rest + body.len() + tail_bytes {
            if body.capacity() <= EMITTERS_WAIT_AT_BYTES * 2 {
                body.clear();
                self.spare = body;
            }
            return;
        }
        body.extend_from_slice(tail[0]);
        body.extend_from_slice(tail[1]);
        if written >= front_rest {
            self.front = body;
            self.front_at = written - front_rest;
        } else {
            front.extend_from_slice(&body);
            self.front = front;
            self.front_at = from + written;
        }
    }
}

/// Writes the parts one after the other; how much, and whether it failed.
fn write_parts(socket: &Socket, parts: [&[u8]; 4], wait: bool) -> (usize, bool) {
    let total: usize = parts.iter().map(|part| part.len()).sum();
    let mut written = 0;
    while written < total {
        let mut skip = written;
        let mut slices = [IoSlice::new(&[]); 4];
        for (slice, part) in slices.iter_mut().zip(parts) {
            let skipped = skip.min(part.len());
            skip -= skipped;
            *slice = IoSlice::new(&part[skipped..]);
        }
        match socket.write(&slices, wait) {
            Ok(0) if !wait => break,
            Ok(0) | Err(_) => return (written, true),
            Ok(bytes) => written += bytes,
        }
    }
    (written, false)
}
