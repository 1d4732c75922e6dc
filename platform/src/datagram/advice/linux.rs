//! Advice on Linux.

/// Command that shows who has a UDP port.
pub(in crate::datagram) const WHO_HAS_A_PORT: &str = "`ss -ulnp`";

/// Command that starts the loopback interface.
pub(in crate::datagram) const START_LOOPBACK: &str = "`ip link set lo up` starts that";

/// Advice that lets one machine join more groups.
pub(in crate::datagram) const MORE_GROUPS: &str =
    "`sysctl -w net.ipv4.igmp_max_memberships=100` raises the limit per socket";

/// Advice that allows a larger receive buffer.
pub(in crate::datagram) fn larger_buffer(bytes: usize) -> String {
    format!("`sysctl -w net.core.rmem_max={bytes}` allows more")
}

/// Command that starts an interface.
pub(in crate::datagram) fn start(interface: &str) -> String {
    format!("`ip link set {interface} up` starts it")
}

/// Advice for an interface that says that it does no multicast.
pub(in crate::datagram) fn without_multicast(interface: &str) -> String {
    format!("name the peers by `--peer`, or try `ip link set {interface} multicast on`")
}

/// Command that makes a route for IPv6 groups.
pub(in crate::datagram) fn group_route(interface: &str, loopback: bool) -> String {
    // Of this type, or the kernel makes it a route that rejects.
    let kind = if loopback { "local" } else { "multicast" };
    format!("`ip -6 route add {kind} ff00::/8 dev {interface} table local` makes one")
}
