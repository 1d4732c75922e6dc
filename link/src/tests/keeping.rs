//! Events that a fresh broker emits before it has found those who want them: kept for them,
//! or told to them as lost.

use super::mesh::*;
use crate::channel::ChannelHash;

/// No multicast: peers must be configured.
fn unicast_only(_: usize, _: usize, multicast: bool) -> bool {
    !multicast
}

/// A broker that looks for one whose name does not resolve yet.
fn looking_for_a_name(index: usize) -> crate::LinkConfig {
    crate::LinkConfig { unresolved: 1, ..config(index) }
}

/// A broker that has listened for a while.
fn listener(config: crate::LinkConfig) -> Mesh {
    let mut mesh = Mesh::new(1);
    mesh.start_listening(config);
    mesh.run_ms(1000);
    mesh
}

/// A broker that has listened for a while, with which others find each other by unicast
/// alone, and one that has just been started and looks for a name.
fn listener_by_unicast() -> Mesh {
    let mut mesh = Mesh::new(1);
    mesh.reaches = unicast_only;
    mesh.start_listening(config(0));
    mesh.run_ms(1000);
    mesh.start(looking_for_a_name(1));
    mesh
}

/// Resolves the name that node 1 looks for: it stands for this node.
fn resolve(mesh: &mut Mesh, node: usize) {
    let now = mesh.now;
    mesh.nodes[1].link.set_unicast_peers(now, vec![address(node)], 0);
}

/// Starts node 1, whose first hellos and 30 events are all lost.
fn start_unheard(mesh: &mut Mesh, config: crate::LinkConfig) {
    mesh.reaches = |_, _, _| false;
    mesh.start(config);
    mesh.emit(1, CHANNEL, 30);
    mesh.run_ms(600);
}

/// A channel in the same group as the default one.
fn neighbour_channel() -> String {
    let group = |name: &str| ChannelHash::of(name).group(4);
    let mut names = (0..).map(|number| format!("c{number}"));
    names.find(|name| group(name) == group(CHANNEL)).unwrap()
}

#[test]
fn a_session_younger_than_a_wish_tells_what_it_emitted_before_it_was_known() {
    for pressured in [false, true] {
        let config = |index| {
            let mut config = config(index);
            if pressured {
                config.pressured = vec![CHANNEL.into()];
            }
            config
        };
        let mut mesh = listener(config(0));
        start_unheard(&mut mesh, config(1));
        mesh.reaches = |_, _, _| true;
        mesh.run_ms(2000);
        mesh.emit(1, CHANNEL, 5);
        mesh.run_ms(100);
        let saw = &mesh.nodes[0].saw[&ChannelHash::of(CHANNEL)];
        let lost = Saw::Lost {
            node: 2,
            count: Some(30),
            reason: netcluster_wire::control::LossReason::Link,
        };
        assert_eq!(saw[0], lost, "before all that came");
        let (events, losses) = mesh.seen(0, 1, CHANNEL);
        assert_eq!((events, losses.len()), ((31..=35).collect(), 1));
        assert_eq!(mesh.nodes[0].peers()[0].counters.events_lost, 30);
    }
}

#[test]
fn whose_wish_is_younger_than_the_session_is_told_nothing() {
    let other = neighbour_channel();
    let mut mesh = listener(config(0));
    start_unheard(&mut mesh, config(1));
    // These come when the session is there; in the same group as the others.
    mesh.listen(0, &other);
    mesh.start_listening(config(2));
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(2000);
    mesh.emit(1, CHANNEL, 5);
    mesh.emit(1, &other, 5);
    mesh.run_ms(100);
    assert_eq!(mesh.seen(0, 1, CHANNEL).1, [Some(30)]);
    mesh.assert_seen(0, 1, &other, 36..=40);
    mesh.assert_seen(2, 1, CHANNEL, 31..=35);
}

#[test]
fn a_session_that_comes_back_tells_nothing_of_the_time_when_it_was_heard() {
    let mut mesh = Mesh::of(1, 2);
    mesh.listen(0, CHANNEL);
    mesh.run_ms(300);
    // Younger than the wish, that is.
    mesh.start(config(2));
    mesh.run_ms(300);
    mesh.emit(2, CHANNEL, 20);
    mesh.run_ms(100);
    mesh.reaches = |_, _, _| false;
    mesh.run_ms(4000);
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(2000);
    mesh.emit(2, CHANNEL, 5);
    mesh.run_ms(100);
    let (events, losses) = mesh.seen(0, 2, CHANNEL);
    assert_eq!(events, (1..=25).collect::<Vec<_>>());
    assert_eq!(losses, [None], "once, when it fell silent");
}

#[test]
fn a_session_that_fell_silent_before_it_was_joined_tells_what_it_emitted() {
    let mut mesh = Mesh::of(1, 1);
    mesh.listen(0, CHANNEL);
    mesh.run_ms(1000);
    mesh.start(config(1));
    // Long enough for its answer, but not for ours.
    mesh.run_until(mesh.now + 140_000);
    mesh.reaches = |from, _, _| from == 1;
    mesh.run_ms(400);
    assert_eq!((mesh.nodes[0].ups, mesh.nodes[1].ups), (1, 0));
    mesh.emit(1, CHANNEL, 30);
    mesh.run_ms(400);
    mesh.reaches = |_, _, _| false;
    mesh.run_ms(4000);
    assert_eq!(mesh.nodes[0].ups, mesh.nodes[0].downs.len());
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(2000);
    mesh.emit(1, CHANNEL, 5);
    mesh.run_ms(100);
    assert_eq!(mesh.seen(0, 1, CHANNEL), ((31..=35).collect(), vec![Some(30)]));
}

#[test]
fn first_events_are_kept_for_a_name_that_resolves_late() {
    for loss_permille in [0, 200] {
        let mut mesh = Mesh::new(1);
        mesh.loss_permille = loss_permille;
        mesh.reaches = unicast_only;
        mesh.start_listening(config(0));
        mesh.run_ms(1000);
        mesh.start(looking_for_a_name(1));
        for _ in 0..150 {
            mesh.emit(1, CHANNEL, 2);
            mesh.run_ms(10);
        }
        resolve(&mut mesh, 0);
        for _ in 0..150 {
            mesh.emit(1, CHANNEL, 2);
            mesh.run_ms(10);
        }
        mesh.run_ms(1000);
        mesh.assert_seen(0, 1, CHANNEL, 1..=600);
    }
}

#[test]
fn who_is_there_does_not_wait_for_who_is_looked_for() {
    let mut mesh = listener(config(0));
    // Multicast does not reach node 2.
    mesh.reaches = |from, to, multicast| !multicast || (from != 2 && to != 2);
    mesh.start(looking_for_a_name(1));
    mesh.start_listening(config(2));
    mesh.emit(1, CHANNEL, 100);
    mesh.run_ms(210);
    mesh.assert_seen(0, 1, CHANNEL, 1..=100);
    mesh.run_ms(1000);
    // The name stands for node 2: it gets what the other has long got.
    resolve(&mut mesh, 2);
    mesh.emit(1, CHANNEL, 100);
    mesh.run_ms(200);
    mesh.assert_seen(0, 1, CHANNEL, 1..=200);
    mesh.assert_seen(2, 1, CHANNEL, 1..=200);
}

#[test]
fn nothing_is_kept_longer_than_two_seconds_but_told() {
    let mut mesh = listener_by_unicast();
    mesh.emit(1, CHANNEL, 100);
    mesh.run_ms(2001);
    assert!(mesh.nodes[1].link.counters().events_unwanted == 0);
    mesh.emit(1, CHANNEL, 10);
    assert!(mesh.nodes[1].link.counters().events_unwanted == 10);
    resolve(&mut mesh, 0);
    mesh.run_ms(200);
    mesh.emit(1, CHANNEL, 5);
    mesh.run_ms(100);
    assert_eq!(mesh.seen(0, 1, CHANNEL), ((111..=115).collect(), vec![Some(110)]));
}

#[test]
fn what_history_cannot_keep_holds_no_emitter_up_and_is_told() {
    let mut mesh = listener_by_unicast();
    mesh.run_ms(200);
    // Three times what the history holds.
    for _ in 0..30 {
        mesh.emit_of(1, CHANNEL, 100, 1000);
        assert!(!mesh.nodes[1].is_full());
        mesh.run_ms(10);
    }
    resolve(&mut mesh, 0);
    mesh.run_ms(200);
    mesh.emit(1, CHANNEL, 5);
    mesh.run_ms(100);
    let (events, losses) = mesh.seen(0, 1, CHANNEL);
    assert_eq!(losses, [Some(3005 - events.len() as u64)]);
    assert_eq!(events, (3001..=3005).collect::<Vec<_>>());
}

#[test]
fn what_was_held_back_when_the_history_filled_holds_no_emitter_up_either() {
    let mut mesh = Mesh::new(1);
    mesh.start(looking_for_a_name(0));
    for _ in 0..30 {
        mesh.emit_of(0, CHANNEL, 100, 1000);
    }
    mesh.run_ms(100);
    assert!(mesh.nodes[0].is_full(), "for as long as anybody may be there");
    mesh.run_ms(100);
    assert!(!mesh.nodes[0].is_full());
}

#[test]
fn a_broker_that_restarts_meanwhile_gets_nothing_twice() {
    let mut mesh = listener(config(0));
    mesh.start(looking_for_a_name(1));
    mesh.emit(1, CHANNEL, 100);
    mesh.run_ms(300);
    mesh.assert_seen(0, 1, CHANNEL, 1..=100);
    mesh.kill(0);
    let mut restarted = address(0);
    restarted.set_port(6000);
    mesh.start_at(config(0), restarted);
    mesh.listen(2, CHANNEL);
    mesh.run_ms(500);
    mesh.emit(1, CHANNEL, 5);
    mesh.run_ms(100);
    mesh.assert_seen(2, 1, CHANNEL, 101..=105);
}
