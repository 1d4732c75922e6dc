//! Joining: a broker's wishes, and that the others know them.

use super::mesh::*;
use crate::channel::ChannelHash;

/// A channel of another group than that of [`CHANNEL`].
fn elsewhere() -> String {
    let group = |name: &str| ChannelHash::of(name).group(4);
    let mut names = (0..).map(|index| format!("channel-{index}"));
    names.find(|name| group(name) != group(CHANNEL)).unwrap()
}

#[test]
fn interests_that_change_faster_than_a_round_trip_do_not_keep_from_joining() {
    let mut mesh = Mesh::of(1, 2);
    mesh.run_ms(300);
    let channel = elsewhere();
    mesh.listen(1, CHANNEL);
    for change in 0..500 {
        match change % 2 {
            0 => {
                mesh.listen(1, &channel);
            }
            _ => mesh.unlisten(1, &channel),
        }
        if change == 100 {
            mesh.emit(0, CHANNEL, 10);
        }
        mesh.run_until(mesh.now + 60_000);
    }
    mesh.assert_seen(1, 0, CHANNEL, 1..=10);
    mesh.listen(1, &channel);
    mesh.run_ms(20);
    mesh.emit(0, &channel, 5);
    mesh.run_ms(20);
    mesh.assert_seen(1, 0, &channel, 11..=15);
    assert!(mesh.nodes[1].peers()[0].is_joined);
}

#[test]
fn a_peer_that_challenges_without_end_is_not_told_more_than_it_needs() {
    use netcluster_wire::link::{Challenge, ControlHeader, ControlKind};
    let mut mesh = Mesh::of(1, 2);
    mesh.listen(0, CHANNEL);
    mesh.run_ms(300);
    let (to, session) = (mesh.nodes[0].link.local.session, mesh.nodes[1].link.local.session);
    let before = mesh.nodes[0].link.interest.versions.told;
    for counter in 0..1000 {
        let mut bytes = Vec::new();
        ControlHeader::new(ControlKind::Challenge, 0, &session, counter).write(&mut bytes);
        Challenge { nonce: [7; 16], to }.encode(&mut bytes);
        mesh.inject(0, address(1), false, &bytes);
        mesh.run_until(mesh.now + 100_000);
    }
    let told = mesh.nodes[0].link.interest.versions.told - before;
    assert!((1..=25).contains(&told), "{told} interests in 100 ms");
    mesh.run_ms(100);
    assert!(mesh.nodes[0].peers()[0].is_joined);
    mesh.emit(1, CHANNEL, 5);
    mesh.run_ms(50);
    mesh.assert_seen(0, 1, CHANNEL, 1..=5);
}

/// A cut that one side has noticed and the other not yet: it said that all knew of
/// its interest, and what was lost right behind the answer was neither retransmitted nor
/// told.
#[test]
fn a_peer_that_may_have_forgotten_us_is_asked_again_before_all_are_said_to_know() {
    let mut mesh = Mesh::of(1, 2);
    let version = mesh.listen(0, CHANNEL);
    mesh.run_ms(300);
    assert!(mesh.nodes[0].link.joined(version));
    mesh.reaches = |from, to, _| (from, to) != (0, 1);
    mesh.run_ms(3_300);
    assert_eq!((mesh.nodes[0].peers().len(), mesh.nodes[1].peers().len()), (1, 0));
    mesh.reaches = |_, _, _| true;
    let asked = mesh.nodes[0].link.ask_interest(mesh.now);
    assert!(!mesh.nodes[0].link.joined(asked));
    let mut waited_ms = 0;
    while !mesh.nodes[0].link.joined(asked) {
        mesh.run_ms(1);
        waited_ms += 1;
        assert!(waited_ms < 3_000, "it never answers");
    }
    assert_eq!(mesh.nodes[1].peers().len(), 1);
    mesh.loss_permille = 300;
    mesh.emit(1, CHANNEL, 50);
    mesh.run_ms(1_000);
    let last = mesh.nodes[1].link.outbound.streams[0].egress.next().ordinal;
    mesh.assert_seen(0, 1, CHANNEL, last - 49..=last);
    // Who was just asked is not asked again.
    mesh.loss_permille = 0;
    mesh.run_ms(100);
    let again = mesh.nodes[0].link.ask_interest(mesh.now);
    mesh.run_ms(100);
    let told = mesh.nodes[0].link.interest.versions.told;
    assert_eq!(mesh.nodes[0].link.ask_interest(mesh.now), again);
    assert!(mesh.nodes[0].link.joined(again));
    assert_eq!(mesh.nodes[0].link.interest.versions.told, told);
}

#[test]
fn versions_of_interests_go_on_behind_the_largest_number() {
    let mut mesh = Mesh::of(1, 2);
    mesh.run_ms(300);
    for round in 0..8 {
        // It takes a while to get there.
        if let Some(&told) = [1 << 30, 3 << 30, u32::MAX - 2].get(round as usize) {
            mesh.nodes[1].link.interest.versions.told = told;
        }
        mesh.listen(1, CHANNEL);
        mesh.run_ms(20);
        mesh.emit(0, CHANNEL, 1);
        mesh.run_ms(20);
        mesh.unlisten(1, CHANNEL);
        mesh.run_ms(20);
        mesh.assert_seen(1, 0, CHANNEL, 1..=round + 1);
    }
}

#[test]
fn when_a_group_reaches_a_broker_and_another_does_not_its_data_goes_by_unicast() {
    let mut mesh = Mesh::with_listener(1, 2);
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(100);
    // A switch that forgot who wants this group, but not the control group.
    let control = config(1).group.ip();
    mesh.nodes[1].groups.retain(|group| *group == control);
    for _ in 0..200 {
        mesh.emit(0, CHANNEL, 2);
        mesh.run_ms(10);
    }
    mesh.run_ms(100);
    assert_eq!(mesh.nodes[0].peers()[0].path, "unicast");
    let before = mesh.nodes[1].link.counters().naks_sent;
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(100);
    assert_eq!(mesh.nodes[1].link.counters().naks_sent, before);
    mesh.assert_seen(1, 0, CHANNEL, 1..=510);
    assert!(mesh.nodes[1].warnings[0].contains("not in the group"));
    // The switch has learned; there is somebody else to send multicast for.
    let group =
        mesh.nodes[1].link.local.config.group_address(ChannelHash::of(CHANNEL).group(4)).ip();
    mesh.nodes[1].groups.insert(group);
    mesh.start_listening(config(2));
    mesh.run_ms(300);
    for _ in 0..20 {
        mesh.emit(0, CHANNEL, 1);
        mesh.run_ms(100);
    }
    assert!(mesh.nodes[0].peers().iter().all(|peer| peer.path == "multicast"));
    mesh.assert_seen(1, 0, CHANNEL, 1..=530);
}

#[test]
fn a_cut_is_not_taken_for_a_group_that_does_not_arrive() {
    for seed in 0..10 {
        let mut mesh = Mesh::with_listener(seed, 2);
        mesh.loss_permille = 100;
        for step in 0..400 {
            mesh.reaches = match step {
                50..300 => |from, to, _| from == to,
                _ => |_, _, _| true,
            };
            mesh.emit(0, CHANNEL, 2);
            mesh.run_ms(10);
        }
        // If hellos beside the cut were lost as well, it takes until the next one.
        mesh.run_ms(2500);
        assert_eq!(mesh.nodes[1].warnings, [""; 0], "seed {seed}");
        assert_eq!(mesh.nodes[0].peers()[0].path, "multicast", "seed {seed}");
        mesh.assert_seen(1, 0, CHANNEL, 1..=800);
    }
}
