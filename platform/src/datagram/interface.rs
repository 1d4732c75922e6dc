//! The network interfaces, and which of them the link uses.
//!
//! ```text
//!   asked for by name or address      → that one, or an error
//!   else the group's scope            → ff15::1%eth0 names one
//!   else the route to the group       → the one that the system would use
//!   else the first that does multicast, is up and has an address
//!   else loopback                     → brokers on this machine alone
//! ```
//! It opens nothing that stays open. `list` is what differs by system.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, SockAddr, Socket, Type};

use super::{DatagramError, advice};
#[cfg(unix)]
pub(super) use unix::list;
#[cfg(windows)]
pub(super) use windows::list;

/// Reason for which an interface was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum InterfaceReason {
    /// The interface is the loopback one; nothing else is there.
    Loopback,
    /// The interface is the first that does multicast; there is no route to the group.
    FirstMulticast,
    /// The system's route to the group leads over it.
    Route,
    /// The interface was asked for.
    Asked,
}

impl fmt::Display for InterfaceReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            InterfaceReason::Loopback => "no other interface does multicast",
            InterfaceReason::FirstMulticast => {
                "no route leads to the group; it is the first that does multicast"
            }
            InterfaceReason::Route => "the route to the group leads over it",
            InterfaceReason::Asked => "it was asked for",
        })
    }
}

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) index: u32,
    pub(super) up: bool,
    pub(super) multicast: bool,
    pub(super) loopback: bool,
    pub(super) addresses: Vec<IpAddr>,
    /// The largest packet it takes, if the list says it.
    pub(super) mtu_bytes: Option<usize>,
}

impl Interface {
    /// The address that others on its network reach it by: not a link-local one
    /// if there is a choice.
    pub(super) fn address(&self, v6: bool) -> Option<IpAddr> {
        let of_family = || self.addresses.iter().filter(|address| address.is_ipv6() == v6);
        of_family().find(|address| !is_link_local(address)).or_else(|| of_family().next()).copied()
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

/// The interface to use for `group`, and why.
pub(super) fn choose(
    interfaces: &[Interface],
    wanted: Option<&str>,
    group: SocketAddr,
) -> Result<(Interface, InterfaceReason), DatagramError> {
    let v6 = group.is_ipv6();
    if let Some(wanted) = wanted {
        return asked_for(interfaces, wanted, v6).map(|found| (found, InterfaceReason::Asked));
    }
    if let SocketAddr::V6(group) = group
        && group.scope_id() != 0
    {
        let wanted = interfaces.iter().find(|it| it.index == group.scope_id());
        let name = wanted.map_or_else(|| group.scope_id().to_string(), |it| it.name.clone());
        return asked_for(interfaces, &name, v6).map(|found| (found, InterfaceReason::Asked));
    }
    let usable = |it: &&Interface| it.up && it.address(v6).is_some();
    if let Some(address) = route_source(group)
        && let Some(found) =
            interfaces.iter().filter(usable).find(|it| it.addresses.contains(&address))
    {
        return Ok((found.clone(), InterfaceReason::Route));
    }
    let does_multicast = |it: &&Interface| it.multicast && !it.loopback;
    if let Some(found) = interfaces.iter().filter(usable).find(does_multicast) {
        return Ok((found.clone(), InterfaceReason::FirstMulticast));
    }
    match interfaces.iter().filter(usable).find(|it| it.loopback) {
        Some(found) => Ok((found.clone(), InterfaceReason::Loopback)),
        None => Err(DatagramError::NoInterface),
    }
}

fn asked_for(interfaces: &[Interface], wanted: &str, v6: bool) -> Result<Interface, DatagramError> {
    let address = wanted.parse::<IpAddr>().ok();
    let found = interfaces.iter().find(|it| match &address {
        Some(address) => it.addresses.contains(address),
        None => it.name == wanted,
    });
    let Some(found) = found else {
        let present = interfaces.iter().map(|it| it.name.clone()).collect();
        return Err(DatagramError::NoSuchInterface { wanted: wanted.to_owned(), present });
    };
    let unusable = |why: String| DatagramError::Unusable { interface: found.name.clone(), why };
    if !found.up {
        return Err(unusable(format!("it is down; {}", advice::start(&found.name))));
    }
    if found.address(v6).is_none() {
        let family = if v6 { "IPv6" } else { "IPv4" };
        return Err(unusable(format!(
            "it has no {family} address, and the group has one; give it one or choose another \
             interface or group"
        )));
    }
    Ok(found.clone())
}

/// The source address of what is sent to `group`, if there is a route: the system
/// says it without sending anything.
fn route_source(group: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match group {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(group).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether what is sent to an IPv6 group finds its way to this interface.
pub(super) fn has_group_route(group: SocketAddr, index: u32) -> bool {
    let probe = || -> io::Result<()> {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, None)?;
        socket.set_multicast_if_v6(index)?;
        socket.connect(&SockAddr::from(group))
    };
    probe().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, index: u32, flags: &str, address: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            index,
            up: flags.contains('u'),
            multicast: flags.contains('m'),
            loopback: flags.contains('l'),
            addresses: address.split_whitespace().map(|it| it.parse().unwrap()).collect(),
            mtu_bytes: None,
        }
    }

    // A group that no route can lead to: the family's own "nowhere".
    fn unrouted() -> SocketAddr {
        "[ff15::1]:4454".parse().unwrap()
    }

    #[test]
    fn one_that_is_asked_for_is_taken_or_refused_with_a_reason() {
        let all = [
            interface("lo", 1, "ul", "127.0.0.1 ::1"),
            interface("eth0", 2, "um", "192.0.2.2"),
            interface("eth1", 3, "m", "192.0.2.3"),
        ];
        let group: SocketAddr = "239.1.1.1:4454".parse().unwrap();
        let by_name = choose(&all, Some("eth0"), group).unwrap();
        let by_address = choose(&all, Some("192.0.2.2"), group).unwrap();
        assert_eq!(by_name, by_address);
        assert_eq!((by_name.0.index, by_name.1), (2, InterfaceReason::Asked));
        let refusal = |wanted, group| choose(&all, Some(wanted), group).unwrap_err().to_string();
        assert!(refusal("eth7", group).contains("lo, eth0, eth1"));
        assert!(refusal("eth1", group).contains(&advice::start("eth1")));
        assert!(refusal("eth0", unrouted()).contains("no IPv6 address"));
    }

    #[test]
    fn a_scope_in_the_group_names_the_interface() {
        let all = [interface("a", 71, "um", "fe80::1"), interface("b", 72, "um", "fe80::2")];
        let group: SocketAddr = "[ff15::1%72]:4454".parse().unwrap();
        assert_eq!(choose(&all, None, group).unwrap().0.name, "b");
    }

    #[test]
    fn without_a_route_the_first_that_does_multicast_is_taken_else_loopback() {
        // Addresses that this machine does not have, so that no route matches.
        let lo = interface("lo", 1, "ul", "::1");
        let down = interface("down", 2, "m", "2001:db8::2");
        let plain = interface("plain", 3, "u", "2001:db8::3");
        let good = interface("good", 4, "um", "fe80::4 2001:db8::4");
        let all = [lo.clone(), down.clone(), plain.clone(), good];
        let (chosen, reason) = choose(&all, None, unrouted()).unwrap();
        assert_eq!((chosen.name.as_str(), reason), ("good", InterfaceReason::FirstMulticast));
        assert_eq!(chosen.address(true), Some("2001:db8::4".parse().unwrap()));
        let (chosen, reason) = choose(&[lo, down, plain], None, unrouted()).unwrap();
        assert_eq!((chosen.name.as_str(), reason), ("lo", InterfaceReason::Loopback));
        assert!(matches!(choose(&[], None, unrouted()), Err(DatagramError::NoInterface)));
    }

    #[test]
    fn this_machines_loopback_is_found() {
        let all = list().unwrap();
        let lo = all.iter().find(|it| it.loopback).expect("every machine has one");
        assert!(lo.index > 0);
        assert!(!lo.up || lo.address(false) == Some("127.0.0.1".parse().unwrap()));
    }
}
