//! Datagrams on Linux.

use std::io;
use std::os::fd::AsRawFd;

use socket2::{SockAddr, Socket};

use super::super::MAX_DATAGRAMS_PER_SEND;
use super::super::interface::Interface;
use super::unix::{packet_info, read, set_option};
use super::{Buffer, Control, Label};

// From include/uapi/linux/udp.h and asm-generic/socket.h; not in `libc` for all
// C libraries.
const SOL_UDP: i32 = 17;
const UDP_SEGMENT: i32 = 103;
const UDP_GRO: i32 = 104;
const SO_SNDBUFFORCE: i32 = 32;
const SO_RCVBUFFORCE: i32 = 33;
const SO_RXQ_OVFL: i32 = 40;
const SIOCGIFMTU: u64 = 0x8921;

/// The most datagrams that one [`receive`] fetches.
pub(crate) const MAX_BATCH: usize = 16;

const SEND_FLAGS: libc::c_int = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// The options that every socket of the link has.
pub(in crate::datagram) fn set_options(socket: &Socket, v6: bool) -> io::Result<()> {
    const ON: libc::c_int = 1;
    set_option(socket, libc::SOL_SOCKET, SO_RXQ_OVFL, ON)?;
    // "Probe" sets the mark that forbids fragments and believes no ICMP message
    // about a smaller path, which anybody could forge: the link probes for itself.
    if v6 {
        socket.set_multicast_all_v6(false)?;
        set_option(
            socket,
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_PROBE as libc::c_int,
        )
    } else {
        socket.set_multicast_all_v4(false)?;
        set_option(
            socket,
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_PROBE as libc::c_int,
        )
    }
}

/// Has the kernel join datagrams that arrive; whether it can (Linux 5.0).
pub(in crate::datagram) fn set_gro(socket: &Socket) -> bool {
    set_option(socket, SOL_UDP, UDP_GRO, 1 as libc::c_int).is_ok()
}

/// Whether the kernel cuts trains (Linux 4.18).
pub(in crate::datagram) fn probe_gso(socket: &Socket) -> bool {
    // Zero: sockets as usual; each send says for itself.
    set_option(socket, SOL_UDP, UDP_SEGMENT, 0 as libc::c_int).is_ok()
}

/// Sets a buffer's size beyond the limit, for who may administer the network.
pub(in crate::datagram) fn force_buffer(
    socket: &Socket,
    buffer: Buffer,
    bytes: usize,
) -> io::Result<()> {
    let name = match buffer {
        Buffer::Receive => SO_RCVBUFFORCE,
        Buffer::Send => SO_SNDBUFFORCE,
    };
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX / 2);
    set_option(socket, libc::SOL_SOCKET, name, bytes)
}

/// The largest packet that an interface takes.
pub(in crate::datagram) fn mtu_bytes(socket: &Socket, interface: &Interface) -> Option<usize> {
    // SAFETY: all zeros is a valid request.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays zero.
    let room = request.ifr_name.len() - 1;
    for (target, &byte) in request.ifr_name[..room].iter_mut().zip(interface.name.as_bytes()) {
        *target = byte as libc::c_char;
    }
    // SAFETY: the request is there, and this one only writes the MTU to it.
    let outcome = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFMTU as _, &raw mut request) };
    if outcome != 0 {
        return None;
    }
    // SAFETY: the kernel has just written this member.
    usize::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()
}

/// Reads a control message.
pub(in crate::datagram) fn control_value(level: i32, kind: i32, data: &[u8]) -> Option<Control> {
    match (level, kind) {
        (SOL_UDP, UDP_GRO) => {
            usize::try_from(read::<i32>(data)?).ok().filter(|&it| it > 0).map(Control::Segment)
        }
        (libc::SOL_SOCKET, SO_RXQ_OVFL) => read::<u32>(data).map(Control::Drops),
        _ => packet_info(level, kind, data),
    }
}

/// A control message, room included, that says how to cut a train.
#[repr(C)]
struct SegmentControl {
    head: libc::cmsghdr,
    bytes: u16,
    _room: [u8; size_of::<usize>() - 2],
}

/// Sends one train that the kernel cuts. All of it or nothing.
pub(in crate::datagram) fn send_train(
    socket: &Socket,
    to: &SockAddr,
    bytes: &[u8],
    segment: u16,
) -> io::Result<()> {
    // SAFETY: all zeros is a valid message.
    let mut control: SegmentControl = unsafe { std::mem::zeroed() };
    // SAFETY: it only computes.
    control.head.cmsg_len = unsafe { libc::CMSG_LEN(2) } as _;
    control.head.cmsg_level = SOL_UDP;
    control.head.cmsg_type = UDP_SEGMENT;
    control.bytes = segment;
    let mut part = part_of(bytes);
    let mut header = header_to(to, &mut part);
    header.msg_control = (&raw mut control).cast();
    header.msg_controllen = size_of::<SegmentControl>() as _;
    loop {
        // SAFETY: all that the header points to is alive, and only read.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, SEND_FLAGS) };
        if sent >= 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Sends datagrams of `segment` bytes, the last perhaps shorter, as many as there
/// is room for; returns how many bytes.
pub(in crate::datagram) fn send_each(
    socket: &Socket,
    to: &SockAddr,
    bytes: &[u8],
    segment: usize,
) -> io::Result<usize> {
    let mut parts = [part_of(&[]); MAX_DATAGRAMS_PER_SEND];
    // SAFETY: all zeros are valid, empty headers.
    let mut headers: [libc::mmsghdr; MAX_DATAGRAMS_PER_SEND] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    for ((datagram, part), header) in bytes.chunks(segment).zip(&mut parts).zip(&mut headers) {
        *part = part_of(datagram);
        header.msg_hdr = header_to(to, part);
        count += 1;
    }
    loop {
        // SAFETY: all that the headers point to is alive, and only read; the kernel
        // writes the lengths to the headers.
        let sent = unsafe {
            libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, SEND_FLAGS as _)
        };
        if let Ok(sent) = usize::try_from(sent) {
            return Ok((sent * segment).min(bytes.len()));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn part_of(bytes: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
}

fn header_to(to: &SockAddr, part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all zeros is a valid, empty header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_name = to.as_ptr().cast_mut().cast();
    header.msg_namelen = to.len();
    header.msg_iov = part;
    header.msg_iovlen = 1;
    header
}

/// Fetches datagrams or trains, each to its own `stride` bytes of `target`;
/// returns how many.
pub(crate) fn receive(
    socket: &Socket,
    target: &mut [u8],
    stride: usize,
    labels: &mut [Label; MAX_BATCH],
) -> io::Result<usize> {
    let mut parts = [part_of(&[]); MAX_BATCH];
    // SAFETY: all zeros are valid, empty headers.
    let mut headers: [libc::mmsghdr; MAX_BATCH] = unsafe { std::mem::zeroed() };
    let mut count = 0;
    let rooms = target.chunks_exact_mut(stride);
    for (((room, part), header), label) in
        rooms.zip(&mut parts).zip(&mut headers).zip(labels.iter_mut())
    {
        *part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: stride };
        header.msg_hdr = label.header(part);
        count += 1;
    }
    loop {
        // SAFETY: the headers point to the parts, the labels and the target, all
        // alive and ours alone.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if let Ok(received) = usize::try_from(received) {
            for (label, header) in labels.iter_mut().zip(&headers).take(received) {
                label.fill(&header.msg_hdr, header.msg_len as usize);
            }
            return Ok(received);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}
