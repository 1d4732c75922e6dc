//! Emitting on a thread that must not wait and is not the reader's, such as that of an event
//! loop: as a listener does, but with nobody who writes when it returns.

use std::time::{Duration, Instant};

use netcluster_wire::Encoding;
use netcluster_wire::limits::MAX_HEAD_BYTES;

use super::{Guard, INLINE_AFTER, Link, Outbox, READER_OF, TRIES};
use crate::error::Error;

/// Time between two questions whether to wait on.
const ASK_EVERY: Duration = Duration::from_millis(100);

/// The thread is what it was again when this goes.
struct Tries {
    reader_of: u64,
    tries: bool,
}

impl Drop for Tries {
    fn drop(&mut self) {
        READER_OF.set(self.reader_of);
        TRIES.set(self.tries);
    }
}

impl Outbox {
    /// Emits if there is room.
    ///
    /// # Errors
    /// [`Error::Backpressure`] if there is none; else as when it waits.
    pub(crate) fn try_emit(
        &self,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
    ) -> Result<(), Error> {
        if self.on_reader() {
            return self.emit(event, encoding, payload);
        }
        let _tries = Tries { reader_of: READER_OF.replace(self.id), tries: TRIES.replace(true) };
        self.emit(event, encoding, payload)
    }

    /// Emits; waits for room only while `go_on`, which is asked now and then, says so. The
    /// writing is the flusher's, so that this thread is never held by a socket.
    ///
    /// # Errors
    /// [`Error::Backpressure`] if it shall not wait on; else as when it waits.
    pub(crate) fn emit_while(
        &self,
        event: &str,
        encoding: Encoding,
        payload: &[u8],
        mut go_on: impl FnMut() -> bool,
    ) -> Result<(), Error> {
        let bytes = payload.len() + MAX_HEAD_BYTES;
        let patient_until = Instant::now() + self.patience;
        let mut ask_at = Instant::now() + ASK_EVERY;
        loop {
            match self.try_emit(event, encoding, payload) {
                Err(Error::Backpressure) if !self.on_reader() => {}
                emitted => return emitted,
            }
            self.await_room(bytes, patient_until, ask_at)?;
            // Others may take the room each time, so that room is no reason not to ask.
            if Instant::now() >= ask_at {
                if !go_on() {
                    return Err(Error::Backpressure);
                }
                ask_at = Instant::now() + ASK_EVERY;
            }
        }
    }

    /// Waits until there is room for so many bytes, or until `deadline`.
    ///
    /// # Errors
    /// The client ended, or there is no connection and patience is over.
    fn await_room(
        &self,
        bytes: usize,
        patient_until: Instant,
        deadline: Instant,
    ) -> Result<(), Error> {
        let mut state = self.lock();
        while !self.has_room(&state, bytes) {
            state.out.check_open()?;
            let now = Instant::now();
            if !matches!(state.out.link, Link::Up) && now >= patient_until {
                return Err(Error::NotConnected);
            }
            if now >= deadline {
                break;
            }
            state.urgent = true;
            if std::mem::take(&mut state.parked) {
                self.work.notify_one();
            }
            state = self.wait_for_room_until(state, deadline);
        }
        Ok(())
    }

    /// Sees to it that what was appended is written: at once what the socket takes, the
    /// rest by the flusher.
    pub(super) fn tried(&self, mut state: Guard<'_>, full: bool) -> Result<(), Error> {
        // With something in front the socket was full a moment ago.
        let may_write = !state.writing && state.out.front.is_empty();
        if may_write && (full || state.last_write.elapsed() >= INLINE_AFTER) {
            state.filled += u64::from(full);
            return self.write(state, false, b"").check_forked();
        }
        if std::mem::take(&mut state.unclaimed) {
            state.deferred += 1;
            self.wake_flusher(state);
        }
        Ok(())
    }
}
