//! The handle of a client: connecting, emitting, ending.

use std::ffi::{c_char, c_void};
use std::ptr;

use ::netcluster_client::{Client, Encoding};

use crate::error::{Failure, guard, guard_or, netcluster_error, netcluster_error::*};
use crate::input;
use crate::options::netcluster_options;

/// A connection to the broker. Any thread may use it, several at once.
#[allow(non_camel_case_types)]
pub struct netcluster_client {
    pub(crate) client: Client,
}

/// What a payload is, as its emitter says. A receiver must be prepared for a wrong claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub enum netcluster_encoding {
    /// Bytes.
    NETCLUSTER_BYTES = 0,
    /// Text in UTF-8.
    NETCLUSTER_UTF8_TEXT = 1,
    /// A JSON text in UTF-8.
    NETCLUSTER_JSON = 2,
}

impl From<Encoding> for netcluster_encoding {
    fn from(encoding: Encoding) -> netcluster_encoding {
        match encoding {
            Encoding::Bytes => netcluster_encoding::NETCLUSTER_BYTES,
            Encoding::Text => netcluster_encoding::NETCLUSTER_UTF8_TEXT,
            Encoding::Json => netcluster_encoding::NETCLUSTER_JSON,
        }
    }
}

/// Reads an encoding, which C may have made of any number.
fn encoding_of(number: i32) -> Result<Encoding, Failure> {
    let known = Encoding::ALL.into_iter().find(|encoding| *encoding as i32 == number);
    known.ok_or_else(|| Failure::new(NETCLUSTER_VALUE, format!("{number} is no encoding")))
}

/// # Safety
/// The pointers are NULL, or as those of [`netcluster_connect`].
unsafe fn connect(
    path: Option<*const c_char>,
    options: *const netcluster_options,
    client: *mut *mut netcluster_client,
) -> netcluster_error {
    guard(|| {
        // SAFETY: as the caller promises.
        unsafe { input::put(client, "client", ptr::null_mut()) }?;
        let builder = match options.is_null() {
            true => Client::builder(),
            // SAFETY: it is from netcluster_options_new.
            false => unsafe { input::borrow(options, "options") }?.builder(),
        };
        let connected = match path {
            // SAFETY: a string, as the caller promises.
            Some(path) => builder.connect(unsafe { input::path(path) }?)?,
            None => builder.connect_default()?,
        };
        let handle = Box::into_raw(Box::new(netcluster_client { client: connected }));
        // SAFETY: as above.
        unsafe { input::put(client, "client", handle) }
    })
}

/// Connects to the broker whose socket is at this path. `options` may be NULL. `*client` is
/// to be freed by netcluster_client_free; NULL if it fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_connect(
    path: *const c_char,
    options: *const netcluster_options,
    client: *mut *mut netcluster_client,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe { connect(Some(path), options, client) }
}

/// Connects to the machine's broker: at the socket that NETCLUSTER_SOCKET names, else the
/// user's, else the system's. Otherwise as netcluster_connect.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_connect_default(
    options: *const netcluster_options,
    client: *mut *mut netcluster_client,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe { connect(None, options, client) }
}

/// Frees a client; NULL is nothing. The connection ends at once, after a short try to write
/// what was emitted: netcluster_disconnect makes sure instead. Subscriptions keep the
/// connection until they are freed, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_client_free(client: *mut netcluster_client) {
    // SAFETY: the rules for pointers.
    guard(|| unsafe { input::free(client) });
}

/// # Safety
/// The pointers are NULL, or as those of [`netcluster_emit`].
#[inline]
unsafe fn emit(
    client: *const netcluster_client,
    event: *const c_char,
    encoding: Encoding,
    (data, size): (*const c_void, usize),
) -> netcluster_error {
    guard(|| {
        // SAFETY: as the caller promises.
        let (client, event, data) = unsafe {
            let client = input::borrow(client, "client")?;
            (client, input::text(event, "event")?, input::bytes(data, size)?)
        };
        Ok(client.client.emit_encoded(event, encoding, data)?)
    })
}

/// Emits bytes to every other client with a listener that matches. Copies them, and returns
/// before they are written: events travel together. Waits while the broker or a listener
/// does not keep up; inside a listener it returns NETCLUSTER_BACKPRESSURE instead.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_emit(
    client: *const netcluster_client,
    event: *const c_char,
    data: *const c_void,
    size: usize,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe { emit(client, event, Encoding::Bytes, (data, size)) }
}

/// # Safety
/// The pointers are NULL, or as those of [`netcluster_emit_text`].
unsafe fn emit_string(
    client: *const netcluster_client,
    event: *const c_char,
    encoding: Encoding,
    string: *const c_char,
) -> netcluster_error {
    guard(|| {
        // SAFETY: as the caller promises.
        let (client, event, string) = unsafe {
            let client = input::borrow(client, "client")?;
            (client, input::text(event, "event")?, input::text(string, encoding.name())?)
        };
        Ok(client.client.emit_encoded(event, encoding, string)?)
    })
}

/// Emits a NUL-terminated text in UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_emit_text(
    client: *const netcluster_client,
    event: *const c_char,
    text: *const c_char,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe { emit_string(client, event, Encoding::Text, text) }
}

/// Emits a NUL-terminated JSON text in UTF-8. That it is JSON is not checked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_emit_json(
    client: *const netcluster_client,
    event: *const c_char,
    json: *const c_char,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe { emit_string(client, event, Encoding::Json, json) }
}

/// Emits data that is encoded as `encoding` (of netcluster_encoding) says, which is not
/// checked.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_emit_encoded(
    client: *const netcluster_client,
    event: *const c_char,
    encoding: i32,
    data: *const c_void,
    size: usize,
) -> netcluster_error {
    match encoding_of(encoding) {
        // SAFETY: the rules for pointers.
        Ok(encoding) => unsafe { emit(client, event, encoding, (data, size)) },
        Err(failure) => guard(|| Err(failure)),
    }
}

/// Emits as netcluster_emit_encoded does, and never waits: NETCLUSTER_BACKPRESSURE if there
/// is no room. For threads that must not block, such as those of event loops.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_try_emit(
    client: *const netcluster_client,
    event: *const c_char,
    encoding: i32,
    data: *const c_void,
    size: usize,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let (client, event, data) = unsafe {
            let client = input::borrow(client, "client")?;
            (client, input::text(event, "event")?, input::bytes(data, size)?)
        };
        Ok(client.client.try_emit_encoded(event, encoding_of(encoding)?, data)?)
    })
}

/// Returns once everything emitted so far is written to the socket.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_flush(client: *const netcluster_client) -> netcluster_error {
    // SAFETY: the rules for pointers.
    guard(|| Ok(unsafe { input::borrow(client, "client") }?.client.flush()?))
}

/// Ends the connection in order: returns once everything emitted is queued at every
/// target and the last listener ran. Inside a listener it does not wait. The handle is still
/// to be freed; calls with it return NETCLUSTER_DISCONNECTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_disconnect(
    client: *const netcluster_client,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    guard(|| Ok(unsafe { input::borrow(client, "client") }?.client.disconnect()?))
}

/// Returns whether the client ended for good. True for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_is_closed(client: *const netcluster_client) -> bool {
    // SAFETY: the rules for pointers.
    guard_or(true, || Ok(unsafe { input::borrow(client, "client") }?.client.is_closed()))
}
