//! Advice on Windows.

/// Command that shows who has a UDP port.
pub(in crate::datagram) const WHO_HAS_A_PORT: &str = "`netstat -ano -p UDP`";

/// Command that starts the loopback interface.
pub(in crate::datagram) const START_LOOPBACK: &str =
    "the system's TCP/IP is not installed or disabled";

/// Advice that lets one machine join more groups.
pub(in crate::datagram) const MORE_GROUPS: &str = "fewer groups need fewer";

/// Advice that allows a larger receive buffer.
pub(in crate::datagram) fn larger_buffer(_bytes: usize) -> String {
    "the system granted what it has memory for".to_owned()
}

/// Command that starts an interface.
pub(in crate::datagram) fn start(interface: &str) -> String {
    format!("`netsh interface set interface \"{interface}\" enable` starts it")
}

/// Advice for an interface that says that it does no multicast.
pub(in crate::datagram) fn without_multicast(_interface: &str) -> String {
    "name the peers by `--peer`".to_owned()
}

/// Command that makes a route for IPv6 groups.
pub(in crate::datagram) fn group_route(interface: &str, _loopback: bool) -> String {
    format!("`netsh interface ipv6 add route ff00::/8 \"{interface}\"` makes one")
}
