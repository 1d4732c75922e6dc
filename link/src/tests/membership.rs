//! Membership: brokers that come, go, and are refused.

use super::mesh::*;
use crate::event::Gone;

#[test]
fn brokers_find_each_other_well_within_discovery() {
    for seed in 0..20 {
        let mut mesh = Mesh::of(seed, 3);
        mesh.run_ms(10);
        for node in &mesh.nodes {
            assert_eq!(node.ups, 2);
            assert!(node.peers().iter().all(|peer| peer.path == "multicast" && peer.is_joined));
        }
    }
}

#[test]
fn brokers_find_each_other_although_much_is_lost() {
    let mut found = 0;
    for seed in 0..50 {
        let mut mesh = Mesh::new(seed);
        mesh.loss_permille = 200;
        (0..3).for_each(|index| mesh.start(config(index)));
        mesh.run_ms(200);
        found += mesh.nodes.iter().filter(|node| node.ups == 2).count();
        mesh.run_ms(3000);
        assert!(mesh.nodes.iter().all(|node| node.ups == 2 && node.downs.is_empty()));
    }
    assert!(found >= 145, "{found} of 150 within discovery");
}

#[test]
fn a_broker_that_comes_later_finds_all_at_once() {
    let mut mesh = Mesh::of(1, 3);
    mesh.run_ms(5300);
    mesh.start(config(3));
    mesh.run_ms(30);
    assert!(mesh.nodes.iter().all(|node| node.ups == 3));
    assert!(mesh.nodes[3].peers().iter().all(|peer| peer.path == "multicast"));
}

#[test]
fn an_idle_link_is_quiet() {
    let mut mesh = Mesh::of(1, 3);
    (0..3).for_each(|index| {
        mesh.listen(index, CHANNEL);
    });
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(10_000);
    let before: Vec<u64> = mesh.nodes.iter().map(|node| node.control + node.data).collect();
    mesh.run_ms(10_000);
    for (node, before) in mesh.nodes.iter().zip(before) {
        let sent = node.control + node.data - before;
        // Ten hellos, two lists of neighbours.
        assert!((11..=13).contains(&sent), "{sent} datagrams in ten idle seconds");
    }
}

#[test]
fn who_leaves_is_gone_and_nothing_is_lost() {
    let mut mesh = Mesh::of(1, 3);
    mesh.listen(1, CHANNEL);
    mesh.run_ms(200);
    mesh.emit(0, CHANNEL, 1000);
    let now = mesh.now;
    mesh.nodes[0].link.leave(now, LEAVING);
    mesh.run_ms(100);
    assert!(mesh.nodes[0].link.has_left());
    assert_eq!(mesh.nodes[1].downs, [Gone::Left]);
    assert_eq!(mesh.nodes[2].downs, [Gone::Left]);
    mesh.assert_seen(1, 0, CHANNEL, 1..=1000);
    mesh.kill(0);
    mesh.run_ms(5000);
    assert_eq!(mesh.nodes[1].downs.len(), 1);
    mesh.assert_seen(1, 0, CHANNEL, 1..=1000);
}

#[test]
fn leaving_ends_although_nobody_answers() {
    let mut mesh = Mesh::of(1, 2);
    mesh.listen(1, CHANNEL);
    mesh.run_ms(200);
    mesh.kill(1);
    mesh.emit(0, CHANNEL, 1000);
    let now = mesh.now;
    mesh.nodes[0].link.leave(now, LEAVING);
    mesh.run_ms(600);
    assert!(mesh.nodes[0].link.has_left());
}

#[test]
fn who_dies_is_forgotten_and_listeners_are_told() {
    let mut mesh = Mesh::of(1, 3);
    mesh.listen(1, CHANNEL);
    mesh.run_ms(200);
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(100);
    mesh.kill(0);
    mesh.run_ms(2000);
    assert!(mesh.nodes[1].downs.is_empty());
    mesh.run_ms(1500);
    assert_eq!(mesh.nodes[1].downs, [Gone::Silent]);
    let (events, losses) = mesh.seen(1, 0, CHANNEL);
    assert_eq!((events.len(), losses), (10, vec![None]));
    let (_, none) = mesh.seen(2, 0, CHANNEL);
    assert!(none.is_empty());
}

#[test]
fn a_restart_is_recognised_within_a_second() {
    let mut mesh = Mesh::of(1, 3);
    mesh.listen(1, CHANNEL);
    mesh.run_ms(500);
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(100);
    mesh.kill(0);
    // On the same machine, from another port.
    let mut address = address(0);
    address.set_port(6000);
    mesh.start_at(config(0), address);
    mesh.emit(3, CHANNEL, 5);
    mesh.run_ms(300);
    assert_eq!(mesh.nodes[1].downs, [Gone::Restarted]);
    assert!(mesh.nodes[1].warnings.is_empty());
    // The old session's loss comes before the new one's first event, and those
    // are not pruned.
    let (events, losses) = mesh.seen(1, 3, CHANNEL);
    assert_eq!(events, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 1, 2, 3, 4, 5]);
    assert_eq!(losses, [None]);
}

#[test]
fn two_brokers_with_one_node_id_are_told_apart_and_the_newcomer_is_refused() {
    let mut mesh = Mesh::of(1, 2);
    mesh.run_ms(500);
    let mut twin = config(2);
    twin.node = 1;
    mesh.start(twin);
    mesh.run_ms(3000);
    assert!(mesh.nodes[1].downs.is_empty());
    assert_eq!(mesh.nodes[1].ups, 1);
    for index in 0..3 {
        // Not more than one in ten seconds.
        let warnings = &mesh.nodes[index].warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("node id"), "{warnings:?}");
    }
}

#[test]
fn other_clusters_are_ignored_in_silence() {
    let mut mesh = Mesh::of(1, 2);
    let mut other = config(2);
    other.cluster = "production".into();
    mesh.start(other);
    mesh.run_ms(2000);
    assert_eq!(mesh.nodes[2].ups, 0);
    assert_eq!(mesh.nodes[0].ups, 1);
    assert!(mesh.nodes.iter().all(|node| node.warnings.is_empty()));
    assert!(mesh.nodes[0].drops().other_cluster > 0);
}

#[test]
fn brokers_set_up_otherwise_are_refused_loudly() {
    let mut mesh = Mesh::of(1, 2);
    let mut groups = config(2);
    groups.groups = 8;
    mesh.start(groups);
    let mut pressured = config(3);
    pressured.pressured = vec!["orders".into()];
    mesh.start(pressured);
    mesh.run_ms(2000);
    assert_eq!((mesh.nodes[0].ups, mesh.nodes[2].ups, mesh.nodes[3].ups), (1, 0, 0));
    let warnings = &mesh.nodes[0].warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings.iter().all(|text| text.contains("set up otherwise")));
}

#[test]
fn another_key_or_none_is_refused_loudly() {
    let mut mesh = Mesh::new(1);
    for (index, keys) in
        [key(1), key(1), key(2), crate::crypto::Keys::open_link()].into_iter().enumerate()
    {
        let mut config = config(index);
        config.keys = keys;
        mesh.start(config);
    }
    mesh.run_ms(2000);
    let ups: Vec<usize> = mesh.nodes.iter().map(|node| node.ups).collect();
    assert_eq!(ups, [1, 1, 0, 0]);
    assert!(mesh.nodes[0].drops().wrong_key > 0);
    for (index, expected) in [(0, ["has another key", "has no key"]), (3, ["has a key"; 2])] {
        let mut warnings = mesh.nodes[index].warnings.clone();
        warnings.sort_unstable_by_key(|text| text.contains("has no key"));
        assert!(warnings.len() >= 2, "{warnings:?}");
        for (text, expected) in warnings.iter().zip(expected) {
            assert!(text.contains(expected) && text.contains("the same --key-file"), "{text}");
        }
    }
}

#[test]
fn a_flood_of_made_up_sessions_costs_bounded_work_and_memory() {
    let mut mesh = Mesh::of(1, 2);
    mesh.run_ms(500);
    mesh.recorded = Some(Vec::new());
    mesh.run_ms(1100);
    let recorded = mesh.recorded.take().unwrap();
    let hello = recorded.into_iter().find(|(_, _, bytes)| bytes[2] == 0x10).unwrap().2;
    for attempt in 0..100_000_u32 {
        let mut forged = hello.clone();
        forged[8..12].copy_from_slice(&attempt.to_le_bytes());
        forged[32] = 9;
        let from = core::net::SocketAddr::from((attempt.to_be_bytes(), 7000));
        mesh.inject(0, from, true, &forged);
    }
    let status = mesh.nodes[0].link.status(mesh.now);
    assert_eq!(status.handshakes, 64);
    assert!(status.counters.drops.hello_rate > 98_000);
    mesh.run_ms(10);
    assert!(mesh.nodes[0].control < 5000);
    mesh.run_ms(3000);
    assert_eq!(mesh.nodes[0].link.status(mesh.now).handshakes, 0);
    assert_eq!(mesh.nodes[0].peers().len(), 1);
    assert!(mesh.nodes[0].downs.is_empty());
}

#[test]
fn a_crowd_that_starts_at_once_finds_itself() {
    // More than may be pending at once.
    let count = 66;
    let mut mesh = Mesh::of(1, count);
    mesh.run_ms(1300);
    assert!(mesh.nodes.iter().all(|node| node.ups == count - 1));
    assert!(mesh.nodes.iter().all(|node| node.downs.is_empty()));
}

#[test]
fn twins_that_start_at_once_do_not_push_each_other_out() {
    for seed in 0..10 {
        let mut mesh = Mesh::of(seed, 1);
        for index in 1..3 {
            let mut twin = config(index);
            twin.node = 7;
            mesh.start(twin);
        }
        mesh.run_ms(5000);
        assert_eq!((mesh.nodes[0].ups, mesh.nodes[0].downs.len()), (1, 0));
        assert_eq!(mesh.nodes[0].warnings.len(), 1);
    }
}

#[test]
fn a_broker_that_was_stopped_for_long_accuses_nobody() {
    let mut mesh = Mesh::of(1, 3);
    mesh.listen(0, CHANNEL);
    mesh.run_ms(500);
    // For the others it is gone; but it has no reason to think that they are.
    mesh.nodes[0].is_alive = false;
    mesh.run_ms(5000);
    assert_eq!(mesh.nodes[1].downs.len(), 1);
    mesh.nodes[0].is_alive = true;
    mesh.run_ms(3000);
    assert!(mesh.nodes[0].downs.is_empty());
    mesh.emit(1, CHANNEL, 10);
    mesh.run_ms(100);
    mesh.assert_seen(0, 1, CHANNEL, 1..=10);
}

#[test]
fn a_peer_that_moves_to_another_address_is_followed() {
    let mut mesh = Mesh::of(1, 2);
    mesh.listen(1, CHANNEL);
    mesh.run_ms(500);
    mesh.nodes[1].address = address(9);
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(1000);
    mesh.assert_seen(1, 0, CHANNEL, 1..=100);
    assert_eq!(mesh.nodes[0].peers()[0].address, address(9).to_string());
}

#[test]
fn two_that_move_at_once_find_each_other_by_multicast() {
    let mut mesh = Mesh::of(1, 2);
    mesh.run_ms(500);
    mesh.nodes[0].address = address(8);
    mesh.nodes[1].address = address(9);
    mesh.run_ms(1500);
    assert_eq!(mesh.nodes[0].peers()[0].address, address(9).to_string());
    assert_eq!(mesh.nodes[1].peers()[0].address, address(8).to_string());
}

#[test]
fn another_version_is_refused_loudly() {
    let mut mesh = Mesh::of(1, 2);
    mesh.run_ms(500);
    mesh.recorded = Some(Vec::new());
    mesh.run_ms(1100);
    let recorded = mesh.recorded.take().unwrap();
    for (from, multicast, mut bytes) in recorded {
        bytes[3] = 2;
        mesh.inject(0, from, multicast, &bytes);
        bytes[2] = 1;
        mesh.inject(0, from, multicast, &bytes);
    }
    mesh.run_ms(10);
    assert!(mesh.nodes[0].drops().version > 2);
    let warnings = &mesh.nodes[0].warnings;
    // One for each source.
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("version 2"), "{warnings:?}");
}

#[test]
fn a_probe_is_answered_whoever_asks() {
    use netcluster_wire::link::{Control, ControlHeader, ControlKind, Datagram, Probe, parse};
    let mut mesh = Mesh::of(1, 1);
    mesh.run_ms(300);
    mesh.recorded = Some(Vec::new());
    let mut bytes = Vec::new();
    ControlHeader::new(ControlKind::Probe, 0, &[5; 16], 0).write(&mut bytes);
    Probe { nonce: [6; 16], to: [0; 16], padding_bytes: 900 }.encode(&mut bytes);
    mesh.inject(0, address(7), true, &bytes);
    mesh.run_ms(1);
    let (_, _, answer) = mesh.recorded.take().unwrap().remove(0);
    let Ok(Datagram::Control { kind, body, .. }) = parse(&answer) else { panic!() };
    let Ok(Control::ProbeReply(reply)) = Control::decode(kind, body) else { panic!() };
    assert_eq!((reply.nonce, reply.to, reply.node), ([6; 16], [5; 16], 1));
    assert_eq!((reply.received, reply.multicast), (bytes.len() as u32, true));
}

#[test]
fn a_late_sign_of_the_old_session_does_not_keep_the_new_one_out() {
    let mut mesh = Mesh::of(1, 3);
    mesh.run_ms(500);
    mesh.recorded = Some(Vec::new());
    mesh.run_ms(1100);
    let recorded = mesh.recorded.take().unwrap();
    let (from, _, hello) = recorded
        .into_iter()
        .find(|(from, _, bytes)| bytes[2] == 0x10 && *from == address(0))
        .unwrap();
    mesh.kill(0);
    let mut moved = address(0);
    moved.set_port(6000);
    mesh.start_at(config(0), moved);
    mesh.run_ms(10);
    // It lay in a socket's buffer.
    mesh.inject(1, from, true, &hello);
    mesh.run_ms(900);
    assert_eq!(mesh.nodes[1].downs, [Gone::Restarted]);
    assert_eq!(mesh.nodes[1].ups, 3);
    assert!(mesh.nodes[1].warnings.is_empty(), "{:?}", mesh.nodes[1].warnings);
}

#[test]
fn a_machine_that_was_restored_begins_a_new_session_and_uses_no_nonce_twice() {
    let audit = crate::crypto::audit::Audit::start();
    let mut mesh = Mesh::new(1);
    for index in 0..3 {
        mesh.start(crate::LinkConfig { keys: key(1), ..config(index) });
        mesh.listen(index, CHANNEL);
    }
    mesh.run_ms(500);
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(100);
    let sealed = audit.sealed();
    // In the midst of what it sends, and of what it has not sent.
    mesh.emit(0, CHANNEL, 100);
    let (now, before) = (mesh.now, mesh.nodes[0].link.local.session);
    mesh.nodes[0].link.renew(now);
    assert_ne!(mesh.nodes[0].link.local.session, before);
    mesh.emit(0, CHANNEL, 50);
    mesh.run_ms(500);
    assert!(audit.sealed().0 > sealed.0, "with other keys");
    assert_eq!(mesh.nodes[0].downs, [Gone::Renewed; 2]);
    for index in 1..3 {
        assert_eq!(mesh.nodes[index].downs, [Gone::Restarted]);
        let (events, losses) = mesh.seen(index, 0, CHANNEL);
        assert_eq!(events, (1..=100).chain(201..=250).collect::<Vec<_>>());
        assert_eq!(losses, [None]);
        // The others' events go on as well, behind a notice.
        mesh.emit(index, CHANNEL, 5);
    }
    mesh.run_ms(100);
    assert_eq!(mesh.seen(0, 1, CHANNEL), ((1..=5).collect(), vec![None]));
    mesh.assert_seen(2, 1, CHANNEL, 1..=5);
}
