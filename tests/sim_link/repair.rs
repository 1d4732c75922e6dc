//! Cost of repairs, and the silence after traffic.

use std::time::Duration;

use netcluster::sim::SimMember;
use netcluster_platform::sim::NetworkFaults;
use netcluster_wire::link::ControlKind;

use super::seeds::{Random, for_seeds};
use super::world::World;

/// Kind of data datagrams, the third byte.
const DATA: u8 = 0x01;

fn repaired(world: &mut World) -> u64 {
    (0..world.cluster.machines.len()).map(|at| world.link(at).counters.repaired).sum()
}

/// Up to 5 % loss, and nothing overtaken for longer than a request waits: no more
/// is sent again than twice what was lost.
#[test]
fn repairs_cost_at_most_twice_what_was_lost() {
    for_seeds("repairs_cost", 3, |seed| {
        let mut random = Random::new(seed, 40);
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[1_000, 10_000, 50_000]);
        faults.path.reorder_per_million = random.one_of(&[0, 10_000]);
        faults.path.max_reorder_ns = 60_000;
        let machines = 2 + random.below(5) as usize;
        let member =
            SimMember { rate: random.one_of(&[None, Some(10_000_000)]), ..SimMember::default() };
        let mut world = World::new(seed, machines, faults, &member);
        for at in 1..machines {
            world.listener(at, "c", &["**"]);
        }
        let emitters: Vec<_> = (0..machines.min(2)).map(|at| world.emitter(at, "c")).collect();
        let lost_before = world.cluster.network.counters().kind(DATA).dropped;
        for _ in 0..200 {
            for &emitter in &emitters {
                let bytes = random.below(1_500) as usize;
                world.emit_what_fits(emitter, "a", bytes, 20);
            }
            world.run(Duration::from_millis(1));
        }
        world.finish();
        let lost = world.cluster.network.counters().kind(DATA).dropped - lost_before;
        let repaired = repaired(&mut world);
        assert!(lost > 0 || faults.path.loss_per_million < 10_000);
        assert!(repaired <= 2 * lost + 2, "{repaired} repairs for {lost} losses");
    });
}

/// Without faults nothing is repaired, or asked for.
#[test]
fn without_loss_nothing_is_asked_for() {
    for_seeds("without_loss", 1, |seed| {
        let mut random = Random::new(seed, 41);
        let mut world = World::new(seed, 3, NetworkFaults::lan(), &SimMember::default());
        for at in 1..3 {
            world.listener(at, "c", &["**"]);
        }
        let emitter = world.emitter(0, "c");
        for _ in 0..100 {
            let bytes = random.below(3_000) as usize;
            world.emit_what_fits(emitter, "a", bytes, 50);
            world.run(Duration::from_millis(1));
        }
        world.finish();
        for at in 0..3 {
            let counters = world.link(at).counters;
            assert_eq!((counters.repaired, counters.naks_sent), (0, 0), "machine {at}");
        }
    });
}

/// Once everything has arrived brokers say no more than that they live: a beat of
/// each, and a hello, in a second, and statuses in answer.
#[test]
fn after_traffic_there_is_silence() {
    for_seeds("after_traffic", 2, |seed| {
        let mut random = Random::new(seed, 42);
        let machines = 2 + random.below(5) as usize;
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[0, 20_000]);
        let mut world = World::new(seed, machines, faults, &SimMember::default());
        for at in 0..machines {
            world.listener(at, "c", &["**"]);
            world.emitter(at, "c");
        }
        for _ in 0..50 {
            for at in 0..machines {
                world.emit(at, "a", 500);
            }
            world.run(Duration::from_millis(1));
        }
        world.finish();
        world.run(Duration::from_secs(5));
        let before = world.cluster.network.counters();
        let seconds = 5;
        world.run(Duration::from_secs(seconds));
        let after = world.cluster.network.counters();
        let sent = |kind: u8| after.kind(kind).sent - before.kind(kind).sent;
        assert_eq!(sent(DATA), 0);
        assert_eq!(sent(ControlKind::Nak as u8), 0);
        let total = after.sent - before.sent;
        let machines = machines as u64;
        // A beat and a hello a second each, and from each to each a status.
        let most = (seconds + 1) * machines * (2 + machines);
        assert!(total <= most, "{total} datagrams in {seconds} s of {machines} machines");
    });
}
