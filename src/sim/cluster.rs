//! Several brokers in memory, each on a machine of its own, joined by a simulated
//! network, all stepped by the caller in one virtual time.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::HashMap;
use std::time::Duration;

use netcluster_platform::Instant;
use netcluster_platform::sim::{Faults, NetworkFaults, SimNet, SimNetwork, SimSocketsConfig};

use crate::config::ShardConfig;
use crate::shard::{LinkSockets, LinkStart};
use crate::status::LinkIo;
use netcluster_link::config::{DISCOVERY, Entropy, LinkConfig, StreamMap};
use netcluster_link::crypto::Keys;
use netcluster_link::options::MAX_LINK_PAYLOAD_BYTES;

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
        SimCluster { network, machines, brokers, seed, started: 0 }
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
        self.started += 1;
        let net = &self.machines[at];
        let sockets = net.link_sockets(SimSocketsConfig {
            address: SimCluster::address(at),
            unicast_port: 0,
            group_port: PORT,
            receive_buffer_bytes: member.receive_buffer_bytes,
        });
        let node = SimCluster::node(at);
        let unicast =
            member.unicast.iter().map(|&at| SocketAddr::new(SimCluster::address(at), PORT));
        let config = LinkConfig {
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
        };
        let shard = ShardConfig {
            node,
            run: self.started,
            link: Some(std::sync::Arc::new(StreamMap::new(&config))),
            ..member.config.clone()
        };
        let mut entropy = SeededEntropy { seed: self.seed, broker: self.started, count: 0 };
        let mut session = Default::default();
        entropy.fill(&mut session);
        let link = LinkStart {
            config,
            expected_peers: Vec::new(),
            session,
            entropy: Box::new(entropy),
            sockets: LinkSockets::Open(sockets),
            about: LinkIo::default(),
            addresses: None,
            snapshots: None,
        };
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
        for broker in &mut self.brokers {
            if let Some(running) = broker {
                running.turn();
                if running.has_ended() {
                    *broker = None;
                }
            }
        }
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
        let brokers = self.brokers.iter().flatten().filter_map(SimBroker::next_due);
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
