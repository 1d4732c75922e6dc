//! Overlapped operations, one at a time, and the wait for its end.
//!
//! Invariant: while one is under way the `OVERLAPPED` stays where it is, since it
//! has a place of its own; and before the next one starts the last one has ended.

use std::io;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, ERROR_OPERATION_ABORTED, WAIT_FAILED, WAIT_OBJECT_0, WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::FileSystem::{ReadFile, WriteFile};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};
use windows_sys::Win32::System::Threading::{INFINITE, WaitForMultipleObjects};

use super::event::Event;

/// Outcome of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// The operation did, with so many bytes.
    Done(usize),
    /// The pipe is being shut down; the operation is under way.
    Closing,
    /// The operation is under way.
    TimedOut,
}

pub(super) struct Operation {
    overlapped: Box<OVERLAPPED>,
    event: Event,
}

// SAFETY: the pointers in `OVERLAPPED` are the system's and bound to no thread.
unsafe impl Send for Operation {}

impl std::fmt::Debug for Operation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Operation").field("event", &self.event).finish_non_exhaustive()
    }
}

impl Operation {
    pub(super) fn new() -> io::Result<Operation> {
        let event = Event::new()?;
        // SAFETY: all zeros is a valid value.
        let mut overlapped: Box<OVERLAPPED> = Box::new(unsafe { std::mem::zeroed() });
        overlapped.hEvent = event.raw();
        Ok(Operation { overlapped, event })
    }

    /// Reads what is there, waiting for at least one byte.
    pub(super) fn read(
        &mut self,
        handle: &OwnedHandle,
        space: &mut [u8],
        closing: &Event,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        // SAFETY: the space is there until `finish` returns, and with it the
        // operation has ended.
        let done = unsafe {
            ReadFile(
                handle.as_raw_handle(),
                space.as_mut_ptr(),
                u32::try_from(space.len()).unwrap_or(u32::MAX),
                std::ptr::null_mut(),
                &raw mut *self.overlapped,
            )
        };
        if !started(done)? {
            return self.finish(handle, closing, timeout);
        }
        self.result(handle, false)
    }

    /// Writes at least one byte, waiting for room.
    pub(super) fn write(
        &mut self,
        handle: &OwnedHandle,
        bytes: &[u8],
        closing: &Event,
    ) -> io::Result<usize> {
        // SAFETY: the bytes are there until `finish` returns, and with it the
        // operation has ended.
        let has_ended = unsafe { self.start_write(handle, bytes)? };
        if has_ended { self.result(handle, false) } else { self.finish(handle, closing, None) }
    }

    /// Starts a write; whether it has ended already, with all of it written.
    ///
    /// # Safety
    /// The bytes stay where and what they are until the operation has ended.
    pub(super) unsafe fn start_write(
        &mut self,
        handle: &OwnedHandle,
        bytes: &[u8],
    ) -> io::Result<bool> {
        // SAFETY: the caller's promise.
        let done = unsafe {
            WriteFile(
                handle.as_raw_handle(),
                bytes.as_ptr(),
                u32::try_from(bytes.len()).unwrap_or(u32::MAX),
                std::ptr::null_mut(),
                &raw mut *self.overlapped,
            )
        };
        started(done)
    }

    /// Waits for the operation's end, or brings it about.
    fn finish(
        &mut self,
        handle: &OwnedHandle,
        closing: &Event,
        timeout: Option<Duration>,
    ) -> io::Result<usize> {
        let reason = match self.wait(handle, closing, timeout)? {
            Wait::Done(bytes) => return Ok(bytes),
            Wait::Closing => io::ErrorKind::BrokenPipe,
            Wait::TimedOut => io::ErrorKind::TimedOut,
        };
        match self.cancel(handle) {
            Err(error) if error.raw_os_error() == Some(ERROR_OPERATION_ABORTED as i32) => {
                Err(reason.into())
            }
            // It ended by itself in the meantime.
            outcome => outcome,
        }
    }

    /// Waits for the end of the operation that is under way. With an error it has
    /// ended, too.
    pub(super) fn wait(
        &mut self,
        handle: &OwnedHandle,
        closing: &Event,
        timeout: Option<Duration>,
    ) -> io::Result<Wait> {
        let wait_ms = timeout.map_or(INFINITE, |timeout| {
            u32::try_from(timeout.as_millis()).unwrap_or(INFINITE - 1).min(INFINITE - 1)
        });
        // If both are set the first one counts: what has come is not given up.
        let events = [self.event.raw(), closing.raw()];
        // SAFETY: both handles are open.
        match unsafe { WaitForMultipleObjects(2, events.as_ptr(), 0, wait_ms) } {
            WAIT_OBJECT_0 => self.result(handle, false).map(Wait::Done),
            WAIT_TIMEOUT => Ok(Wait::TimedOut),
            WAIT_FAILED => {
                let error = io::Error::last_os_error();
                let _ = self.cancel(handle);
                Err(error)
            }
            _ => Ok(Wait::Closing),
        }
    }

    /// Ends the operation that is under way; its outcome if it was faster.
    pub(super) fn cancel(&mut self, handle: &OwnedHandle) -> io::Result<usize> {
        // SAFETY: the operation was started on this handle. If it has ended this
        // does nothing.
        unsafe { CancelIoEx(handle.as_raw_handle(), &raw const *self.overlapped) };
        self.result(handle, true)
    }

    fn result(&mut self, handle: &OwnedHandle, wait: bool) -> io::Result<usize> {
        let mut bytes = 0;
        // SAFETY: the operation was started on this handle, and its event is open.
        let done = unsafe {
            GetOverlappedResult(
                handle.as_raw_handle(),
                &raw const *self.overlapped,
                &raw mut bytes,
                wait.into(),
            )
        };
        if done == 0 { Err(io::Error::last_os_error()) } else { Ok(bytes as usize) }
    }
}

/// Whether an operation that was just started has ended.
fn started(done: i32) -> io::Result<bool> {
    if done != 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.raw_os_error() == Some(ERROR_IO_PENDING as i32) { Ok(false) } else { Err(error) }
}
