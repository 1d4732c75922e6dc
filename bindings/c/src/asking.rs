//! Questions that a client answers: by its broker, or by itself.

use std::ffi::{CString, c_char};
use std::ptr;
use std::time::Duration;

use ::netcluster_client::Source;

use crate::client::netcluster_client;
use crate::error::{Failure, c_string, guard, guard_or, netcluster_error, netcluster_error::*};
use crate::input;

/// Who emitted an event: a broker's node id and the number of a client there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct netcluster_source {
    /// Node id of the broker.
    pub node: u32,
    /// Number of the client at that broker.
    pub client: u32,
}

impl From<Source> for netcluster_source {
    fn from(source: Source) -> netcluster_source {
        netcluster_source { node: source.node, client: source.client }
    }
}

/// Who would get an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct netcluster_audience {
    /// Clients of this machine.
    pub clients: u64,
    /// Brokers of other machines.
    pub brokers: u64,
}

/// Asks for the broker's status as JSON; `*json` is to be freed by netcluster_string_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_status(
    client: *const netcluster_client,
    json: *mut *mut c_char,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let client = unsafe {
            input::put(json, "json", ptr::null_mut())?;
            input::borrow(client, "client")?
        };
        let text = c_string(&client.client.status()?);
        // SAFETY: as above.
        unsafe { input::put(json, "json", text.into_raw()) }
    })
}

/// Asks the broker for something that only whoever runs it may want, as a JSON object, such as
/// `{"do":"totals"}`: see `control` in PROTOCOL.md. Its answer is JSON as well; `*json` is to be
/// freed by netcluster_string_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_control(
    client: *const netcluster_client,
    request: *const c_char,
    json: *mut *mut c_char,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let (client, request) = unsafe {
            input::put(json, "json", ptr::null_mut())?;
            (input::borrow(client, "client")?, input::text(request, "request")?)
        };
        let text = c_string(&client.client.control(request)?);
        // SAFETY: as above.
        unsafe { input::put(json, "json", text.into_raw()) }
    })
}

/// Frees a string that the library gave; NULL is nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_string_free(string: *mut c_char) {
    guard(|| {
        if !string.is_null() {
            // SAFETY: it came from `CString::into_raw`, and is used no more.
            drop(unsafe { CString::from_raw(string) });
        }
        Ok(())
    });
}

/// Returns once everything emitted so far is queued at every target. The time that took, in
/// nanoseconds, is written to `nanoseconds` unless that is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_ping(
    client: *const netcluster_client,
    nanoseconds: *mut u64,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let taken = unsafe { input::borrow(client, "client") }?.client.ping()?;
        // SAFETY: the rules for pointers.
        unsafe {
            input::put_if_wanted(nanoseconds, u64::try_from(taken.as_nanos()).unwrap_or(u64::MAX))
        };
        Ok(())
    })
}

/// Counts who would get an event of this name if it were emitted now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_count_audience(
    client: *const netcluster_client,
    event: *const c_char,
    audience: *mut netcluster_audience,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let (client, event) =
            unsafe { (input::borrow(client, "client")?, input::text(event, "event")?) };
        let counted = client.client.audience(event)?;
        let counted = netcluster_audience { clients: counted.clients, brokers: counted.brokers };
        // SAFETY: the rules for pointers.
        unsafe { input::put(audience, "audience", counted) }
    })
}

/// Returns once the brokers of all machines know of every listener added so far.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_wait_for_cluster(
    client: *const netcluster_client,
    milliseconds: i64,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let client = unsafe { input::borrow(client, "client") }?;
        let milliseconds = u64::try_from(milliseconds)
            .map_err(|_| Failure::new(NETCLUSTER_VALUE, "a time is negative"))?;
        Ok(client.client.wait_for_cluster(Duration::from_millis(milliseconds))?)
    })
}

/// Returns who this client is for others; another one after a reconnect. Zeros for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_client_source(
    client: *const netcluster_client,
) -> netcluster_source {
    guard_or(netcluster_source::default(), || {
        // SAFETY: the rules for pointers.
        Ok(unsafe { input::borrow(client, "client") }?.client.source().into())
    })
}

/// Returns the number of the last event emitted; 0: none yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_last_sequence(client: *const netcluster_client) -> u64 {
    // SAFETY: the rules for pointers.
    guard_or(0, || Ok(unsafe { input::borrow(client, "client") }?.client.last_sequence()))
}

/// Returns the number of the last own event known to be queued at every target.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_confirmed_sequence(client: *const netcluster_client) -> u64 {
    // SAFETY: the rules for pointers.
    guard_or(0, || Ok(unsafe { input::borrow(client, "client") }?.client.confirmed_sequence()))
}

/// Returns the largest payload that the broker takes, in bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_max_payload(client: *const netcluster_client) -> usize {
    // SAFETY: the rules for pointers.
    guard_or(0, || Ok(unsafe { input::borrow(client, "client") }?.client.max_payload()))
}
