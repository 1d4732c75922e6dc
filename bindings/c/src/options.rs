//! What a connection can be told, one setter each.

use std::ffi::c_char;
use std::time::Duration;

use ::netcluster_client::{Client, ClientBuilder, QueuePolicy, Reconnect, SharedMemory};

use crate::error::{Failure, guard, guard_or, netcluster_error, netcluster_error::*};
use crate::input;

/// Options of a connection. Made with the defaults, changed by the setters, and still the
/// program's after it connected. One thread at a time.
#[derive(Clone, Debug)]
#[allow(non_camel_case_types)]
pub struct netcluster_options {
    channel: Option<String>,
    name: Option<String>,
    echo: bool,
    latest: bool,
    max_queue_bytes: u64,
    max_buffer_bytes: Option<usize>,
    shared_memory: bool,
    spin: Duration,
    reconnect: bool,
    connect_timeout: Option<Duration>,
    disconnect_timeout: Option<Duration>,
    wait_for_broker: Duration,
    wait_for_cluster: Option<Duration>,
}

impl Default for netcluster_options {
    fn default() -> netcluster_options {
        netcluster_options {
            channel: None,
            name: None,
            echo: false,
            latest: false,
            max_queue_bytes: 0,
            max_buffer_bytes: None,
            shared_memory: true,
            spin: Duration::ZERO,
            reconnect: true,
            connect_timeout: None,
            disconnect_timeout: None,
            wait_for_broker: Duration::ZERO,
            wait_for_cluster: None,
        }
    }
}

impl netcluster_options {
    /// Makes the builder that these options say.
    pub(crate) fn builder(&self) -> ClientBuilder {
        let mut builder = Client::builder()
            .echo(self.echo)
            .max_queue(self.max_queue_bytes)
            .spin(self.spin)
            .wait_for_broker(self.wait_for_broker);
        if let Some(channel) = &self.channel {
            builder = builder.channel(channel);
        }
        if let Some(name) = &self.name {
            builder = builder.name(name);
        }
        if self.latest {
            builder = builder.queue(QueuePolicy::Latest);
        }
        if let Some(bytes) = self.max_buffer_bytes {
            builder = builder.max_buffer(bytes);
        }
        if !self.shared_memory {
            builder = builder.shared_memory(SharedMemory::Off);
        }
        if !self.reconnect {
            builder = builder.reconnect(Reconnect::Never);
        }
        if let Some(timeout) = self.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        if let Some(timeout) = self.disconnect_timeout {
            builder = builder.disconnect_timeout(timeout);
        }
        if let Some(timeout) = self.wait_for_cluster {
            builder = builder.wait_for_cluster(timeout);
        }
        builder
    }
}

/// Makes options with their defaults. NULL if there is no memory.
#[unsafe(no_mangle)]
pub extern "C" fn netcluster_options_new() -> *mut netcluster_options {
    guard_or(std::ptr::null_mut(), || Ok(Box::into_raw(Box::default())))
}

/// Frees options; NULL is nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_free(options: *mut netcluster_options) {
    // SAFETY: it is from netcluster_options_new, and used no more.
    guard(|| unsafe { input::free(options) });
}

/// # Safety
/// The pointer is NULL or from [`netcluster_options_new`].
unsafe fn set(
    options: *mut netcluster_options,
    change: impl FnOnce(&mut netcluster_options) -> Result<(), Failure>,
) -> netcluster_error {
    // SAFETY: as the caller promises.
    guard(|| change(unsafe { input::borrow_mut(options, "options") }?))
}

/// Reads a time in milliseconds.
fn time(milliseconds: i64) -> Result<Duration, Failure> {
    let positive = u64::try_from(milliseconds);
    positive
        .map(Duration::from_millis)
        .map_err(|_| Failure::new(NETCLUSTER_VALUE, "a time is negative"))
}

/// Sets the channel: only clients of the same one hear each other. "default" by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_channel(
    options: *mut netcluster_options,
    channel: *const c_char,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            let channel = input::text(channel, "channel")?;
            // Kept also if it is refused: who does not look at that does not get another one.
            options.channel = Some(channel.to_owned());
            Ok(Client::builder().channel(channel).check()?)
        })
    }
}

/// Sets the name of this client in the broker's status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_name(
    options: *mut netcluster_options,
    name: *const c_char,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            let name = input::text(name, "name")?;
            options.name = Some(name.to_owned());
            Ok(Client::builder().name(name).check()?)
        })
    }
}

/// Sets whether own listeners hear own events; they do not by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_echo(
    options: *mut netcluster_options,
    echo: bool,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.echo = echo;
            Ok(())
        })
    }
}

/// Sets what happens when own listeners do not keep up: with true this client loses the
/// oldest events, is told, and delays nobody; by default its emitters wait.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_latest(
    options: *mut netcluster_options,
    latest: bool,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.latest = latest;
            Ok(())
        })
    }
}

/// Sets how many bytes the broker may hold for this client; 0: as the broker has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_max_queue(
    options: *mut netcluster_options,
    bytes: u64,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.max_queue_bytes = bytes;
            Ok(())
        })
    }
}

/// Sets how many bytes of emitted events may wait in this process; 4 MiB by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_max_buffer(
    options: *mut netcluster_options,
    bytes: usize,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.max_buffer_bytes = Some(bytes);
            Ok(())
        })
    }
}

/// Sets whether events may go through memory that the broker shares with this client; they
/// may by default, where the system has it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_shared_memory(
    options: *mut netcluster_options,
    shared_memory: bool,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.shared_memory = shared_memory;
            Ok(())
        })
    }
}

/// Sets for how many microseconds the client looks for events in shared memory before it
/// sleeps; 0 by default. Looking takes a core, being woken some 50 microseconds.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_spin(
    options: *mut netcluster_options,
    microseconds: u32,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.spin = Duration::from_micros(microseconds.into());
            Ok(())
        })
    }
}

/// Sets whether a lost connection is made again; it is by default, for ever.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_reconnect(
    options: *mut netcluster_options,
    reconnect: bool,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.reconnect = reconnect;
            Ok(())
        })
    }
}

/// Sets how long to wait for the broker's answers; 5000 milliseconds by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_connect_timeout(
    options: *mut netcluster_options,
    milliseconds: i64,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.connect_timeout = Some(time(milliseconds)?);
            Ok(())
        })
    }
}

/// Sets how long netcluster_disconnect waits; 5000 milliseconds by default.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_disconnect_timeout(
    options: *mut netcluster_options,
    milliseconds: i64,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.disconnect_timeout = Some(time(milliseconds)?);
            Ok(())
        })
    }
}

/// Sets how long the first connection is tried again while no broker is there; by default
/// it is tried once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_wait_for_broker(
    options: *mut netcluster_options,
    milliseconds: i64,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.wait_for_broker = time(milliseconds)?;
            Ok(())
        })
    }
}

/// Lets netcluster_on and the like return only when the brokers of all machines know of the
/// listener; NETCLUSTER_CLUSTER_INCOMPLETE after this time. By default they wait for this
/// machine alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn netcluster_options_set_wait_for_cluster(
    options: *mut netcluster_options,
    milliseconds: i64,
) -> netcluster_error {
    // SAFETY: the rules for pointers.
    unsafe {
        set(options, |options| {
            options.wait_for_cluster = Some(time(milliseconds)?);
            Ok(())
        })
    }
}
