//! Datagrams on Unixes that are not Linux: one per call, none joined or cut by
//! the kernel, and its drops unknown.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{SockAddr, Socket};

use super::super::interface::Interface;
use super::unix::{packet_info, set_option};
use super::{Buffer, Control, Label};

/// The most datagrams that one [`receive`] fetches.
pub(crate) const MAX_BATCH: usize = 1;

/// The options that every socket of the link has.
pub(in crate::datagram) fn set_options(socket: &Socket, v6: bool) -> io::Result<()> {
    // So that brokers can share the group's port; harmless for the others.
    socket.set_reuse_port(socket.reuse_address()?)?;
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1 as libc::c_int)
    } else {
        // macOS has it from 11 on; without, large datagrams are cut by IP.
        let _ = set_option(socket, libc::IPPROTO_IP, libc::IP_DONTFRAG, 1 as libc::c_int);
        Ok(())
    }
}

/// The kernel joins nothing.
pub(in crate::datagram) fn set_gro(_: &Socket) -> bool {
    false
}

/// The kernel cuts nothing.
pub(in crate::datagram) fn probe_gso(_: &Socket) -> bool {
    false
}

/// Does nothing: there is no way past the limit.
pub(in crate::datagram) fn force_buffer(_: &Socket, _: Buffer, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Does not know the MTU.
pub(in crate::datagram) fn mtu_bytes(_: &Socket, _: &Interface) -> Option<usize> {
    None
}

/// Reads a control message; this system has none of its own.
pub(in crate::datagram) fn control_value(level: i32, kind: i32, data: &[u8]) -> Option<Control> {
    packet_info(level, kind, data)
}

/// Is never called, since [`probe_gso`] says no.
pub(in crate::datagram) fn send_train(
    _: &Socket,
    _: &SockAddr,
    _: &[u8],
    _: u16,
) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Sends datagrams of `segment` bytes, the last perhaps shorter, as many as there
/// is room for; returns how many bytes.
pub(in crate::datagram) fn send_each(
    socket: &Socket,
    to: &SockAddr,
    bytes: &[u8],
    segment: usize,
) -> io::Result<usize> {
    let mut taken = 0;
    for datagram in bytes.chunks(segment) {
        match socket.send_to_with_flags(datagram, to, libc::MSG_DONTWAIT) {
            Ok(_) => taken += datagram.len(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => break,
            Err(_) if taken > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Fetches a datagram to the first `stride` bytes of `target`; returns how many.
pub(crate) fn receive(
    socket: &Socket,
    target: &mut [u8],
    stride: usize,
    labels: &mut [Label; MAX_BATCH],
) -> io::Result<usize> {
    let room = &mut target[..stride];
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: stride };
    loop {
        let mut header = labels[0].header(&mut part);
        // SAFETY: the header points to the part, the label and the target, all alive
        // and ours alone.
        let received =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        if let Ok(received) = usize::try_from(received) {
            labels[0].fill(&header, received);
            return Ok(1);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
