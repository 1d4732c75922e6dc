//! A connected pipe.

use std::cell::Cell;
use std::os::windows::io::{AsRawHandle, BorrowedHandle};

use mio::windows::NamedPipe;
use windows_sys::Win32::System::IO::CancelIoEx;

use super::peer;
use crate::Peer;

/// A connected pipe and who is at its other end. It belongs to the event queue that it
/// was accepted on.
///
/// `mio` writes from a buffer of its own, one write at a time, and reports the end of
/// each as an edge; it does not say which write was over at once. So the pipe remembers.
#[derive(Debug)]
pub struct LocalSocket {
    pub(crate) pipe: NamedPipe,
    peer: Box<Peer>,
    /// A write is under way.
    writing: Cell<bool>,
    /// An edge is to come that is no write's end: `mio` posts one when a pipe is
    /// registered under another token.
    passes_edge: Cell<bool>,
}

impl LocalSocket {
    /// Takes a pipe that a client just connected to.
    pub(crate) fn accepted(pipe: NamedPipe) -> LocalSocket {
        // SAFETY: the pipe is open for as long as this borrow.
        let handle = unsafe { BorrowedHandle::borrow_raw(pipe.as_raw_handle()) };
        let peer = Box::new(peer::of(handle));
        LocalSocket { pipe, peer, writing: Cell::new(false), passes_edge: Cell::new(false) }
    }

    /// Process at the other end.
    pub fn peer(&self) -> Peer {
        (*self.peer).clone()
    }

    /// Notes that the socket was registered anew.
    pub(crate) fn expect_edge(&self) {
        self.passes_edge.set(true);
    }

    /// A write has begun.
    pub(crate) fn began_writing(&self) {
        self.writing.set(true);
    }

    /// Whether a write is under way.
    pub(crate) fn is_writing(&self) -> bool {
        self.writing.get()
    }

    /// An edge came; whether there is room now.
    pub(crate) fn take_edge(&self) -> bool {
        if !self.passes_edge.replace(false) {
            self.writing.set(false);
        }
        !self.writing.get()
    }

    /// Takes back what is still on its way, which its client may never read.
    pub(crate) fn cancel(&self) {
        if self.writing.get() {
            // SAFETY: the pipe is open; what is cancelled is completed through the event
            // queue, which keeps its memory until then.
            unsafe { CancelIoEx(self.pipe.as_raw_handle(), std::ptr::null()) };
        }
    }
}
