//! Listeners: callbacks with the program's pointer.

use std::ffi::{c_char, c_void};

use ::netcluster_client::{Client, Error, ListenerId, Message};

use crate::client::netcluster_client;
use crate::error::{Failure, c_string, guard, guard_or, netcluster_error, netcluster_error::*};
use crate::input;
use crate::message::{Held, Name, netcluster_message};
use crate::user::{User, netcluster_destroy};

/// A listener. It runs on the client's own thread, one at a time; while it runs nothing
/// else is received, so hand long work to another thread. It must not throw and not jump
/// out.
#[allow(non_camel_case_types)]
pub type netcluster_listener =
    Option<unsafe extern "C" fn(message: *const netcluster_message, user: *mut c_void)>;

type Add = fn(&Client, &str, Call) -> Result<ListenerId, Error>;
type Call = Box<dyn FnMut(&Message<'_>) + Send>;

/// # Safety
/// The pointers are NULL, or as those of [`netcluster_on`].
unsafe fn add(
    add: Add,
    (client, pattern): (*const netcluster_client, *const c_char),
    listener: netcluster_listener,
    (user, destroy): (*mut c_void, netcluster_destroy),
    id: *mut u64,
) -> netcluster_error {
    let user = User::new(user, destroy);
    guard(|| {
        // SAFETY: as the caller promises.
        let (client, pattern) =
            unsafe { (input::borrow(client, "client")?, input::text(pattern, "pattern")?) };
        let Some(listener) = listener else {
            return Err(Failure::new(NETCLUSTER_POINTER, "`listener` is NULL"));
        };
        let mut name = Name::new();
        let call = move |message: &Message<'_>| {
            let held = Held::Borrowed { message: *message, name: name.of(message.event()) };
            // The whole of it: its destructor runs with this closure.
            let user: &User = &user;
            // SAFETY: the program says that it may be called with this pointer by the
            // client's thread; the message is there until it returns.
            unsafe { listener(held.as_c(), user.pointer()) };
        };
        let added = add(&client.client, pattern, Box::new(call))?;
        // SAFETY: as the caller promises.
        unsafe { input::put_if_wanted(id, added.to_u64()) };
        Ok(())
    })
}

/// Calls `listener` with `user` for every event whose name matches `pattern`, in which `*`
/// is one token and `**` any number. Returns once the broker acknowledged: an event emitted
/// afterwards anywhere on the machine is not missed. Inside a listener it does not wait for
/// that. `destroy` frees `user` and may be NULL; so may `id`, by which the listener is
/// removed. If it fails `destroy` was called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_on(
    client: *const netcluster_client,
    pattern: *const c_char,
    listener: netcluster_listener,
    user: *mut c_void,
    destroy: netcluster_destroy,
    id: *mut u64,
) -> netcluster_error {
    let on: Add = |client, pattern, call| client.on(pattern, call);
    // SAFETY: the rules for pointers.
    unsafe { add(on, (client, pattern), listener, (user, destroy), id) }
}

/// As netcluster_on, for one event only.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_once(
    client: *const netcluster_client,
    pattern: *const c_char,
    listener: netcluster_listener,
    user: *mut c_void,
    destroy: netcluster_destroy,
    id: *mut u64,
) -> netcluster_error {
    let once: Add = |client, pattern, call| client.once(pattern, call);
    // SAFETY: the rules for pointers.
    unsafe { add(once, (client, pattern), listener, (user, destroy), id) }
}

/// As netcluster_on; it is called before the listeners that are there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_prepend_listener(
    client: *const netcluster_client,
    pattern: *const c_char,
    listener: netcluster_listener,
    user: *mut c_void,
    destroy: netcluster_destroy,
    id: *mut u64,
) -> netcluster_error {
    let prepend: Add = |client, pattern, call| client.prepend_listener(pattern, call);
    // SAFETY: the rules for pointers.
    unsafe { add(prepend, (client, pattern), listener, (user, destroy), id) }
}

/// Removes a listener; returns whether it was there. Called from a listener, it is not called
/// again; from another thread, a call that runs already may finish. The destructor runs
/// on the client's thread, when the next event comes or the client ends at the latest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_remove_listener(
    client: *const netcluster_client,
    id: u64,
) -> bool {
    guard_or(false, || {
        // SAFETY: the rules for pointers.
        let client = unsafe { input::borrow(client, "client") }?;
        Ok(client.client.remove_listener(ListenerId::from_u64(id)))
    })
}

/// Removes the listeners of exactly this pattern, or all if it is NULL; returns how many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_remove_all_listeners(
    client: *const netcluster_client,
    pattern: *const c_char,
) -> usize {
    guard_or(0, || {
        // SAFETY: the rules for pointers.
        let client = unsafe { input::borrow(client, "client") }?;
        let pattern = match pattern.is_null() {
            true => None,
            // SAFETY: the rules for pointers.
            false => Some(unsafe { input::text(pattern, "pattern") }?),
        };
        Ok(client.client.remove_all_listeners(pattern))
    })
}

/// Counts the listeners that exactly this pattern has here, or all if it is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_listener_count(
    client: *const netcluster_client,
    pattern: *const c_char,
) -> usize {
    guard_or(0, || {
        // SAFETY: the rules for pointers.
        let client = &unsafe { input::borrow(client, "client") }?.client;
        if pattern.is_null() {
            return Ok(client.event_names().iter().map(|name| client.listener_count(name)).sum());
        }
        // SAFETY: the rules for pointers.
        Ok(client.listener_count(unsafe { input::text(pattern, "pattern") }?))
    })
}

/// Gives the patterns that have listeners here, sorted, as a JSON array of strings; `*json` is
/// to be freed by netcluster_string_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_event_names(
    client: *const netcluster_client,
    json: *mut *mut c_char,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let client = unsafe {
            input::put(json, "json", std::ptr::null_mut())?;
            input::borrow(client, "client")?
        };
        let names: Vec<String> =
            client.client.event_names().iter().map(|name| quote(name)).collect();
        let text = c_string(&format!("[{}]", names.join(",")));
        // SAFETY: as above.
        unsafe { input::put(json, "json", text.into_raw()) }
    })
}

/// Makes a JSON string.
fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control < ' ' => quoted.push_str(&format!("\\u{:04x}", control as u32)),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_is_quoted_as_json() {
        assert_eq!(super::quote("a\"b\\c\td\u{e9}"), "\"a\\\"b\\\\c\\u0009d\u{e9}\"");
    }
}
