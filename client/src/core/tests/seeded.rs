//! Everything that can happen, in any order.

use std::io;
use std::time::Duration;

use super::world::{Random, World};
use crate::Client;
use crate::core::Step;

/// Steps of a run, in each of which anything may happen.
const STEPS: usize = 400;

fn happen(world: &mut World, random: &mut Random, listeners: &mut Vec<crate::ListenerId>) {
    match random.below(16) {
        0..=2 => world.emit(["a", "a", "b.c"][random.below(3)], random.below(40)),
        3 => {
            let pattern = ["x", "y.*", "z.**", "**"][random.below(4)];
            listeners.extend(world.core.on(pattern, |_| {}));
        }
        4 if !listeners.is_empty() => {
            let id = listeners.swap_remove(random.below(listeners.len()));
            assert!(world.core.remove_listener(id));
        }
        5 => world.ask(),
        6 | 7 => drop(world.write(random.below(100))),
        8 | 9 => drop(world.read(random.below(100))),
        10 => world.send(),
        11 => world.release(random),
        12 => world.hold_acks = random.below(2) == 0,
        13 if random.below(4) == 0 => {
            world.cut([None, Some(io::ErrorKind::ConnectionReset)][random.below(2)]);
        }
        14 if random.below(8) == 0 => world.pass(Duration::from_millis(random.below(6000) as u64)),
        _ => match world.core.poll_step() {
            Step::Connect(..) if random.below(3) == 0 => {
                let kinds = [
                    io::ErrorKind::NotFound,
                    io::ErrorKind::ConnectionRefused,
                    io::ErrorKind::PermissionDenied,
                ];
                world.refuse(kinds[random.below(3)]);
            }
            _ => drop(world.step()),
        },
    }
}

#[test]
fn a_client_keeps_its_promises_whatever_happens_to_its_connection() {
    super::with_seeds(300, |seed| {
        let mut random = Random::new(seed);
        let mut world = World::connected(Client::builder());
        let mut listeners = Vec::new();
        for _ in 0..STEPS {
            happen(&mut world, &mut random, &mut listeners);
            world.open_replies();
        }
        world.finish();
    });
}

#[test]
fn a_client_can_be_closed_at_any_moment() {
    super::with_seeds(300, |seed| {
        let mut random = Random::new(seed);
        let mut world = World::connected(Client::builder());
        let mut listeners = Vec::new();
        for _ in 0..random.below(STEPS) {
            happen(&mut world, &mut random, &mut listeners);
        }
        world.core.close(world.now);
        assert!(matches!(world.core.poll_step(), Step::Closed(_)));
        assert_eq!(world.open_replies(), 0, "nobody waits for ever");
        assert!(world.core.emit("a", "").is_err() && world.core.on("a", |_| {}).is_err());
        let told = super::super::lock(&world.told).clone();
        assert!(matches!(told.last(), Some(crate::Lifecycle::Closed(_))), "{told:?}");
    });
}
