//! Every event once and in order, or a notice.

use super::mesh::*;
use crate::channel::ChannelHash;
use crate::tests::time::ns;

#[test]
fn first_events_of_a_fresh_broker_are_not_lost() {
    for seed in 0..10 {
        let mut mesh = Mesh::new(seed);
        mesh.loss_permille = if seed < 5 { 0 } else { 100 };
        mesh.start_listening(config(0));
        mesh.run_ms(1000);
        mesh.start(config(1));
        mesh.emit(1, CHANNEL, 50);
        mesh.run_ms(1000);
        mesh.assert_seen(0, 1, CHANNEL, 1..=50);
    }
}

#[test]
fn both_ways_over_a_good_network() {
    let mut mesh = Mesh::of(1, 2);
    (0..2).for_each(|index| {
        mesh.listen(index, CHANNEL);
    });
    mesh.run_ms(200);
    for _ in 0..50 {
        mesh.emit(0, CHANNEL, 40);
        mesh.emit(1, CHANNEL, 30);
        mesh.run_ms(1);
    }
    mesh.run_ms(100);
    mesh.assert_seen(1, 0, CHANNEL, 1..=2000);
    mesh.assert_seen(0, 1, CHANNEL, 1..=1500);
    assert_eq!(mesh.nodes[0].link.counters().naks_sent, 0);
    let peer = &mesh.nodes[0].peers()[0];
    assert!(peer.round_trip_us.is_some_and(|us| (90..200).contains(&us)), "{peer:?}");
}

#[test]
fn three_brokers_over_a_bad_network() {
    for seed in 0..8 {
        let mut mesh = Mesh::new(seed);
        for index in 0..3 {
            let mut config = config(index);
            config.keys = if seed % 2 == 0 { key(7) } else { config.keys };
            mesh.start_listening(config);
        }
        mesh.run_ms(300);
        mesh.loss_permille = 30;
        mesh.duplicate_permille = 20;
        mesh.jitter_ns = if seed % 3 == 0 { 80_000 } else { 0 };
        mesh.is_stingy = seed % 4 == 0;
        for round in 0..60 {
            for index in 0..3 {
                let count = mesh.random.below(60);
                let payload = [20, 100, 5000][round % 3];
                mesh.emit_of(index, CHANNEL, count, payload);
            }
            mesh.run_ms(3);
        }
        mesh.run_ms(2000);
        for at in 0..3 {
            for of in (0..3).filter(|of| *of != at) {
                let (events, losses) = mesh.seen(at, of, CHANNEL);
                assert!(losses.is_empty(), "seed {seed}: {losses:?}");
                let count = events.len() as u64;
                assert!(count > 1000, "seed {seed}");
                assert_eq!(events, (1..=count).collect::<Vec<_>>(), "seed {seed}");
            }
        }
        assert!(mesh.nodes.iter().all(|node| node.downs.is_empty()));
    }
}

#[test]
fn what_nobody_wants_is_not_sent() {
    let mut mesh = Mesh::of(1, 3);
    mesh.run_ms(300);
    mesh.emit(0, CHANNEL, 1000);
    mesh.run_ms(100);
    assert_eq!(mesh.nodes[0].data, 0);
    assert_eq!(mesh.nodes[0].link.counters().events_unwanted, 1000);
    // Nor what was held back while peers were looked for.
    let mut mesh = Mesh::of(1, 3);
    mesh.emit(0, CHANNEL, 1000);
    mesh.run_ms(500);
    assert_eq!(mesh.nodes[0].data, 0);
    mesh.listen(1, CHANNEL);
    mesh.run_ms(100);
    mesh.emit(0, CHANNEL, 3);
    mesh.run_ms(100);
    mesh.assert_seen(1, 0, CHANNEL, 1001..=1003);
    mesh.unlisten(1, CHANNEL);
    mesh.run_ms(100);
    let before = mesh.nodes[0].data;
    mesh.emit(0, CHANNEL, 1000);
    mesh.run_ms(100);
    assert_eq!(mesh.nodes[0].data, before);
}

#[test]
fn a_listener_gets_all_from_its_join_on_and_nothing_before() {
    for seed in 0..10 {
        let mut mesh = Mesh::with_listener(seed, 3);
        mesh.loss_permille = 100;
        for _ in 0..20 {
            mesh.emit(0, CHANNEL, 30);
            mesh.run_ms(1);
        }
        let version = mesh.listen(1, CHANNEL);
        let mut joined_at = None;
        for round in 20..200 {
            if joined_at.is_none() && mesh.nodes[1].joined >= version {
                joined_at = Some(round * 30 + 1);
                assert!(mesh.nodes[1].link.joined(version));
                assert!(
                    mesh.nodes[1]
                        .link
                        .waiting_for(mesh.nodes[1].link.interest_version())
                        .is_empty()
                );
            }
            mesh.emit(0, CHANNEL, 30);
            mesh.run_ms(1);
        }
        mesh.run_ms(1000);
        let (events, losses) = mesh.seen(1, 0, CHANNEL);
        assert!(losses.is_empty());
        let (first, joined_at) = (events[0], joined_at.expect("it joined"));
        assert!(600 < first && first <= joined_at, "seed {seed}: {first} {joined_at}");
        assert_eq!(events, (first..=6000).collect::<Vec<_>>(), "seed {seed}");
        mesh.assert_seen(2, 0, CHANNEL, 1..=6000);
    }
}

#[test]
fn interest_that_comes_and_goes_delivers_nothing_twice() {
    for seed in 0..20 {
        let mut mesh = Mesh::with_listener(seed, 3);
        mesh.loss_permille = 250;
        for _ in 0..100 {
            match mesh.random.below(3) {
                0 => {
                    mesh.listen(1, CHANNEL);
                }
                1 => mesh.unlisten(1, CHANNEL),
                _ => {}
            }
            mesh.emit(0, CHANNEL, 10);
            let us = mesh.random.below(4000);
            mesh.run_until(mesh.now + us * 1000);
        }
        mesh.loss_permille = 0;
        mesh.listen(1, CHANNEL);
        mesh.run_ms(1000);
        mesh.emit(0, CHANNEL, 100);
        mesh.run_ms(500);
        let (events, _) = mesh.seen(1, 0, CHANNEL);
        assert!(events.is_sorted_by(|a, b| a < b), "seed {seed}");
        assert_eq!(events[events.len() - 100..], (1001..=1100).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn channels_are_apart_and_only_their_groups_are_joined() {
    let mut mesh = Mesh::of(1, 2);
    let names: Vec<String> = (0..12).map(|index| format!("channel-{index}")).collect();
    mesh.listen(1, &names[0]);
    mesh.run_ms(200);
    assert_eq!(mesh.nodes[1].groups.len(), 2, "the control group and one more");
    for name in &names {
        mesh.emit(0, name, 5);
    }
    mesh.run_ms(100);
    mesh.assert_seen(1, 0, &names[0], 1..=5);
    assert_eq!(mesh.nodes[1].saw.len(), 1);
    let stream = |name: &str| ChannelHash::of(name).group(4);
    let alike = names.iter().filter(|name| stream(name) == stream(&names[0])).count() as u64;
    assert_eq!(mesh.nodes[1].link.counters().events_unheard, (alike - 1) * 5);
    mesh.unlisten(1, &names[0]);
    mesh.run_ms(10);
    assert_eq!(mesh.nodes[1].groups.len(), 1);
}

#[test]
fn without_multicast_configured_peers_get_all_by_unicast() {
    for seed in 0..6 {
        let mut mesh = Mesh::new(seed);
        mesh.reaches = |_, _, multicast| !multicast;
        mesh.loss_permille = if seed < 3 { 0 } else { 50 };
        for index in 0..3 {
            let mut config = config(index);
            config.peers = (0..3).filter(|other| *other != index).map(address).collect();
            mesh.start_listening(config);
        }
        mesh.emit(0, CHANNEL, 20);
        mesh.run_ms(300);
        mesh.emit(0, CHANNEL, 500);
        mesh.run_ms(1000);
        for at in 1..3 {
            mesh.assert_seen(at, 0, CHANNEL, 1..=520);
            assert_eq!(mesh.nodes[at].drops().duplicate, 0);
        }
        assert!(mesh.nodes[0].peers().iter().all(|peer| peer.path == "unicast"));
    }
}

#[test]
fn one_that_multicast_does_not_reach_gets_copies_and_nobody_gets_two() {
    let mut mesh = Mesh::new(1);
    mesh.is_stingy = true;
    // Multicast does not reach node 2; and it is not heard of it either.
    mesh.reaches = |from, to, multicast| !multicast || (from != 2 && to != 2);
    for index in 0..3 {
        let mut config = config(index);
        if index == 2 {
            config.peers = vec![address(0), address(1)];
        }
        mesh.start_listening(config);
    }
    mesh.run_ms(1200);
    assert!(mesh.nodes.iter().all(|node| node.ups == 2));
    for _ in 0..20 {
        mesh.emit(0, CHANNEL, 50);
        mesh.run_ms(2);
    }
    mesh.run_ms(300);
    mesh.assert_seen(1, 0, CHANNEL, 1..=1000);
    mesh.assert_seen(2, 0, CHANNEL, 1..=1000);
    for index in 0..3 {
        assert_eq!(mesh.nodes[index].drops().duplicate, 0, "node {index}");
    }
    let paths: Vec<String> = mesh.nodes[0].peers().into_iter().map(|peer| peer.path).collect();
    assert!(paths.contains(&"multicast".to_owned()) && paths.contains(&"unicast".to_owned()));
}

#[test]
fn when_multicast_ceases_data_goes_on_by_unicast() {
    let mut mesh = Mesh::with_listener(1, 2);
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(100);
    mesh.reaches = |_, _, multicast| !multicast;
    mesh.run_ms(6000);
    assert!(mesh.nodes.iter().all(|node| node.downs.is_empty()));
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(500);
    mesh.assert_seen(1, 0, CHANNEL, 1..=200);
    assert_eq!(mesh.nodes[0].peers()[0].path, "unicast");
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(2000);
    assert_eq!(mesh.nodes[0].peers()[0].path, "multicast");
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(500);
    mesh.assert_seen(1, 0, CHANNEL, 1..=300);
}

#[test]
fn a_large_frame_crosses_in_many_datagrams() {
    let mut mesh = Mesh::with_listener(3, 2);
    mesh.loss_permille = 20;
    mesh.emit_of(0, CHANNEL, 2, 700_000);
    mesh.emit_of(0, CHANNEL, 2, 10);
    mesh.run_ms(2000);
    mesh.assert_seen(1, 0, CHANNEL, 1..=4);
}

#[test]
fn a_sender_is_full_while_its_receiver_is_slow_and_not_forever() {
    let mut mesh = Mesh::with_listener(1, 2);
    mesh.kill(1);
    mesh.emit_of(0, CHANNEL, 3000, 1000);
    assert!(mesh.nodes[0].is_full());
    mesh.run_ms(1000);
    assert!(!mesh.nodes[0].is_full(), "it is not waited for any more");
    assert_eq!(mesh.nodes[0].link.counters().demoted, 1);
}

#[test]
fn data_is_looped_only_for_peers_on_this_machine() {
    let mut mesh = Mesh::of(1, 2);
    mesh.run_ms(200);
    assert!(!mesh.nodes[0].link.status(ns(0)).is_looped);
    let mut neighbour = address(0);
    neighbour.set_port(6000);
    let mut config = config(2);
    config.local_addresses = vec![neighbour.ip()];
    mesh.start_at(config, neighbour);
    mesh.listen(2, CHANNEL);
    mesh.run_ms(200);
    assert!(mesh.nodes[0].link.status(ns(0)).is_looped);
    assert!(!mesh.nodes[1].link.status(ns(0)).is_looped);
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(100);
    mesh.assert_seen(2, 0, CHANNEL, 1..=100);
}

#[test]
fn more_streams_than_one_datagram_can_name() {
    let (mut mesh, names) = Mesh::of_many_streams(30);
    mesh.loss_permille = 100;
    names.iter().for_each(|name| mesh.emit(0, name, 3));
    mesh.run_ms(2000);
    for (index, name) in names.iter().enumerate() {
        let first = index as u64 * 3 + 1;
        mesh.assert_seen(1, 0, name, first..first + 3);
    }
    assert!(mesh.nodes[1].peers()[0].streams.len() > 64);
    let now = mesh.now;
    mesh.nodes[0].link.leave(now, LEAVING);
    mesh.run_ms(500);
    assert_eq!(mesh.nodes[1].downs, [crate::event::Gone::Left]);
    for (index, name) in names.iter().enumerate() {
        let first = index as u64 * 3 + 1;
        mesh.assert_seen(1, 0, name, first..first + 3);
    }
}

#[test]
fn a_held_stream_slows_its_sender_and_no_other() {
    let mut mesh = Mesh::new(1);
    for index in 0..2 {
        let mut config = config(index);
        config.pressured = vec!["orders".into()];
        config.history_bytes = 300_000;
        mesh.start_listening(config);
        mesh.listen(index, "orders");
    }
    mesh.run_ms(300);
    mesh.emit(0, "orders", 10);
    mesh.run_ms(100);
    let status = mesh.nodes[1].peers().remove(0);
    let held = status.streams.iter().find(|stream| stream.index == 1).unwrap();
    let stream = crate::StreamId::new(held.group, held.index);
    let now = mesh.now;
    let peer = mesh.nodes[1].last_peer.unwrap();
    mesh.nodes[1].link.set_held(now, peer, stream, true);
    mesh.run_ms(10);
    mesh.emit(0, "orders", 10_000);
    mesh.emit(0, CHANNEL, 1000);
    mesh.run_ms(1000);
    assert!(mesh.nodes[0].is_full(), "emitters of the channel pause");
    assert_eq!(mesh.nodes[0].link.counters().demoted, 0);
    mesh.assert_seen(1, 0, "orders", 1..=10);
    mesh.assert_seen(1, 0, CHANNEL, 10_011..=11_010);
    let now = mesh.now;
    mesh.nodes[1].link.set_held(now, peer, stream, false);
    mesh.run_ms(1000);
    mesh.assert_seen(1, 0, "orders", 1..=10_010);
    assert!(!mesh.nodes[0].is_full());
}

#[test]
fn a_rate_is_kept() {
    let mut mesh = Mesh::new(1);
    for index in 0..2 {
        let mut config = config(index);
        config.rate = (index == 0).then_some(2_000_000);
        mesh.start_listening(config);
    }
    mesh.run_ms(300);
    mesh.emit_of(0, CHANNEL, 900, 1000);
    mesh.run_ms(200);
    let sent = mesh.nodes[0].link.counters().sent_bytes;
    assert!((300_000..600_000).contains(&sent), "{sent} bytes in 200 ms");
    mesh.run_ms(500);
    mesh.assert_seen(1, 0, CHANNEL, 1..=900);
}
