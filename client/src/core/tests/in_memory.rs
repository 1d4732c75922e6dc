//! Clients that share memory with a broker: the real one, over the simulator, in virtual
//! time. Time passes between any two steps of a client, and between a store and its bell.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use netcluster::internals::ShardConfig;
use netcluster::sim::{SimBroker, SimMemories};
use netcluster_platform::sim::{Faults, SimClient, SimNet};
use netcluster_shm::Bells;

use super::super::{Core, Step, lock};
use super::world::Random;
use crate::Client;
use crate::memory::{Bell, Memory, Taken};

/// Looks in which nothing moves, after which nothing will.
const QUIET_LOOKS: u32 = 80;

/// Looks after which all that is there has moved.
const MAX_LOOKS: u32 = 100_000;

/// Time between two looks at clients.
const STEP: Duration = Duration::from_micros(300);

/// Bytes that a driver lets wait before it emits no more.
const WAITING_BYTES: usize = 200_000;

/// A client and its driver, which does one thing at a time.
struct Driven {
    core: Core,
    end: Option<SimClient>,
    hello: Vec<u8>,
    bells: Option<Arc<Bells>>,
    /// The broker's bell, which is to be rung.
    owed: Option<Bell>,
    /// Whether it waits for the client's bell, or that for room.
    sleeps: bool,
    awaits_room: bool,
    random: Random,
    /// Chance that it declines, in percent.
    declines: usize,
    emitted: u64,
    heard: Arc<Mutex<Vec<u64>>>,
}

impl Driven {
    fn new(seed: u64, declines: usize, now: Instant) -> Driven {
        let mut core = Core::new(Client::builder(), vec!["broker".into()], seed, now).unwrap();
        core.machine().can_map();
        Driven {
            core,
            end: None,
            hello: Vec::new(),
            bells: None,
            owed: None,
            sleeps: false,
            awaits_room: false,
            random: Random::new(seed ^ 0xd41),
            declines,
            emitted: 0,
            heard: Arc::default(),
        }
    }

    fn listen(&mut self) {
        let heard = Arc::clone(&self.heard);
        let listen = move |message: &crate::Message<'_>| {
            let number = u64::from_le_bytes(message.payload()[..8].try_into().unwrap());
            assert!(message.payload() == payload(number), "corrupt");
            lock(&heard).push(number);
        };
        self.core.on("n", listen).unwrap();
    }

    /// Whether it is connected, and what it listens to is in force.
    fn is_up(&mut self) -> bool {
        let patterns = self.core.patterns();
        let in_force = |pattern: &String| matches!(self.core.in_force(pattern), Some(Ok(())));
        patterns.iter().all(in_force) && self.core.machine().is_open()
    }

    fn emit(&mut self) {
        let waiting = self.core.outgoing(|outgoing| outgoing.pending());
        if waiting < WAITING_BYTES && self.core.emit("n", payload(self.emitted + 1)).is_ok() {
            self.emitted += 1;
        }
    }

    fn uses_memory(&self) -> bool {
        self.core.outgoing(|outgoing| outgoing.ring.is_some())
    }

    /// Rings, writes and reads a little, if it is time; whether anything moved.
    fn step(&mut self, broker: &SimBroker, now: Instant) -> bool {
        if self.random.below(3) > 0 {
            self.owed.take().into_iter().for_each(Bell::ring);
        }
        let wrote = self.random.below(3) > 0 && self.write();
        let moved = self.read(broker, now) || wrote;
        if let Step::Wait(_) = self.core.machine().poll() {
            self.core.keep_unwritten();
        }
        moved
    }

    fn write(&mut self) -> bool {
        let Some(end) = &self.end else { return false };
        if !self.hello.is_empty() {
            let taken = end.write(&self.hello);
            self.hello.drain(..taken);
            return taken > 0;
        }
        if self.uses_memory() {
            let bells = self.bells.as_ref().expect("they came with the memory");
            if self.awaits_room && !bells.room.silence() {
                return false;
            }
            self.awaits_room = false;
            let had_work = self.core.outgoing(|outgoing| outgoing.has_work());
            let bell = self.core.outgoing(|outgoing| outgoing.put());
            self.owed = self.owed.take().or(bell);
            self.awaits_room = self.core.outgoing(|outgoing| outgoing.want_room());
            return had_work;
        }
        let most = 1 + self.random.below(20_000);
        let waiting = self.core.poll_transmit();
        let taken = end.write(&waiting[..waiting.len().min(most)]);
        self.core.handle_transmitted(taken);
        taken > 0
    }

    fn read(&mut self, broker: &SimBroker, now: Instant) -> bool {
        match self.core.machine().poll() {
            Step::Connect(..) => {
                let end = broker.net.connect();
                if end.is_closed() {
                    // Nobody listens.
                    let refused = std::io::ErrorKind::ConnectionRefused.into();
                    self.core.handle_connect_failed(refused, now);
                    return true;
                }
                self.hello = self.core.machine().handle_connected();
                self.end = Some(end);
                (self.bells, self.owed) = (None, None);
                (self.sleeps, self.awaits_room) = (false, false);
                true
            }
            Step::Wait(until) => {
                if now >= until {
                    self.core.handle_timeout(now);
                }
                now >= until
            }
            Step::Read(_) => {
                let bytes = self.receive(usize::MAX);
                if bytes > 0 {
                    self.core.machine().handle_input(bytes, || now);
                } else if self.is_gone() {
                    self.disconnected(now);
                }
                bytes > 0
            }
            Step::Dispatch => {
                self.core.machine().dispatch(&mut || true, || now);
                true
            }
            Step::Map(_) => self.map(),
            Step::Take => self.take(now),
            Step::Hold => false,
            Step::Closed(error) => panic!("{error}"),
        }
    }

    fn is_gone(&self) -> bool {
        self.end.as_ref().is_none_or(|end| end.is_closed() && end.readable() == 0)
    }

    fn disconnected(&mut self, now: Instant) {
        self.core.handle_disconnected(None, now);
        self.end = None;
    }

    /// Reads bytes of the socket, so many at the most.
    fn receive(&mut self, most: usize) -> usize {
        let Some(end) = &self.end else { return 0 };
        let space = self.core.machine().space();
        let most = most.min(space.len()).min(1 + self.random.below(30_000));
        let mut bytes = Vec::new();
        end.read_up_to(&mut bytes, most);
        space[..bytes.len()].copy_from_slice(&bytes);
        bytes.len()
    }

    fn map(&mut self) -> bool {
        if self.random.below(2) == 0 {
            return true;
        }
        let end = self.end.as_ref().expect("the offer came by it");
        let memory = end.take_memory().expect("memory comes with the offer");
        let declines = self.random.below(100) < self.declines;
        self.bells = Some(Arc::clone(&memory.bells));
        let mapped = if declines {
            Err("not now".to_owned())
        } else {
            Ok(Memory::in_memory(memory.arena, memory.region, memory.bells))
        };
        self.core.machine().handle_mapped(mapped);
        true
    }

    fn take(&mut self, now: Instant) -> bool {
        let bells = self.bells.as_ref().expect("they came with the memory");
        if self.sleeps && !bells.client.silence() && !self.is_gone() {
            return false;
        }
        self.sleeps = false;
        match self.core.machine().take(|| now) {
            Taken::Socket(bytes) => {
                let bytes = self.receive(bytes);
                if bytes > 0 {
                    self.core.machine().handle_announced(bytes);
                } else if self.is_gone() {
                    self.disconnected(now);
                }
                bytes > 0
            }
            Taken::Nothing if self.is_gone() => {
                self.disconnected(now);
                true
            }
            Taken::Nothing => {
                let incoming = self.core.machine().incoming();
                self.sleeps = incoming.is_some_and(|incoming| incoming.want());
                false
            }
            Taken::Revoked | Taken::Fault => {
                self.end = None;
                true
            }
            Taken::Range { .. } | Taken::Ahead => true,
        }
    }
}

fn payload(number: u64) -> Vec<u8> {
    let bytes = match number % 23 {
        0 => 90_000,
        1..4 => 4000,
        other => other as usize * 10,
    };
    let mut payload = number.to_le_bytes().to_vec();
    payload.extend((0..bytes).map(|at| (number as usize * 31 + at) as u8));
    payload
}

/// An emitter, two listeners and their broker.
struct World {
    net: SimNet,
    broker: SimBroker,
    seed: u64,
    runs: u64,
    memories: SimMemories,
    /// The broker was killed: nothing of it runs.
    is_killed: bool,
    /// The moment at which virtual time begins.
    epoch: Instant,
    clients: Vec<Driven>,
    random: Random,
}

impl World {
    fn new(seed: u64, memories: SimMemories) -> World {
        let mut random = Random::new(seed ^ 0x3317);
        let rough = random.below(3) > 0;
        let faults = if rough { Faults::rough_without_resets() } else { Faults::default() };
        // An accept that fails is tried again a second later: longer than anybody waits for
        // those who come back.
        let faults = Faults { accept_failure_permille: 0, ..faults };
        let net = SimNet::new(seed, faults);
        let epoch = super::epoch();
        let broker = start(&net, seed, 1, memories, Arc::default());
        let declines = [0, 0, 30][random.below(3)];
        let client = |at| Driven::new(seed * 7 + at, declines, epoch);
        let clients = (0..3).map(client).collect();
        let mut world = World {
            net,
            broker,
            seed,
            runs: 1,
            memories,
            is_killed: false,
            epoch,
            clients,
            random,
        };
        world.settle();
        world.clients[1..].iter_mut().for_each(Driven::listen);
        world.settle();
        world
    }

    fn step(&mut self) -> bool {
        let now = self.epoch + Duration::from_nanos(self.net.now().as_nanos());
        let mut moved = false;
        for client in &mut self.clients {
            moved |= client.step(&self.broker, now);
        }
        if self.is_killed {
            self.net.advance(STEP);
        } else {
            self.broker.run_for(STEP);
        }
        moved
    }

    /// Goes on until nothing moves any more.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..MAX_LOOKS {
            let moved = self.step();
            let is_up = self.clients.iter_mut().all(Driven::is_up);
            // A broker that holds a channel for its listeners reads nothing for half a second.
            let waits = |client: &Driven| client.core.outgoing(|outgoing| outgoing.pending() > 0);
            let is_done = is_up && !self.clients.iter().any(waits);
            quiet = if moved || !is_done { 0 } else { quiet + 1 };
            if quiet == QUIET_LOOKS {
                return;
            }
        }
        panic!("it never rests: {:#?}", self.broker.reports());
    }

    fn flood(&mut self, steps: usize) {
        for _ in 0..steps {
            for _ in 0..self.random.below(5) {
                self.clients[0].emit();
            }
            self.step();
        }
    }

    /// Another broker takes the place of this one.
    fn replace(&mut self, awaited: Arc<netcluster::internals::Record>) {
        self.runs += 1;
        self.is_killed = false;
        let broker = start(&self.net, self.seed, self.runs, self.memories, awaited);
        drop(std::mem::replace(&mut self.broker, broker));
    }

    fn heard(&self) -> [Vec<u64>; 2] {
        [1, 2].map(|at| lock(&self.clients[at].heard).clone())
    }
}

fn start(
    net: &SimNet,
    seed: u64,
    run: u64,
    memories: SimMemories,
    awaited: Arc<netcluster::internals::Record>,
) -> SimBroker {
    let share_after_bytes = [0, 3000, 30_000][(seed % 3) as usize];
    let config = ShardConfig {
        seed,
        run,
        node: run as u32,
        share_after_bytes,
        awaited,
        stall_timeout: Duration::from_secs(3600),
        spill_clients: 1 + (seed % 2) as usize,
        ..ShardConfig::default()
    };
    SimBroker::sharing(net.clone(), 1 + (seed % 3) as usize, config, 64 << 20, memories)
}

fn all(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[test]
fn every_event_is_heard_once_whenever_memory_comes() {
    let sharing = AtomicU64::new(0);
    super::with_seeds(20, |seed| {
        let mut world = World::new(seed, SimMemories::rough(seed));
        world.flood(200);
        world.settle();
        let emitted = world.clients[0].emitted;
        assert_eq!(world.heard(), [all(emitted), all(emitted)]);
        sharing.fetch_add(u64::from(world.clients[0].uses_memory()), Ordering::Relaxed);
    });
    println!("{} emitters had memory at the end", sharing.into_inner());
}

#[test]
fn a_broker_that_ends_in_order_takes_each_event_or_leaves_it() {
    super::with_seeds(20, |seed| {
        let mut world = World::new(seed, SimMemories::rough(seed));
        for _ in 0..3 {
            let steps = 20 + world.random.below(100);
            world.flood(steps);
            world.broker.shut_down();
            while !world.broker.has_ended() {
                world.flood(1);
            }
            let left = world.broker.left().unwrap_or_default();
            world.replace(Arc::new(left));
            world.flood(50);
        }
        world.settle();
        let emitted = world.clients[0].emitted;
        assert_eq!(world.heard(), [all(emitted), all(emitted)]);
    });
}

#[test]
fn a_broker_that_is_killed_loses_only_what_it_had() {
    super::with_seeds(20, |seed| {
        let mut world = World::new(seed, SimMemories::rough(seed));
        for _ in 0..3 {
            let steps = 20 + world.random.below(100);
            world.flood(steps);
            world.net.crash();
            world.is_killed = true;
            world.flood(3);
            world.replace(Arc::default());
            world.flood(30);
            world.settle();
        }
        let before = world.clients[0].emitted;
        world.flood(50);
        world.settle();
        let emitted = world.clients[0].emitted;
        for heard in world.heard() {
            assert!(heard.is_sorted_by(|one, next| one < next), "once, and in order");
            let last: Vec<u64> = heard.into_iter().filter(|number| *number > before).collect();
            assert_eq!(last, (before + 1..=emitted).collect::<Vec<_>>());
        }
    });
}
