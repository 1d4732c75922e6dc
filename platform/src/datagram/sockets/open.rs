//! Opening the sockets: the order of binding, the buffers, the advice.
//!
//! The port of the group is shared by the brokers of a machine, and its first
//! one also takes it on the interface's address, for unicast:
//! ```text
//!   1  bind address:port alone      refused if any broker is there already
//!   2  allow sharing from now on    so that those that follow can do step 3
//!   3  bind *:port, shared
//!   4  bind *:own port, alone       last, or it might be given the group's
//! ```

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::super::advice;
use super::super::groups::Membership;
use super::super::interface::{self, Interface, InterfaceReason};
use super::super::sender::Sender;
use super::super::system::{self, Buffer};
use super::super::{DatagramConfig, DatagramError, DatagramInfo, DatagramStats};
use super::DatagramSockets;

/// A receive buffer below this, 2 MiB, gets advice.
const AMPLE_BUFFER_BYTES: usize = 2 << 20;

/// Number of tries to bind the shared port: a broker that starts at this moment
/// has it alone between steps 1 and 2.
const BIND_TRIES: u32 = 10;

/// Pause between the tries.
const BIND_PAUSE: Duration = Duration::from_millis(5);

pub(super) fn open(config: &DatagramConfig) -> Result<DatagramSockets, DatagramError> {
    let group = config.group;
    let v6 = group.is_ipv6();
    if !group.ip().is_multicast() {
        return Err(DatagramError::NotAGroup(group.ip()));
    }
    if config.unicast_port == Some(group.port()) {
        return Err(DatagramError::SamePort(group.port()));
    }
    let interfaces = interface::list().map_err(DatagramError::setup("listing interfaces"))?;
    let (interface, reason) = interface::choose(&interfaces, config.interface.as_deref(), group)?;
    let address = interface.address(v6).ok_or(DatagramError::NoInterface)?;

    let peers = peers_socket(config, address, interface.index, false)?;
    let groups = shared_socket(config)?;
    let unicast = unicast_socket(config, &interface)?;
    let port = bound_port(&unicast)?;

    let mut sockets = vec![unicast];
    let also_on_group_port = peers.is_some();
    sockets.extend(peers);
    let memberships = vec![Membership::new(sockets.len())];
    sockets.push(groups);
    // A kernel does it for all or for none.
    let gro = config.offload && sockets.iter().all(system::set_gro);
    let gso = config.offload && system::probe_gso(&sockets[0]);
    let (receive_buffer_bytes, send_buffer_bytes) = grant_buffers(config, &sockets)?;
    let info = DatagramInfo {
        interface: interface.name.clone(),
        interface_index: interface.index,
        reason,
        loopback: interface.loopback,
        mtu_bytes: mtu_bytes(&sockets[0], &interface),
        local_addresses: addresses(&interfaces),
        unicast: SocketAddr::new(address, port),
        also_on_group_port,
        receive_buffer_bytes,
        send_buffer_bytes,
        gso,
        gro,
        notes: notes(config, &interface, reason, receive_buffer_bytes),
    };
    Ok(DatagramSockets {
        config: config.clone(),
        info,
        drops: vec![0; sockets.len()],
        sockets,
        memberships,
        peers: if also_on_group_port { vec![address] } else { Vec::new() },
        interface,
        reason,
        interface_lost: false,
        sender: Sender::new(v6, gso),
        gso_lost: false,
        stats: DatagramStats::default(),
    })
}

/// Collects all addresses of this machine.
pub(super) fn addresses(interfaces: &[Interface]) -> Vec<IpAddr> {
    interfaces.iter().flat_map(|interface| interface.addresses.iter().copied()).collect()
}

/// The largest packet that an interface takes.
pub(super) fn mtu_bytes(socket: &Socket, interface: &Interface) -> Option<usize> {
    interface.mtu_bytes.or_else(|| system::mtu_bytes(socket, interface))
}

/// A socket with all the options but those of one kind, not bound.
fn bare_socket(config: &DatagramConfig, shared: bool) -> io::Result<Socket> {
    let v6 = config.group.is_ipv6();
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if v6 {
        socket.set_only_v6(true)?;
    }
    if shared {
        system::share_port(&socket)?;
    }
    system::set_options(&socket, v6)?;
    system::set_packet_info(&socket, v6)?;
    set_buffer(&socket, Buffer::Receive, config.receive_buffer_bytes);
    Ok(socket)
}

/// A socket on the group's port, with trains if the others have them.
pub(super) fn group_socket(config: &DatagramConfig, gro: bool) -> io::Result<Socket> {
    let socket = bare_socket(config, true)?;
    if gro {
        system::set_gro(&socket);
    }
    socket.bind(&SockAddr::from(SocketAddr::new(any(config), config.group.port())))?;
    Ok(socket)
}

/// Opens the first of the shared sockets, which may have to wait for another broker's
/// start.
fn shared_socket(config: &DatagramConfig) -> Result<Socket, DatagramError> {
    let mut tries = 0;
    loop {
        match group_socket(config, false) {
            Ok(socket) => return Ok(socket),
            Err(error) if !system::is_taken(&error) => {
                return Err(DatagramError::setup("binding the group's port")(error));
            }
            Err(_) if tries == BIND_TRIES => {
                return Err(DatagramError::GroupPortTaken(config.group));
            }
            Err(_) => {
                tries += 1;
                std::thread::sleep(BIND_PAUSE);
            }
        }
    }
}

/// The group's port on the interface's address: if nobody has any of it, unless it
/// is to be shared.
pub(super) fn peers_socket(
    config: &DatagramConfig,
    address: IpAddr,
    index: u32,
    shared: bool,
) -> Result<Option<Socket>, DatagramError> {
    let step = "opening the socket for unicast on the group's port";
    let socket = bare_socket(config, shared).map_err(DatagramError::setup(step))?;
    let address = match address {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            SocketAddrV6::new(ip, config.group.port(), 0, index).into()
        }
        ip => SocketAddr::new(ip, config.group.port()),
    };
    if socket.bind(&SockAddr::from(address)).is_err() {
        // Another broker has it, or the address is just going: we do without.
        return Ok(None);
    }
    system::share_from_now_on(&socket).map_err(DatagramError::setup(step))?;
    Ok(Some(socket))
}

/// The socket that everything is sent from.
fn unicast_socket(config: &DatagramConfig, interface: &Interface) -> Result<Socket, DatagramError> {
    let step = DatagramError::setup;
    let v6 = config.group.is_ipv6();
    let socket = bare_socket(config, false).map_err(step("opening the unicast socket"))?;
    system::set_multicast_interface(&socket, v6, interface)
        .map_err(step("choosing the interface"))?;
    let set_ttl = if v6 { Socket::set_multicast_hops_v6 } else { Socket::set_multicast_ttl_v4 };
    set_ttl(&socket, config.ttl).map_err(step("setting the TTL (0 to 255)"))?;
    system::keep_port(&socket).map_err(step("keeping the unicast port"))?;
    set_buffer(&socket, Buffer::Send, config.send_buffer_bytes);
    let port = config.unicast_port.unwrap_or(0);
    socket.bind(&SockAddr::from(SocketAddr::new(any(config), port))).map_err(|error| {
        if port != 0 && system::is_taken(&error) {
            DatagramError::UnicastPortTaken(port)
        } else {
            DatagramError::Setup { step: "binding the unicast port", error }
        }
    })?;
    Ok(socket)
}

fn any(config: &DatagramConfig) -> IpAddr {
    match config.group {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

fn bound_port(socket: &Socket) -> Result<u16, DatagramError> {
    let address = socket.local_addr().map_err(DatagramError::setup("asking for the port"))?;
    Ok(address.as_socket().map_or(0, |address| address.port()))
}

/// Asks for a buffer; what was granted is seen later.
fn set_buffer(socket: &Socket, buffer: Buffer, bytes: usize) {
    if system::force_buffer(socket, buffer, bytes).is_ok() {
        return;
    }
    // Linux grants what it may; others refuse what is too much, so ask for less.
    let mut bytes = bytes;
    while bytes >= 64 << 10 {
        let granted = match buffer {
            Buffer::Receive => socket.set_recv_buffer_size(bytes),
            Buffer::Send => socket.set_send_buffer_size(bytes),
        };
        if granted.is_ok() {
            return;
        }
        bytes /= 2;
    }
}

/// The smallest receive buffer and the send buffer.
fn grant_buffers(
    config: &DatagramConfig,
    sockets: &[Socket],
) -> Result<(usize, usize), DatagramError> {
    let step = "asking for the buffers' sizes";
    let mut receive = usize::MAX;
    for socket in sockets {
        receive = receive.min(socket.recv_buffer_size().map_err(DatagramError::setup(step))?);
    }
    let send = sockets[super::UNICAST].send_buffer_size().map_err(DatagramError::setup(step))?;
    tracing::debug!(receive, send, asked = config.receive_buffer_bytes, "socket buffers");
    Ok((receive, send))
}

/// Notes for administrators.
pub(super) fn notes(
    config: &DatagramConfig,
    interface: &Interface,
    reason: InterfaceReason,
    receive_buffer_bytes: usize,
) -> Vec<String> {
    let mut notes = Vec::new();
    let (name, group) = (&interface.name, config.group.ip());
    if reason == InterfaceReason::FirstMulticast {
        notes.push(format!(
            "no route leads to the group {group}; {name} is used, the first interface that does \
             multicast; `--interface` chooses another"
        ));
    }
    if interface.loopback {
        notes.push(format!(
            "the group {group} lies on the loopback interface: only brokers on this machine are \
             reached"
        ));
    } else if !interface.multicast {
        notes.push(format!(
            "{name} says that it does no multicast; {}",
            advice::without_multicast(name)
        ));
    }
    if group.is_ipv6() && !interface::has_group_route(config.group, interface.index) {
        notes.push(format!(
            "{name} has no route for IPv6 groups; {}",
            advice::group_route(name, interface.loopback)
        ));
    }
    let stays = matches!(group, IpAddr::V4(group) if group.octets()[..3] == [224, 0, 0]);
    if stays && config.ttl > 1 {
        notes.push(format!(
            "no router passes {group} on, whatever the TTL: groups of 224.0.0.0/24 stay in their \
             network"
        ));
    }
    if receive_buffer_bytes < config.receive_buffer_bytes.min(AMPLE_BUFFER_BYTES) {
        notes.push(format!(
            "the receive buffer is {} KiB of the {} asked for, so that bursts are dropped and sent \
             again; {}",
            receive_buffer_bytes >> 10,
            config.receive_buffer_bytes >> 10,
            advice::larger_buffer(config.receive_buffer_bytes),
        ));
    }
    notes
}
