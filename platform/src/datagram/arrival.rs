//! Labels of the kernel for a datagram, besides its bytes.
//!
//! ```text
//!   name      the sender's address
//!   control   [ to which address, on which interface ]   PKTINFO
//!             [ bytes of each datagram of a train    ]   UDP_GRO, UDP_COALESCED_INFO
//!             [ drops of this socket so far          ]   SO_RXQ_OVFL
//! ```
//! It only reads; what to make of it is the caller's.

use std::net::{IpAddr, SocketAddr};

use super::system::{self, Control};

/// Room for a sender's address.
pub(crate) const NAME_BYTES: usize = 32;

/// Room for the control messages above, in either family, and to spare.
pub(crate) const CONTROL_BYTES: usize = 128;

/// Facts known of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) from: SocketAddr,
    /// Address that it was sent to.
    pub(super) to: Option<IpAddr>,
    /// The interface it came in by.
    pub(super) interface: Option<u32>,
    /// Bytes of each datagram, if it is a train.
    pub(super) segment: Option<usize>,
    /// Datagrams that the socket has dropped since it was made, modulo 2³².
    pub(super) drops: Option<u32>,
}

/// Reads what the kernel wrote. `None` if the sender is of no known family.
pub(super) fn parse(name: &[u8], control: &[u8]) -> Option<Arrival> {
    let from = system::sender(name)?;
    let mut arrival = Arrival { from, to: None, interface: None, segment: None, drops: None };
    let mut rest = control;
    while let Some((level, kind, data, behind)) = system::next_message(rest) {
        rest = behind;
        match system::control_value(level, kind, data) {
            Some(Control::To(address, interface)) => {
                arrival.to = Some(address);
                arrival.interface = Some(interface);
            }
            Some(Control::Segment(bytes)) => arrival.segment = Some(bytes),
            Some(Control::Drops(drops)) => arrival.drops = Some(drops),
            None => {}
        }
    }
    Some(arrival)
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
