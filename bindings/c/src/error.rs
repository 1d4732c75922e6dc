//! Codes that functions return, the text of the last failure of a thread, and the border
//! that no panic crosses.

use std::any::Any;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::netcluster_client::{DisconnectReason, Error, ErrorKind, RecvError};

/// What a function returns. The numbers never change; new ones may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub enum netcluster_error {
    /// It is done.
    NETCLUSTER_OK = 0,
    /// An error that this version of the library has no code for; see the text.
    NETCLUSTER_OTHER = 1,
    /// No broker answers at this path.
    NETCLUSTER_BROKER_NOT_RUNNING = 2,
    /// The socket is there, but this user may not connect to it.
    NETCLUSTER_PERMISSION_DENIED = 3,
    /// The directory of a default socket may be a stranger's.
    NETCLUSTER_UNTRUSTED_SOCKET = 4,
    /// None of the default sockets can be used.
    NETCLUSTER_NONE_ANSWERS = 5,
    /// The connection could not be made for another reason.
    NETCLUSTER_CONNECT = 6,
    /// The connection is down at the moment.
    NETCLUSTER_NOT_CONNECTED = 7,
    /// The connection ended and will not come back.
    NETCLUSTER_DISCONNECTED = 8,
    /// The broker ended the connection.
    NETCLUSTER_CLOSED_BY_BROKER = 9,
    /// The other end speaks another version of the protocol.
    NETCLUSTER_PROTOCOL_VERSION = 10,
    /// The broker sent bytes that are no protocol.
    NETCLUSTER_PROTOCOL = 11,
    /// The event's name is not allowed.
    NETCLUSTER_NAME = 12,
    /// The pattern is not allowed.
    NETCLUSTER_PATTERN = 13,
    /// The broker refused the pattern.
    NETCLUSTER_PATTERN_REFUSED = 14,
    /// The payload is larger than the broker takes.
    NETCLUSTER_PAYLOAD_TOO_LARGE = 15,
    /// There is no room for the event, and the call does not wait. Nothing was emitted.
    NETCLUSTER_BACKPRESSURE = 16,
    /// Nothing came in time.
    NETCLUSTER_TIMEOUT = 17,
    /// Brokers of other machines have not confirmed a listener in time.
    NETCLUSTER_CLUSTER_INCOMPLETE = 18,
    /// The client belongs to the process that this one was forked of.
    NETCLUSTER_FORKED = 19,
    /// The call waits for the broker, which a listener must not.
    NETCLUSTER_INSIDE_LISTENER = 20,
    /// A listener panicked.
    NETCLUSTER_LISTENER_PANICKED = 21,
    /// A thread could not be started.
    NETCLUSTER_THREAD = 22,
    /// The payload is no UTF-8.
    NETCLUSTER_TEXT = 23,
    /// Events are missing at this place; others follow.
    NETCLUSTER_LOST = 24,
    /// A pointer that must not be is NULL, or not aligned.
    NETCLUSTER_POINTER = 25,
    /// A string argument is no UTF-8.
    NETCLUSTER_UTF8 = 26,
    /// A number is none of those that are allowed.
    NETCLUSTER_VALUE = 27,
    /// A fault of the library itself. Please report it.
    NETCLUSTER_PANIC = 28,
    /// Of a lifecycle event: the connection broke.
    NETCLUSTER_CONNECTION_LOST = 29,
    /// Of a lifecycle event: the broker shut down and said goodbye.
    NETCLUSTER_BROKER_SHUT_DOWN = 30,
    /// The broker does not do what was asked for.
    NETCLUSTER_REFUSED = 31,
    /// Of a lifecycle event: whoever runs the broker will end it soon.
    NETCLUSTER_DRAINING = 32,
    /// The broker's access rules do not allow it: a pattern, or, of a lifecycle event, events that
    /// were not delivered.
    NETCLUSTER_FORBIDDEN = 33,
}

use netcluster_error::*;

/// Codes and their names, which are those of all languages.
const NAMES: [(netcluster_error, &CStr); 34] = [
    (NETCLUSTER_OK, c"OK"),
    (NETCLUSTER_OTHER, c"OTHER"),
    (NETCLUSTER_BROKER_NOT_RUNNING, c"BROKER_NOT_RUNNING"),
    (NETCLUSTER_PERMISSION_DENIED, c"PERMISSION_DENIED"),
    (NETCLUSTER_UNTRUSTED_SOCKET, c"UNTRUSTED_SOCKET"),
    (NETCLUSTER_NONE_ANSWERS, c"NONE_ANSWERS"),
    (NETCLUSTER_CONNECT, c"CONNECT"),
    (NETCLUSTER_NOT_CONNECTED, c"NOT_CONNECTED"),
    (NETCLUSTER_DISCONNECTED, c"DISCONNECTED"),
    (NETCLUSTER_CLOSED_BY_BROKER, c"CLOSED_BY_BROKER"),
    (NETCLUSTER_PROTOCOL_VERSION, c"VERSION"),
    (NETCLUSTER_PROTOCOL, c"PROTOCOL"),
    (NETCLUSTER_NAME, c"NAME"),
    (NETCLUSTER_PATTERN, c"PATTERN"),
    (NETCLUSTER_PATTERN_REFUSED, c"PATTERN_REFUSED"),
    (NETCLUSTER_PAYLOAD_TOO_LARGE, c"PAYLOAD_TOO_LARGE"),
    (NETCLUSTER_BACKPRESSURE, c"BACKPRESSURE"),
    (NETCLUSTER_TIMEOUT, c"TIMEOUT"),
    (NETCLUSTER_CLUSTER_INCOMPLETE, c"CLUSTER_INCOMPLETE"),
    (NETCLUSTER_FORKED, c"FORKED"),
    (NETCLUSTER_INSIDE_LISTENER, c"INSIDE_LISTENER"),
    (NETCLUSTER_LISTENER_PANICKED, c"LISTENER_PANICKED"),
    (NETCLUSTER_THREAD, c"THREAD"),
    (NETCLUSTER_TEXT, c"TEXT"),
    (NETCLUSTER_LOST, c"LOST"),
    (NETCLUSTER_POINTER, c"POINTER"),
    (NETCLUSTER_UTF8, c"UTF8"),
    (NETCLUSTER_VALUE, c"VALUE"),
    (NETCLUSTER_PANIC, c"PANIC"),
    (NETCLUSTER_CONNECTION_LOST, c"CONNECTION_LOST"),
    (NETCLUSTER_BROKER_SHUT_DOWN, c"BROKER_SHUT_DOWN"),
    (NETCLUSTER_REFUSED, c"REFUSED"),
    (NETCLUSTER_DRAINING, c"DRAINING"),
    (NETCLUSTER_FORBIDDEN, c"FORBIDDEN"),
];

/// A failure on its way to the caller.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: netcluster_error,
    pub(crate) text: Cow<'static, str>,
    /// Number of the broker's error, if it ended the connection by one; else 0.
    pub(crate) broker_code: u32,
}

impl Failure {
    pub(crate) fn new(code: netcluster_error, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { code, text: text.into(), broker_code: 0 }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        let broker_code = match error {
            Error::ClosedByBroker { code, .. }
            | Error::Disconnected(DisconnectReason::ClosedByBroker { code, .. }) => *code as u32,
            _ => 0,
        };
        Failure { broker_code, ..Failure::new(code_of(error.kind()), error.to_string()) }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::from(&error)
    }
}

impl From<&DisconnectReason> for Failure {
    fn from(reason: &DisconnectReason) -> Failure {
        let (code, broker_code) = match reason {
            DisconnectReason::Requested => (NETCLUSTER_DISCONNECTED, 0),
            DisconnectReason::BrokerShutDown => (NETCLUSTER_BROKER_SHUT_DOWN, 0),
            DisconnectReason::ClosedByBroker { code, .. } => {
                (NETCLUSTER_CLOSED_BY_BROKER, *code as u32)
            }
            DisconnectReason::Protocol(_) => (NETCLUSTER_PROTOCOL, 0),
            _ => (NETCLUSTER_CONNECTION_LOST, 0),
        };
        Failure { code, text: reason.to_string().into(), broker_code }
    }
}

impl From<RecvError> for Failure {
    fn from(error: RecvError) -> Failure {
        match error {
            RecvError::Empty => Failure::new(NETCLUSTER_TIMEOUT, "no message came in time"),
            RecvError::Lost(lost) => Failure::new(NETCLUSTER_LOST, lost.to_string()),
            _ => Failure::new(NETCLUSTER_DISCONNECTED, error.to_string()),
        }
    }
}

/// Returns the code for a kind of errors.
pub(crate) fn code_of(kind: ErrorKind) -> netcluster_error {
    let code = kind.code().as_bytes();
    let same = NAMES.iter().find(|(_, name)| name.to_bytes() == code);
    same.map_or(NETCLUSTER_OTHER, |(error, _)| *error)
}

thread_local! {
    /// The text of this thread's last failure.
    static LAST: RefCell<Cow<'static, CStr>> = const { RefCell::new(Cow::Borrowed(c"")) };
    /// The broker's code of this thread's last failure, or 0.
    static BROKER_CODE: Cell<u32> = const { Cell::new(0) };
}

/// Makes a C string of a text, in which a NUL is shown as a replacement character.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// Runs the body of an exported function: its failure becomes a code and this thread's
/// last text, and so does a panic.
pub(crate) fn guard(body: impl FnOnce() -> Result<(), Failure>) -> netcluster_error {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => NETCLUSTER_OK,
        Ok(Err(failure)) => {
            let _ = BROKER_CODE.try_with(|code| code.set(failure.broker_code));
            remember(match failure.text {
                // On the path of who asks often.
                Cow::Borrowed("no message came in time") => {
                    Cow::Borrowed(c"no message came in time")
                }
                text => Cow::Owned(c_string(&text)),
            });
            failure.code
        }
        Err(panic) => {
            let _ = BROKER_CODE.try_with(|code| code.set(0));
            remember(Cow::Owned(c_string(&text_of(&*panic))));
            // What a panic carries may panic when it goes.
            std::mem::forget(panic);
            NETCLUSTER_PANIC
        }
    }
}

/// Runs the body of an exported function that has a value to return even if it fails.
pub(crate) fn guard_or<T>(otherwise: T, body: impl FnOnce() -> Result<T, Failure>) -> T {
    let mut value = otherwise;
    guard(|| {
        value = body()?;
        Ok(())
    });
    value
}

fn remember(text: Cow<'static, CStr>) {
    // Not while the thread ends: then there is nobody left to read it.
    let _ = LAST.try_with(|last| *last.borrow_mut() = text);
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a fault of libnetcluster: {}", text.unwrap_or_else(|| "no message".to_owned()))
}

/// Returns the text of this thread's last failure, for people: what is wrong and what to do.
/// Never NULL; empty if nothing has failed. Valid until the next call that fails on this
/// thread.
#[unsafe(no_mangle)]
pub extern "C" fn netcluster_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Returns the number of the broker's error, as PROTOCOL.md lists them, if this thread's last
/// failure came of one; else 0.
#[unsafe(no_mangle)]
pub extern "C" fn netcluster_last_broker_code() -> u32 {
    BROKER_CODE.try_with(Cell::get).unwrap_or(0)
}

/// Returns the name of a code, such as "BROKER_NOT_RUNNING"; the same in all languages.
/// Never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn netcluster_error_name(code: i32) -> *const c_char {
    let same = NAMES.iter().find(|(error, _)| *error as i32 == code);
    same.map_or(c"UNKNOWN", |(_, name)| name).as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last() -> String {
        // SAFETY: it is this thread's, and nothing has failed since.
        unsafe { CStr::from_ptr(netcluster_last_error()) }.to_string_lossy().into_owned()
    }

    #[test]
    fn a_panic_becomes_a_code_and_a_text() {
        assert_eq!(guard(|| panic!("of {}", "mine")), NETCLUSTER_PANIC);
        assert_eq!(last(), "a fault of libnetcluster: of mine");
        assert_eq!(guard_or(7, || panic!()), 7);
    }

    #[test]
    fn every_kind_of_error_has_a_code() {
        for kind in [ErrorKind::BrokerNotRunning, ErrorKind::Version, ErrorKind::Thread] {
            assert_ne!(code_of(kind), NETCLUSTER_OTHER);
        }
        let mut numbers: Vec<i32> = NAMES.iter().map(|(code, _)| *code as i32).collect();
        numbers.dedup();
        assert_eq!(numbers, (0..NAMES.len() as i32).collect::<Vec<i32>>(), "each once, in order");
    }

    #[test]
    fn a_nul_in_a_text_does_not_cut_it() {
        assert_eq!(guard(|| Err(Failure::new(NETCLUSTER_NAME, "a\0b"))), NETCLUSTER_NAME);
        assert_eq!(last(), "a\u{fffd}b");
    }
}
