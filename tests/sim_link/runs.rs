//! Random runs: everything from the seed.

use std::time::Duration;

use netcluster::link::keys::{Key, Keys};
use netcluster::sim::SimMember;
use netcluster_platform::sim::network::{PathFaults, PortFaults};
use netcluster_platform::sim::{Faults, NetworkFaults};

use super::seeds::{Random, for_seeds};
use super::world::World;

const CHANNELS: [&str; 5] = ["default", "orders", "logs", "telemetry", "x"];
const NAMES: [&str; 6] = ["a", "a.b", "b", "b.c.d", "tick", "a.c"];
const PATTERNS: [&str; 6] = ["**", "a.*", "a", "b.**", "tick", "*"];

/// A network with some of the faults. Loss stays below 30 %.
fn network(random: &mut Random) -> NetworkFaults {
    let mut faults =
        if random.chance(50) { NetworkFaults::lan() } else { NetworkFaults::default() };
    let path = &mut faults.path;
    *path = PathFaults { delay_ns: random.below(400_000), ..PathFaults::default() };
    path.max_jitter_ns = random.below(100_000);
    if random.chance(70) {
        path.loss_per_million = random.one_of(&[1_000, 10_000, 50_000, 100_000, 250_000]);
    }
    if random.chance(30) {
        path.burst_per_million = random.below(3_000) as u32;
        path.burst_datagrams = 1 + random.below(30) as u32;
    }
    if random.chance(50) {
        path.duplicate_per_million = random.below(50_000) as u32;
    }
    if random.chance(50) {
        path.reorder_per_million = random.below(100_000) as u32;
        path.max_reorder_ns = 1 + random.below(3_000_000);
    }
    if random.chance(50) {
        faults.port = PortFaults {
            blocked_send_permille: random.below(60) as u32,
            max_blocked_ns: 1 + random.below(500_000),
            short_send_permille: random.below(100) as u32,
            cut_permille: random.below(500) as u32,
            join_permille: random.below(500) as u32,
            ..faults.port
        };
    }
    if random.chance(20) {
        faults.port.receive_bytes_per_s = Some(10_000_000 + random.below(100_000_000));
        faults.port.receive_queue_bytes = 64 * 1024 + random.below(500_000);
    }
    faults
}

fn member(random: &mut Random, seed: u64) -> SimMember {
    let mut member = SimMember {
        groups: random.one_of(&[1, 4, 16]),
        datagram_bytes: random.one_of(&[1372, 1372, 1232, 8900]),
        receive_buffer_bytes: random.one_of(&[208 << 10, 1 << 20, 8 << 20]),
        history_bytes: random.one_of(&[256 << 10, 1 << 20, 4 << 20]),
        ..SimMember::default()
    };
    member.config.seed = seed;
    member.config.spill_clients = 1 + random.below(3) as usize;
    if random.chance(40) {
        let count = 1 + random.below(2);
        member.keys = Keys::new((0..count).map(|at| Key::new([at as u8 + 1; 32])).collect());
    }
    if random.chance(30) {
        member.pressured = vec!["orders".into()];
    }
    if random.chance(30) {
        member.rate = Some(2_000_000 + random.below(20_000_000));
    }
    member
}

struct Run {
    world: World,
    random: Random,
    channels: usize,
}

impl Run {
    fn new(seed: u64, purpose: u64, most_machines: u64) -> Run {
        let mut random = Random::new(seed, purpose);
        let machines = match random.chance(15) {
            true => 2 + random.below(most_machines - 1) as usize,
            false => 2 + random.below(4.min(most_machines - 1)) as usize,
        };
        let faults = network(&mut random);
        let local =
            if random.chance(40) { Faults::rough_without_resets() } else { Faults::default() };
        let member = member(&mut random, seed);
        if std::env::var_os("SIM_SEED").is_some() {
            eprintln!("{machines} machines, {faults:#?}, {member:#?}");
        }
        let mut world = World::empty(seed, machines, local, faults);
        for at in 0..machines {
            let shards = 1 + random.below(3) as usize;
            world.cluster.start(at, &SimMember { shards, ..member.clone() });
            world.cluster.run_for(Duration::from_millis(random.below(100)));
        }
        world.settle();
        let channels = 1 + random.below(CHANNELS.len() as u64) as usize;
        let mut run = Run { world, random, channels };
        for _ in 0..1 + run.random.below(2 * machines as u64) {
            run.add_listener();
        }
        for _ in 0..1 + run.random.below(machines as u64 + 2) {
            run.add_emitter();
        }
        run
    }

    fn machine(&mut self) -> usize {
        self.random.below(self.world.cluster.machines.len() as u64) as usize
    }

    fn channel(&mut self) -> &'static str {
        CHANNELS[self.random.below(self.channels as u64) as usize]
    }

    fn add_listener(&mut self) {
        let (at, channel) = (self.machine(), self.channel());
        let mut patterns = vec![self.random.one_of(&PATTERNS)];
        if self.random.chance(30) {
            patterns.push(self.random.one_of(&PATTERNS));
            patterns.dedup();
        }
        self.world.listener(at, channel, &patterns);
    }

    fn add_emitter(&mut self) {
        let (at, channel) = (self.machine(), self.channel());
        self.world.emitter(at, channel);
    }

    fn emit_some(&mut self) {
        for emitter in 0..self.world.emitters.len() {
            if self.world.emitters[emitter].is_gone || self.random.chance(30) {
                continue;
            }
            for _ in 0..self.random.below(12) {
                let name = self.random.one_of(&NAMES);
                let bytes = match self.random.below(60) {
                    0 => self.random.below(60_000),
                    1..4 => self.random.below(6_000),
                    _ => self.random.below(100),
                };
                self.world.emit(emitter, name, bytes as usize);
            }
        }
    }
}

/// Nobody dies and nothing is cut: whatever the network does short of that,
/// everything arrives and nothing is told lost.
#[test]
fn a_rough_network_costs_no_event() {
    for_seeds("a_rough_network", 20, |seed| {
        let mut run = Run::new(seed, 1, 15);
        for _ in 0..20 + run.random.below(30) {
            run.emit_some();
            if run.random.chance(5) {
                run.add_listener();
            }
            if run.random.chance(3) {
                run.add_emitter();
            }
            let pause = run.random.one_of(&[0, 300, 2_000, 20_000]);
            run.world.run(Duration::from_micros(1 + run.random.below(1 + pause)));
        }
        run.world.finish();
    });
}
