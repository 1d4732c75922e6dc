//! Several machines inside this one, with real brokers and real packets.
//!
//! ```text
//!   test process                       host 0 .. n: network namespaces
//!     clients ──unix sockets──▶ brokers, processes of their own ──▶ eth0 ── bridge
//! ```
//! Clients may be in the test's own process, since a unix socket lies in the file
//! system, which all hosts share.
//!
//! Brokers are declared after their [`Site`] and so end before it.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use netcluster::status::Status;
use netcluster_client::{Client, ClientBuilder, Lifecycle, OwnedMessage, RecvError, Subscription};
use netcluster_testkit::netns::{Host, Network, NetworkOptions, Packets, missing};

use crate::support::{Directory, Done, PATIENCE, Process, backends, command, wait_until};

/// Group that tests use unless they are about the address, in IPv4.
pub const GROUP_V4: &str = "239.255.44.54:4454";
pub const GROUP_V6: &str = "[ff15::4454]:4454";

/// Name of the events of [`count`], whose payload is a number.
pub const EVENT: &str = "count.up";

/// Network and the files that its brokers need.
pub struct Site {
    pub network: Network,
    directory: Directory,
    number: AtomicUsize,
}

impl Site {
    /// Makes a network of so many hosts; `None`, with the reason printed, where there can
    /// be none.
    pub fn new(hosts: usize) -> Option<Site> {
        if let Some(why) = missing() {
            println!("SKIPPED: {why}");
            return None;
        }
        let options = NetworkOptions { hosts, packets: Packets::Cut, ..Default::default() };
        let network = Network::new(options).expect("a network");
        // Every other host gets datagrams one by one: loss then takes single ones,
        // at the others whole trains.
        for host in network.hosts().iter().filter(|host| host.index() % 2 == 1) {
            run(host, "ethtool", "-K eth0 gro off");
        }
        Some(Site { network, directory: Directory::new(), number: AtomicUsize::new(0) })
    }

    pub fn host(&self, index: usize) -> &Host {
        self.network.host(index)
    }

    /// Writes a file for brokers.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        self.directory.file(name, text)
    }

    /// Makes a key for all brokers, by the command.
    pub fn key(&self) -> String {
        let path = self.directory.join("key");
        let mut keygen = command(["link", "keygen"]);
        keygen.arg(&path);
        Process::start(keygen).finish().succeeded();
        path.to_str().expect("a path in UTF-8").to_owned()
    }

    /// Starts a broker on a host; `options` name its link.
    pub fn broker(&self, host: usize, backend: &str, options: &[&str]) -> Broker<'_> {
        self.broker_by(host, backend, options, |serve| serve)
    }

    /// Starts a broker on a host with another command around it.
    pub fn broker_by(
        &self,
        host: usize,
        backend: &str,
        options: &[&str],
        wrap: impl FnOnce(Command) -> Command,
    ) -> Broker<'_> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let socket = self.directory.join(&format!("s{number}"));
        let mut serve = command(["serve", "--backend", backend, "--shards", "1", "--socket"]);
        serve.arg(&socket).args(["--node-name", &format!("host{host}")]).args(options);
        let process = Process::start_by(wrap(serve), |command| self.host(host).spawn(command));
        process.wait_for_notice("ready socket=");
        Broker { process, socket, site: self }
    }

    /// Has a broker on a host take the place of another one; returns once it serves and the
    /// other has ended.
    pub fn succeed<'a>(
        &'a self,
        host: usize,
        backend: &str,
        options: &[&str],
        old: Broker<'a>,
    ) -> Broker<'a> {
        let socket = old.socket.clone();
        let mut serve = command(["serve", "--takeover", "--backend", backend, "--shards", "1"]);
        serve.arg("--socket").arg(&socket).args(["--node-name", &format!("host{host}")]);
        serve.args(options);
        let process = Process::start_by(serve, |command| self.host(host).spawn(command));
        process.wait_for_notice("ready socket=");
        wait_until("the other one has ended", || !old.is_running());
        Broker { process, socket, site: self }
    }

    /// Starts the same broker on each host; returns once all know each other.
    pub fn brokers(&self, backend: &str, options: &[&str]) -> Vec<Broker<'_>> {
        let hosts = self.network.hosts().iter();
        let brokers: Vec<_> = hosts.map(|it| self.broker(it.index(), backend, options)).collect();
        wait_for_mesh(&brokers);
        brokers
    }

    /// Loses so many thousandths of the packets that arrive at any host.
    pub fn set_loss(&self, thousandths: u32) {
        self.network.hosts().iter().for_each(|host| host.set_loss(thousandths).unwrap());
    }

    /// Takes the interface out of a host, on which this broker is, and puts in another
    /// one with the same name and another address.
    pub fn replace_interface(&self, broker: &Broker<'_>, index: usize) {
        let name = namespace_of(&broker.process);
        let hub = name.strip_suffix(&format!("-h{index}")).expect("its name tells its place");
        let (hub, port, address) = (format!("{hub}-hub"), format!("p{index}"), 100 + index);
        for line in [
            "link del eth0".to_owned(),
            format!("link add eth0 type veth peer name {port} netns {hub}"),
            format!("-n {hub} link set {port} master br0 up"),
            format!("address add 10.77.0.{address}/24 dev eth0"),
            "link set eth0 up".to_owned(),
        ] {
            run(self.host(index), "ip", &line);
        }
    }

    /// Drops all multicast but that of the network itself, which clouds do.
    pub fn forbid_multicast(&self) {
        for host in self.network.hosts() {
            run(
                host,
                "nft",
                "add table inet cloud; add chain inet cloud out { type filter hook output \
                 priority 0 ; } ; add rule inet cloud out ip daddr 224.0.0.0/4 drop; \
                 add rule inet cloud out ip6 daddr ff00::/8 meta l4proto udp drop",
            );
        }
    }
}

/// Returns the name of a process's network namespace.
fn namespace_of(process: &Process) -> String {
    let mut identify = Command::new("ip");
    identify.args(["netns", "identify", &process.pid().to_string()]);
    Process::start(identify).finish().succeeded().stdout.trim().to_owned()
}

/// Runs a tool on a host and returns the tool's output; `line` is split at spaces.
#[track_caller]
pub fn run(host: &Host, program: &str, line: &str) -> String {
    let mut command = Command::new(program);
    command.args(line.split_whitespace());
    let process = Process::start_by(command, |command| host.spawn(command));
    let Done { status, stdout, stderr } = process.finish();
    assert!(status.success(), "{program} {line}: {stderr}");
    stdout
}

/// Broker in a process of its own, on one of the hosts.
pub struct Broker<'a> {
    pub process: Process,
    socket: PathBuf,
    site: &'a Site,
}

impl Broker<'_> {
    /// Returns whether its process runs.
    pub fn is_running(&self) -> bool {
        self.process.is_running()
    }

    /// Connects a client of the broker, in this process.
    pub fn client(&self) -> Client {
        self.client_with(|builder| builder)
    }

    pub fn client_with(&self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Client {
        let builder = Client::builder().connect_timeout(PATIENCE).disconnect_timeout(PATIENCE);
        change(builder).connect(&self.socket).expect("the broker takes clients")
    }

    /// Connects a listener that every broker knows of.
    pub fn listener(&self) -> Listener {
        self.listener_on("default")
    }

    pub fn listener_on(&self, channel: &str) -> Listener {
        let losses = Arc::new(Mutex::new(Losses::default()));
        let gathered = Arc::clone(&losses);
        let client = self.client_with(|builder| {
            builder.channel(channel).wait_for_cluster(PATIENCE).on_lifecycle(move |happened| {
                if let Lifecycle::Lost { count, .. } = happened {
                    let mut losses = gathered.lock().unwrap();
                    losses.notices += 1;
                    losses.events += count.unwrap_or(0);
                }
            })
        });
        let subscription = client.subscribe("**").expect("all brokers know of it");
        Listener { subscription, losses }
    }

    pub fn status(&self) -> Status {
        let status = self.client_with(|builder| builder.channel("status")).status();
        serde_json::from_str(&status.expect("a status")).expect("its form is known")
    }

    /// Makes a command to this broker.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.arg("--socket").arg(&self.socket);
        command
    }

    /// Starts a command to this broker on a host.
    pub fn start(&self, host: usize, arguments: &[&str]) -> Process {
        let command = self.command(arguments);
        Process::start_by(command, |command| self.site.host(host).spawn(command))
    }

    /// Returns the brokers that this one knows.
    pub fn peers(&self) -> Vec<netcluster_link::status::PeerStatus> {
        self.status().link.expect("it has a link").peers
    }
}

impl Drop for Broker<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("log of a broker when the test failed:\n{}", self.process.notices());
            // It may be what does not answer: on a thread of its own, which may panic.
            let socket = self.socket.clone();
            let status = std::thread::spawn(move || {
                let builder = Client::builder().connect_timeout(Duration::from_secs(2));
                builder.channel("status").connect(socket)?.status()
            });
            if let Ok(Ok(status)) = status.join() {
                println!("its status: {status}");
            }
        }
    }
}

/// Losses at a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Number of notices.
    pub notices: u64,
    /// Number of events that the notices tell of.
    pub events: u64,
}

/// Listener to everything, and the losses that it was told of.
pub struct Listener {
    subscription: Subscription,
    losses: Arc<Mutex<Losses>>,
}

impl Listener {
    pub fn losses(&self) -> Losses {
        *self.losses.lock().unwrap()
    }

    /// Takes the next event.
    #[track_caller]
    pub fn take(&self) -> OwnedMessage {
        loop {
            match self.subscription.recv_timeout(PATIENCE) {
                Ok(message) => return message,
                Err(RecvError::Lost(_)) => {}
                Err(error) => panic!("no event, but {error:?}; {:?}", self.losses()),
            }
        }
    }

    /// Takes the events that have come, without waiting.
    pub fn drain(&self) -> Vec<OwnedMessage> {
        let mut all = Vec::new();
        loop {
            match self.subscription.try_recv() {
                Ok(message) => all.push(message),
                Err(RecvError::Lost(_)) => {}
                Err(_) => return all,
            }
        }
    }

    /// Takes `total` events of [`count`]: those of each emitter are in order and
    /// all there, and none was lost.
    #[track_caller]
    pub fn take_counts(&self, emitters: usize, each: u64) {
        let mut next = std::collections::BTreeMap::new();
        for _ in 0..emitters as u64 * each {
            let message = self.take();
            let source = message.source();
            let expected = next.entry((source.node, source.client)).or_insert(0);
            assert_eq!(number_of(&message), *expected, "from {source}");
            *expected += 1;
        }
        assert_eq!(next.len(), emitters);
        assert!(next.values().all(|&count| count == each), "{next:?}");
        assert_eq!(self.losses(), Losses::default());
    }
}

/// Emits events with the numbers from `first`, as payloads of no even length.
pub fn count(client: &Client, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(8 + (number as usize * 37) % 900, b'.');
        client.emit(EVENT, &payload).expect("the broker takes it");
    }
}

/// Reads the number of an event of [`count`].
pub fn number_of(message: &OwnedMessage) -> u64 {
    u64::from_le_bytes(message.payload()[..8].try_into().expect("a number"))
}

/// Waits until each of these brokers knows all others, and how to reach them.
#[track_caller]
pub fn wait_for_mesh(brokers: &[Broker<'_>]) {
    wait_for_paths(brokers, "multicast");
}

/// Waits until each of these brokers sends data to all others this way.
#[track_caller]
pub fn wait_for_paths(brokers: &[Broker<'_>], path: &str) {
    for broker in brokers {
        wait_until(&format!("all brokers know each other by {path}"), || {
            let peers = broker.peers();
            peers.len() + 1 == brokers.len()
                && peers.iter().all(|peer| peer.is_joined && peer.path == path)
        });
    }
}

/// Returns the back end of tests that are not about the back end.
pub fn any_backend() -> &'static str {
    backends()[0]
}
