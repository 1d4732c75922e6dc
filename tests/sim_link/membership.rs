//! Brokers that come, die, leave and are cut off.

use std::time::Duration;

use netcluster::sim::SimMember;
use netcluster_platform::sim::{Faults, MachineId, NetworkFaults};

use super::seeds::{Random, for_seeds};
use super::world::World;

/// Returns the faults of a network that loses a little.
fn network(random: &mut Random) -> NetworkFaults {
    let mut faults = NetworkFaults::lan();
    faults.path.loss_per_million = random.one_of(&[0, 10_000, 50_000]);
    faults
}

fn member(random: &mut Random) -> SimMember {
    SimMember {
        shards: 1 + random.below(3) as usize,
        groups: random.one_of(&[1, 4]),
        ..SimMember::default()
    }
}

/// Lets everybody emit a few events, for so long.
fn chat(world: &mut World, random: &mut Random, duration: Duration) {
    let end = world.now() + duration;
    while world.now() < end {
        for emitter in 0..world.emitters.len() {
            if !world.emitters[emitter].is_gone && random.chance(50) {
                let bytes = random.below(300) as usize;
                world.emit(emitter, "a", bytes);
            }
        }
        world.run(Duration::from_millis(1 + random.below(8)));
    }
}

/// Puts one listener and one emitter on each machine.
fn crowd(world: &mut World, machines: usize) {
    for at in 0..machines {
        world.listener(at, "c", &["**"]);
    }
    for at in 0..machines {
        world.emitter(at, "c");
    }
}

/// A killed broker's listeners elsewhere are told once that events may be missing,
/// the others' events all arrive, and after a restart everything goes on: the new
/// session is known within a second.
#[test]
fn a_broker_that_crashes_and_comes_back_is_told_lost_once_and_heard_again() {
    for_seeds("a_broker_that_crashes", 5, |seed| {
        let mut random = Random::new(seed, 10);
        let machines = 2 + random.below(4) as usize;
        let (faults, member) = (network(&mut random), member(&mut random));
        let loses = faults.path.loss_per_million > 0;
        let mut world = World::new(seed, machines, faults, &member);
        crowd(&mut world, machines);
        chat(&mut world, &mut random, Duration::from_millis(60));
        let victim = random.below(machines as u64) as usize;
        world.crash(victim);
        let away = Duration::from_millis(random.one_of(&[0, 20, 500, 4_000]));
        chat(&mut world, &mut random, away + Duration::from_millis(1));
        world.cluster.start(victim, &member);
        let started = world.now();
        world.settle();
        for at in 0..machines {
            while at != victim && world.link(at).counters.established < machines as u64 {
                world.run(Duration::from_millis(5));
            }
        }
        let took = world.now() - started;
        assert!(loses || took < Duration::from_secs(1), "recognised after {took:?}");
        assert!(took < Duration::from_secs(4), "recognised after {took:?}");
        world.listener(victim, "c", &["**"]);
        for listener in 0..world.listeners.len() {
            if !world.listeners[listener].is_gone {
                world.confirm(listener);
            }
        }
        world.emitter(victim, "c");
        chat(&mut world, &mut random, Duration::from_millis(60));
        world.finish();
        for listener in 0..machines {
            let told = world.losses(listener).len();
            let expected = usize::from(listener != victim);
            assert_eq!(told, expected, "listener {listener}: {:?}", world.losses(listener));
        }
    });
}

/// Events that a broker took before it was asked to end reach everybody, and nobody is
/// told that anything was lost.
#[test]
fn a_broker_that_ends_in_order_loses_nothing() {
    for_seeds("a_broker_that_ends", 5, |seed| {
        let mut random = Random::new(seed, 11);
        let machines = 2 + random.below(4) as usize;
        let (faults, member) = (network(&mut random), member(&mut random));
        let mut world = World::new(seed, machines, faults, &member);
        crowd(&mut world, machines);
        chat(&mut world, &mut random, Duration::from_millis(40));
        let leaver = random.below(machines as u64) as usize;
        // The last words: taken by the broker, hardly on their way.
        for _ in 0..random.below(400) {
            world.emit(leaver, "a", random.below(2000) as usize);
        }
        while world.push_all() > 0 {
            world.run(Duration::from_millis(1));
        }
        world.run(Duration::from_millis(1));
        world.cluster.stop(leaver);
        for other in 0..machines {
            if other != leaver {
                world.emit(other, "a", 10);
            }
        }
        let mut waited = 0;
        while world.cluster.brokers[leaver].is_some() {
            world.run(Duration::from_millis(5));
            waited += 1;
            assert!(waited < 1000, "it does not end");
        }
        world.forget_clients(leaver);
        chat(&mut world, &mut random, Duration::from_millis(30));
        world.finish();
        for at in 0..machines {
            if at != leaver {
                let counters = world.link(at).counters;
                assert_eq!((counters.left, counters.silent), (1, 0), "machine {at}");
            }
        }
    });
}

/// A broker with too little time to end in order still tells the others that it goes:
/// none of them looks for it.
#[test]
fn a_broker_that_runs_out_of_time_says_goodbye_all_the_same() {
    for_seeds("a_broker_that_runs_out", 5, |seed| {
        let mut random = Random::new(seed, 18);
        let machines = 2 + random.below(4) as usize;
        let mut member = member(&mut random);
        member.config.drain_timeout = Duration::from_micros(random.one_of(&[0, 1, 300, 20_000]));
        let mut world = World::new(seed, machines, NetworkFaults::lan(), &member);
        crowd(&mut world, machines);
        chat(&mut world, &mut random, Duration::from_millis(40));
        let leaver = random.below(machines as u64) as usize;
        world.excuse_all_of(leaver);
        world.cluster.stop(leaver);
        for waited in 0.. {
            if world.cluster.brokers[leaver].is_none() {
                break;
            }
            world.run(Duration::from_millis(5));
            assert!(waited < 100, "it does not end");
        }
        world.forget_clients(leaver);
        world.run(Duration::from_millis(100));
        for at in 0..machines {
            if at != leaver {
                let counters = world.link(at).counters;
                assert_eq!((counters.left, counters.silent), (1, 0), "machine {at}");
            }
        }
    });
}

/// Two sides that do not hear each other: each goes on by itself. Whoever may have
/// missed something across the cut is told so, nobody else is.
#[test]
fn a_partition_is_told_to_those_who_missed_something_and_heals() {
    for_seeds("a_partition", 4, |seed| {
        let mut random = Random::new(seed, 12);
        let machines = 2 + random.below(4) as usize;
        let (faults, member) = (network(&mut random), member(&mut random));
        let mut world = World::new(seed, machines, faults, &member);
        crowd(&mut world, machines);
        chat(&mut world, &mut random, Duration::from_millis(40));
        let cut = 1 + random.below(machines as u64 - 1) as usize;
        let ids: Vec<_> = (0..machines).map(World::id).collect();
        let (one, other) = ids.split_at(cut);
        for &MachineId(one) in one {
            for &MachineId(other) in other {
                world.excuse(one as usize, other as usize);
            }
        }
        if random.chance(70) {
            world.cluster.network.partition(one, other);
        } else {
            world.cluster.network.partition_one_way(one, other);
        }
        let length = random.one_of(&[5, 100, 1_000, 2_900, 3_100, 6_000]);
        chat(&mut world, &mut random, Duration::from_millis(length));
        world.cluster.network.heal();
        let duration = Duration::from_millis(random.below(3_000));
        chat(&mut world, &mut random, duration);
        world.settle();
        for listener in 0..machines {
            world.confirm(listener);
        }
        let before: Vec<_> = (0..machines).map(|at| world.losses(at).len()).collect();
        world.excused.clear();
        chat(&mut world, &mut random, Duration::from_millis(100));
        world.finish();
        let after: Vec<_> = (0..machines).map(|at| world.losses(at).len()).collect();
        assert_eq!(before, after, "all is well again");
    });
}

/// A short cut costs nothing: datagrams that the history holds are sent again.
#[test]
fn a_cut_shorter_than_the_patience_of_flow_control_costs_no_event() {
    for_seeds("a_cut_shorter", 5, |seed| {
        let mut random = Random::new(seed, 13);
        let machines = 2 + random.below(4) as usize;
        let (faults, member) = (network(&mut random), member(&mut random));
        let mut world = World::new(seed, machines, faults, &member);
        crowd(&mut world, machines);
        chat(&mut world, &mut random, Duration::from_millis(40));
        let ids: Vec<_> = (0..machines).map(World::id).collect();
        let (one, other) = ids.split_at(1);
        world.cluster.network.partition(one, other);
        let duration = Duration::from_millis(5 + random.below(50));
        chat(&mut world, &mut random, duration);
        world.cluster.network.heal();
        chat(&mut world, &mut random, Duration::from_millis(40));
        world.finish();
    });
}

/// Events that a broker is given in its first moments, while it has not found its peers
/// yet, reach them.
#[test]
fn the_first_events_of_a_fresh_broker_reach_its_peers() {
    for_seeds("the_first_events", 8, |seed| {
        let mut random = Random::new(seed, 14);
        let machines = 2 + random.below(6) as usize;
        let member = member(&mut random);
        let mut world = World::empty(seed, machines, Faults::default(), NetworkFaults::lan());
        for at in 0..machines - 1 {
            world.cluster.start(at, &member);
        }
        world.settle();
        for at in 0..machines - 1 {
            world.listener(at, "c", &["**"]);
        }
        let fresh = machines - 1;
        world.cluster.start(fresh, &member);
        world.run(Duration::from_millis(random.below(100)));
        let emitter = world.emitter(fresh, "c");
        for _ in 0..1 + random.below(300) {
            world.emit(emitter, "a", random.below(200) as usize);
        }
        world.run(Duration::from_millis(random.below(140)));
        world.emit(emitter, "a", 10);
        world.finish();
    });
}

/// A burst of a broker that is started, or started again, where much is lost, is heard or
/// told by those who listened before, although nothing follows it.
#[test]
fn the_first_burst_of_a_broker_is_heard_or_told_whatever_is_lost() {
    for_seeds("the_first_burst", 24, |seed| {
        let mut random = Random::new(seed, 18);
        let machines = 2 + random.below(3) as usize;
        let mut faults = NetworkFaults::lan();
        faults.path.loss_per_million = random.one_of(&[50_000, 150_000, 300_000]);
        let member = member(&mut random);
        let mut world = World::empty(seed, machines, Faults::default(), faults);
        for at in 1..machines {
            world.cluster.start(at, &member);
        }
        world.settle();
        for at in 1..machines {
            world.listener(at, "c", &["**"]);
        }
        world.excuse_all_of(0);
        // Sometimes it knows whom to look for.
        let unicast = if random.chance(50) { (1..machines).collect() } else { Vec::new() };
        let sender = SimMember { unicast, ..member };
        for _ in 0..3 {
            world.cluster.start(0, &sender);
            world.run(Duration::from_millis(random.below(700)));
            let emitter = world.emitter(0, "c");
            for _ in 0..1 + random.below(100) {
                world.emit(emitter, "a", random.below(200) as usize);
            }
            world.finish();
            world.forget_clients(0);
            world.cluster.stop(0);
            while world.cluster.brokers[0].is_some() {
                world.run(Duration::from_millis(5));
            }
        }
    });
}

/// Once a client's question is answered with nobody missing, it misses nothing
/// that is emitted anywhere from then on.
#[test]
fn after_the_clusters_answer_a_listener_misses_nothing() {
    for_seeds("after_the_clusters_answer", 8, |seed| {
        let mut random = Random::new(seed, 15);
        let machines = 2 + random.below(6) as usize;
        let (faults, member) = (network(&mut random), member(&mut random));
        let mut world = World::new(seed, machines, faults, &member);
        for at in 0..machines {
            world.emitter(at, random.one_of(&["c", "d"]));
        }
        for _ in 0..8 {
            let duration = Duration::from_millis(random.below(20));
            chat(&mut world, &mut random, duration);
            let at = random.below(machines as u64) as usize;
            // Everything that is emitted from here on is owed to it.
            world.listener(at, random.one_of(&["c", "d"]), &["**"]);
            for emitter in 0..world.emitters.len() {
                world.emit(emitter, "a", 20);
            }
        }
        world.finish();
    });
}

/// A broker that does not answer is named when the time is up.
#[test]
fn the_clusters_answer_names_who_is_missing() {
    for_seeds("the_clusters_answer", 2, |seed| {
        let mut world = World::new(seed, 3, NetworkFaults::lan(), &SimMember::default());
        let listener = world.hasty_listener(0, "c", &["**"]);
        assert_eq!(world.ask(listener, Duration::from_secs(1)), "");
        world.excuse_all_of(2);
        world.cluster.network.partition(&[World::id(0), World::id(1)], &[World::id(2)]);
        let late = world.hasty_listener(0, "d", &["**"]);
        let asked = world.now();
        assert_eq!(world.ask(late, Duration::from_millis(500)), "machine-2");
        assert!(world.now() - asked < Duration::from_millis(700));
        // Once it is forgotten nobody waits for it.
        world.run(Duration::from_secs(4));
        assert_eq!(world.ask(late, Duration::from_secs(1)), "");
    });
}

/// A machine sleeps and its clock leaps: nobody is confused for long.
#[test]
fn a_clock_that_leaps_costs_at_most_a_notice() {
    for_seeds("a_clock_that_leaps", 3, |seed| {
        let mut random = Random::new(seed, 16);
        let machines = 2 + random.below(3) as usize;
        let (faults, member) = (network(&mut random), member(&mut random));
        let mut world = World::new(seed, machines, faults, &member);
        crowd(&mut world, machines);
        let sleeper = random.below(machines as u64) as usize;
        world.excuse_all_of(sleeper);
        for _ in 0..3 {
            chat(&mut world, &mut random, Duration::from_millis(50));
            let leap = Duration::from_millis(random.one_of(&[10, 300, 5_000, 3_600_000]));
            world.cluster.machines[sleeper].jump_clock(leap);
        }
        chat(&mut world, &mut random, Duration::from_millis(3_500));
        world.settle();
        for listener in 0..machines {
            world.confirm(listener);
        }
        world.excused.clear();
        chat(&mut world, &mut random, Duration::from_millis(50));
        world.finish();
    });
}

/// A machine stands still for a while and goes on.
#[test]
fn a_machine_that_stood_still_comes_back() {
    for_seeds("a_machine_that_stood_still", 3, |seed| {
        let mut random = Random::new(seed, 17);
        let machines = 2 + random.below(3) as usize;
        let (faults, member) = (network(&mut random), member(&mut random));
        let mut world = World::new(seed, machines, faults, &member);
        crowd(&mut world, machines);
        let sleeper = random.below(machines as u64) as usize;
        chat(&mut world, &mut random, Duration::from_millis(50));
        world.excuse_all_of(sleeper);
        world.cluster.machines[sleeper].pause();
        let before = world.link(sleeper).counters;
        let pause = Duration::from_millis(random.one_of(&[10, 300, 2_900, 5_000]));
        chat(&mut world, &mut random, pause);
        assert_eq!(world.link(sleeper).counters, before, "it sends and counts while it is paused");
        world.cluster.machines[sleeper].resume();
        chat(&mut world, &mut random, Duration::from_millis(3_500));
        world.settle();
        for listener in 0..machines {
            world.confirm(listener);
        }
        world.excused.clear();
        chat(&mut world, &mut random, Duration::from_millis(50));
        world.finish();
    });
}

/// Every broker knows how many clients each other one has, whatever its shards, a lossy
/// network and a broker that crashes and comes back.
#[test]
fn everybody_knows_the_state_of_everybody() {
    for_seeds("everybody_knows_the_state", 3, |seed| {
        let mut random = Random::new(seed, 14);
        let machines = 2 + random.below(4) as usize;
        let (faults, member) = (network(&mut random), member(&mut random));
        let mut world = World::new(seed, machines, faults, &member);
        crowd(&mut world, machines);
        chat(&mut world, &mut random, Duration::from_millis(60));
        let victim = random.below(machines as u64) as usize;
        world.crash(victim);
        world.cluster.start(victim, &member);
        world.settle();
        let clients = |world: &mut World, at: usize| {
            let reports = world.cluster.broker(at).reports();
            reports.iter().map(|report| report.totals.clients).sum::<u64>()
        };
        let is_told = |world: &mut World, at: usize, other: usize| {
            let wanted = clients(world, other);
            let peers = world.link(at).peers;
            let node = peers.iter().find(|peer| peer.name == format!("machine-{other}"));
            let told = node.and_then(|peer| peer.summary.clone());
            told.is_some_and(|it| u64::from(it.clients) == wanted && it.age_ms < 10_000)
        };
        let began = world.now();
        for at in 0..machines {
            for other in (0..machines).filter(|other| *other != at) {
                while !is_told(&mut world, at, other) {
                    let waited = world.now() - began;
                    assert!(waited < Duration::from_secs(30), "{at} does not know {other}");
                    world.run(Duration::from_millis(100));
                }
            }
        }
    });
}
