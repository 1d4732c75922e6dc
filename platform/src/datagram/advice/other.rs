//! Advice on Unixes that are not Linux.

/// What shows who has a UDP port.
pub(in crate::datagram) const WHO_HAS_A_PORT: &str = "`lsof -nP -iUDP`";

/// What starts the loopback interface.
pub(in crate::datagram) const START_LOOPBACK: &str = "`ifconfig lo0 up` starts that";

/// What lets one machine join more groups.
pub(in crate::datagram) const MORE_GROUPS: &str = "fewer groups need fewer";

/// What allows a larger receive buffer.
pub(in crate::datagram) fn larger_buffer(bytes: usize) -> String {
    format!("`sysctl -w kern.ipc.maxsockbuf={bytes}` allows more")
}

/// What starts an interface.
pub(in crate::datagram) fn start(interface: &str) -> String {
    format!("`ifconfig {interface} up` starts it")
}

/// What to do about an interface that says that it does no multicast.
pub(in crate::datagram) fn without_multicast(_interface: &str) -> String {
    "name the peers by `--peer`".to_owned()
}

/// What makes a route for IPv6 groups.
pub(in crate::datagram) fn group_route(interface: &str, _loopback: bool) -> String {
    format!("`route -n add -inet6 ff00::/8 -interface {interface}` makes one")
}
