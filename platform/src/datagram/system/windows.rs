//! Datagrams on Windows.
//!
//! ```text
//!   out   WSASendMsg with UDP_SEND_MSG_SIZE    one train     (Windows 10 2004)
//!         sendto                               one datagram  (else)
//!   in    WSARecvMsg with UDP_COALESCED_INFO   one train     (Windows 11, Server 2022)
//!         WSARecvMsg                           one datagram  (else)
//! ```
//! The sockets are nonblocking. A group is joined by the address of its interface,
//! which every version takes. Whether a group is heard on the machine that sends to
//! it is up to those who receive here (`IP_MULTICAST_LOOP`, on unless it is
//! switched off): so a sender always hears itself, and the link knows itself.
//!
//! Decision: `docs/decisions/030-windows-multicast-loop.md`.

use std::io;
use std::mem::{offset_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::windows::io::AsRawSocket;
use std::sync::OnceLock;

use socket2::{SockAddr, Socket};
use windows_sys::Win32::Networking::WinSock::{
    AF_INET, AF_INET6, CMSGHDR, IN_PKTINFO, IN6_PKTINFO, IP_DONTFRAGMENT, IP_MTU_DISCOVER,
    IP_PKTINFO, IP_PMTUDISC_PROBE, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_UDP, IPV6_DONTFRAG,
    IPV6_MTU_DISCOVER, IPV6_PKTINFO, LPFN_WSARECVMSG, MSG_TRUNC,
    SIO_GET_EXTENSION_FUNCTION_POINTER, SIO_UDP_CONNRESET, SIO_UDP_NETRESET, SO_EXCLUSIVEADDRUSE,
    SOCKADDR_IN, SOCKADDR_IN6, SOCKET, SOL_SOCKET, UDP_COALESCED_INFO, UDP_RECV_MAX_COALESCED_SIZE,
    UDP_SEND_MSG_SIZE, WSABUF, WSAEADDRNOTAVAIL, WSAEINVAL, WSAEMSGSIZE, WSAENOBUFS,
    WSAENOPROTOOPT, WSAEOPNOTSUPP, WSAETOOMANYREFS, WSAID_WSARECVMSG, WSAIoctl, WSAMSG, WSASendMsg,
    setsockopt,
};

use super::super::interface::Interface;
use super::{Buffer, CONTROL_BYTES, Control, Label, NAME_BYTES};

/// The most datagrams that one [`receive`] fetches.
pub(crate) const MAX_BATCH: usize = 1;

/// The longest train that may be joined: what a receive has room for.
const MAX_JOINED_BYTES: u32 = u16::MAX as u32;

const _: () = assert!(NAME_BYTES >= size_of::<SOCKADDR_IN6>());

/// The error of a send that is longer than the interface takes.
pub(crate) const MESSAGE_TOO_LONG: i32 = WSAEMSGSIZE;

/// `WSARecvMsg`, which has to be asked for.
type ReceiveMessage = unsafe extern "system" fn(
    SOCKET,
    *mut WSAMSG,
    *mut u32,
    *mut windows_sys::Win32::System::IO::OVERLAPPED,
    windows_sys::Win32::Networking::WinSock::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32;

static RECEIVE_MESSAGE: OnceLock<ReceiveMessage> = OnceLock::new();

fn raw(socket: &Socket) -> SOCKET {
    socket.as_raw_socket() as SOCKET
}

/// Sets an option of plain type.
fn set_option<T: Copy>(socket: &Socket, level: i32, name: i32, value: T) -> io::Result<()> {
    let bytes = size_of::<T>() as i32;
    // SAFETY: the value is there and as long as is said; the system copies it.
    let outcome = unsafe { setsockopt(raw(socket), level, name, (&raw const value).cast(), bytes) };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Asks a socket for something: plain values in and out.
///
/// # Safety
/// The code takes an `I` and writes an `O`, for which any bytes will do.
unsafe fn control<I: Copy, O: Copy>(socket: &Socket, code: u32, input: I) -> io::Result<O> {
    let mut written = 0;
    // SAFETY: the caller's promise: all zeros will do, too.
    let mut output: O = unsafe { zeroed() };
    // SAFETY: both values are alive and as long as is said; nothing is overlapped.
    let outcome = unsafe {
        WSAIoctl(
            raw(socket),
            code,
            (&raw const input).cast(),
            size_of::<I>() as u32,
            (&raw mut output).cast(),
            size_of::<O>() as u32,
            &raw mut written,
            std::ptr::null_mut(),
            None,
        )
    };
    if outcome == 0 { Ok(output) } else { Err(io::Error::last_os_error()) }
}

/// The options that every socket of the link has.
pub(in crate::datagram) fn set_options(socket: &Socket, v6: bool) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // Without these, what a peer that is gone answers would be told in place of the
    // next datagram. Old systems do not know the second one.
    // SAFETY: both take a number and write nothing.
    unsafe {
        let () = control(socket, SIO_UDP_CONNRESET, 0u32)?;
        let _: io::Result<()> = control(socket, SIO_UDP_NETRESET, 0u32);
    }
    // "Probe" forbids fragments and believes no ICMP message about a smaller path,
    // which anybody could forge. Where it is unknown the plain mark must do, and
    // where that is, too, large datagrams are cut by IP.
    let (level, discover, plain) = if v6 {
        (IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_DONTFRAG)
    } else {
        (IPPROTO_IP, IP_MTU_DISCOVER, IP_DONTFRAGMENT)
    };
    if set_option(socket, level, discover, IP_PMTUDISC_PROBE).is_err() {
        let _ = set_option(socket, level, plain, 1u32);
    }
    Ok(())
}

/// Has the system join datagrams that arrive; whether it can. On ARM it joins, but
/// does not say where to cut again.
pub(in crate::datagram) fn set_gro(socket: &Socket) -> bool {
    let can = cfg!(not(target_arch = "aarch64"));
    can && set_option(socket, IPPROTO_UDP, UDP_RECV_MAX_COALESCED_SIZE, MAX_JOINED_BYTES).is_ok()
}

/// Whether the system cuts trains.
pub(in crate::datagram) fn probe_gso(socket: &Socket) -> bool {
    // Zero: sockets as usual; each send says for itself.
    set_option(socket, IPPROTO_UDP, UDP_SEND_MSG_SIZE, 0u32).is_ok()
}

/// Whether an error of [`send_train`] may say that the system cannot cut.
pub(in crate::datagram) fn may_be_uncut(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAEINVAL | WSAEOPNOTSUPP | WSAENOPROTOOPT))
}

/// Does nothing: there is no way past a limit, nor a limit.
pub(in crate::datagram) fn force_buffer(_: &Socket, _: Buffer, _: usize) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The list of interfaces says it.
pub(in crate::datagram) fn mtu_bytes(_: &Socket, _: &Interface) -> Option<usize> {
    None
}

/// Lets this socket have a port together with others that allow it.
pub(in crate::datagram) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// Lets others that allow it have the port of this bound socket, too. Windows lets
/// one that is bound to all addresses join one that is bound to a single address
/// anyway; what carries out its calls elsewhere has to be told.
pub(in crate::datagram) fn share_from_now_on(socket: &Socket) -> io::Result<()> {
    let _ = socket.set_reuse_address(true);
    Ok(())
}

/// Lets nobody else have the port, even those that would take it by force.
pub(in crate::datagram) fn keep_port(socket: &Socket) -> io::Result<()> {
    set_option(socket, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, 1u32)
}

/// Whether an error of binding says that the port is another's; the latter kind if
/// it is exclusively so.
pub(in crate::datagram) fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

/// Sets the interface by which groups are reached from this socket.
pub(in crate::datagram) fn set_multicast_interface(
    socket: &Socket,
    v6: bool,
    interface: &Interface,
) -> io::Result<()> {
    if v6 {
        socket.set_multicast_if_v6(interface.index)
    } else {
        socket.set_multicast_if_v4(&own_address(interface)?)
    }
}

/// Receives what is sent to `group`.
pub(in crate::datagram) fn join(
    socket: &Socket,
    group: IpAddr,
    interface: &Interface,
) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => socket.join_multicast_v4(&group, &own_address(interface)?),
        IpAddr::V6(group) => socket.join_multicast_v6(&group, interface.index),
    }
}

/// Leaves `group`: receives no longer what is sent to it.
pub(in crate::datagram) fn leave(
    socket: &Socket,
    group: IpAddr,
    interface: &Interface,
) -> io::Result<()> {
    match group {
        IpAddr::V4(group) => socket.leave_multicast_v4(&group, &own_address(interface)?),
        IpAddr::V6(group) => socket.leave_multicast_v6(&group, interface.index),
    }
}

/// Address that stands for the interface.
fn own_address(interface: &Interface) -> io::Result<Ipv4Addr> {
    match interface.address(false) {
        Some(IpAddr::V4(address)) => Ok(address),
        _ => Err(io::Error::from_raw_os_error(WSAEADDRNOTAVAIL)),
    }
}

/// Whether an error of [`join`] says that the socket can hold no more groups. What
/// carries out the calls of Windows elsewhere knows no better than "invalid".
pub(in crate::datagram) fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(WSAENOBUFS | WSAETOOMANYREFS | WSAEINVAL))
}

/// Has the system tell where each datagram was sent to, and where it came in.
pub(in crate::datagram) fn set_packet_info(socket: &Socket, v6: bool) -> io::Result<()> {
    // Only with that function it tells.
    if RECEIVE_MESSAGE.get().is_none() {
        // SAFETY: it takes the name and writes the function's address, or nothing.
        let found: LPFN_WSARECVMSG =
            unsafe { control(socket, SIO_GET_EXTENSION_FUNCTION_POINTER, WSAID_WSARECVMSG)? };
        let found = found.ok_or(io::ErrorKind::Unsupported)?;
        // Whoever is first: it is the same for all.
        let _ = RECEIVE_MESSAGE.set(found);
    }
    if v6 {
        set_option(socket, IPPROTO_IPV6, IPV6_PKTINFO, 1u32)
    } else {
        set_option(socket, IPPROTO_IP, IP_PKTINFO, 1u32)
    }
}

/// Reads the sender's address.
pub(in crate::datagram) fn sender(name: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(array(name, 0)?);
    if family == AF_INET {
        let port = u16::from_be_bytes(array(name, offset_of!(SOCKADDR_IN, sin_port))?);
        let ip: [u8; 4] = array(name, offset_of!(SOCKADDR_IN, sin_addr))?;
        Some(SocketAddr::from((ip, port)))
    } else if family == AF_INET6 {
        let port = u16::from_be_bytes(array(name, offset_of!(SOCKADDR_IN6, sin6_port))?);
        let ip: [u8; 16] = array(name, offset_of!(SOCKADDR_IN6, sin6_addr))?;
        // The scope is the last member; the flow label is no part of who it is.
        let scope = u32::from_ne_bytes(array(name, offset_of!(SOCKADDR_IN6, Anonymous))?);
        Some(SocketAddrV6::new(Ipv6Addr::from(ip), port, 0, scope).into())
    } else {
        None
    }
}

/// Splits off the first control message. Head and data are each
/// aligned for a pointer.
pub(in crate::datagram) fn next_message(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    const HEAD_BYTES: usize = size_of::<CMSGHDR>().next_multiple_of(align_of::<usize>());
    let length = usize::from_ne_bytes(array(control, offset_of!(CMSGHDR, cmsg_len))?);
    let level = i32::from_ne_bytes(array(control, offset_of!(CMSGHDR, cmsg_level))?);
    let kind = i32::from_ne_bytes(array(control, offset_of!(CMSGHDR, cmsg_type))?);
    if length < HEAD_BYTES || length > control.len() {
        return None;
    }
    let behind = control.get(length.next_multiple_of(align_of::<usize>())..).unwrap_or(&[]);
    Some((level, kind, &control[HEAD_BYTES..length], behind))
}

/// Reads a control message.
pub(in crate::datagram) fn control_value(level: i32, kind: i32, data: &[u8]) -> Option<Control> {
    const COALESCED: i32 = UDP_COALESCED_INFO as i32;
    match (level, kind) {
        (IPPROTO_IP, IP_PKTINFO) => {
            let to: [u8; 4] = array(data, offset_of!(IN_PKTINFO, ipi_addr))?;
            let index = u32::from_ne_bytes(array(data, offset_of!(IN_PKTINFO, ipi_ifindex))?);
            Some(Control::To(to.into(), index))
        }
        (IPPROTO_IPV6, IPV6_PKTINFO) => {
            let to: [u8; 16] = array(data, offset_of!(IN6_PKTINFO, ipi6_addr))?;
            let index = u32::from_ne_bytes(array(data, offset_of!(IN6_PKTINFO, ipi6_ifindex))?);
            Some(Control::To(to.into(), index))
        }
        (IPPROTO_UDP, COALESCED) => {
            let bytes = u32::from_ne_bytes(array(data, 0)?) as usize;
            Some(bytes).filter(|&it| it > 0).map(Control::Segment)
        }
        _ => None,
    }
}

/// Takes `N` bytes from `at` on, if they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A control message, room included, that says how to cut a train.
#[repr(C)]
struct SegmentControl {
    head: CMSGHDR,
    bytes: u32,
    _room: [u8; size_of::<usize>() - size_of::<u32>()],
}

fn buffer_of(bytes: &[u8]) -> WSABUF {
    WSABUF { len: bytes.len() as u32, buf: bytes.as_ptr().cast_mut() }
}

/// Sends one train that the system cuts. All of it or nothing.
pub(in crate::datagram) fn send_train(
    socket: &Socket,
    to: &SockAddr,
    bytes: &[u8],
    segment: u16,
) -> io::Result<()> {
    let mut control = SegmentControl {
        head: CMSGHDR {
            cmsg_len: offset_of!(SegmentControl, bytes) + size_of::<u32>(),
            cmsg_level: IPPROTO_UDP,
            cmsg_type: UDP_SEND_MSG_SIZE,
        },
        bytes: segment.into(),
        _room: Default::default(),
    };
    let mut part = buffer_of(bytes);
    let message = WSAMSG {
        name: to.as_ptr().cast_mut().cast(),
        namelen: to.len(),
        lpBuffers: &raw mut part,
        dwBufferCount: 1,
        Control: WSABUF { len: size_of::<SegmentControl>() as u32, buf: (&raw mut control).cast() },
        dwFlags: 0,
    };
    let mut sent = 0;
    // SAFETY: all that the message points to is alive, and only read; nothing is
    // overlapped.
    let outcome = unsafe {
        WSASendMsg(raw(socket), &raw const message, 0, &raw mut sent, std::ptr::null_mut(), None)
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
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
        match socket.send_to(datagram, to) {
            Ok(_) => taken += datagram.len(),
            Err(_) if taken > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(taken)
}

/// Fetches a datagram or a train to the first `stride` bytes of `target`; returns
/// how many.
pub(crate) fn receive(
    socket: &Socket,
    target: &mut [u8],
    stride: usize,
    labels: &mut [Label; MAX_BATCH],
) -> io::Result<usize> {
    let function = RECEIVE_MESSAGE.get().ok_or(io::ErrorKind::Unsupported)?;
    let label = &mut labels[0];
    let room = &mut target[..stride];
    let mut part = WSABUF { len: room.len() as u32, buf: room.as_mut_ptr() };
    let mut message = WSAMSG {
        name: label.name.as_mut_ptr().cast(),
        namelen: NAME_BYTES as i32,
        lpBuffers: &raw mut part,
        dwBufferCount: 1,
        Control: WSABUF { len: CONTROL_BYTES as u32, buf: label.control.as_mut_ptr() },
        dwFlags: 0,
    };
    let mut received = 0;
    // SAFETY: the message points to the part, the label and the target, all alive
    // and ours alone; nothing is overlapped.
    let outcome = unsafe {
        function(raw(socket), &raw mut message, &raw mut received, std::ptr::null_mut(), None)
    };
    label.truncated = message.dwFlags & MSG_TRUNC != 0;
    if outcome != 0 {
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(WSAEMSGSIZE) {
            return Err(error);
        }
        // What there was room for has come, and the rest of it is lost.
        label.truncated = true;
    }
    label.name_bytes = usize::try_from(message.namelen).unwrap_or(0).min(NAME_BYTES);
    label.control_bytes = (message.Control.len as usize).min(CONTROL_BYTES);
    label.length = (received as usize).min(stride);
    Ok(1)
}
