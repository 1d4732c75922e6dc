//! Resolver of the names of unicast peers, which looks them up again and again.
//!
//! Each name has a thread of its own, so that one which no server answers for
//! delays no other. Addresses that are numbers need none.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use netcluster_platform::Waker;

/// Time after which a name that was found is looked up again.
const REFRESH: Duration = Duration::from_secs(30);
/// Time after which a name that was not found is looked up again.
const RETRY: Duration = Duration::from_secs(5);
/// Addresses that one name may stand for; more are ignored.
const MAX_ADDRESSES: usize = 16;

/// Addresses that all peers stand for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Addresses of the peers, in the order of the peers.
    pub addresses: Vec<SocketAddr>,
    /// Names that stand for nothing yet.
    pub unresolved: usize,
}

/// Addresses that the threads have found.
struct Found {
    /// Addresses of each peer, in the order of the peers; `None`: not found yet.
    addresses: Mutex<Vec<Option<Vec<SocketAddr>>>>,
    has_changed: AtomicBool,
    /// Waker of the shard that wants to know of changes at once.
    waker: OnceLock<Waker>,
}

/// Addresses of all peers, whenever any of them has changed. When this is dropped the
/// threads end, each after its pause.
pub struct Addresses(Arc<Found>);

impl Addresses {
    /// Sets the waker of whoever is to know when an address has changed. What has
    /// changed before is there already.
    pub fn wake(&self, waker: Waker) {
        let _ = self.0.waker.set(waker);
    }

    /// Returns all addresses, if they have changed since the last call.
    pub fn latest(&self) -> Option<Resolved> {
        let has_changed = self.0.has_changed.swap(false, Ordering::Acquire);
        has_changed.then(|| self.0.resolved())
    }
}

impl Found {
    fn resolved(&self) -> Resolved {
        let all = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        Resolved {
            addresses: all.iter().flatten().flatten().copied().collect(),
            unresolved: all.iter().filter(|found| found.is_none()).count(),
        }
    }

    fn set(&self, at: usize, addresses: Vec<SocketAddr>) {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(addresses);
        self.has_changed.store(true, Ordering::Release);
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    fn is(&self, at: usize, addresses: &[SocketAddr]) -> bool {
        let all = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        all[at].as_deref() == Some(addresses)
    }
}

/// Resolves `peers` (each `host:port`): returns the addresses of those that are
/// numbers, and a handle that gives all addresses whenever any of the others has
/// changed. `ipv6` says which family is of use.
///
/// # Errors
/// A thread could not be started.
pub fn resolve(peers: &[String], ipv6: bool) -> io::Result<(Resolved, Option<Addresses>)> {
    let numbers = peers.iter().map(|peer| {
        let address: SocketAddr = peer.parse().ok()?;
        Some(Vec::from_iter((address.is_ipv6() == ipv6).then_some(address)))
    });
    let found = Arc::new(Found {
        addresses: Mutex::new(numbers.collect()),
        has_changed: AtomicBool::new(false),
        waker: OnceLock::new(),
    });
    let known = found.resolved();
    if known.unresolved == 0 {
        return Ok((known, None));
    }
    for (at, name) in peers.iter().enumerate() {
        if name.parse::<SocketAddr>().is_err() {
            let (name, found) = (name.clone(), Arc::downgrade(&found));
            thread::Builder::new()
                .name("resolver".into())
                .spawn(move || look_up_for_ever(&name, at, ipv6, &found))?;
        }
    }
    Ok((known, Some(Addresses(found))))
}

fn look_up_for_ever(name: &str, at: usize, ipv6: bool, found: &Weak<Found>) {
    let mut failing = false;
    while found.strong_count() > 0 {
        let pause = match look_up(name, ipv6) {
            Ok(addresses) => {
                failing = false;
                let Some(found) = found.upgrade() else { return };
                if !found.is(at, &addresses) {
                    tracing::info!(peer = name, ?addresses, "resolved");
                    found.set(at, addresses);
                }
                REFRESH
            }
            // The addresses that the name stood for before may still be right.
            Err(error) => {
                if !failing {
                    tracing::warn!(peer = name, %error, "cannot resolve; trying again");
                }
                failing = true;
                RETRY
            }
        };
        thread::sleep(pause);
    }
}

/// Looks a name up. The addresses are sorted, so that another order of the same answer
/// is no change.
fn look_up(name: &str, ipv6: bool) -> io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> =
        name.to_socket_addrs()?.filter(|address| address.is_ipv6() == ipv6).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(MAX_ADDRESSES);
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use netcluster_platform::{Completion, Io, PollConfig, PollIo};

    use super::*;

    #[test]
    fn numbers_need_no_looking_up() {
        let peers = ["127.0.0.1:5".to_owned(), "[::1]:6".to_owned()];
        let (known, addresses) = resolve(&peers, false).unwrap();
        let expected = vec!["127.0.0.1:5".parse().unwrap()];
        assert_eq!(known, Resolved { addresses: expected, unresolved: 0 });
        assert!(addresses.is_none());
    }

    #[test]
    fn a_name_that_is_found_wakes_who_waits_and_one_that_is_not_delays_nobody() {
        let peers = ["no-such-host.invalid:1".to_owned(), "localhost:7".to_owned()];
        let (known, addresses) = resolve(&peers, false).unwrap();
        assert_eq!(known, Resolved { addresses: vec![], unresolved: 2 });
        let addresses = addresses.unwrap();
        let mut io = PollIo::new(PollConfig::default()).unwrap();
        addresses.wake(io.waker());
        let found = loop {
            // What was found before it could be woken is there already.
            if let Some(found) = addresses.latest() {
                break found;
            }
            let mut completions = Vec::new();
            io.wait(&mut completions, Some(Duration::from_secs(20))).unwrap();
            assert!(matches!(completions[..], [Completion::Woken]), "not woken within 20 s");
        };
        let expected = vec!["127.0.0.1:7".parse().unwrap()];
        assert_eq!(found, Resolved { addresses: expected, unresolved: 1 });
        assert_eq!(addresses.latest(), None);
    }
}
