//! The ring: operations are pushed, one call submits them and waits, completions
//! are drained.
//!
//! It knows nothing of what the operations mean.
//!
//! Invariant: every operation that was pushed is submitted by the next enter at
//! the latest, and no completion is lost, however many the shard leaves undrained:
//! what does not fit into the completion queue the kernel keeps (`NODROP`), and
//! [`Ring::drain`] fetches it. And it knows how many operations have not had their
//! final completion: as long as there is one, the kernel may touch what it was lent.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};

/// Flags of `io_uring_enter`.
const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;

/// Longest wait of a dropped ring for the kernel to let go of its memory. All
/// operations here are cancellable at once; this is for a kernel gone wrong.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 5 });

/// The longest of the waits of which that consists.
const CANCEL_STEP: Duration = Duration::from_millis(20);

/// Completions of one drain. What the rest of a flood takes waits for the next, so that
/// whoever asks for something meanwhile is not behind all of it.
const MAX_EVENTS_PER_DRAIN: usize = 1024;

/// A completion.
#[derive(Clone, Copy, Debug)]
pub(super) struct Event {
    pub(super) user_data: u64,
    pub(super) result: i32,
    flags: u32,
}

impl Event {
    /// Whether the operation goes on.
    pub(super) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that was used.
    pub(super) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// Whether the kernel goes on using that buffer.
    pub(super) fn buffer_more(&self) -> bool {
        cqueue::buffer_more(self.flags)
    }
}

/// A ring of the calling thread.
pub(super) struct Ring {
    inner: IoUring,
    /// Completions taken out of the way of a full queue, before the next drain.
    spilled: VecDeque<Event>,
    enters: u64,
    pushes: u64,
    /// Operations without a final completion.
    in_flight: usize,
}

impl Ring {
    pub(super) fn new(inner: IoUring) -> Ring {
        Ring { inner, spilled: VecDeque::new(), enters: 0, pushes: 0, in_flight: 0 }
    }

    /// The submitter, for registrations.
    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.inner.submitter()
    }

    /// Number of system calls made.
    pub(super) fn enters(&self) -> u64 {
        self.enters
    }

    /// Number of operations pushed.
    #[cfg(test)]
    pub(super) fn pushes(&self) -> u64 {
        self.pushes
    }

    /// Whether completions are there to be drained.
    pub(super) fn has_events(&mut self) -> bool {
        !self.spilled.is_empty()
            || !self.inner.completion().is_empty()
            || self.inner.submission().cq_overflow()
    }

    /// Queues an operation, submitting what is queued when there is no room.
    ///
    /// # Safety
    /// All that `entry` points to stays valid until its final completion.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.inner.submission().push(entry) }.is_ok() {
                self.in_flight += 1;
                self.pushes += 1;
                return;
            }
            // It can only fail for want of memory or of room for completions; the
            // latter is made here, and the kernel gets memory sooner or later.
            let _ = self.enter_once(0, None);
            self.spill();
        }
    }

    /// Submits what is queued and, unless `timeout` is zero, waits for at least
    /// one completion. Returns whether the time ran out.
    ///
    /// # Errors
    /// What the system says, apart from what another try or a drain solves.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        if timeout == Some(Duration::ZERO) {
            return match self.enter_once(0, None) {
                Ok(()) => Ok(true),
                Err(error) => self.excuse(error).map(|_| true),
            };
        }
        let timespec = timeout.map(Timespec::from);
        match self.enter_once(1, timespec.as_ref()) {
            Ok(()) => Ok(false),
            Err(error) => self.excuse(error),
        }
    }

    /// Has the kernel do up to so much of what is due, without waiting. One call else
    /// does some twenty things, since Linux 6.13.
    ///
    /// # Errors
    /// As [`Ring::enter`].
    pub(super) fn enter_for(&mut self, work: u32) -> io::Result<()> {
        match self.enter_once(work, Some(&Timespec::new())) {
            Ok(()) => Ok(()),
            Err(error) => self.excuse(error).map(drop),
        }
    }

    /// Judges a failed enter; tells whether the time ran out.
    fn excuse(&mut self, error: io::Error) -> io::Result<bool> {
        match error.raw_os_error() {
            Some(libc::ETIME) => Ok(true),
            // Interrupted, or completions must be drained first.
            Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(false),
            _ => Err(error),
        }
    }

    fn enter_once(&mut self, want: u32, timeout: Option<&Timespec>) -> io::Result<()> {
        self.enters += 1;
        let queued = self.inner.submission().len() as u32;
        let submitter = self.inner.submitter();
        // GETEVENTS always: it is what makes the kernel do its deferred work and
        // move completions that had not fitted into the queue.
        let submitted = match timeout {
            None => {
                // SAFETY: no argument is passed.
                unsafe { submitter.enter::<libc::sigset_t>(queued, want, ENTER_GETEVENTS, None) }
            }
            Some(timeout) => {
                let arguments = SubmitArgs::new().timespec(timeout);
                let flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
                // SAFETY: the flag says of which type the argument is.
                unsafe { submitter.enter(queued, want, flags, Some(&arguments)) }
            }
        };
        submitted.map(drop)
    }

    /// Moves completions to `events`, in order, all that there are up to
    /// [`MAX_EVENTS_PER_DRAIN`].
    ///
    /// # Errors
    /// As [`Ring::enter`].
    pub(super) fn drain(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let first = events.len();
        loop {
            let room = MAX_EVENTS_PER_DRAIN - (events.len() - first);
            let spilled = self.spilled.len().min(room);
            events.extend(self.spilled.drain(..spilled));
            events.extend(self.inner.completion().map(event).take(room - spilled));
            let is_full = events.len() - first == MAX_EVENTS_PER_DRAIN;
            if is_full || !self.inner.submission().cq_overflow() {
                break;
            }
            if let Err(error) = self.enter_once(0, None) {
                self.excuse(error)?;
            }
        }
        self.in_flight -= events[first..].iter().filter(|event| !event.more()).count();
        Ok(())
    }

    fn spill(&mut self) {
        self.spilled.extend(self.inner.completion().map(event));
    }

    /// Cancels every operation on a descriptor and waits until the kernel has let go
    /// of it. The operations' completions come as usual.
    pub(super) fn cancel_all_on(&mut self, fd: i32) {
        // What is queued must not start later: submit it, then cancel it.
        let _ = self.enter_once(0, None);
        // It fails if there is nothing to cancel.
        let _ = self.cancel(CancelBuilder::fd(Fd(fd)).all());
    }

    /// Cancels every operation and waits for their final completions, which nobody
    /// sees. Returns whether all have come; if not, the kernel may still touch what it
    /// was lent, for as long as the process lives.
    pub(super) fn cancel_everything(&mut self) -> bool {
        let start = Instant::now();
        let mut events = Vec::new();
        // What is queued must not start later: submit it, then cancel it.
        let _ = self.enter_once(0, None);
        let _ = self.cancel(CancelBuilder::any());
        loop {
            let drained = self.drain(&mut events);
            events.clear();
            if self.in_flight == 0 {
                return true;
            }
            if drained.is_err() || start.elapsed() > CANCEL_TIMEOUT {
                return false;
            }
            if self.enter(Some(CANCEL_STEP)).is_ok_and(|timed_out| timed_out) {
                // It may have been on its way between two of the kernel's lists.
                let _ = self.cancel(CancelBuilder::any());
            }
        }
    }

    fn cancel(&self, which: CancelBuilder) -> io::Result<()> {
        let timeout = Timespec::from(CANCEL_TIMEOUT);
        self.inner.submitter().register_sync_cancel(Some(timeout), which)
    }

    /// Counts an operation that never ends.
    #[cfg(test)]
    pub(super) fn pretend_stuck(&mut self) {
        self.in_flight += 1;
    }
}

fn event(entry: cqueue::Entry) -> Event {
    Event { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() }
}
