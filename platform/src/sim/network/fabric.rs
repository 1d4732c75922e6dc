//! State that simulated machines share: the clock, the sockets of their links, and what
//! is under way between them.
//!
//! ```text
//!   send ─▶ uplink ─▶ one path per receiver ─▶ flights (a heap, by time)
//!                                                 │ due
//!             receive buffers ◀─ downlink ◀───────┘
//! ```
//! Invariant: a flight is handled at its own time, in the order of these times,
//! however far the clock leaps; flights of the same moment in the order in which
//! they were sent.

use core::net::{IpAddr, SocketAddr};
use std::cell::{Cell, RefCell};
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BinaryHeap};
use std::rc::Rc;

use super::MachineId;
use super::counters::{Cause, NetworkCounters};
use super::endpoint::Endpoint;
use super::faults::{NetworkFaults, PortFaults};
use super::lane::{Lane, LaneLimits};
use super::path::{Path, Surroundings};
use super::tap::Tap;
use super::train::Train;
use crate::Instant;
use crate::sim::random::Random;
use crate::sim::world::World;

/// The virtual time, common to all machines.
pub(in crate::sim) type Clock = Rc<Cell<Instant>>;

/// First ephemeral port.
const FIRST_EPHEMERAL_PORT: u16 = 49_152;

/// State of a machine, as the network sees it.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) world: Rc<RefCell<World>>,
    /// Instead of the network's.
    pub(super) faults: Option<PortFaults>,
    pub(super) random: Random,
    pub(super) uplink: Lane,
    downlink: Lane,
    /// Paths from it, by the number of the receiver.
    pub(super) paths: Vec<Path>,
    addresses: Vec<IpAddr>,
    next_port: u16,
}

/// State that a [`SimNetwork`](super::SimNetwork) and its parts share.
#[derive(Debug)]
pub(super) struct Fabric {
    pub(super) clock: Clock,
    pub(super) faults: NetworkFaults,
    pub(super) machines: Vec<Machine>,
    pub(super) endpoints: BTreeMap<u64, Endpoint>,
    pub(super) counters: NetworkCounters,
    pub(super) tap: Tap,
    seed: u64,
    flights: BinaryHeap<Reverse<Flight>>,
    next_endpoint: u64,
    next_tie: u64,
    /// Emptied after each use: kept for their memory.
    departing: Vec<(Instant, Train)>,
    arriving: Vec<(Instant, Train)>,
}

/// A train that arrives at a machine's port, or has passed it.
#[derive(Debug)]
struct Flight {
    due_at: Instant,
    tie: u64,
    receiver: MachineId,
    passed_downlink: bool,
    train: Train,
}

impl Fabric {
    pub(super) fn new(seed: u64, faults: NetworkFaults) -> Fabric {
        Fabric {
            clock: Clock::default(),
            faults,
            machines: Vec::new(),
            endpoints: BTreeMap::new(),
            counters: NetworkCounters::default(),
            tap: Tap::default(),
            seed,
            flights: BinaryHeap::new(),
            next_endpoint: 0,
            next_tie: 0,
            departing: Vec::new(),
            arriving: Vec::new(),
        }
    }

    pub(super) fn add_machine(&mut self, world: Rc<RefCell<World>>) -> MachineId {
        let id = MachineId(self.machines.len() as u32);
        for (index, other) in self.machines.iter_mut().enumerate() {
            other.paths.push(Path::new(self.seed, MachineId(index as u32), id));
        }
        let paths = (0..=id.0).map(|other| Path::new(self.seed, id, MachineId(other))).collect();
        self.machines.push(Machine {
            world,
            faults: None,
            random: Random::new(Random::new(self.seed ^ u64::from(id.0)).next()),
            uplink: Lane::default(),
            downlink: Lane::default(),
            paths,
            addresses: Vec::new(),
            next_port: FIRST_EPHEMERAL_PORT,
        });
        id
    }

    pub(super) fn machine(&mut self, id: MachineId) -> &mut Machine {
        &mut self.machines[id.0 as usize]
    }

    pub(super) fn port_faults(&self, id: MachineId) -> PortFaults {
        self.machines[id.0 as usize].faults.unwrap_or(self.faults.port)
    }

    /// Binds the sockets of one link. A port of 0 is any that is free.
    ///
    /// # Panics
    /// If the address or the port is in use: the test's mistake.
    pub(super) fn bind(
        &mut self,
        machine: MachineId,
        unicast: SocketAddr,
        group_port: u16,
        receive_buffer_bytes: usize,
    ) -> (u64, SocketAddr) {
        let unicast = self.free_address(machine, unicast);
        let is_used = self.endpoints.values().any(|endpoint| endpoint.unicast == unicast);
        assert!(!is_used, "{unicast} is in use");
        for (index, other) in self.machines.iter_mut().enumerate() {
            let is_own = index == machine.0 as usize;
            let is_known = other.addresses.contains(&unicast.ip());
            assert!(is_own || !is_known, "{unicast} is another machine's address");
            if is_own && !is_known {
                other.addresses.push(unicast.ip());
            }
        }
        let buffers = self.machine(machine).world.borrow().faults.pool_buffers;
        let endpoint = Endpoint::new(machine, unicast, group_port, receive_buffer_bytes, buffers);
        let id = self.next_endpoint;
        self.next_endpoint += 1;
        self.endpoints.insert(id, endpoint);
        (id, unicast)
    }

    fn free_address(&mut self, machine: MachineId, wanted: SocketAddr) -> SocketAddr {
        let mut address = wanted;
        while address.port() == 0
            || (wanted.port() == 0 && self.endpoints.values().any(|other| other.unicast == address))
        {
            let state = self.machine(machine);
            address.set_port(state.next_port);
            state.next_port = state.next_port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
        }
        address
    }

    /// Sends a train off, from the machine to all that `train.to` names.
    pub(super) fn launch(&mut self, sender: MachineId, train: Train, looped: bool) {
        let now = self.clock.get();
        self.tap.note(now, &train);
        for datagram in train.datagrams() {
            self.counters.count_sent(datagram);
        }
        if train.to.ip().is_multicast() {
            self.depart(sender, None, &train);
            if looped {
                self.arrive(sender, &train, false);
            }
            return;
        }
        let is_own = self.machine(sender).addresses.contains(&train.to.ip());
        if is_own {
            return self.arrive(sender, &train, false);
        }
        let lives_there = |machine: &Machine| machine.addresses.contains(&train.to.ip());
        match self.machines.iter().position(lives_there) {
            Some(receiver) => self.depart(sender, Some(MachineId(receiver as u32)), &train),
            None => self.drop_all(Cause::Closed, &train),
        }
    }

    /// Through the sender's uplink and the paths to one machine or to all others
    /// with a member of the group.
    fn depart(&mut self, sender: MachineId, receiver: Option<MachineId>, train: &Train) {
        let now = self.clock.get();
        let port = self.port_faults(sender);
        let mut departing = std::mem::take(&mut self.departing);
        let mut arriving = std::mem::take(&mut self.arriving);
        match port.send_bytes_per_s {
            None => departing.push((now, train.clone())),
            Some(bytes_per_s) => {
                let limits = LaneLimits { bytes_per_s, queue_bytes: port.send_queue_bytes };
                let machine = &mut self.machines[sender.0 as usize];
                machine.uplink.carry(limits, now, train, &mut self.counters, &mut departing);
            }
        }
        let receivers = match receiver {
            Some(receiver) => receiver.0..receiver.0 + 1,
            None => 0..self.machines.len() as u32,
        };
        for id in receivers.map(MachineId) {
            if id == sender || receiver.is_none() && !self.has_member(id, train.to) {
                continue;
            }
            for (departs_at, part) in &departing {
                let mut around = Surroundings {
                    faults: self.faults.path,
                    now,
                    counters: &mut self.counters,
                    filter: self.tap.filter.as_mut(),
                };
                let path = &mut self.machines[sender.0 as usize].paths[id.0 as usize];
                path.carry(&mut around, *departs_at, part, &mut arriving);
            }
            for (due_at, part) in arriving.drain(..) {
                self.fly(due_at, id, false, part);
            }
        }
        departing.clear();
        self.departing = departing;
        self.arriving = arriving;
    }

    fn has_member(&self, machine: MachineId, group: SocketAddr) -> bool {
        let hears = |endpoint: &Endpoint| endpoint.machine == machine && endpoint.hears(group);
        self.endpoints.values().any(hears)
    }

    fn fly(&mut self, due_at: Instant, receiver: MachineId, passed_downlink: bool, train: Train) {
        let tie = self.next_tie;
        self.next_tie += 1;
        self.flights.push(Reverse(Flight { due_at, tie, receiver, passed_downlink, train }));
    }

    /// Handles every flight that is due by now.
    pub(super) fn pump(&mut self) {
        let now = self.clock.get();
        while self.flights.peek().is_some_and(|Reverse(flight)| flight.due_at <= now) {
            let Some(Reverse(flight)) = self.flights.pop() else { break };
            self.land(flight);
        }
    }

    fn land(&mut self, flight: Flight) {
        let Flight { due_at, receiver, passed_downlink, train, .. } = flight;
        let port = self.port_faults(receiver);
        let Some(bytes_per_s) = port.receive_bytes_per_s.filter(|_| !passed_downlink) else {
            return self.arrive(receiver, &train, true);
        };
        let limits = LaneLimits { bytes_per_s, queue_bytes: port.receive_queue_bytes };
        let mut arriving = std::mem::take(&mut self.arriving);
        let machine = &mut self.machines[receiver.0 as usize];
        machine.downlink.carry(limits, due_at, &train, &mut self.counters, &mut arriving);
        for (due_at, part) in arriving.drain(..) {
            self.fly(due_at, receiver, true, part);
        }
        self.arriving = arriving;
    }

    /// Puts a train into the receive buffers that it is for.
    fn arrive(&mut self, receiver: MachineId, train: &Train, from_network: bool) {
        let port = self.port_faults(receiver);
        let random = &mut self.machines[receiver.0 as usize].random;
        let is_group = train.to.ip().is_multicast();
        let mut is_heard = false;
        let mut fallback = None;
        for (&id, endpoint) in &mut self.endpoints {
            let is_meant =
                if is_group { endpoint.hears(train.to) } else { endpoint.unicast == train.to };
            if endpoint.machine == receiver && is_meant {
                let faults = from_network.then_some((&port, &mut *random));
                let overhead_bytes = port.datagram_overhead_bytes;
                endpoint.arrive(train, overhead_bytes, faults, &mut self.counters);
                is_heard = true;
            } else if endpoint.machine == receiver && endpoint.answers_for(train.to) {
                // The first on the machine has bound the group's port on the address.
                fallback = fallback.or(Some(id));
            }
        }
        if is_heard {
            return;
        }
        if let Some(endpoint) = fallback.and_then(|id| self.endpoints.get_mut(&id)) {
            let faults = from_network.then_some((&port, random));
            return endpoint.arrive(
                train,
                port.datagram_overhead_bytes,
                faults,
                &mut self.counters,
            );
        }
        if from_network || !is_group {
            self.drop_all(Cause::Closed, train);
        }
    }

    /// Puts a forged datagram into the receive buffers that it is for, without
    /// faults.
    pub(super) fn inject(&mut self, train: &Train) {
        self.pump();
        self.counters.injected += 1;
        for id in 0..self.machines.len() {
            let machine = MachineId(id as u32);
            let is_there = if train.to.ip().is_multicast() {
                self.has_member(machine, train.to)
            } else {
                self.machines[id].addresses.contains(&train.to.ip())
            };
            if is_there {
                self.arrive(machine, train, false);
            }
        }
    }

    fn drop_all(&mut self, cause: Cause, train: &Train) {
        for datagram in train.datagrams() {
            self.counters.count_dropped(cause, datagram);
        }
    }

    /// Makes all sockets of a machine vanish.
    pub(super) fn crash(&mut self, machine: MachineId) {
        self.pump();
        self.endpoints.retain(|_, endpoint| endpoint.machine != machine);
    }

    /// Time at which something is due: now, if a shard has something to report.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let now = self.clock.get();
        let flight_at = self.flights.peek().map(|Reverse(flight)| flight.due_at);
        let mut next_at = flight_at.unwrap_or(Instant::NEVER);
        let is_paused = |id: MachineId| self.machines[id.0 as usize].world.borrow().is_paused();
        for endpoint in self.endpoints.values() {
            let readable_at = endpoint.is_readable().then_some(now);
            let due_at = readable_at.or(endpoint.writable_at).unwrap_or(Instant::NEVER);
            if due_at < next_at && !is_paused(endpoint.machine) {
                next_at = due_at;
            }
        }
        for machine in &self.machines {
            let due_at = machine.world.borrow().next_due();
            next_at = next_at.min(due_at.unwrap_or(Instant::NEVER));
        }
        (next_at < Instant::NEVER).then_some(next_at.max(now))
    }
}

impl PartialEq for Flight {
    fn eq(&self, other: &Flight) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Flight {}

impl PartialOrd for Flight {
    fn partial_cmp(&self, other: &Flight) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Flight {
    fn cmp(&self, other: &Flight) -> Ordering {
        (self.due_at, self.tie).cmp(&(other.due_at, other.tie))
    }
}
