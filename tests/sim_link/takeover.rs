//! A machine's broker is succeeded again and again, or one of the two is killed: clients of all
//! machines count what they hear.

use std::time::Duration;

use netcluster::sim::{SimCluster, SimMember, SimSession};
use netcluster_link::crypto::{Key, Keys};
use netcluster_platform::sim::{Faults, NetworkFaults};
use netcluster_wire::bye::Bye;
use netcluster_wire::{Hello, Kind, Source};

use super::seeds::{Random, for_seeds};

const MACHINES: usize = 3;
const TAKEOVERS: usize = 5;
const TICK: Duration = Duration::from_micros(250);

/// Turns in which a connection is answered, if it is at all.
const LONG: usize = 400;

/// Turns in which anything must happen: of virtual time, 10 s.
const PATIENCE: usize = 40_000;

/// An emitter, or a listener, of one machine, which goes from broker to broker.
struct Wanderer {
    machine: usize,
    listens: bool,
    session: SimSession,
    /// Source of the connection before, and turns since this one was begun.
    previous: Source,
    age: usize,
    /// Welcomed and, if it listens, answered.
    is_up: bool,
    /// Number of the first event that was emitted on this connection, and of the next one.
    first: u64,
    next: u64,
    /// Number of the next event of each machine.
    heard: [u64; MACHINES],
    losses: usize,
}

impl Wanderer {
    fn new(cluster: &mut SimCluster, machine: usize, listens: bool) -> Wanderer {
        let session = cluster.broker(machine).connect();
        let heard = [0; MACHINES];
        let mut wanderer = Wanderer {
            machine,
            listens,
            session,
            previous: Source::NONE,
            age: 0,
            is_up: false,
            first: 0,
            next: 0,
            heard,
            losses: 0,
        };
        wanderer.go_on(cluster);
        wanderer
    }

    fn emit(&mut self) {
        let bytes = if self.next.is_multiple_of(20) { 6000 } else { 60 };
        let mut payload = self.next.to_le_bytes().to_vec();
        payload.resize(bytes, self.machine as u8);
        self.session.emit(&format!("m.{}", self.machine), &payload);
        self.next += 1;
    }

    /// Takes what came; after a goodbye, or the end of its broker, connects anew.
    fn turn(&mut self, cluster: &mut SimCluster) {
        self.age += 1;
        if !self.is_up && self.age > LONG {
            // It waited behind a listener that was closed.
            return self.go_on(cluster);
        }
        self.session.push();
        while let Some(frame) = self.session.next_frame() {
            match frame.kind {
                Kind::Welcome => {
                    self.session.source = frame.source;
                    self.is_up = !self.listens;
                    if self.listens {
                        self.session.queue(Kind::Subscribe, 1, b"**", b"");
                    }
                }
                Kind::Ack => self.is_up = true,
                Kind::Event => {
                    let machine = usize::from(frame.payload[8]);
                    let number = u64::from_le_bytes(frame.payload[..8].try_into().unwrap());
                    let told = (machine, self.machine, self.losses);
                    assert_eq!(number, self.heard[machine], "of, at, losses: {told:?}");
                    self.heard[machine] += 1;
                }
                Kind::Lost => self.losses += 1,
                Kind::Bye => {
                    let bye = Bye::decode(&frame.payload);
                    assert!(bye.has_successor);
                    if self.is_up {
                        // What was not read is emitted again.
                        self.first += bye.confirmed;
                        self.next = self.first;
                        self.previous = self.session.source;
                    }
                    return self.go_on(cluster);
                }
                kind => panic!("{kind:?}"),
            }
        }
    }

    fn go_on(&mut self, cluster: &mut SimCluster) {
        (self.is_up, self.age) = (false, 0);
        self.session = cluster.broker(self.machine).connect();
        self.session.hello("c", &Hello { previous: self.previous, ..Hello::default() });
    }
}

fn member(seed: u64) -> SimMember {
    let keys = match seed % 2 {
        0 => Keys::new(vec![Key::new([seed as u8; 32])]),
        _ => Keys::open_link(),
    };
    SimMember { keys, shards: 1 + (seed % 3) as usize, ..SimMember::default() }
}

/// All clients of a cluster, and what drives them.
struct Bus {
    cluster: SimCluster,
    member: SimMember,
    clients: Vec<Wanderer>,
    random: Random,
    is_emitting: bool,
}

impl Bus {
    fn new(seed: u64) -> Bus {
        let mut network = NetworkFaults::lan();
        network.path.loss_per_million = if seed.is_multiple_of(3) { 20_000 } else { 0 };
        let mut cluster = SimCluster::new(seed, MACHINES, Faults::default(), network);
        let member = member(seed);
        (0..MACHINES).for_each(|at| cluster.start(at, &member));
        cluster.settle(MACHINES - 1);
        // Nothing is kept for those who are looked for any more.
        cluster.run_for(Duration::from_secs(3));
        let clients = (0..MACHINES).flat_map(|at| [(at, true), (at, false)]);
        let clients: Vec<_> =
            clients.map(|(at, listens)| Wanderer::new(&mut cluster, at, listens)).collect();
        let random = Random::new(seed, 0x7a4e);
        let mut bus = Bus { cluster, member, clients, random, is_emitting: false };
        bus.until("all listen", |bus| bus.clients.iter().all(|client| client.is_up));
        // And all know of it.
        (0..2000).for_each(|_| bus.turn());
        bus.is_emitting = true;
        bus
    }

    fn turn(&mut self) {
        self.cluster.run_for(TICK);
        for client in &mut self.clients {
            client.turn(&mut self.cluster);
            if self.is_emitting && !client.listens && client.is_up && self.random.chance(20) {
                client.emit();
            }
        }
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Bus) -> bool) {
        for _ in 0..PATIENCE {
            self.turn();
            if is_so(self) {
                return;
            }
        }
        let heard: Vec<_> = self.clients.iter().map(|it| (it.machine, it.heard, it.next)).collect();
        panic!("not in time: {what}; {heard:?}");
    }

    fn finish(mut self) {
        self.is_emitting = false;
        self.until("everything is heard", |bus| {
            let mut emitted = [0; MACHINES];
            for emitter in bus.clients.iter().filter(|client| !client.listens) {
                emitted[emitter.machine] = emitter.next;
            }
            bus.clients.iter().all(|it| it.is_up && (!it.listens || it.heard == emitted))
        });
        assert!(self.clients.iter().all(|client| client.losses == 0), "nobody is told of a loss");
    }
}

#[test]
fn successors_one_after_the_other_lose_nothing_on_any_machine() {
    for_seeds("successors_one_after_the_other", 12, |seed| {
        let mut bus = Bus::new(seed);
        for _ in 0..TAKEOVERS {
            let turns = bus.random.below(400);
            (0..turns).for_each(|_| bus.turn());
            let terms = SimCluster::terms(0, &bus.member);
            bus.cluster.give_way(0, Some(terms));
            bus.until("the word is left", |bus| bus.cluster.succeed(0, &bus.member.clone()));
            bus.until("all are back", |bus| bus.clients.iter().all(|client| client.is_up));
        }
        for at in 1..MACHINES {
            assert_eq!(bus.cluster.broker(at).peers(), MACHINES - 1);
        }
        bus.finish();
    });
}
