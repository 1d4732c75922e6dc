//! A network of several hosts inside this machine, of network namespaces: for
//! real packets, real loss and real cables that are pulled.
//!
//! ```text
//!   host 0           host 1           host 2        one namespace each
//!   eth0 10.77.0.1   eth0 10.77.0.2   eth0 10.77.0.3
//!     │ veth           │                │
//!   ──p0───────────────p1───────────────p2──  br0   in the hub's namespace
//! ```
//! All hosts share the clock, the file system and the processes' ids; only the
//! network differs. Needs root and some tools: [`missing`] says what is not there.
//!
//! Invariant: whatever was made is gone when the [`Network`] is dropped. What a
//! killed process leaves behind is told by the process id in its name and swept
//! by whoever makes the next network.

mod namespace;
mod sweep;
mod tools;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use self::namespace::Namespace;
pub use self::sweep::sweep;
pub use self::tools::missing;

/// Name of each host's interface.
pub const INTERFACE: &str = "eth0";
/// Most hosts of a network: more than anybody starts processes for.
pub const MAX_HOSTS: usize = 64;
/// All packets, in the unit of loss: thousandths.
const WHOLE_LOSS: u32 = 1000;
/// Bytes that a rate limit lets through at once: a few trains of datagrams.
const BURST_BYTES: u32 = 256 << 10;
/// Bytes that wait before a rate limit, as a switch's port would hold them.
const QUEUE_BYTES: u32 = 512 << 10;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Form in which trains of datagrams (GSO) cross the network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Packets {
    /// Whole trains: the cost of packets does not show.
    #[default]
    Whole,
    /// Packets of the size that goes over a wire.
    Cut,
}

/// Options of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkOptions {
    /// Number of hosts.
    pub hosts: usize,
    /// Form in which trains cross the network.
    pub packets: Packets,
    /// Whether the hosts have a route to multicast groups.
    pub multicast_route: bool,
}

impl Default for NetworkOptions {
    fn default() -> NetworkOptions {
        NetworkOptions { hosts: 2, packets: Packets::Whole, multicast_route: true }
    }
}

/// Several hosts and the bridge that joins them.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<Host>,
    hub: Namespace,
}

/// Host of a network: a namespace with a cable to the hub.
#[derive(Debug)]
pub struct Host {
    namespace: Namespace,
    index: usize,
}

impl Network {
    /// Makes a network.
    ///
    /// # Errors
    /// If a tool fails, with the words of the tool.
    pub fn new(options: NetworkOptions) -> Result<Network> {
        ensure!((1..=MAX_HOSTS).contains(&options.hosts), "from 1 to {MAX_HOSTS} hosts");
        sweep();
        let number = next_number();
        let hub = Namespace::new(&sweep::name(number, "hub"))?;
        hub.run("ip", "link add br0 type bridge mcast_snooping 0 forward_delay 0")?;
        hub.run("ip", "link set br0 up")?;
        let mut network = Network { hosts: Vec::new(), hub };
        for index in 0..options.hosts {
            let namespace = Namespace::new(&sweep::name(number, &format!("h{index}")))?;
            network.hosts.push(Host { namespace, index });
            network.connect(index, options).with_context(|| format!("host {index}"))?;
        }
        Ok(network)
    }

    fn connect(&self, index: usize, options: NetworkOptions) -> Result<()> {
        let (host, hub) = (&self.hosts[index], &self.hub);
        let port = port(index);
        let inside = &host.namespace;
        let name = inside.name();
        hub.run("ip", &format!("link add {port} type veth peer name {INTERFACE} netns {name}"))?;
        hub.run("ip", &format!("link set {port} master br0"))?;
        let (v4, v6) = (host.v4(), host.v6());
        inside.run("ip", "link set lo up")?;
        inside.run("ip", &format!("address add {v4}/24 dev {INTERFACE}"))?;
        inside.run("ip", &format!("address add {v6}/64 dev {INTERFACE} nodad"))?;
        // GRO acts only on what the other end has not left in one piece.
        if options.packets == Packets::Cut {
            let off = "tx-udp-segmentation off tso off gso off";
            inside.run("ethtool", &format!("-K {INTERFACE} {off} gro on"))?;
            hub.run("ethtool", &format!("-K {port} {off}"))?;
        }
        inside.run("ip", &format!("link set {INTERFACE} up"))?;
        hub.run("ip", &format!("link set {port} up"))?;
        if options.multicast_route {
            inside.run("ip", &format!("route add 224.0.0.0/4 dev {INTERFACE}"))?;
        }
        Ok(())
    }

    /// Returns the hosts in order.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns the host with this number.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn host(&self, index: usize) -> &Host {
        &self.hosts[index]
    }

    /// Plugs a host's cable in, or pulls it.
    ///
    /// # Errors
    /// If a tool fails, with the words of the tool.
    pub fn set_cable(&self, index: usize, plugged: bool) -> Result<()> {
        let state = if plugged { "up" } else { "down" };
        self.hub.run("ip", &format!("link set {} {state}", port(index)))
    }

    /// Limits the rate of what reaches a host; `None`: no limit.
    ///
    /// # Errors
    /// If a tool fails, with the words of the tool.
    pub fn set_rate(&self, index: usize, bits_per_s: Option<u64>) -> Result<()> {
        let port = port(index);
        match bits_per_s {
            Some(rate) => self.hub.run(
                "tc",
                &format!(
                    "qdisc replace dev {port} root tbf rate {rate}bit burst {BURST_BYTES} limit {QUEUE_BYTES}"
                ),
            ),
            None => self.hub.run("tc", &format!("qdisc del dev {port} root")),
        }
    }
}

impl Host {
    /// Returns the host's number, from 0.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Returns the host's IPv4 address.
    pub fn v4(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, self.index as u8 + 1)
    }

    /// Returns the host's IPv6 address.
    pub fn v6(&self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, self.index as u16 + 1)
    }

    /// Returns the host's addresses.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4().into(), self.v6().into()]
    }

    /// Runs a task in this host's network, on a thread of its own: sockets that the task
    /// makes are the host's for good.
    ///
    /// # Errors
    /// If the namespace cannot be entered.
    pub fn enter<T: Send>(&self, task: impl FnOnce() -> T + Send) -> io::Result<T> {
        self.namespace.enter(task)
    }

    /// Starts a process on this host. The process id is the child's own.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn spawn(&self, command: &mut Command) -> io::Result<Child> {
        self.namespace.enter(|| command.spawn())?
    }

    /// Loses so many thousandths of the UDP packets that arrive, at random; 0: none. A
    /// train that arrives in one piece is lost in one piece.
    ///
    /// # Errors
    /// If a tool fails, with the words of the tool.
    pub fn set_loss(&self, thousandths: u32) -> Result<()> {
        ensure!(thousandths <= WHOLE_LOSS, "at most {WHOLE_LOSS} thousandths");
        // Made before it is deleted, since deleting what is not there fails.
        let mut rules = String::from("table inet loss\ndelete table inet loss\n");
        if thousandths > 0 {
            // The kernel takes no comparison that is always true.
            let chance = match thousandths {
                WHOLE_LOSS => String::new(),
                some => format!("numgen random mod {WHOLE_LOSS} < {some}"),
            };
            rules += &format!(
                "table inet loss {{\n chain arriving {{\n  type filter hook input priority 0;\n  \
                 iifname \"{INTERFACE}\" meta l4proto udp {chance} \
                 counter drop\n }}\n}}\n"
            );
        }
        self.namespace.feed("nft", "-f -", &rules)
    }

    /// Counts the packets that [`Host::set_loss`] has lost since it was last called.
    ///
    /// # Errors
    /// If there is no loss set.
    pub fn packets_lost(&self) -> Result<u64> {
        let text = self.namespace.ask("nft", "list chain inet loss arriving")?;
        let count = text.split_once("counter packets ").and_then(|(_, rest)| {
            rest.split_whitespace().next().and_then(|word| word.parse().ok())
        });
        count.with_context(|| format!("no counter in {text}"))
    }
}

/// Returns a number that no other network of this process has.
fn next_number() -> u32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Returns the name of the hub's end of a host's cable.
fn port(index: usize) -> String {
    format!("p{index}")
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn network(options: NetworkOptions) -> Option<Network> {
        if let Some(why) = missing() {
            println!("SKIPPED: {why}");
            return None;
        }
        Some(Network::new(options).expect("a network"))
    }

    fn socket(host: &Host) -> UdpSocket {
        let address = host.v4();
        let socket = host.enter(|| UdpSocket::bind((address, 0))).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        socket
    }

    #[test]
    fn hosts_reach_each_other_and_lose_what_they_are_told_to() {
        let Some(network) = network(NetworkOptions::default()) else { return };
        let (here, there) = (socket(network.host(0)), socket(network.host(1)));
        let to = there.local_addr().unwrap();
        here.send_to(b"hello", to).unwrap();
        let mut buffer = [0; 16];
        assert_eq!(there.recv(&mut buffer).unwrap(), 5);
        network.host(1).set_loss(1000).unwrap();
        (0..10).for_each(|_| drop(here.send_to(b"lost", to)));
        assert_eq!(network.host(1).packets_lost().unwrap(), 10);
        network.host(1).set_loss(0).unwrap();
        here.send_to(b"again", to).unwrap();
        assert_eq!(there.recv(&mut buffer).unwrap(), 5);
        network.set_rate(1, Some(1_000_000_000)).unwrap();
        network.set_cable(1, false).unwrap();
        network.set_cable(1, true).unwrap();
    }

    #[test]
    fn nothing_is_left_when_it_is_dropped() {
        let options = NetworkOptions { hosts: 3, packets: Packets::Cut, ..Default::default() };
        let Some(network) = network(options) else { return };
        let paths: Vec<_> =
            network.hosts().iter().map(|host| host.namespace.path().to_owned()).collect();
        assert!(paths.iter().all(|path| Path::exists(path)));
        drop(network);
        assert!(!paths.iter().any(|path| Path::exists(path)));
    }
}
