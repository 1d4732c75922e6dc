//! What the kernel tells about a datagram besides its bytes.
//!
//! ```text
//!   name      the sender's address
//!   control   [ PKTINFO: to which address, on which interface ]
//!             [ UDP_GRO: bytes of each datagram of a train    ]
//!             [ SO_RXQ_OVFL: drops of this socket so far      ]
//! ```
//! It only reads; what to make of it is the caller's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::system;

/// Room for a sender's address.
pub(crate) const NAME_BYTES: usize = 32;

/// Room for the control messages above, in either family, and to spare.
pub(crate) const CONTROL_BYTES: usize = 128;

const _: () = assert!(NAME_BYTES >= size_of::<libc::sockaddr_in6>());

/// What is known of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) from: SocketAddr,
    /// Where it was sent to.
    pub(super) to: Option<IpAddr>,
    /// The interface it came in by.
    pub(super) interface: Option<u32>,
    /// Bytes of each datagram, if it is a train.
    pub(super) segment: Option<usize>,
    /// What the socket has dropped since it was made, modulo 2³².
    pub(super) drops: Option<u32>,
}

/// Reads what the kernel wrote. `None` if the sender is of no known family.
pub(super) fn parse(name: &[u8], control: &[u8]) -> Option<Arrival> {
    let from = sender(name)?;
    let mut arrival = Arrival { from, to: None, interface: None, segment: None, drops: None };
    let mut rest = control;
    while let Some((level, kind, data, behind)) = next_message(rest) {
        rest = behind;
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                if let Some(info) = read::<libc::in_pktinfo>(data) {
                    arrival.to = Some(Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)).into());
                    arrival.interface = Some(info.ipi_ifindex as u32);
                }
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                if let Some(info) = read::<libc::in6_pktinfo>(data) {
                    arrival.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    // It is signed on some systems, and never negative.
                    arrival.interface = Some(info.ipi6_ifindex as _);
                }
            }
            _ => match system::control_value(level, kind, data) {
                Some(system::Control::Segment(bytes)) => arrival.segment = Some(bytes),
                Some(system::Control::Drops(drops)) => arrival.drops = Some(drops),
                None => {}
            },
        }
    }
    Some(arrival)
}

fn sender(name: &[u8]) -> Option<SocketAddr> {
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

/// The first control message, and what lies behind it.
fn next_message(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
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

/// What a kernel wrote: types of plain numbers, for which any bytes will do.
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn message(level: i32, kind: i32, data: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + data.len()).to_ne_bytes().to_vec();
        bytes.extend(level.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn name() -> Vec<u8> {
        let mut name = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        name.extend(4454u16.to_be_bytes());
        name.extend([192, 0, 2, 9]);
        name.extend([0; 8]);
        name
    }

    #[test]
    fn each_control_message_is_read_whatever_lies_between() {
        let mut info = 7i32.to_ne_bytes().to_vec();
        info.extend([192, 0, 2, 1, 239, 255, 44, 54]);
        let mut control = message(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
        control.extend(message(99, 99, b"xyz"));
        control.extend(message(libc::SOL_SOCKET, 40, &3u32.to_ne_bytes()));
        control.extend(message(17, 104, &1372i32.to_ne_bytes()));
        let arrival = parse(&name(), &control).unwrap();
        assert_eq!(arrival.from, "192.0.2.9:4454".parse().unwrap());
        assert_eq!(arrival.to, Some("239.255.44.54".parse().unwrap()));
        assert_eq!(arrival.interface, Some(7));
        assert_eq!((arrival.segment, arrival.drops), (Some(1372), Some(3)));
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_ends_the_reading() {
        let whole = message(libc::SOL_SOCKET, 40, &3u32.to_ne_bytes());
        for length in 0..20 {
            let arrival = parse(&name(), &whole[..length]).unwrap();
            assert_eq!(arrival.drops, None);
        }
        for lie in [0usize, 15, 25, usize::MAX] {
            let mut control = whole.clone();
            control[..8].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(parse(&name(), &control).unwrap().drops, None);
        }
        for length in 0..16 {
            assert_eq!(parse(&name()[..length], &[]), None);
        }
    }
}
