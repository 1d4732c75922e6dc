//! Handling of datagrams that all Unixes share: headers, control messages,
//! options, groups by the number of their interface.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsRawFd;

use socket2::{InterfaceIndexOrAddress, Socket};

use super::super::interface::Interface;
use super::{CONTROL_BYTES, Control, Label, NAME_BYTES};

const _: () = assert!(NAME_BYTES >= size_of::<libc::sockaddr_in6>());

/// The error of a send that is longer than the interface takes.
pub(crate) const MESSAGE_TOO_LONG: i32 = libc::EMSGSIZE;

impl Label {
    /// A header for a receive into `part`, which must be there as long as it.
    pub(super) fn header(&mut self, part: &mut libc::iovec) -> libc::msghdr {
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
    pub(super) fn fill(&mut self, header: &libc::msghdr, length: usize) {
        self.name_bytes = (header.msg_namelen as usize).min(NAME_BYTES);
        // Of another type on some systems.
        let control_bytes: usize = header.msg_controllen as _;
        self.control_bytes = control_bytes.min(CONTROL_BYTES);
        self.length = length;
        self.truncated = header.msg_flags & libc::MSG_TRUNC != 0;
    }
}

/// Sets an option of plain type.
pub(super) fn set_option<T: Copy>(
    socket: &Socket,
    level: i32,
    name: i32,
    value: T,
) -> io::Result<()> {
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

/// Sets the interface by which groups are reached from this socket.
pub(in crate::datagram) fn set_multicast_interface(
    socket: &Socket,
    v6: bool,
    interface: &Interface,
) -> io::Result<()> {
    if v6 {
        return socket.set_multicast_if_v6(interface.index);
    }
    let any = libc::in_addr { s_addr: 0 };
    let request = libc::ip_mreqn {
        imr_multiaddr: any,
        imr_address: any,
        imr_ifindex: interface.index as libc::c_int,
    };
    set_option(socket, libc::IPPROTO_IP, libc::IP_MULTICAST_IF, request)
}

/// Has the kernel tell where each datagram was sent to, and where it came in.
pub(in crate::datagram) fn set_packet_info(socket: &Socket, v6: bool) -> io::Result<()> {
    if v6 {
        set_option(socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1 as libc::c_int)
    } else {
        set_option(socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1 as libc::c_int)
    }
}

/// Lets this socket have a port together with others that allow it.
pub(in crate::datagram) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Lets others that allow it have the port of this bound socket, too.
pub(in crate::datagram) fn share_from_now_on(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Does nothing: a port is its owner's alone unless it says otherwise.
pub(in crate::datagram) fn keep_port(_: &Socket) -> io::Result<()> {
    Ok(())
}

/// Whether an error of binding says that the port is another's.
pub(in crate::datagram) fn is_taken(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrInUse
}

/// Receives what is sent to `group`.
pub(in crate::datagram) fn join(
    socket: &Socket,
    group: IpAddr,
    interface: &Interface,
) -> io::Result<()> {
    let index = interface.index;
    match group {
        IpAddr::V4(group) => {
            socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
        }
        IpAddr::V6(group) => socket.join_multicast_v6(&group, index),
    }
}

/// Leaves `group`: receives no longer what is sent to it.
pub(in crate::datagram) fn leave(
    socket: &Socket,
    group: IpAddr,
    interface: &Interface,
) -> io::Result<()> {
    let index = interface.index;
    match group {
        IpAddr::V4(group) => {
            socket.leave_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))
        }
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, index),
    }
}

/// Whether an error of [`join`] says that the socket can hold no more groups.
pub(in crate::datagram) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOBUFS | libc::ENOMEM | libc::ETOOMANYREFS | libc::ENOSPC)
    )
}

/// Whether an error of `send_train` may say that the kernel cannot cut: kernels
/// say either for a device that cannot, and the latter for other reasons, too.
pub(in crate::datagram) fn may_be_uncut(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL))
}

/// The control message of all Unixes: where the datagram was sent to.
pub(super) fn packet_info(level: i32, kind: i32, data: &[u8]) -> Option<Control> {
    match (level, kind) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let info = read::<libc::in_pktinfo>(data)?;
            let to = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
            Some(Control::To(to.into(), info.ipi_ifindex as u32))
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let info = read::<libc::in6_pktinfo>(data)?;
            // The number is signed on some systems, and never negative.
            Some(Control::To(Ipv6Addr::from(info.ipi6_addr.s6_addr).into(), info.ipi6_ifindex as _))
        }
        _ => None,
    }
}

/// Reads the sender's address.
pub(in crate::datagram) fn sender(name: &[u8]) -> Option<SocketAddr> {
    let family_at = std::mem::offset_of!(libc::sockaddr, sa_family);
    let family = read::<libc::sa_family_t>(name.get(family_at..)?)?;
    match i32::from(family) {
        libc::AF_INET => {
            let from = read::<libc::sockaddr_in>(name)?;
            let ip = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
            Some(SocketAddr::from((ip, u16::from_be(from.sin_port))))
        }
        libc::AF_INET6 => {
            let from = read::<libc::sockaddr_in6>(name)?;
            let ip = Ipv6Addr::from(from.sin6_addr.s6_addr);
            let port = u16::from_be(from.sin6_port);
            // The flow label is no part of who it is.
            Some(SocketAddrV6::new(ip, port, 0, from.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Splits off the first control message.
pub(in crate::datagram) fn next_message(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    // SAFETY: these only compute.
    let head_bytes = unsafe { libc::CMSG_LEN(0) } as usize;
    let head = read::<libc::cmsghdr>(control)?;
    // Of another type on some systems.
    let length: usize = head.cmsg_len as _;
    if length < head_bytes || length > control.len() {
        return None;
    }
    let data = &control[head_bytes..length];
    // SAFETY: as above; the length is small.
    let space = unsafe { libc::CMSG_SPACE((length - head_bytes) as u32) } as usize;
    let behind = control.get(space..).unwrap_or(&[]);
    Some((head.cmsg_level, head.cmsg_type, data, behind))
}

/// Types of plain numbers, which a kernel may write: any bytes will do.
pub(super) trait Plain: Copy {}
impl Plain for u32 {}
impl Plain for i32 {}
impl Plain for libc::sa_family_t {}
impl Plain for libc::sockaddr_in {}
impl Plain for libc::sockaddr_in6 {}
impl Plain for libc::in_pktinfo {}
impl Plain for libc::in6_pktinfo {}
impl Plain for libc::cmsghdr {}

/// The value at the front, if it is there whole.
pub(super) fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the bytes are there, and any will do.
    (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}
