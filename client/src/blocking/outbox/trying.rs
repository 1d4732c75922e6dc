//! Emitting on a thread that must not wait and is not the reader's, such as that of an event
//! loop: as a listener does, but with nobody who writes when it returns.

use netcluster_wire::Encoding;

use super::{Guard, INLINE_AFTER, Outbox, READER_OF, TRIES};
use crate::error::Error;

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
