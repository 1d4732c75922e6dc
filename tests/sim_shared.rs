//! Clients that share memory with the broker, over the simulator: time passes between any
//! two stores, and either side may end there.
//!
//! What all clients are promised `sim_local` checks, with memory, too. Here is what only
//! memory has. `SIM_SEEDS=N` runs that many seeds, `SIM_BASE=N` from that one on,
//! `SIM_SEED=N` only that one.

mod seeds;

use std::collections::BTreeMap;
use std::time::Duration;

use netcluster::internals::ShardConfig;
use netcluster::sim::{SimBroker, SimMemories, SimSession};
use netcluster_platform::sim::{Faults, SimNet};
use netcluster_wire::{Hello, Kind, Source, frame};

use seeds::Seeds;

const SEEDS: Seeds = Seeds { kind: "SIM", count: "SIM_SEEDS", suite: "sim_shared" };
const DEFAULT_SEEDS: u64 = 12;

/// Number of the words that a client shares with the broker.
const WORDS: u64 = 12;

/// Size of the first ring, 64 KiB.
const FIRST_RING_BYTES: u64 = 64 << 10;

/// Size of the largest ring, 1 MiB.
const LARGEST_RING_BYTES: u64 = 1 << 20;

/// Looks in which nothing moves, after which nothing will.
const QUIET_LOOKS: u32 = 60;

/// Looks after which all that is there has moved.
const MAX_LOOKS: u32 = 20_000;

fn for_seeds(test: &str, run: impl Fn(u64) + std::panic::RefUnwindSafe) {
    SEEDS.run(test, DEFAULT_SEEDS, run);
}

/// Small generator of pseudo-random numbers, so that a run depends on nothing but its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// Clients of one channel, and what each listener has heard.
struct Bus {
    broker: SimBroker,
    emitters: Vec<SimSession>,
    listeners: Vec<Listener>,
    random: Random,
}

struct Listener {
    session: SimSession,
    heard: BTreeMap<Source, Vec<u64>>,
    bye: bool,
}

impl Listener {
    /// Reads what has come: whole events, in order.
    fn read(&mut self) -> bool {
        let mut moved = false;
        while let Some(frame) = self.session.next_frame() {
            moved = true;
            match frame.kind {
                Kind::Event => {
                    assert_eq!(frame.payload, payload(frame.sequence), "corrupt");
                    let heard = self.heard.entry(frame.source).or_default();
                    assert!(heard.last().is_none_or(|last| *last < frame.sequence), "order");
                    heard.push(frame.sequence);
                }
                Kind::Bye => self.bye = true,
                other => panic!("{other:?} {}", String::from_utf8_lossy(&frame.payload)),
            }
        }
        moved
    }
}

fn payload(sequence: u64) -> Vec<u8> {
    let bytes = match sequence % 29 {
        0 => 70_000,
        1..4 => 3000,
        other => other * 9,
    };
    (0..bytes).map(|at| (sequence * 31 + at * 7) as u8).collect()
}

/// Memory by chance, of which there may be little; the largest chance is that all share.
fn memories(seed: u64) -> SimMemories {
    let rough = SimMemories::rough(seed);
    if seed.is_multiple_of(2) { rough } else { SimMemories { able_percent: 100, ..rough } }
}

fn config(seed: u64) -> ShardConfig {
    ShardConfig {
        seed,
        share_after_bytes: [0, 2000, 40_000][(seed % 3) as usize],
        max_queue_bytes: 64 << 10,
        spill_clients: 1 + (seed % 3) as usize,
        stall_timeout: Duration::from_secs(3600),
        ..ShardConfig::default()
    }
}

impl Bus {
    fn new(seed: u64, memories: SimMemories, clients: [u64; 2]) -> Bus {
        let mut random = Random(seed ^ 0x0b05);
        let faults =
            if random.chance(70) { Faults::rough_without_resets() } else { Faults::default() };
        let shards = 1 + random.below(3) as usize;
        let net = SimNet::new(seed, faults);
        let broker = SimBroker::sharing(net, shards, config(seed), 64 << 20, memories);
        let mut bus = Bus { broker, emitters: Vec::new(), listeners: Vec::new(), random };
        (0..clients[0]).for_each(|_| bus.add_emitter());
        (0..clients[1]).for_each(|_| bus.add_listener());
        bus
    }

    fn add_emitter(&mut self) {
        self.emitters.push(self.broker.join("c", &Hello::default()));
    }

    fn add_listener(&mut self) {
        let mut session = self.broker.join("c", &Hello::default());
        let early = self.broker.subscribe(&mut session, "a");
        let mut listener = Listener { session, heard: BTreeMap::new(), bye: false };
        for frame in early {
            listener.heard.entry(frame.source).or_default().push(frame.sequence);
        }
        self.listeners.push(listener);
    }

    /// Emits a little, does some stores, lets time pass, reads a little.
    fn step(&mut self) {
        for session in &mut self.emitters {
            // Nobody emits into what is full.
            if session.push() < 150_000 {
                for _ in 0..self.random.below(6) {
                    let sequence = session.sequence + 1;
                    session.emit("a", &payload(sequence));
                }
            }
            session.push();
            let heard = session.next_frame();
            assert!(heard.is_none_or(|frame| frame.kind == Kind::Bye));
        }
        self.broker.run_for(Duration::from_micros(self.random.below(500)));
        for listener in &mut self.listeners {
            if self.random.chance(60) {
                listener.read();
            } else {
                // It does the stores of one who has time.
                listener.session.push();
            }
        }
    }

    /// Has each emitter keep its ring full.
    fn flood(&mut self) {
        for session in &mut self.emitters {
            while session.push() < FIRST_RING_BYTES as usize {
                let sequence = session.sequence + 1;
                session.emit("a", &payload(sequence));
            }
        }
    }

    /// The sizes of the rings that emitters use.
    fn rings(&mut self) -> Vec<u64> {
        let reports = self.broker.reports();
        let clients = reports.iter().flat_map(|report| &report.clients);
        let emitters = clients.filter(|client| client.listeners == 0);
        emitters.filter_map(|client| client.shared).map(|used| used.ring_bytes).collect()
    }

    /// Goes on until nothing moves any more.
    fn settle(&mut self) {
        let (mut quiet, mut looks) = (0, 0);
        while quiet < QUIET_LOOKS {
            quiet += 1;
            looks += 1;
            assert!(looks < MAX_LOOKS, "it never rests: {:#?}", self.broker.reports());
            for session in &mut self.emitters {
                if session.push() > 0 && !session.end.is_closed() {
                    quiet = 0;
                }
                session.next_frame();
            }
            self.broker.run_for(Duration::from_millis(1));
            for listener in &mut self.listeners {
                // Its answer to an offer may wait.
                if listener.session.push() > 0 && !listener.session.end.is_closed() {
                    quiet = 0;
                }
                if listener.read() {
                    quiet = 0;
                }
            }
        }
    }

    /// Ends all clients; nothing of them may be left.
    fn end(mut self) {
        self.emitters.clear();
        self.listeners.clear();
        self.broker.run_for(Duration::from_secs(2));
        assert_eq!(self.broker.net.sockets(), 0, "every connection is closed");
        assert_eq!(self.broker.budget.used_bytes(), 0, "no memory is held");
        for report in self.broker.reports() {
            assert_eq!((report.totals.shared_clients, report.summary.io.pinned_buffers), (0, 0));
        }
        // What broke: a shard spun if its last connection with memory went while it was ready.
        let now = self.broker.net.now();
        assert!(self.broker.net.next_due().is_none_or(|due| due > now), "it sleeps");
        self.broker.shut_down();
        self.broker.run_for(Duration::from_secs(10));
        assert!(self.broker.has_ended());
    }
}

fn all_of(session: &SimSession) -> Vec<u64> {
    (1..=session.sequence).collect()
}

/// Everybody who can gets memory, whose largest ring is used where much is emitted.
#[test]
fn clients_get_memory_and_a_larger_ring() {
    for_seeds("clients_get_memory", |seed| {
        let mut bus = Bus::new(seed, SimMemories::quick(seed), [2, 2]);
        // Whoever has emitted little has the first one, or none yet.
        bus.step();
        assert!(bus.rings().iter().all(|bytes| *bytes == FIRST_RING_BYTES), "seed {seed}");
        let mut steps = 0;
        while bus.rings() != [LARGEST_RING_BYTES; 2] {
            steps += 1;
            assert!(steps < MAX_LOOKS, "seed {seed}: the rings stay at {:?}", bus.rings());
            bus.flood();
            bus.step();
        }
        bus.settle();
        let sessions = bus.emitters.iter().chain(bus.listeners.iter().map(|it| &it.session));
        assert!(sessions.clone().all(SimSession::shares), "seed {seed}");
        for session in &bus.emitters {
            for listener in &bus.listeners {
                assert_eq!(listener.heard[&session.source], all_of(session));
            }
        }
        bus.end();
    });
}

/// Whoever dies between any two stores takes nothing with him but what he had not put.
#[test]
fn clients_killed_between_any_two_stores_leave_nothing() {
    for_seeds("clients_killed", |seed| {
        let mut bus = Bus::new(seed, memories(seed), [3, 3]);
        for _ in 0..150 {
            bus.step();
            match bus.random.below(20) {
                0 => {
                    // The first ones live on.
                    let at = 1 + bus.random.below(2) as usize;
                    let killed = bus.emitters.remove(at);
                    killed.end.reset();
                    drop(killed);
                    bus.add_emitter();
                }
                1 => {
                    let at = 1 + bus.random.below(2) as usize;
                    let killed = bus.listeners.remove(at);
                    killed.session.end.reset();
                    drop(killed);
                    bus.add_listener();
                }
                _ => {}
            }
        }
        bus.settle();
        let (first, heard) = (&bus.emitters[0], &bus.listeners[0].heard);
        assert_eq!(heard.get(&first.source).cloned().unwrap_or_default(), all_of(first));
        for (source, heard) in heard {
            let prefix: Vec<u64> = (1..=heard.len() as u64).collect();
            assert_eq!(*heard, prefix, "of {source:?} nothing is missing in between");
        }
        bus.end();
    });
}

/// A broker that is killed leaves its clients memory that never changes again: what they
/// read of it is whole, and they go on with the next one.
#[test]
fn a_broker_killed_between_any_two_stores_leaves_whole_events() {
    for_seeds("a_broker_killed", |seed| {
        let mut bus = Bus::new(seed, memories(seed), [2, 3]);
        for _ in 0..20 + bus.random.below(150) {
            bus.step();
        }
        bus.broker.net.crash();
        for listener in &mut bus.listeners {
            // What is there is read, at leisure.
            for _ in 0..100 {
                listener.read();
            }
            assert!(listener.session.end.is_closed());
            for heard in listener.heard.values() {
                let prefix: Vec<u64> = (1..=heard.len() as u64).collect();
                assert_eq!(*heard, prefix);
            }
        }
        let net = bus.broker.net.clone();
        let broker = SimBroker::sharing(net, 1, config(seed), 64 << 20, memories(seed));
        drop(std::mem::replace(&mut bus.broker, broker));
        bus.emitters.clear();
        bus.listeners.clear();
        bus.add_emitter();
        bus.add_listener();
        for _ in 0..50 {
            bus.step();
        }
        bus.settle();
        let (session, heard) = (&bus.emitters[0], &bus.listeners[0].heard);
        assert_eq!(heard.get(&session.source).cloned().unwrap_or_default(), all_of(session));
        bus.end();
    });
}

/// At an orderly end each event was heard by everybody, or is its emitter's to send again.
#[test]
fn an_orderly_end_leaves_each_event_on_one_side() {
    for_seeds("an_orderly_end", |seed| {
        let mut bus = Bus::new(seed, memories(seed), [2, 2]);
        for _ in 0..20 + bus.random.below(120) {
            bus.step();
        }
        bus.broker.shut_down();
        for _ in 0..30_000 {
            bus.step();
            if bus.broker.has_ended() {
                break;
            }
        }
        assert!(bus.broker.has_ended(), "seed {seed}");
        for listener in &mut bus.listeners {
            for _ in 0..200 {
                listener.read();
            }
            assert!(listener.bye, "seed {seed}");
        }
        for session in &mut bus.emitters {
            if !session.shares() {
                // What a socket had taken when it ended cannot be told.
                continue;
            }
            let mut left = session.take_unwritten().len();
            let mut taken = session.sequence;
            while left > 0 {
                let payload = payload(taken);
                let bytes = frame::encode(Kind::Event, session.source, taken, b"a", &payload);
                // Of the last one that is cut the broker has the front, which is no event.
                left = left.saturating_sub(bytes.len());
                taken -= 1;
            }
            let expected: Vec<u64> = (1..=taken).collect();
            for listener in &bus.listeners {
                let heard = listener.heard.get(&session.source).cloned().unwrap_or_default();
                assert_eq!(heard, expected, "seed {seed}");
            }
        }
    });
}

/// A client that writes any value to any word at any time harms itself alone.
#[test]
fn words_without_sense_harm_their_client_alone() {
    for_seeds("words_without_sense", |seed| {
        let mut bus = Bus::new(seed, SimMemories { able_percent: 100, ..memories(seed) }, [3, 3]);
        let mut hostile = bus.broker.connect();
        let mut written = 0;
        for _ in 0..200 {
            bus.step();
            if hostile.end.is_closed() || bus.random.chance(1) {
                hostile = bus.broker.connect();
                hostile.hello("c", &Hello::default());
            }
            // It takes part, as long as what it reads makes sense.
            if bus.random.chance(70) {
                for _ in 0..10 {
                    let Ok(Some(frame)) = hostile.try_next_frame() else { break };
                    if frame.kind == Kind::Welcome {
                        hostile.source = frame.source;
                        hostile.queue(Kind::Subscribe, 1, b"a", b"");
                    }
                }
            }
            if hostile.source != Source::NONE {
                hostile.emit("b", &[7; 900]);
            }
            hostile.push();
            if let Some(end) = hostile.memory()
                && bus.random.chance(20)
            {
                let word = bus.random.below(WORDS) as usize;
                let value = match bus.random.below(4) {
                    0 => bus.random.below(u64::MAX),
                    1 => bus.random.below(1 << 17),
                    2 => 1 << bus.random.below(64),
                    _ => u64::MAX - bus.random.below(16),
                };
                end.region.set_word(word, value);
                written += 1;
            }
        }
        drop(hostile);
        bus.settle();
        for session in &bus.emitters {
            for listener in &bus.listeners {
                let heard = listener.heard.get(&session.source).cloned().unwrap_or_default();
                assert_eq!(heard, all_of(session), "seed {seed}, {written} words");
            }
        }
        bus.end();
    });
}
