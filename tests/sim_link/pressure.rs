//! Listeners that do not keep up, and emitters that wait for them.

use std::time::Duration;

use netcluster::sim::SimMember;
use netcluster_platform::sim::NetworkFaults;
use netcluster_wire::LossReason;

use super::check::Item;
use super::seeds::{Random, for_seeds};
use super::world::World;

/// Bytes that a slow listener reads in a millisecond.
const SLOW_BYTES: usize = 20_000;

fn member(random: &mut Random) -> SimMember {
    let mut member = SimMember {
        shards: 1 + random.below(3) as usize,
        pressured: vec!["paced".into()],
        ..SimMember::default()
    };
    member.config.max_queue_bytes = 256 << 10;
    member.config.spill_clients = 1 + random.below(2) as usize;
    member
}

/// On an ordinary channel a slow listener loses events of other machines, and is
/// told; a fast one beside it gets all, and the emitter is not held up.
#[test]
fn a_slow_listener_of_an_ordinary_channel_is_told_lost_and_slows_nobody() {
    for_seeds("a_slow_listener_of_an_ordinary", 1, |seed| {
        let mut random = Random::new(seed, 20);
        let member = member(&mut random);
        let mut world = World::new(seed, 3, NetworkFaults::lan(), &member);
        let slow = world.listener(1, "free", &["**"]);
        let fast = world.listener(1, "free", &["**"]);
        let far = world.listener(2, "free", &["**"]);
        let emitter = world.emitter(0, "free");
        world.listeners[slow].pace = Some(SLOW_BYTES);
        world.excused.insert((1, 0));
        let mut emitted = 0;
        for _ in 0..300 {
            for _ in 0..100 {
                world.emit(emitter, "a", 1000);
            }
            emitted += 100;
            world.run(Duration::from_millis(1));
        }
        world.run(Duration::from_millis(50));
        assert_eq!(world.push_all(), 0, "the emitter is not held up");
        assert_eq!(world.received(fast), emitted);
        assert_eq!(world.received(far), emitted);
        assert!(world.received(slow) < emitted / 2);
        world.listeners[slow].pace = None;
        world.finish();
        assert!(world.losses(fast).is_empty() && world.losses(far).is_empty());
        let mut lost = 0;
        for item in world.losses(slow) {
            let Item::Lost { count, reason, .. } = item else { unreachable!() };
            assert_eq!(reason, LossReason::Slow);
            lost += count as usize;
        }
        assert_eq!(world.received(slow) + lost, emitted, "every lost event is counted");
    });
}

/// On a channel with pressure a slow listener loses nothing: emitters on other
/// machines wait for it. Those of other channels do not.
#[test]
fn a_slow_listener_of_a_pressured_channel_paces_emitters_on_other_machines() {
    for_seeds("a_slow_listener_of_a_pressured", 1, |seed| {
        let mut random = Random::new(seed, 21);
        let member = member(&mut random);
        let mut network = NetworkFaults::lan();
        network.path.loss_per_million = random.one_of(&[0, 10_000]);
        let mut world = World::new(seed, 3, network, &member);
        let slow = world.listener(1, "paced", &["**"]);
        let fast = world.listener(2, "paced", &["**"]);
        let other = world.listener(1, "free", &["**"]);
        let paced = world.emitter(0, "paced");
        let free = world.emitter(0, "free");
        world.listeners[slow].pace = Some(SLOW_BYTES);
        let mut emitted = 0;
        let mut was_told = false;
        for _ in 0..1_000 {
            emitted += world.emit_what_fits(paced, "a", 1000, 200);
            world.emit(free, "a", 100);
            world.run(Duration::from_millis(1));
            let clients = world.cluster.broker(0).reports().into_iter().flat_map(|it| it.clients);
            for client in clients.filter(|it| it.state == "paused") {
                assert_eq!((&*client.channel, client.paused_by), ("paced", vec![]));
                was_told |= client.paused_by_link;
            }
        }
        assert!(was_told, "status says that the link pauses the emitter");
        // It read 20 MB; the emitter may be ahead of it by what queues, sockets
        // and the stream hold.
        assert!(emitted < 26_000, "{emitted}: the emitter was not held up");
        assert!(emitted > 15_000, "{emitted}: the emitter was held up for nothing");
        assert!(world.received(other) > 990, "{}: another channel", world.received(other));
        assert!(world.received(fast) + 6_000 > emitted);
        world.listeners[slow].pace = None;
        world.finish();
        assert_eq!(world.received(slow), emitted);
    });
}

/// A listener of a pressured channel that does not read at all is disconnected
/// after the stall timeout, and its emitters go on.
#[test]
fn a_stuck_listener_of_a_pressured_channel_holds_emitters_up_only_so_long() {
    for_seeds("a_stuck_listener_of_a_pressured", 1, |seed| {
        let mut random = Random::new(seed, 22);
        let mut member = member(&mut random);
        member.config.stall_timeout = Duration::from_secs(1);
        let mut world = World::new(seed, 3, NetworkFaults::lan(), &member);
        let stuck = world.listener(1, "paced", &["**"]);
        let fast = world.listener(2, "paced", &["**"]);
        let emitter = world.emitter(0, "paced");
        world.listeners[stuck].pace = Some(0);
        let mut emitted = 0;
        for _ in 0..4_000 {
            emitted += world.emit_what_fits(emitter, "a", 1000, 20);
            world.run(Duration::from_millis(1));
        }
        assert!(emitted > 30_000, "{emitted}: the emitter was held up for long");
        world.listeners[stuck].is_gone = true;
        world.finish();
        assert_eq!(world.received(fast), emitted);
    });
}

/// Many brokers start to send to one at the same moment: its buffer is shared out
/// among them, and every event arrives.
#[test]
fn eight_brokers_that_start_at_once_lose_nothing() {
    for_seeds("eight_brokers", 1, |seed| {
        let mut random = Random::new(seed, 23);
        let mut member = SimMember {
            receive_buffer_bytes: random.one_of(&[208 << 10, 1 << 20]),
            ..SimMember::default()
        };
        // The client reads once in a millisecond: this is not about it.
        member.config.max_queue_bytes = 64 << 20;
        let mut world = World::new(seed, 9, NetworkFaults::lan(), &member);
        let listener = world.listener(8, "c", &["**"]);
        let emitters: Vec<_> = (0..8).map(|at| world.emitter(at, "c")).collect();
        for _ in 0..50 {
            for &emitter in &emitters {
                world.emit_what_fits(emitter, "a", 1000, 100);
            }
            world.run(Duration::from_millis(1));
        }
        world.finish();
        assert!(world.received(listener) > 10_000);
    });
}

/// Queues stay within their limits while listeners lag behind.
#[test]
fn queues_stay_within_their_limits() {
    for_seeds("queues_stay", 1, |seed| {
        let mut random = Random::new(seed, 24);
        let mut member = member(&mut random);
        member.max_memory_bytes = 4 << 20;
        let mut world = World::new(seed, 2, NetworkFaults::lan(), &member);
        for channel in ["free", "paced"] {
            let slow = world.listener(1, channel, &["**"]);
            world.listeners[slow].pace = Some(2_000);
        }
        world.excused.insert((1, 0));
        let emitters = [world.emitter(0, "free"), world.emitter(0, "paced")];
        // The mark, and what arrives until a hold takes hold.
        let longest = member.config.max_queue_bytes as u64 + (2 << 20);
        for _ in 0..400 {
            for emitter in emitters {
                let bytes = random.below(3_000) as usize;
                world.emit_what_fits(emitter, "a", bytes, 50);
            }
            world.run(Duration::from_millis(1));
            for at in 0..2 {
                for report in world.cluster.broker(at).reports() {
                    for client in report.clients {
                        assert!(client.queued_bytes <= longest, "machine {at}: {client:?}");
                    }
                }
                for stream in world.link(at).streams {
                    assert!(stream.queued_bytes < 8 << 20, "machine {at}: {stream:?}");
                }
            }
        }
        for listener in &mut world.listeners {
            listener.pace = None;
        }
        world.finish();
    });
}
