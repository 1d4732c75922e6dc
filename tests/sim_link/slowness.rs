//! Machines that lose nearly everything, or die, and the others, whom this must not slow.

use std::time::Duration;

use netcluster::sim::SimMember;
use netcluster_platform::sim::NetworkFaults;
use netcluster_platform::sim::network::PathFaults;

use super::seeds::{Random, for_seeds};
use super::world::World;

/// Time that the others may be held up after the trouble begins.
const GRACE: Duration = Duration::from_millis(300);

/// Time that is measured.
const SPAN: Duration = Duration::from_millis(300);

/// Counts the events that one emitter brings to a good listener in [`SPAN`], at full
/// speed.
fn speed(world: &mut World, emitter: usize, listener: usize) -> usize {
    let before = world.received(listener);
    push_for(world, emitter, SPAN);
    world.received(listener) - before
}

fn push_for(world: &mut World, emitter: usize, duration: Duration) {
    let end = world.now() + duration;
    while world.now() < end {
        world.emit_what_fits(emitter, "a", 1000, 40);
        world.run(Duration::from_millis(1));
    }
}

/// Makes the machines 0 (emits), 1 and 2 (listen) and 3 (listens, and gets into trouble).
fn world(seed: u64, purpose: u64) -> (World, usize, usize, usize) {
    let mut random = Random::new(seed, purpose);
    let member = SimMember {
        rate: Some(random.one_of(&[8_000_000, 20_000_000])),
        history_bytes: random.one_of(&[1 << 20, 4 << 20]),
        ..SimMember::default()
    };
    let mut world = World::new(seed, 4, NetworkFaults::lan(), &member);
    let good = world.listener(1, "c", &["**"]);
    world.listener(2, "c", &["**"]);
    let bad = world.listener(3, "c", &["**"]);
    let emitter = world.emitter(0, "c");
    push_for(&mut world, emitter, Duration::from_millis(100));
    (world, emitter, good, bad)
}

/// A machine that drops 90 % of what it is sent is not waited for.
#[test]
fn a_crybaby_slows_the_others_by_no_more_than_a_tenth() {
    for_seeds("a_crybaby", 1, |seed| {
        let (mut world, emitter, good, _) = world(seed, 30);
        let before = speed(&mut world, emitter, good);
        world.excuse_all_of(3);
        let faults = PathFaults { loss_per_million: 900_000, ..NetworkFaults::lan().path };
        for at in 0..3 {
            world.cluster.network.set_path_faults(World::id(at), World::id(3), Some(faults));
        }
        push_for(&mut world, emitter, GRACE);
        for round in 0..4 {
            let after = speed(&mut world, emitter, good);
            assert!(after * 10 >= before * 9, "round {round}: {after} events, before {before}");
        }
        for at in 0..3 {
            world.cluster.network.set_path_faults(World::id(at), World::id(3), None);
        }
        world.finish();
    });
}

/// A machine that died without a word is not waited for.
#[test]
fn a_killed_broker_slows_the_others_by_no_more_than_a_tenth() {
    for_seeds("a_killed_broker", 1, |seed| {
        let (mut world, emitter, good, _) = world(seed, 31);
        let before = speed(&mut world, emitter, good);
        world.crash(3);
        push_for(&mut world, emitter, GRACE);
        for round in 0..2 {
            let after = speed(&mut world, emitter, good);
            assert!(after * 10 >= before * 9, "round {round}: {after} events, before {before}");
        }
        world.finish();
    });
}

/// A machine that hears nothing, but whose own datagrams arrive, is told what it missed
/// once it hears again.
#[test]
fn a_deaf_machine_is_left_behind_and_catches_up() {
    for_seeds("a_deaf_machine", 1, |seed| {
        let (mut world, emitter, good, _) = world(seed, 32);
        let before = speed(&mut world, emitter, good);
        world.excuse_all_of(3);
        let others = [World::id(0), World::id(1), World::id(2)];
        world.cluster.network.partition_one_way(&others, &[World::id(3)]);
        push_for(&mut world, emitter, GRACE);
        let after = speed(&mut world, emitter, good);
        assert!(after * 10 >= before * 9, "{after} events, before {before}");
        world.cluster.network.heal();
        world.run(Duration::from_millis(500));
        world.finish();
    });
}
