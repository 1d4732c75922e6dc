//! Names of unicast peers into addresses, again and again.
//!
//! Each name has a thread of its own, so that one which no server answers for
//! delays no other. Addresses that are numbers need none.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// A name is looked up again this long after it was found.
const REFRESH: Duration = Duration::from_secs(30);
/// And this long after it was not.
const RETRY: Duration = Duration::from_secs(5);
/// Addresses that one name may stand for; more are ignored.
const MAX_ADDRESSES: usize = 16;

/// What all names stand for now, in their order.
type Found = Arc<Mutex<Vec<Vec<SocketAddr>>>>;

/// Where all addresses come whenever any of them has changed. When it is dropped
/// the threads end, each after its pause.
pub struct Addresses {
    receiver: Receiver<Vec<SocketAddr>>,
    _alive: Arc<()>,
}

impl Addresses {
    /// All addresses, if they have changed since the last call.
    pub fn latest(&self) -> Option<Vec<SocketAddr>> {
        self.receiver.try_iter().last()
    }
}

/// The addresses of `peers` (each `host:port`) that are numbers, and where all
/// addresses come whenever any of the others has changed. `ipv6` says which ones
/// are of use.
///
/// # Errors
/// A thread could not be started.
pub fn resolve(peers: &[String], ipv6: bool) -> io::Result<(Vec<SocketAddr>, Option<Addresses>)> {
    let numbers: Vec<Vec<SocketAddr>> = peers
        .iter()
        .map(|peer| peer.parse().ok().filter(|it: &SocketAddr| it.is_ipv6() == ipv6))
        .map(|address| address.into_iter().collect())
        .collect();
    let known = numbers.concat();
    let names: Vec<(usize, &String)> =
        peers.iter().enumerate().filter(|(_, peer)| peer.parse::<SocketAddr>().is_err()).collect();
    if names.is_empty() {
        return Ok((known, None));
    }
    let (sender, receiver) = mpsc::channel();
    let found: Found = Arc::new(Mutex::new(numbers));
    let alive = Arc::new(());
    for (at, name) in names {
        let (name, found, sender) = (name.clone(), Arc::clone(&found), sender.clone());
        let alive = Arc::downgrade(&alive);
        thread::Builder::new()
            .name("resolver".into())
            .spawn(move || look_up_for_ever(&name, at, ipv6, &found, (&sender, &alive)))?;
    }
    Ok((known, Some(Addresses { receiver, _alive: alive })))
}

fn look_up_for_ever(
    name: &str,
    at: usize,
    ipv6: bool,
    found: &Found,
    (sender, alive): (&Sender<Vec<SocketAddr>>, &Weak<()>),
) {
    let mut failing = false;
    while alive.strong_count() > 0 {
        let pause = match look_up(name, ipv6) {
            Ok(addresses) => {
                failing = false;
                let mut all = found.lock().unwrap_or_else(PoisonError::into_inner);
                if all[at] != addresses {
                    tracing::info!(peer = name, ?addresses, "resolved");
                    all[at] = addresses;
                    if sender.send(all.concat()).is_err() {
                        return;
                    }
                }
                REFRESH
            }
            // What it stood for before may still be right.
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

/// Sorted, so that another order of the same answer is no change.
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
    use super::*;

    #[test]
    fn numbers_need_no_looking_up() {
        let peers = ["127.0.0.1:5".to_owned(), "[::1]:6".to_owned()];
        let (known, receiver) = resolve(&peers, false).unwrap();
        assert_eq!(known, ["127.0.0.1:5".parse().unwrap()]);
        assert!(receiver.is_none());
    }

    #[test]
    fn a_name_is_found_and_one_that_is_not_delays_nobody() {
        let peers = ["no-such-host.invalid:1".to_owned(), "localhost:7".to_owned()];
        let (known, receiver) = resolve(&peers, false).unwrap();
        assert!(known.is_empty());
        let found = receiver.unwrap().receiver.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(found, ["127.0.0.1:7".parse().unwrap()]);
    }
}
