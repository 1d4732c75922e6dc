//! Messages: borrowed while a listener runs, or kept and counted.
//!
//! Both are a [`Held`] behind a pointer, so that the accessors do not differ. Invariant:
//! a kept one lies in an `Arc`, and each pointer handed out is one count of it.

use std::ffi::{CStr, c_char, c_void};
use std::ptr;
use std::sync::Arc;

use ::netcluster_client::{Message, OwnedMessage};

use crate::asking::netcluster_source;
use crate::client::netcluster_encoding;
use crate::error::{Failure, c_string, guard, guard_or, netcluster_error, netcluster_error::*};
use crate::input;

/// An event. Inside a listener it is the library's and valid until the listener returns;
/// netcluster_message_keep makes it the program's. Any thread may read it.
#[allow(non_camel_case_types)]
pub struct netcluster_message {
    _private: [u8; 0],
}

/// What is behind the pointer.
pub(crate) enum Held<'a> {
    Borrowed { message: Message<'a>, name: &'a Arc<CStr> },
    Kept { message: OwnedMessage, name: Arc<CStr> },
}

impl Held<'_> {
    /// Returns the pointer for C to a message that is borrowed.
    pub(crate) fn as_c(&self) -> *const netcluster_message {
        ptr::from_ref(self).cast()
    }

    /// Makes the pointer for C, to be released.
    pub(crate) fn into_c(message: OwnedMessage, name: Arc<CStr>) -> *mut netcluster_message {
        let held: Arc<Held<'static>> = Arc::new(Held::Kept { message, name });
        Arc::into_raw(held).cast_mut().cast()
    }

    fn name(&self) -> &CStr {
        match self {
            Held::Borrowed { name, .. } => name,
            Held::Kept { name, .. } => name,
        }
    }

    fn payload(&self) -> &[u8] {
        match self {
            Held::Borrowed { message, .. } => message.payload(),
            Held::Kept { message, .. } => message.payload(),
        }
    }
}

/// The C string of the name of the event before, which is the next one's most of the time.
pub(crate) struct Name(Arc<CStr>);

impl Name {
    pub(crate) fn new() -> Name {
        Name(c"".into())
    }

    /// Returns the C string of this name. Names hold no NUL.
    pub(crate) fn of(&mut self, event: &str) -> &Arc<CStr> {
        if self.0.to_bytes() != event.as_bytes() {
            self.0 = c_string(event).into();
        }
        &self.0
    }
}

/// # Safety
/// The pointer is NULL or a message that is still held.
unsafe fn held<'a>(message: *const netcluster_message) -> Result<&'a Held<'a>, Failure> {
    // SAFETY: a message is a `Held`, see `as_c` and `into_c`.
    unsafe { input::borrow(message.cast::<Held<'a>>(), "message") }
}

/// Returns the event's name, NUL-terminated. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_event(
    message: *const netcluster_message,
) -> *const c_char {
    // SAFETY: the rules for pointers.
    guard_or(ptr::null(), || Ok(unsafe { held(message) }?.name().as_ptr()))
}

/// Returns the payload: netcluster_message_size bytes, the first at a multiple of 8, without a
/// NUL behind the last. NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_data(
    message: *const netcluster_message,
) -> *const c_void {
    // SAFETY: the rules for pointers.
    guard_or(ptr::null(), || Ok(unsafe { held(message) }?.payload().as_ptr().cast()))
}

/// Returns the number of bytes of the payload.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_size(message: *const netcluster_message) -> usize {
    // SAFETY: the rules for pointers.
    guard_or(0, || Ok(unsafe { held(message) }?.payload().len()))
}

/// Returns what the payload is, as its emitter says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_encoding(
    message: *const netcluster_message,
) -> netcluster_encoding {
    guard_or(netcluster_encoding::NETCLUSTER_BYTES, || {
        // SAFETY: the rules for pointers.
        Ok(match unsafe { held(message) }? {
            Held::Borrowed { message, .. } => message.encoding().into(),
            Held::Kept { message, .. } => message.encoding().into(),
        })
    })
}

/// Gives the payload as text, whatever its encoding is said to be: NETCLUSTER_TEXT if it is
/// no UTF-8. `*size` bytes at `*text`, without a NUL behind them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_text(
    message: *const netcluster_message,
    text: *mut *const c_char,
    size: *mut usize,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let checked = std::str::from_utf8(unsafe { held(message) }?.payload());
        let checked = checked.map_err(|error| {
            Failure::new(NETCLUSTER_TEXT, format!("the payload is no text: {error}"))
        })?;
        // SAFETY: the rules for pointers.
        unsafe {
            input::put(size, "size", checked.len())?;
            input::put(text, "text", checked.as_ptr().cast())
        }
    })
}

/// Returns who emitted it. Zeros for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_source(
    message: *const netcluster_message,
) -> netcluster_source {
    guard_or(netcluster_source::default(), || {
        // SAFETY: the rules for pointers.
        Ok(match unsafe { held(message) }? {
            Held::Borrowed { message, .. } => message.source().into(),
            Held::Kept { message, .. } => message.source().into(),
        })
    })
}

/// Returns the emitter's number for it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_sequence(message: *const netcluster_message) -> u64 {
    guard_or(0, || {
        // SAFETY: the rules for pointers.
        Ok(match unsafe { held(message) }? {
            Held::Borrowed { message, .. } => message.sequence(),
            Held::Kept { message, .. } => message.sequence(),
        })
    })
}

/// Keeps a message: what is returned is the program's, until it is given to
/// netcluster_message_release once for each time it was kept. One that a listener was called
/// with is copied if it is small or came by shared memory; else it pins the receive buffer
/// that it lies in (256 KiB or more). NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_keep(
    message: *const netcluster_message,
) -> *mut netcluster_message {
    guard_or(ptr::null_mut(), || {
        // SAFETY: the rules for pointers.
        match unsafe { held(message) }? {
            Held::Borrowed { message, name } => {
                Ok(Held::into_c(message.into_owned(), Arc::clone(name)))
            }
            Held::Kept { .. } => {
                // SAFETY: a kept one came from `into_c`, and has a count.
                unsafe { Arc::increment_strong_count(message.cast::<Held<'static>>()) };
                Ok(message.cast_mut())
            }
        }
    })
}

/// Gives up a message that was kept or taken from a subscription; NULL is nothing, and so
/// is the message that a listener was called with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_message_release(message: *mut netcluster_message) {
    guard(|| {
        // SAFETY: the rules for pointers.
        if !message.is_null() && matches!(unsafe { held(message) }?, Held::Kept { .. }) {
            // SAFETY: a kept one came from `into_c`; the caller gives its count back.
            drop(unsafe { Arc::from_raw(message.cast::<Held<'static>>().cast_const()) });
        }
        Ok(())
    });
}
