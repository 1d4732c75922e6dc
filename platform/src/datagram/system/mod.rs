//! What differs by system in handling datagrams. Each sibling supplies:
//!
//! - `set_options`: groups of other sockets do not count; drops are told; nothing
//!   is ever fragmented;
//! - `set_gro`, `probe_gso`: whether the kernel joins and cuts trains;
//! - `force_buffer`: more than the limit allows, for who may;
//! - `mtu_bytes` of an interface;
//! - `send_train`, `send_each`, `receive`: one system call each;
//! - `control_value`: its own control messages;
//! - `BUFFER_ADVICE`, `MEMBERSHIP_ADVICE`: what raises a limit.
//!
//! Here is what they share. Every call says that it must not block: the sockets
//! stay in blocking mode, as a ring needs them.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(all(unix, not(target_os = "linux")))]
mod other;

use std::io;
use std::os::fd::AsRawFd;

use socket2::Socket;

use super::arrival::{CONTROL_BYTES, NAME_BYTES};
#[cfg(target_os = "linux")]
pub(super) use linux::{
    BUFFER_ADVICE, MEMBERSHIP_ADVICE, control_value, force_buffer, mtu_bytes, probe_gso, send_each,
    send_train, set_gro, set_options,
};
#[cfg(target_os = "linux")]
pub(crate) use linux::{MAX_BATCH, receive};
#[cfg(all(unix, not(target_os = "linux")))]
pub(super) use other::{
    BUFFER_ADVICE, MEMBERSHIP_ADVICE, control_value, force_buffer, mtu_bytes, probe_gso, send_each,
    send_train, set_gro, set_options,
};
#[cfg(all(unix, not(target_os = "linux")))]
pub(crate) use other::{MAX_BATCH, receive};

/// A control message that not every system has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Bytes of each datagram of a train.
    Segment(usize),
    /// Datagrams that the socket has dropped so far, modulo 2³².
    Drops(u32),
}

/// Which of a socket's buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Buffer {
    /// The receive buffer.
    Receive,
    /// The send buffer.
    Send,
}

/// What one receive brought besides the bytes.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
pub(crate) struct Label {
    control: [u8; CONTROL_BYTES],
    name: [u8; NAME_BYTES],
    control_bytes: usize,
    name_bytes: usize,
    /// Bytes received.
    pub(crate) length: usize,
    /// Whether there were more.
    pub(crate) truncated: bool,
}

impl Label {
    pub(crate) const EMPTY: Label = Label {
        control: [0; CONTROL_BYTES],
        name: [0; NAME_BYTES],
        control_bytes: 0,
        name_bytes: 0,
        length: 0,
        truncated: false,
    };

    pub(crate) fn name(&self) -> &[u8] {
        &self.name[..self.name_bytes]
    }

    pub(crate) fn control(&self) -> &[u8] {
        &self.control[..self.control_bytes]
    }

    /// A header for a receive into `part`, which must be there as long as it.
    fn header(&mut self, part: &mut libc::iovec) -> libc::msghdr {
        // SAFETY: all zeros is a valid, empty header.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_name = self.name.as_mut_ptr().cast();
        header.msg_namelen = NAME_BYTES as _;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_control = self.control.as_mut_ptr().cast();
        header.msg_controllen = CONTROL_BYTES as _;
        header
    }

    /// Takes over what the kernel wrote to the header.
    fn fill(&mut self, header: &libc::msghdr, length: usize) {
        self.name_bytes = (header.msg_namelen as usize).min(NAME_BYTES);
        // Of another type on some systems.
        let control_bytes: usize = header.msg_controllen as _;
        self.control_bytes = control_bytes.min(CONTROL_BYTES);
        self.length = length;
        self.truncated = header.msg_flags & libc::MSG_TRUNC != 0;
    }
}

/// Sets an option of plain type.
fn set_option<T: Copy>(socket: &Socket, level: i32, name: i32, value: T) -> io::Result<()> {
    // SAFETY: the value is there and as long as is said; the kernel copies it.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// By which interface groups are reached from this socket.
pub(super) fn set_multicast_interface(socket: &Socket, v6: bool, index: u32) -> io::Result<()> {
    if v6 {
        return socket.set_multicast_if_v6(index);
    }
    let any = libc::in_addr { s_addr: 0 };
    let interface =
        libc::ip_mreqn { imr_multiaddr: any, imr_address: any, imr_ifindex: index as libc::c_int };
    set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, interface)
}

/// Has the kernel tell where each datagram was sent to, and where it came in.
pub(super) fn set_packet_info(socket: &Socket, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1 as libc::c_int)
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1 as libc::c_int)
    }
}
