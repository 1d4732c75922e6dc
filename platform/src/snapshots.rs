//! Tells when this machine was restored from a snapshot, or is a clone of another
//! one: then what was random and used once may be used a second time.
//!
//! ```text
//!   hypervisor: new generation id ─▶ kernel: vmgenid ─▶ uevent ─▶ thread ─▶ waker
//! ```
//! Linux tells it by an event of the device `vmgenid`, if the hypervisor has one and
//! the kernel passes it on. Containers with a user namespace of their own get no
//! such events, other systems have none. It does not know what to do then.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::Waker;

/// Whether the machine became another one.
#[derive(Debug)]
pub struct Snapshots(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    has_changed: AtomicBool,
    waker: OnceLock<Waker>,
}

impl Snapshots {
    /// Watches from now on, on a thread that ends with this.
    ///
    /// # Errors
    /// The system does not tell, or does not allow to ask.
    pub fn watch() -> io::Result<Snapshots> {
        let seen = Arc::new(Seen::default());
        system::watch(Arc::downgrade(&seen))?;
        Ok(Snapshots(seen))
    }

    /// Sets the waker that is woken at a change. What has changed before is there
    /// already.
    pub fn wake(&self, waker: Waker) {
        let _ = self.0.waker.set(waker);
    }

    /// Whether it happened since the last call.
    pub fn has_changed(&self) -> bool {
        self.0.has_changed.swap(false, Ordering::Acquire)
    }
}

impl Seen {
    #[cfg(target_os = "linux")]
    fn note(&self) {
        self.has_changed.store(true, Ordering::Release);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::sync::Weak;
    use std::thread;
    use std::time::Duration;

    use rustix::net::netlink::{KOBJECT_UEVENT, SocketAddrNetlink};
    use rustix::net::sockopt::{Timeout, set_socket_timeout};
    use rustix::net::{
        AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recvfrom, socket_with,
    };

    use super::Seen;

    /// The group in which the kernel tells of devices.
    const KERNEL_EVENTS: u32 = 1;

    /// Variable of the event of a new generation.
    const NEW_GENERATION: &[u8] = b"NEW_VMGENID=1";

    /// Largest event, in bytes; the kernel's own limit is 2 KiB of variables.
    const MAX_EVENT_BYTES: usize = 8 << 10;

    /// Pause between two looks of the thread whether it is still wanted.
    const LOOK: Duration = Duration::from_secs(10);

    pub(super) fn watch(seen: Weak<Seen>) -> io::Result<()> {
        let socket = socket_of_device_events()?;
        bind(&socket, &SocketAddrNetlink::new(0, KERNEL_EVENTS))?;
        set_socket_timeout(&socket, Timeout::Recv, Some(LOOK))?;
        let thread = thread::Builder::new().name("snapshots".into());
        thread.spawn(move || take_events(&socket, &seen)).map(drop)
    }

    fn socket_of_device_events() -> io::Result<OwnedFd> {
        let (family, kind) = (AddressFamily::NETLINK, SocketType::DGRAM);
        Ok(socket_with(family, kind, SocketFlags::CLOEXEC, Some(KOBJECT_UEVENT))?)
    }

    fn take_events(socket: &OwnedFd, seen: &Weak<Seen>) {
        let mut event = [0; MAX_EVENT_BYTES];
        while seen.strong_count() > 0 {
            let is_new = match recvfrom(socket, &mut event, RecvFlags::empty()) {
                Ok((bytes, _, from)) => {
                    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
                    // Only the kernel has the number 0.
                    from.is_some_and(|from| from.pid() == 0) && tells_it(&event[..bytes])
                }
                Err(rustix::io::Errno::NOBUFS) => {
                    tracing::warn!("so many devices came and went that some were not noticed");
                    false
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => false,
                Err(error) => {
                    tracing::warn!(%error, "snapshots of this machine are noticed no more");
                    return;
                }
            };
            if is_new && let Some(seen) = seen.upgrade() {
                seen.note();
            }
        }
    }

    fn tells_it(event: &[u8]) -> bool {
        event.split(|&byte| byte == 0).any(|variable| variable == NEW_GENERATION)
    }

    #[cfg(test)]
    mod tests {
        use rustix::net::{SendFlags, sendto};

        use super::super::Snapshots;
        use super::*;
        use crate::{Completion, Io, PollConfig, PollIo};

        /// Has the kernel tell of an event, in this thread's network namespace.
        fn tell(variable: &str) -> io::Result<()> {
            let event =
                format!("change@/devices/x\0ACTION=change\0DEVPATH=/devices/x\0{variable}\0");
            let mut message = Vec::new();
            message.extend_from_slice(&(16 + event.len() as u32).to_ne_bytes());
            // The first type that is not the protocol's own, and a request.
            message.extend_from_slice(&16u16.to_ne_bytes());
            message.extend_from_slice(&1u16.to_ne_bytes());
            message.extend_from_slice(&[0; 8]);
            message.extend_from_slice(event.as_bytes());
            let socket = socket_of_device_events()?;
            sendto(&socket, &message, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
            Ok(())
        }

        /// The shard is woken when the kernel tells of a new generation, and of that
        /// alone.
        #[test]
        fn a_new_generation_of_the_machine_wakes_who_waits() {
            let in_namespace = || {
                let namespace = rustix::thread::UnshareFlags::NEWNET;
                // SAFETY: nothing but this thread's own sockets depends on its network.
                if let Err(error) = unsafe { rustix::thread::unshare_unsafe(namespace) } {
                    println!("SKIPPED: a network namespace needs root: {error}");
                    return;
                }
                let snapshots = Snapshots::watch().unwrap();
                let mut io = PollIo::new(PollConfig::default()).unwrap();
                snapshots.wake(io.waker());
                for _ in 0..3 {
                    tell("SUBSYSTEM=net").unwrap();
                }
                assert!(!snapshots.has_changed());
                tell("NEW_VMGENID=1").unwrap();
                let mut completions = Vec::new();
                io.wait(&mut completions, Some(Duration::from_secs(20))).unwrap();
                assert!(matches!(completions[..], [Completion::Woken]), "{completions:?}");
                assert!(snapshots.has_changed() && !snapshots.has_changed());
            };
            thread::spawn(in_namespace).join().unwrap();
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;
    use std::sync::Weak;

    use super::Seen;

    pub(super) fn watch(_: Weak<Seen>) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "this system does not tell"))
    }
}
