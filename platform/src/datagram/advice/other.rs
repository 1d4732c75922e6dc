//! Advice on Unixes that are not Linux.

/// Command that shows who has a UDP port.
pub(in crate::datagram) const WHO_HAS_A_PORT: &str = "`lsof -nP -iUDP`";

/// Command that starts the loopback interface.
pub(in crate::datagram) const START_LOOPBACK: &str = "`ifconfig lo0 up` starts that";

/// Advice that lets one machine join more groups.
pub(in crate::datagram) const MORE_GROUPS: &str = "fewer groups need fewer";

/// Advice that allows a larger receive buffer.
pub(in crate::datagram) fn larger_buffer(bytes: usize) -> String {
    format!("`sysctl -w kern.ipc.maxsockbuf={bytes}` allows more")
}

/// Command that starts an interface.
pub(in crate::datagram) fn start(interface: &str) -> String {
    format!("`ifconfig {interface} up` starts it")
}

/// Advice for an interface that says that it does no multicast.
pub(in crate::datagram) fn without_multicast(_interface: &str) -> String {
    "name the peers by `--peer`".to_owned()
}

/// Command that makes a route for IPv6 groups.
pub(in crate::datagram) fn group_route(interface: &str, _loopback: bool) -> String {
    format!("`route -n add -inet6 ff00::/8 -interface {interface}` makes one")
}
