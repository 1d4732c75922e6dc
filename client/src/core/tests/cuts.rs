//! One conversation, cut at each of its bytes.

use super::world::World;
use crate::Client;
use crate::core::Step;

/// Longer than the conversation, in either direction.
const MOST_BYTES: usize = 4000;

/// Emits, asks, listens and is told, over as many connections as it takes; whether
/// the stream was cut.
fn converse(direction: usize, at: usize) -> bool {
    let mut world = World::new(Client::builder());
    world.cut_after[direction] = Some(at);
    // A first connection that is cut is an error of the call that connects.
    world.settle();
    if let Step::Closed(error) = world.core.poll_step() {
        assert!(error.to_string().contains("broker"), "{error}");
        assert!(super::super::lock(&world.told).is_empty(), "nobody is told");
        return true;
    }
    let left = world.cut_after[direction];
    let mut world = World::connected(Client::builder());
    world.cut_after[direction] = left;
    for round in 0..4 {
        world.emit("a", 3);
        world.emit("some.longer.name", 50 * round);
        world.ask();
        world.core.on(["x", "y.*", "x", "**"][round], |_| {}).unwrap();
        world.send();
        world.settle();
        world.send();
    }
    world.settle();
    let was_cut = world.cut_after[direction].is_none();
    world.finish();
    was_cut
}

#[test]
fn whatever_byte_is_the_last_written_no_event_is_lost_silently_or_sent_twice() {
    let uncut = (1..MOST_BYTES).find(|at| !converse(0, *at));
    assert!(uncut.is_some_and(|at| at > 500), "{uncut:?}");
}

#[test]
fn whatever_byte_is_the_last_read_the_client_comes_back_as_it_was() {
    let uncut = (1..MOST_BYTES).find(|at| !converse(1, *at));
    assert!(uncut.is_some_and(|at| at > 500), "{uncut:?}");
}
