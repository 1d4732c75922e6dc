//! The pull style: messages that wait to be taken.

use std::ffi::c_char;
use std::ptr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::netcluster_client::{OwnedMessage, RecvError, Subscription};

use crate::client::netcluster_client;
use crate::error::{guard, netcluster_error};
use crate::input;
use crate::lifecycle::netcluster_lost;
use crate::message::{Held, Name, netcluster_message};

/// Messages that match a pattern, to be taken by any thread. If nobody takes them its
/// client reads nothing further once they fill their room, also no answers.
#[allow(non_camel_case_types)]
pub struct netcluster_subscription {
    subscription: Subscription,
    name: Mutex<Name>,
}

/// Subscribes: `*subscription` is to be freed by netcluster_subscription_free; NULL if it
/// fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_subscribe(
    client: *const netcluster_client,
    pattern: *const c_char,
    subscription: *mut *mut netcluster_subscription,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let (client, pattern) = unsafe {
            input::put(subscription, "subscription", ptr::null_mut())?;
            (input::borrow(client, "client")?, input::text(pattern, "pattern")?)
        };
        let handle = netcluster_subscription {
            subscription: client.client.subscribe(pattern)?,
            name: Mutex::new(Name::new()),
        };
        // SAFETY: as above.
        unsafe { input::put(subscription, "subscription", Box::into_raw(Box::new(handle))) }
    })
}

/// Takes the next message; waits for it for so many milliseconds, or for ever if they are
/// negative. `*message` is to be given to netcluster_message_release; NULL if there is none:
/// NETCLUSTER_TIMEOUT: none came. NETCLUSTER_LOST: events are missing here, as `lost` says
/// unless it is NULL; others follow. NETCLUSTER_DISCONNECTED: none will come.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_next(
    subscription: *const netcluster_subscription,
    milliseconds: i64,
    message: *mut *mut netcluster_message,
    lost: *mut netcluster_lost,
) -> netcluster_error {
    guard(|| {
        // SAFETY: the rules for pointers.
        let handle = unsafe {
            input::put(message, "message", ptr::null_mut())?;
            input::borrow(subscription, "subscription")?
        };
        let taken = take(&handle.subscription, milliseconds);
        if let Err(RecvError::Lost(missing)) = taken {
            // SAFETY: the rules for pointers.
            unsafe { input::put_if_wanted(lost, missing.into()) };
        }
        let taken = taken?;
        let mut name = handle.name.lock().unwrap_or_else(PoisonError::into_inner);
        let name = name.of(taken.event()).clone();
        // SAFETY: as above.
        unsafe { input::put(message, "message", Held::into_c(taken, name)) }
    })
}

fn take(subscription: &Subscription, milliseconds: i64) -> Result<OwnedMessage, RecvError> {
    match u64::try_from(milliseconds) {
        Ok(0) => subscription.try_recv(),
        Ok(milliseconds) => subscription.recv_timeout(Duration::from_millis(milliseconds)),
        Err(_) => subscription.recv(),
    }
}

/// Frees a subscription, which ends it; NULL is nothing. No thread may wait in
/// netcluster_next meanwhile: netcluster_disconnect has those return.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_subscription_free(subscription: *mut netcluster_subscription) {
    // SAFETY: the rules for pointers.
    guard(|| unsafe { input::free(subscription) });
}
