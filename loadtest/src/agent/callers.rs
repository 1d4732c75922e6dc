//! Connections that have not proven who they are: so many at a time, and nobody locks
//! others out by being silent.
//!
//! When there is no room, the oldest connection of the address that has the most gives
//! way: who comes from elsewhere never does, unless nobody has two.

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most connections that are greeted at a time.
pub const MAX_CALLERS: usize = 64;

/// Most threads for connections: the thread of one that was sent away takes a moment to
/// end.
const MAX_THREADS: usize = 2 * MAX_CALLERS;

/// Connections that have not proven who they are.
#[derive(Default)]
pub struct Callers {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Connections that are greeted, the oldest first.
    greeted: Vec<(u64, IpAddr, TcpStream)>,
    threads: usize,
    next: u64,
}

/// Place of a connection among the callers, which is given back when this is dropped.
pub struct Caller<'a> {
    callers: &'a Callers,
    number: u64,
}

impl Callers {
    /// Makes room for one more connection; `None` if too many are just being sent away,
    /// or the system refuses.
    pub fn admit(&self, stream: &TcpStream) -> Option<Caller<'_>> {
        let from = stream.peer_addr().ok()?.ip();
        let copy = stream.try_clone().ok()?;
        let mut state = self.lock();
        if state.threads == MAX_THREADS {
            return None;
        }
        if state.greeted.len() == MAX_CALLERS {
            state.send_one_away();
        }
        let number = state.next;
        state.next += 1;
        state.threads += 1;
        state.greeted.push((number, from, copy));
        Some(Caller { callers: self, number })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send_one_away(&mut self) {
        let of = |from: IpAddr| self.greeted.iter().filter(|(_, other, _)| *other == from).count();
        // The first of the largest: `max_by_key` would take the last.
        let most = self.greeted.iter().map(|(_, from, _)| of(*from)).max();
        let at = self.greeted.iter().position(|(_, from, _)| Some(of(*from)) == most);
        if let Some(at) = at {
            let (_, _, stream) = self.greeted.remove(at);
            // Its thread sees the end.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let mut state = self.callers.lock();
        state.greeted.retain(|(number, ..)| *number != self.number);
        state.threads -= 1;
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    /// Connects from this address of the loopback network; returns both ends.
    fn connect(listener: &TcpListener, last: u8) -> (TcpStream, TcpStream) {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        use std::net::{Ipv4Addr, SocketAddrV4};
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0)).unwrap();
        connect(&socket, &listener.local_addr().unwrap()).unwrap();
        (TcpStream::from(socket), listener.accept().unwrap().0)
    }

    #[test]
    fn the_silent_give_way_and_those_from_elsewhere_stay() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let callers = Callers::default();
        let (_here, elsewhere) = connect(&listener, 9);
        let _first = callers.admit(&elsewhere).unwrap();
        let mut flood = Vec::new();
        for _ in 0..MAX_CALLERS {
            let (here, there) = connect(&listener, 1);
            flood.push((here, callers.admit(&there).unwrap()));
        }
        // One of the flood was sent away: its oldest.
        assert_eq!(flood[0].0.read(&mut [0]).unwrap(), 0);
        let state = callers.lock();
        assert_eq!(state.greeted.len(), MAX_CALLERS);
        assert_eq!(state.greeted[0].0, 0, "who comes from elsewhere is still there");
        assert_eq!(state.greeted[1].0, 2);
        drop(state);
        drop(flood);
        assert_eq!(callers.lock().threads, 1);
    }

    #[test]
    fn threads_that_do_not_end_are_bounded() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let callers = Callers::default();
        let mut all = Vec::new();
        for _ in 0..MAX_THREADS {
            let (here, there) = connect(&listener, 1);
            all.push((here, callers.admit(&there).unwrap()));
        }
        let (_here, there) = connect(&listener, 1);
        assert!(callers.admit(&there).is_none());
        all.pop();
        assert!(callers.admit(&there).is_some());
    }
}
