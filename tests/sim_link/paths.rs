//! Multicast here, unicast there, and paths that take only small datagrams.

use std::time::Duration;

use netcluster::sim::SimMember;
use netcluster_platform::sim::network::{Filter, PathFaults, PortFaults};
use netcluster_platform::sim::{Faults, MachineId, NetworkFaults};

use super::seeds::{Random, for_seeds};
use super::world::World;

/// Returns the faults of a network whose multicast passes between those machines alone
/// for which `passes` says so.
fn multicast_only(passes: impl Fn(usize, usize) -> bool + 'static) -> Filter {
    Box::new(move |passage| {
        let std::net::IpAddr::V4(from) = passage.from.ip() else { return true };
        let MachineId(to) = passage.receiver;
        !passage.to.ip().is_multicast() || passes(from.octets()[3] as usize - 1, to as usize)
    })
}

/// Some pairs hear each other's multicast, others do not and are configured as
/// unicast peers: everything arrives once.
#[test]
fn unicast_and_multicast_members_hear_everything_once() {
    for_seeds("unicast_and_multicast", 5, |seed| {
        let mut random = Random::new(seed, 50);
        let machines = 2 + random.below(5) as usize;
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[0, 20_000]);
        let mut world = World::empty(seed, machines, Faults::default(), faults);
        let reach = random.next();
        let is_symmetric = random.chance(70);
        let passes = move |from: usize, to: usize| {
            let (from, to) = if is_symmetric { (from.min(to), from.max(to)) } else { (from, to) };
            reach >> ((from * 7 + to) % 64) & 1 == 1
        };
        world.cluster.network.set_filter(Some(multicast_only(passes)));
        let groups = random.one_of(&[1, 4, 16]);
        for at in 0..machines {
            let unicast = (0..machines).filter(|&other| other != at).collect();
            world.cluster.start(at, &SimMember { unicast, groups, ..SimMember::default() });
        }
        world.settle();
        for at in 0..machines {
            world.listener(at, "c", &["**"]);
        }
        let emitters: Vec<_> = (0..machines).map(|at| world.emitter(at, "c")).collect();
        for round in 0..60 {
            for &emitter in &emitters {
                for _ in 0..random.below(8) {
                    world.emit(emitter, "a", random.below(800) as usize);
                }
            }
            if round == 30 && random.chance(30) {
                // Now all hear each other.
                world.cluster.network.set_filter(None);
            }
            world.run(Duration::from_millis(1 + random.below(80)));
        }
        let naks = |world: &mut World| -> u64 {
            (0..machines).map(|at| world.link(at).counters.naks_sent).sum()
        };
        world.finish();
        let naks = naks(&mut world);
        assert!(naks == 0 || faults.path.loss_per_million > 0, "{naks} requests without loss");
        if faults.path.loss_per_million == 0 {
            for at in 0..machines {
                let duplicates = world.link(at).counters.drops.duplicate;
                // A change of path may cost a few.
                assert!(duplicates <= 64, "machine {at}: {duplicates} datagrams came twice");
            }
        }
    });
}

/// Multicast that ends in the middle of traffic: the unicast peers take over.
#[test]
fn multicast_that_ceases_is_replaced_by_unicast() {
    for_seeds("multicast_that_ceases", 3, |seed| {
        let mut random = Random::new(seed, 51);
        let machines = 2 + random.below(3) as usize;
        let mut world = World::empty(seed, machines, Faults::default(), NetworkFaults::lan());
        for at in 0..machines {
            let unicast = (0..machines).filter(|&other| other != at).collect();
            world.cluster.start(at, &SimMember { unicast, ..SimMember::default() });
        }
        world.settle();
        for at in 0..machines {
            world.listener(at, "c", &["**"]);
        }
        let emitters: Vec<_> = (0..machines).map(|at| world.emitter(at, "c")).collect();
        for round in 0..100 {
            if round == 20 {
                world.cluster.network.set_filter(Some(multicast_only(|_, _| false)));
                for at in 0..machines {
                    world.excuse_all_of(at);
                }
            }
            for &emitter in &emitters {
                world.emit(emitter, "a", random.below(800) as usize);
            }
            world.run(Duration::from_millis(1 + random.below(100)));
        }
        world.finish();
        // From here on nothing may be lost any more.
        world.excused.clear();
        for &emitter in &emitters {
            world.emit(emitter, "a", 100);
        }
        world.finish();
    });
}

/// Brokers with different sizes of datagrams understand each other; frames span
/// as many as they need.
#[test]
fn brokers_with_small_and_large_datagrams_understand_each_other() {
    for_seeds("brokers_with_small", 4, |seed| {
        let mut random = Random::new(seed, 52);
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[0, 30_000]);
        let mut world = World::empty(seed, 3, Faults::default(), faults);
        for (at, datagram_bytes) in [1232, 1372, 8900].into_iter().enumerate() {
            let history_bytes = 4 << 20;
            world
                .cluster
                .start(at, &SimMember { datagram_bytes, history_bytes, ..SimMember::default() });
        }
        world.settle();
        for at in 0..3 {
            world.listener(at, "c", &["**"]);
        }
        let emitters: Vec<_> = (0..3).map(|at| world.emitter(at, "c")).collect();
        for _ in 0..20 {
            for &emitter in &emitters {
                let bytes = random.one_of(&[0, 100, 1_300, 9_000, 70_000, 300_000]);
                world.emit(emitter, "a", random.below(bytes + 1) as usize);
            }
            world.run(Duration::from_millis(1 + random.below(5)));
        }
        world.finish();
    });
}

/// A path that swallows large datagrams: small events arrive, and what cannot is
/// told lost, not waited for.
#[test]
fn a_path_that_takes_no_large_datagrams_costs_notices_not_silence() {
    for_seeds("a_path_that_takes", 2, |seed| {
        let mut random = Random::new(seed, 53);
        let mut world = World::new(seed, 3, NetworkFaults::lan(), &SimMember::default());
        for at in 0..3 {
            world.listener(at, "c", &["**"]);
        }
        let emitter = world.emitter(0, "c");
        world.excused.insert((2, 0));
        let mut faults = NetworkFaults::lan().path;
        faults.mtu_bytes = 1_000;
        world.cluster.network.set_path_faults(World::id(0), World::id(2), Some(faults));
        for _ in 0..300 {
            for _ in 0..random.below(20) {
                world.emit(emitter, "a", random.below(2_000) as usize);
            }
            world.run(Duration::from_millis(1 + random.below(10)));
        }
        world.cluster.network.set_path_faults(World::id(0), World::id(2), None);
        for _ in 0..10 {
            world.emit(emitter, "a", 100);
            world.run(Duration::from_millis(10));
        }
        world.finish();
    });
}

/// Returns the length of the longest datagram that broker 0 sends to another.
fn path_bytes(world: &mut World, to: usize) -> usize {
    let name = format!("machine-{to}");
    let peers = world.link(0).peers;
    peers.iter().find(|peer| peer.name == name).expect("it is a peer").path_bytes
}

fn emit_any_size(world: &mut World, emitter: usize, random: &mut Random, rounds: usize) {
    for _ in 0..rounds {
        for _ in 0..random.below(8) {
            world.emit(emitter, "a", random.below(4_000) as usize);
        }
        world.run(Duration::from_millis(1 + random.below(10)));
    }
}

/// A path that becomes narrow costs the events that were under way, with a notice; then
/// smaller datagrams are sent by it, and nothing is lost. Once the path is as wide as
/// before, datagrams are as large as before.
#[test]
fn a_path_that_becomes_narrow_is_sent_smaller_datagrams() {
    for_seeds("a_path_that_becomes_narrow", 3, |seed| {
        let mut random = Random::new(seed, 54);
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[0, 30_000]);
        let mut world = World::new(seed, 3, faults, &SimMember::default());
        for at in 0..3 {
            world.listener(at, "c", &["**"]);
        }
        let emitter = world.emitter(0, "c");
        world.run(Duration::from_secs(1));
        assert_eq!(path_bytes(&mut world, 2), 1372);
        let mtu_bytes = 1_232 + random.below(120) as usize;
        let narrow = PathFaults { mtu_bytes, ..faults.path };
        world.excused.insert((2, 0));
        world.cluster.network.set_path_faults(World::id(0), World::id(2), Some(narrow));
        emit_any_size(&mut world, emitter, &mut random, 400);
        world.run(Duration::from_secs(5));
        world.finish();
        world.excused.clear();
        let found = path_bytes(&mut world, 2);
        assert!((mtu_bytes - 16..=mtu_bytes).contains(&found), "{found} of {mtu_bytes}");
        assert_eq!(path_bytes(&mut world, 1), 1372);
        emit_any_size(&mut world, emitter, &mut random, 100);
        world.finish();
        world.cluster.network.set_path_faults(World::id(0), World::id(2), None);
        // Every five seconds one probe looks for more, and it may be lost, or its reply.
        let end = world.now() + Duration::from_secs(60);
        while path_bytes(&mut world, 2) < 1372 && world.now() < end {
            world.run(Duration::from_secs(1));
        }
        assert_eq!(path_bytes(&mut world, 2), 1372);
        emit_any_size(&mut world, emitter, &mut random, 50);
        world.finish();
    });
}

/// An interface takes smaller packets for a while: events in datagrams that the system
/// refuses are told as lost, and later datagrams fit.
#[test]
fn datagrams_fit_an_interface_whose_mtu_changes() {
    for_seeds("datagrams_fit_an_interface", 3, |seed| {
        let mut random = Random::new(seed, 55);
        let faults = NetworkFaults::lan();
        let mut world = World::new(seed, 3, faults, &SimMember::default());
        for at in 0..3 {
            world.listener(at, "c", &["**"]);
        }
        let emitter = world.emitter(0, "c");
        emit_any_size(&mut world, emitter, &mut random, 50);
        world.finish();
        let mtu_bytes = 1_232 + random.below(120) as usize;
        let port = PortFaults { mtu_bytes, ..faults.port };
        world.excuse_all_of(0);
        world.cluster.network.set_port_faults(World::id(0), Some(port));
        emit_any_size(&mut world, emitter, &mut random, 100);
        assert_eq!(world.link(0).datagram_bytes, mtu_bytes);
        world.run(Duration::from_secs(5));
        world.finish();
        world.excused.clear();
        let refused = world.link(0).counters.refused;
        emit_any_size(&mut world, emitter, &mut random, 100);
        world.finish();
        assert_eq!(world.link(0).counters.refused, refused, "nothing is too long any more");
        world.cluster.network.set_port_faults(World::id(0), None);
        world.run(Duration::from_secs(4));
        assert_eq!(path_bytes(&mut world, 1), 1372);
        emit_any_size(&mut world, emitter, &mut random, 50);
        world.finish();
    });
}
