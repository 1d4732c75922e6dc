//! The pointer that a program passes along with a callback, and what frees it.

use std::ffi::c_void;

/// Frees the pointer that was passed along with a callback. Called once, on any thread,
/// when the callback will not be called again; also if adding it failed.
#[allow(non_camel_case_types)]
pub type netcluster_destroy = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// A user's pointer; its destructor runs when this is dropped.
pub(crate) struct User {
    pointer: *mut c_void,
    destroy: netcluster_destroy,
}

// SAFETY: the program says, by passing it, that it may be used by the client's thread, and
// freed by any; the head of the header demands it.
unsafe impl Send for User {}

impl User {
    pub(crate) fn new(pointer: *mut c_void, destroy: netcluster_destroy) -> User {
        User { pointer, destroy }
    }

    pub(crate) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for User {
    fn drop(&mut self) {
        if let Some(destroy) = self.destroy {
            // SAFETY: it was passed together with this pointer, and is called once.
            unsafe { destroy(self.pointer) };
        }
    }
}
