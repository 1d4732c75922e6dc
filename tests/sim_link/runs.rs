//! Random runs, in which everything follows from the seed.

use std::collections::BTreeSet;
use std::time::Duration;

use netcluster::sim::SimMember;
use netcluster_link::crypto::{Key, Keys};
use netcluster_platform::sim::network::{PathFaults, PortFaults};
use netcluster_platform::sim::{Faults, NetworkFaults};

use super::seeds::{Random, for_seeds};
use super::world::World;

const CHANNELS: [&str; 5] = ["default", "orders", "logs", "telemetry", "x"];
const NAMES: [&str; 6] = ["a", "a.b", "b", "b.c.d", "tick", "a.c"];
const PATTERNS: [&str; 6] = ["**", "a.*", "a", "b.**", "tick", "*"];

/// Returns the faults of a network, some of all that there are. Loss stays well below the
/// 20 % at which a receiver is no longer waited for.
fn network(random: &mut Random) -> NetworkFaults {
    let mut faults =
        if random.chance(50) { NetworkFaults::lan() } else { NetworkFaults::default() };
    let path = &mut faults.path;
    *path = PathFaults { delay_ns: random.below(400_000), ..PathFaults::default() };
    path.max_jitter_ns = random.below(100_000);
    if random.chance(70) {
        path.loss_per_million = random.one_of(&[1_000, 10_000, 50_000, 100_000, 150_000]);
    }
    if random.chance(30) {
        path.burst_per_million = random.below(3_000) as u32;
        // Longer ones would be a cut where there is little traffic: a few hellos.
        path.burst_datagrams = 1 + random.below(6) as u32;
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
    member: SimMember,
    /// Machines whose brokers were asked to end.
    stopping: BTreeSet<usize>,
}

impl Run {
    fn new(seed: u64, purpose: u64, most_machines: u64) -> Run {
        let mut random = Random::new(seed, purpose);
        let machines = if random.chance(15) {
            2 + random.below(most_machines - 1) as usize
        } else {
            2 + random.below(4.min(most_machines - 1)) as usize
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
        let mut run = Run { world, random, channels, member, stopping: BTreeSet::new() };
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

/// A network of any faults short of cuts, on which nobody dies, loses nothing: everything
/// arrives and nothing is told lost.
#[test]
fn a_rough_network_costs_no_event() {
    for_seeds("a_rough_network", 24, |seed| {
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

/// Events of a run in [`whatever_happens_is_told`].
impl Run {
    fn disturb(&mut self) {
        let machines = self.world.cluster.machines.len();
        let at = self.machine();
        let is_running = self.world.cluster.brokers[at].is_some();
        match self.random.below(12) {
            0 if is_running => {
                self.world.crash(at);
                self.stopping.remove(&at);
            }
            1 if is_running => {
                // What it has not taken yet is never emitted.
                self.forget_emitters_of(at);
                self.world.excuse_all_of(at);
                self.world.forget_clients(at);
                self.world.cluster.stop(at);
                self.stopping.insert(at);
            }
            2..4 if !is_running => {
                let member = self.member.clone();
                self.world.cluster.start(at, &member);
                self.stopping.remove(&at);
            }
            4 => {
                let mut ids: Vec<_> = (0..machines).map(World::id).collect();
                ids.rotate_left(at);
                let cut = 1 + self.random.below(machines as u64 - 1) as usize;
                let (one, other) = ids.split_at(cut);
                if self.random.chance(60) {
                    self.world.cluster.network.partition(one, other)
                } else {
                    self.world.cluster.network.partition_one_way(one, other)
                }
            }
            5..7 => self.world.cluster.network.heal(),
            7 => {
                let leap = self.random.one_of(&[5, 250, 3_500, 60_000]);
                self.world.cluster.machines[at].jump_clock(Duration::from_millis(leap));
            }
            8 => self.world.cluster.machines[at].pause(),
            9 | 10 => (0..machines).for_each(|at| self.world.cluster.machines[at].resume()),
            _ => {}
        }
    }

    /// Forgets the emitters of a machine, of which nothing is owed any more.
    fn forget_emitters_of(&mut self, at: usize) {
        for listener in &mut self.world.listeners {
            for (owed, emitted) in listener.log.owed.iter_mut().zip(&self.world.emitted) {
                if emitted.machine == at {
                    *owed = None;
                }
            }
        }
    }

    /// Mends everything, until everybody knows everybody and what they want.
    fn calm_down(&mut self) {
        self.world.cluster.network.heal();
        let machines = self.world.cluster.machines.len();
        (0..machines).for_each(|at| self.world.cluster.machines[at].resume());
        for at in std::mem::take(&mut self.stopping) {
            for _ in 0..2_000 {
                if self.world.cluster.brokers[at].is_none() {
                    break;
                }
                self.world.run(Duration::from_millis(5));
            }
        }
        for at in 0..machines {
            if self.world.cluster.brokers[at].is_none() {
                let member = self.member.clone();
                self.world.cluster.start(at, &member);
            }
        }
        self.world.settle();
        for listener in 0..self.world.listeners.len() {
            if !self.world.listeners[listener].is_gone {
                self.world.confirm(listener);
            }
        }
        while self.world.listeners.iter().filter(|it| !it.is_gone).count() < 3 {
            self.add_listener();
        }
        while self.world.emitters.iter().filter(|it| !it.is_gone).count() < 3 {
            self.add_emitter();
        }
    }
}

/// Crashes, restarts, partitions, sleeping machines, all at random: no event comes
/// twice or out of order, and none is missing without a notice in its place.
#[test]
fn whatever_happens_is_told() {
    for_seeds("whatever_happens", 12, |seed| {
        let mut run = Run::new(seed, 2, 6);
        for at in 0..run.world.cluster.machines.len() {
            run.world.excuse_all_of(at);
        }
        for _ in 0..1 + run.random.below(3) {
            run.calm_down();
            for _ in 0..10 + run.random.below(20) {
                run.emit_some();
                if run.random.chance(40) {
                    run.disturb();
                }
                let pause = run.random.one_of(&[300, 2_000, 20_000, 300_000, 2_000_000]);
                run.world.run(Duration::from_micros(1 + run.random.below(1 + pause)));
            }
        }
        run.calm_down();
        for _ in 0..5 {
            run.emit_some();
            run.world.run(Duration::from_millis(5));
        }
        run.world.finish();
    });
}
