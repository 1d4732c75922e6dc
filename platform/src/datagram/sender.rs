//! Sending: trains that the kernel cuts, or many datagrams per call where it
//! cannot.
//!
//! ```text
//!   bytes  [ segment | segment | segment | rest ]
//!   GSO    one sendmsg, cut below the routing: one walk through the stack
//!   else   one sendmmsg, or a send for each: one walk per datagram
//! ```
//! It keeps nothing of the bytes and does not wait.
//!
//! Invariant: the socket's multicast loop is as `looped` says, if that is known.
//!
//! Decision: `docs/decisions/012-plain-sendmsg.md`.

use std::io;
use std::net::SocketAddr;

use socket2::{SockAddr, Socket};

use super::{DatagramStats, MAX_DATAGRAMS_PER_SEND, system};

/// The longest train: an IPv6 packet's length, less the headers of IP (40 at
/// most) and UDP (8).
const MAX_TRAIN_BYTES: usize = u16::MAX as usize - 48;

/// Reason for which datagrams are sent one by one from now on.
pub(super) const GSO_LOST: &str =
    "the network interface cannot cut trains of datagrams (GSO); they are sent one by one";

/// Sending side of the link's socket.
#[derive(Debug)]
pub(super) struct Sender {
    v6: bool,
    gso: bool,
    /// Whether the socket loops multicast back; `None`: not known.
    looped: Option<bool>,
}

impl Sender {
    pub(super) fn new(v6: bool, gso: bool) -> Sender {
        Sender { v6, gso, looped: None }
    }

    /// Whether the kernel cuts trains.
    pub(super) fn gso(&self) -> bool {
        self.gso
    }

    /// Sends as [`DatagramIo::send_datagrams`](super::DatagramIo::send_datagrams) says.
    pub(super) fn send(
        &mut self,
        socket: &Socket,
        to: SocketAddr,
        bytes: &[u8],
        segment: usize,
        looped: bool,
        stats: &mut DatagramStats,
    ) -> io::Result<usize> {
        debug_assert!(segment > 0);
        debug_assert!(bytes.len().div_ceil(segment.max(1)) <= MAX_DATAGRAMS_PER_SEND);
        if bytes.is_empty() || segment == 0 {
            return Ok(0);
        }
        if to.ip().is_multicast() && self.looped != Some(looped) {
            self.set_looped(socket, looped)?;
        }
        let address = SockAddr::from(to);
        let step_bytes = if self.gso {
            (MAX_TRAIN_BYTES / segment).clamp(1, MAX_DATAGRAMS_PER_SEND) * segment
        } else {
            MAX_DATAGRAMS_PER_SEND * segment
        };
        let mut taken = 0;
        for step in bytes.chunks(step_bytes) {
            match self.send_step(socket, &address, step, segment) {
                Ok(sent) => {
                    taken += sent;
                    stats.sends += 1;
                    stats.sent_bytes += sent as u64;
                    stats.sent += sent.div_ceil(segment) as u64;
                    if sent < step.len() {
                        return Ok(taken);
                    }
                }
                // What follows is tried again by the caller and then told.
                Err(_) if taken > 0 => return Ok(taken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(error) => {
                    stats.send_errors += bytes.len().div_ceil(segment) as u64;
                    return Err(error);
                }
            }
        }
        Ok(taken)
    }

    fn send_step(
        &mut self,
        socket: &Socket,
        to: &SockAddr,
        bytes: &[u8],
        segment: usize,
    ) -> io::Result<usize> {
        if self.gso
            && bytes.len() > segment
            && let Ok(segment_bytes) = u16::try_from(segment)
        {
            match system::send_train(socket, to, bytes, segment_bytes) {
                Ok(()) => return Ok(bytes.len()),
                // It may also be that the segment is too large. The other way shows which.
                Err(error) if system::may_be_uncut(&error) => {
                    let sent = system::send_each(socket, to, bytes, segment)?;
                    self.gso = false;
                    return Ok(sent);
                }
                Err(error) => return Err(error),
            }
        }
        system::send_each(socket, to, bytes, segment)
    }

    fn set_looped(&mut self, socket: &Socket, looped: bool) -> io::Result<()> {
        if self.v6 {
            socket.set_multicast_loop_v6(looped)?
        } else {
            socket.set_multicast_loop_v4(looped)?
        }
        self.looped = Some(looped);
        Ok(())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::UdpSocket;

    use socket2::{Domain, Type};

    use super::*;

    /// Has the kernel refuse to cut trains, as for a device that cannot sum them.
    fn refuse_trains(socket: &Socket) {
        use std::os::fd::AsRawFd;
        let on: libc::c_int = 1;
        // SAFETY: the value is there and as long as is said.
        let outcome = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NO_CHECK,
                (&raw const on).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        assert_eq!(outcome, 0);
    }

    #[test]
    fn a_refused_train_is_sent_one_by_one_and_so_are_all_after_it() {
        let target = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = target.local_addr().unwrap();
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
        if !system::probe_gso(&socket) {
            return println!("SKIPPED: this kernel cuts no trains");
        }
        let mut stats = DatagramStats::default();
        let mut sender = Sender::new(false, true);
        // A segment that is too large is no reason to give trains up.
        let large = vec![1; 65_508 * 2];
        assert!(sender.send(&socket, to, &large, 65_508, true, &mut stats).is_err());
        assert!(sender.gso());
        refuse_trains(&socket);
        for _ in 0..2 {
            let sent = sender.send(&socket, to, &[7; 250], 100, true, &mut stats).unwrap();
            assert_eq!(sent, 250);
            assert!(!sender.gso());
            for length in [100, 100, 50] {
                assert_eq!(target.recv(&mut [0; 300]).unwrap(), length);
            }
        }
        assert_eq!((stats.sent, stats.sends, stats.send_errors), (6, 2, 2));
    }
}
