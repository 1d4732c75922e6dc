//! Several brokers in memory, each on a machine of its own, joined by a simulated
//! network, all stepped by the caller in one virtual time.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use netcluster_platform::Instant;
use netcluster_platform::sim::{Faults, NetworkFaults, SimNet, SimNetwork, SimSocketsConfig};

use crate::config::ShardConfig;
use crate::returning::Record;
use crate::shard::{LinkSockets, LinkStart};
use crate::status::LinkIo;
use crate::will::Will;
use netcluster_link::config::{DISCOVERY, Entropy, LinkConfig, StreamMap};
use netcluster_link::crypto::Keys;
use netcluster_link::options::MAX_LINK_PAYLOAD_BYTES;
use netcluster_link::succession;

use super::{MAX_STEP_NS, MIN_STEP_NS, SimBroker};

/// The link's port in the simulation.
const PORT: u16 = 4454;

/// Settings that one simulated broker is started with.
#[derive(Clone, Debug)]
pub struct SimMember {
    /// Shards of the broker.
    pub shards: usize,
    /// Settings of its shards; the node id is set by the cluster.
    pub config: ShardConfig,
    /// Memory budget of the broker.
    pub max_memory_bytes: usize,
    /// Name of the cluster.
    pub cluster: String,
    /// Groups that channels are spread over.
    pub groups: u8,
    /// Bytes of the largest datagram.
    pub datagram_bytes: usize,
    /// Bytes that a stream keeps for repairs.
    pub history_bytes: usize,
    /// Bytes that each socket of the broker holds unread.
    pub receive_buffer_bytes: usize,
    /// Keys of the cluster that the broker has.
    pub keys: Keys,
    /// Channels with pressure from the cluster.
    pub pressured: Vec<String>,
    /// Members to greet by unicast.
    pub unicast: Vec<usize>,
    /// Cap of the broker's sends, in bytes a second.
    pub rate: Option<u64>,
}

impl Default for SimMember {
    fn default() -> SimMember {
        SimMember {
            shards: 1,
            config: ShardConfig::default(),
            max_memory_bytes: 64 << 20,
            cluster: "sim".into(),
            groups: 4,
            datagram_bytes: 1372,
            history_bytes: 1 << 20,
            receive_buffer_bytes: 1 << 20,
            keys: Keys::open_link(),
            pressured: Vec::new(),
            unicast: Vec::new(),
            rate: None,
        }
    }
}

/// The machines, the network between them and the brokers that run.
pub struct SimCluster {
    /// Network between the machines.
    pub network: SimNetwork,
    /// Machines of the cluster.
    pub machines: Vec<SimNet>,
    /// Broker on each machine, if one runs.
    pub brokers: Vec<Option<SimBroker>>,
    /// Brokers that were succeeded, and have not ended.
    parting: Vec<SimBroker>,
    /// Port of each machine's broker.
    ports: Vec<u16>,
    /// Machines whose broker gives its place away: it is kept until it is succeeded.
    giving: BTreeSet<usize>,
    seed: u64,
    /// Number of brokers started so far: no session or nonce comes twice.
    started: u64,
}

impl SimCluster {
    /// Returns so many machines, none of which runs a broker yet.
    pub fn new(seed: u64, machines: usize, faults: Faults, network: NetworkFaults) -> SimCluster {
        let network = SimNetwork::new(seed, network);
        let machines: Vec<SimNet> = (0..machines)
            .map(|at| network.machine(seed.wrapping_add(at as u64 + 1), faults))
            .collect();
        let brokers = machines.iter().map(|_| None).collect();
        let ports = machines.iter().map(|_| 0).collect();
        SimCluster {
            network,
            machines,
            brokers,
            parting: Vec::new(),
            ports,
            giving: BTreeSet::new(),
            seed,
            started: 0,
        }
    }

    /// Returns the address of a machine.
    pub fn address(at: usize) -> IpAddr {
        Ipv4Addr::new(10, 0, (at >> 8) as u8, at as u8 + 1).into()
    }

    /// Returns the node id of the next broker that is started on a machine.
    pub fn node(at: usize) -> u32 {
        at as u32 + 1
    }

    /// Starts a broker on a machine that runs none.
    pub fn start(&mut self, at: usize, member: &SimMember) {
        assert!(self.brokers[at].is_none());
        self.start_with(at, member, Vec::new());
    }

    /// Has the broker on a machine give its place away, on terms for the link or on none.
    pub fn give_way(&mut self, at: usize, terms: Option<String>) {
        self.giving.insert(at);
        self.broker(at).give_way_on(terms);
    }

    /// Starts the successor of the broker on a machine, if that one has left its word; whether
    /// it has.
    pub fn succeed(&mut self, at: usize, member: &SimMember) -> bool {
        let Some(note) = self.brokers[at].as_ref().and_then(SimBroker::note) else { return false };
        self.giving.remove(&at);
        self.parting.extend(self.brokers[at].take());
        self.start_with(at, member, note);
        true
    }

    /// Returns the terms on which a broker of such settings goes on with a link's session.
    pub fn terms(at: usize, member: &SimMember) -> String {
        succession::terms(&SimCluster::link_config(at, member))
    }

    fn link_config(at: usize, member: &SimMember) -> LinkConfig {
        let node = SimCluster::node(at);
        let unicast =
            member.unicast.iter().map(|&at| SocketAddr::new(SimCluster::address(at), PORT));
        LinkConfig {
            cluster: member.cluster.clone(),
            name: format!("machine-{at}"),
            node,
            group: SocketAddr::new(Ipv4Addr::new(239, 255, 44, 54).into(), PORT),
            groups: member.groups,
            datagram_bytes: member.datagram_bytes,
            history_bytes: member.history_bytes,
            rate: member.rate,
            receive_buffer_bytes: member.receive_buffer_bytes,
            keys: member.keys.clone(),
            peers: unicast.collect(),
            unresolved: 0,
            pressured: member.pressured.clone(),
            stall_timeout: member.config.stall_timeout,
            max_payload_bytes: member.config.max_payload_bytes,
            reassembly_bytes: MAX_LINK_PAYLOAD_BYTES,
            local_addresses: vec![SimCluster::address(at)],
            discovery: DISCOVERY,
        }
    }

    /// Starts a broker that finds this note.
    fn start_with(&mut self, at: usize, member: &SimMember, note: Vec<u8>) {
        self.started += 1;
        let net = &self.machines[at];
        let config = SimCluster::link_config(at, member);
        let will = Will::read(&note).filter(|will| will.is_for(&config, None));
        let sockets = net.link_sockets(SimSocketsConfig {
            address: SimCluster::address(at),
            unicast_port: will.as_ref().map_or(0, |_| self.ports[at]),
            group_port: PORT,
            receive_buffer_bytes: member.receive_buffer_bytes,
        });
        self.ports[at] = sockets.unicast_address().port();
        let mut shard = ShardConfig {
            node: config.node,
            run: self.started,
            awaited: Arc::new(Record::decode(&note)),
            link: Some(Arc::new(StreamMap::new(&config))),
            ..member.config.clone()
        };
        let mut entropy = SeededEntropy { seed: self.seed, broker: self.started, count: 0 };
        let mut session = Default::default();
        entropy.fill(&mut session);
        let mut link = LinkStart {
            config,
            expected_peers: Vec::new(),
            session,
            entropy: Box::new(entropy),
            sockets: LinkSockets::Open(sockets),
            about: LinkIo::default(),
            addresses: None,
            snapshots: None,
            bequest: None,
        };
        if let Some(will) = will {
            will.come_into_force(&mut link, &mut shard);
        }
        let broker =
            SimBroker::on(net.clone(), member.shards, shard, member.max_memory_bytes, Some(link));
        self.brokers[at] = Some(broker);
    }

    /// Kills a broker: its clients' connections break, nobody is told anything.
    pub fn crash(&mut self, at: usize) {
        self.machines[at].crash();
        self.brokers[at] = None;
    }

    /// Asks a broker to end in order; the broker is gone once it has.
    pub fn stop(&mut self, at: usize) {
        if let Some(broker) = &mut self.brokers[at] {
            broker.shut_down();
        }
    }

    /// Returns the broker on a machine.
    ///
    /// # Panics
    /// If none runs there.
    pub fn broker(&mut self, at: usize) -> &mut SimBroker {
        self.brokers[at].as_mut().expect("a broker runs there")
    }

    /// Does one turn of every shard of every broker.
    pub fn turn(&mut self) {
        for (at, broker) in self.brokers.iter_mut().enumerate() {
            if let Some(running) = broker {
                running.turn();
                if running.has_ended() && !self.giving.contains(&at) {
                    *broker = None;
                }
            }
        }
        self.parting.iter_mut().for_each(SimBroker::turn);
        self.parting.retain(|broker| !broker.has_ended());
    }

    /// Turns and moves the time on, by at least `duration` in all.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.network.now() + duration.as_nanos() as u64;
        loop {
            self.turn();
            let now = self.network.now();
            if now >= end {
                break;
            }
            let due_at = self.next_due().unwrap_or(Instant::NEVER).max(now + MIN_STEP_NS);
            let next = due_at.min(now + MAX_STEP_NS).min(end);
            self.network.advance(Duration::from_nanos(next.since(now)));
        }
        for _ in 0..4 {
            self.turn();
        }
    }

    fn next_due(&self) -> Option<Instant> {
        let brokers = self.brokers.iter().flatten().chain(&self.parting);
        let brokers = brokers.filter_map(SimBroker::next_due);
        brokers.chain(self.network.next_due()).min()
    }

    /// Runs until every broker knows so many peers, or panics after 5 s.
    pub fn settle(&mut self, peers: usize) {
        for _ in 0..500 {
            self.run_for(Duration::from_millis(10));
            let known = |broker: &mut SimBroker| broker.peers() >= peers;
            if self.brokers.iter_mut().flatten().all(known) {
                return;
            }
        }
        let known: HashMap<usize, usize> = (0..self.brokers.len())
            .filter_map(|at| Some((at, self.brokers[at].as_mut()?.peers())))
            .collect();
        panic!("the brokers have not found each other: {known:?}");
    }
}

/// Distinct bytes for each broker and call, the same in each run of a seed.
struct SeededEntropy {
    seed: u64,
    broker: u64,
    count: u64,
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8; 16]) {
        self.count += 1;
        let words = [self.seed, self.broker, self.count].map(u64::to_le_bytes).concat();
        let digest = ring::digest::digest(&ring::digest::SHA256, &words);
        out.copy_from_slice(&digest.as_ref()[..16]);
    }
}
