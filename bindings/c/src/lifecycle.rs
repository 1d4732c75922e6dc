//! What happens to a connection, and what is lost.

use std::ffi::{c_char, c_void};

use ::netcluster_client::{Error, Lifecycle, LossReason, Lost};

use crate::asking::netcluster_source;
use crate::client::netcluster_client;
use crate::error::{Failure, c_string, guard, netcluster_error, netcluster_error::*};
use crate::input;
use crate::user::{User, netcluster_destroy};

/// Why events are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub enum netcluster_loss_reason {
    /// For a reason that this version does not know.
    #[default]
    NETCLUSTER_LOSS_UNKNOWN = 0,
    /// The queue of this connection was full; see netcluster_options_set_latest.
    NETCLUSTER_LOSS_OVERFLOW = 1,
    /// The connection to the broker broke.
    NETCLUSTER_LOSS_DISCONNECTED = 2,
    /// The network lost them for good.
    NETCLUSTER_LOSS_LINK = 3,
    /// Their broker died or was cut off.
    NETCLUSTER_LOSS_PEER = 4,
    /// They came from another machine while the queue of this listener was full.
    NETCLUSTER_LOSS_SLOW = 5,
    /// They came from another machine and one was over the broker's limit.
    NETCLUSTER_LOSS_LARGE = 6,
}

impl From<LossReason> for netcluster_loss_reason {
    fn from(reason: LossReason) -> netcluster_loss_reason {
        use netcluster_loss_reason::*;
        match reason {
            LossReason::Overflow => NETCLUSTER_LOSS_OVERFLOW,
            LossReason::Disconnected => NETCLUSTER_LOSS_DISCONNECTED,
            LossReason::Link => NETCLUSTER_LOSS_LINK,
            LossReason::Peer => NETCLUSTER_LOSS_PEER,
            LossReason::Slow => NETCLUSTER_LOSS_SLOW,
            LossReason::Large => NETCLUSTER_LOSS_LARGE,
            _ => NETCLUSTER_LOSS_UNKNOWN,
        }
    }
}

/// Events that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct netcluster_lost {
    /// Whose, if `has_source`; else several emitters', or unknown.
    pub source: netcluster_source,
    /// Whether `source` is known.
    pub has_source: bool,
    /// Whether `count` is known.
    pub has_count: bool,
    /// Why; of the latest, if there are several.
    pub reason: netcluster_loss_reason,
    /// How many, if `has_count`.
    pub count: u64,
}

impl From<Lost> for netcluster_lost {
    fn from(lost: Lost) -> netcluster_lost {
        netcluster_lost {
            source: lost.source.map(Into::into).unwrap_or_default(),
            has_source: lost.source.is_some(),
            has_count: lost.count.is_some(),
            reason: lost.reason.into(),
            count: lost.count.unwrap_or_default(),
        }
    }
}

/// What happened to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub enum netcluster_lifecycle_kind {
    /// It is connected again, and all patterns are in force. Listeners may have missed events.
    NETCLUSTER_LIFECYCLE_CONNECT = 0,
    /// The connection ended; another is made unless CLOSED follows.
    NETCLUSTER_LIFECYCLE_DISCONNECT = 1,
    /// Something went wrong that no call could return.
    NETCLUSTER_LIFECYCLE_ERROR = 2,
    /// Events are missing at this place in the order.
    NETCLUSTER_LIFECYCLE_LOST = 3,
    /// The client ended for good. Always the last.
    NETCLUSTER_LIFECYCLE_CLOSED = 4,
}

/// One thing that happened to a connection. The library makes it and may append members in
/// later versions.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct netcluster_lifecycle {
    /// What happened.
    pub kind: netcluster_lifecycle_kind,
    /// Of DISCONNECT, ERROR and CLOSED: the code; NETCLUSTER_DISCONNECTED if it was asked for.
    pub code: netcluster_error,
    /// Number of the broker's error, if it ended the connection by one; else 0.
    pub broker_code: u32,
    /// The same for people. Never NULL.
    pub text: *const c_char,
    /// Of CONNECT: who this client is now.
    pub source: netcluster_source,
    /// Of DISCONNECT: number of the last own event known to be queued at every target. Later
    /// ones that were written are in doubt.
    pub confirmed: u64,
    /// Of LOST: what is missing.
    pub lost: netcluster_lost,
    /// Of CONNECT: number of own events that an earlier connection had written and its broker
    /// had not confirmed. They may not have arrived, and are not sent again.
    pub doubtful: u64,
}

/// A listener to the life of a connection. It runs as other listeners do.
#[allow(non_camel_case_types)]
pub type netcluster_lifecycle_listener =
    Option<unsafe extern "C" fn(event: *const netcluster_lifecycle, user: *mut c_void)>;

/// Calls `listener` with `user` for what happens to the connection from now on, each at its
/// place in the order of the events. `destroy` frees `user` and may be NULL; if it fails
/// it was called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_on_lifecycle(
    client: *const netcluster_client,
    listener: netcluster_lifecycle_listener,
    user: *mut c_void,
    destroy: netcluster_destroy,
) -> netcluster_error {
    let user = User::new(user, destroy);
    guard(|| {
        // SAFETY: the rules for pointers.
        let client = unsafe { input::borrow(client, "client") }?;
        let Some(listener) = listener else {
            return Err(Failure::new(NETCLUSTER_POINTER, "`listener` is NULL"));
        };
        client.client.on_lifecycle(move |event| {
            let user: &User = &user;
            tell(event, |event| {
                // SAFETY: the program says that it may be called with this pointer by the
                // client's thread; the event is there until it returns.
                unsafe { listener(event, user.pointer()) }
            });
        });
        Ok(())
    })
}

fn tell(event: &Lifecycle, listener: impl FnOnce(*const netcluster_lifecycle)) {
    use netcluster_lifecycle_kind::*;
    let mut told = netcluster_lifecycle {
        kind: NETCLUSTER_LIFECYCLE_CONNECT,
        code: NETCLUSTER_OK,
        broker_code: 0,
        text: c"".as_ptr(),
        source: netcluster_source::default(),
        confirmed: 0,
        lost: netcluster_lost::default(),
        doubtful: 0,
    };
    let failure = match event {
        // Told by the call that connects, and here only if the listener came in time.
        Lifecycle::Connect { resumed: false, .. } => return,
        Lifecycle::Connect { source, doubtful, .. } => {
            told.source = (*source).into();
            told.doubtful = *doubtful;
            Failure::new(NETCLUSTER_OK, "connected to the broker")
        }
        Lifecycle::Disconnect { reason, confirmed } => {
            told.kind = NETCLUSTER_LIFECYCLE_DISCONNECT;
            told.confirmed = *confirmed;
            Failure::from(reason)
        }
        Lifecycle::Error(error) => {
            told.kind = NETCLUSTER_LIFECYCLE_ERROR;
            Failure::from(error)
        }
        Lifecycle::Lost { source, count, reason } => {
            told.kind = NETCLUSTER_LIFECYCLE_LOST;
            told.lost = netcluster_lost {
                source: source.map(Into::into).unwrap_or_default(),
                has_source: source.is_some(),
                has_count: count.is_some(),
                reason: (*reason).into(),
                count: count.unwrap_or_default(),
            };
            Failure::new(NETCLUSTER_LOST, format!("events are missing here: {reason}"))
        }
        Lifecycle::Closed(error) => {
            told.kind = NETCLUSTER_LIFECYCLE_CLOSED;
            match error {
                Error::Disconnected(reason) => Failure::from(reason),
                error => Failure::from(error),
            }
        }
        // What this version does not know has no place in the ABI.
        _ => return,
    };
    told.code = failure.code;
    told.broker_code = failure.broker_code;
    let text = c_string(&failure.text);
    told.text = text.as_ptr();
    listener(&told);
}
