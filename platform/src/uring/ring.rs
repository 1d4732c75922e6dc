//! The ring: operations are pushed, one call submits them and waits, completions
//! are drained.
//!
//! It knows nothing of what the operations mean.
//!
//! Invariant: every operation that was pushed is submitted by the next enter at
//! the latest, and no completion is lost, however many the shard leaves undrained:
//! what does not fit into the completion queue the kernel keeps (`NODROP`), and
//! [`Ring::drain`] fetches it.

use std::io;
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, squeue};

/// Flags of `io_uring_enter`.
const ENTER_GETEVENTS: u32 = 1 << 0;
const ENTER_EXT_ARG: u32 = 1 << 3;

/// How long dropping a ring waits for the kernel to let go of its memory, seconds.
/// All operations here are cancellable at once; this is for a kernel gone wrong.
const CANCEL_TIMEOUT_S: u64 = 5;

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
    spilled: Vec<Event>,
    enters: u64,
}

impl Ring {
    pub(super) fn new(inner: IoUring) -> Ring {
        Ring { inner, spilled: Vec::new(), enters: 0 }
    }

    /// For registrations.
    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.inner.submitter()
    }

    /// How many system calls were made.
    pub(super) fn enters(&self) -> u64 {
        self.enters
    }

    /// Whether completions are there to be drained.
    pub(super) fn has_events(&mut self) -> bool {
        !self.spilled.is_empty() || !self.inner.completion().is_empty()
    }

    /// Queues an operation, submitting what is queued when there is no room.
    ///
    /// # Safety
    /// All that `entry` points to stays valid until its final completion.
    pub(super) unsafe fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: the caller's promise.
            if unsafe { self.inner.submission().push(entry) }.is_ok() {
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

    /// What to make of a failed enter; whether it says that the time ran out.
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

    /// Moves all completions to `events`, in order.
    ///
    /// # Errors
    /// As [`Ring::enter`].
    pub(super) fn drain(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        events.append(&mut self.spilled);
        loop {
            events.extend(self.inner.completion().map(event));
            if !self.inner.submission().cq_overflow() {
                return Ok(());
            }
            if let Err(error) = self.enter_once(0, None) {
                self.excuse(error)?;
            }
        }
    }

    fn spill(&mut self) {
        self.spilled.extend(self.inner.completion().map(event));
    }

    /// Cancels every operation on a descriptor and waits until the kernel has let go
    /// of it. The operations' completions come as usual.
    pub(super) fn cancel_all_on(&mut self, fd: i32) {
        // What is queued must not start later: submit it, then cancel it.
        let _ = self.enter_once(0, None);
        let timeout = Timespec::new().sec(CANCEL_TIMEOUT_S);
        let which = CancelBuilder::fd(Fd(fd)).all();
        // It fails if there is nothing to cancel.
        let _ = self.inner.submitter().register_sync_cancel(Some(timeout), which);
    }

    /// Cancels every operation and waits until the kernel has let go of them.
    pub(super) fn cancel_everything(&mut self) {
        // What is queued must not start later: submit it, then cancel it.
        let _ = self.enter_once(0, None);
        let timeout = Timespec::new().sec(CANCEL_TIMEOUT_S);
        let _ = self.inner.submitter().register_sync_cancel(Some(timeout), CancelBuilder::any());
    }
}

fn event(entry: cqueue::Entry) -> Event {
    Event { user_data: entry.user_data(), result: entry.result(), flags: entry.flags() }
}
