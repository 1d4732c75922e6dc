//! Brokers that do not hear each other, and how people learn of it.

use super::mesh::*;

/// The names in the missing pairs that a node knows of.
fn missing(mesh: &Mesh, at: usize) -> Vec<[String; 2]> {
    let status = mesh.nodes[at].link.status(mesh.now);
    assert_eq!(status.missing_pairs.len(), status.missing_pairs_total);
    status.missing_pairs.into_iter().map(|pair| pair.names).collect()
}

fn pair(one: usize, other: usize) -> [String; 2] {
    [format!("node-{one}"), format!("node-{other}")]
}

/// Multicast of each reaches the other, what is sent to node 1 alone does not.
#[test]
fn a_broker_that_is_heard_and_never_answers_is_named_until_it_is_linked() {
    let mut mesh = Mesh::of(1, 2);
    mesh.reaches = |_, to, is_multicast| is_multicast || to != 1;
    mesh.run_ms(12_000);
    for (node, other) in [(0, 1), (1, 0)] {
        let status = mesh.nodes[node].link.status(mesh.now);
        assert_eq!((status.peers.len(), status.unlinked.len()), (0, 1), "{node}: {status:?}");
        assert_eq!(status.unlinked[0].address, address(other).to_string());
        let warnings = &mesh.nodes[node].warnings;
        let told = warnings.iter().filter(|text| text.contains("is heard, but does not answer"));
        assert!((1..=2).contains(&told.count()), "{warnings:?}");
    }
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(2_500);
    for node in &mesh.nodes {
        let status = node.link.status(mesh.now);
        assert_eq!((status.peers.len(), status.unlinked.len()), (1, 0));
    }
}

#[test]
fn a_third_broker_reports_two_that_do_not_hear_each_other_until_they_do() {
    for seed in 0..5 {
        let mut mesh = Mesh::of(seed, 3);
        mesh.reaches = |from, to, _| from.min(to) != 1 || from.max(to) != 2;
        mesh.run_ms(25_000);
        assert_eq!(missing(&mesh, 0), [pair(1, 2)]);
        let warnings = &mesh.nodes[0].warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("brokers node-1 and node-2 do not hear each other: "));
        // Those two do not know of each other.
        assert!(mesh.nodes[1..].iter().all(|node| node.warnings.is_empty()));

        mesh.reaches = |_, _, _| true;
        mesh.run_ms(6000);
        assert_eq!(missing(&mesh, 0), [[""; 2]; 0]);
        assert_eq!(mesh.nodes[0].warnings.len(), 1);

        mesh.reaches = |from, to, _| from.min(to) != 1 || from.max(to) != 2;
        mesh.run_ms(20_000);
        assert_eq!(missing(&mesh, 0), [pair(1, 2)]);
        assert_eq!(mesh.nodes[0].warnings.len(), 2);
    }
}

#[test]
fn one_direction_is_enough_to_be_missing() {
    let mut mesh = Mesh::of(1, 3);
    mesh.reaches = |from, to, _| (from, to) != (1, 2);
    mesh.run_ms(20_000);
    assert_eq!(missing(&mesh, 0), [pair(1, 2)]);
}

#[test]
fn a_broker_that_is_not_heard_any_more_is_told_by_the_lists_without_it() {
    for count in [2, 3] {
        let mut mesh = Mesh::of(1, count);
        mesh.run_ms(6000);
        // It still hears the other one, for whom it is gone.
        mesh.reaches = |from, to, _| (from, to) != (0, 1);
        mesh.run_ms(20_000);
        assert_eq!(mesh.nodes[1].downs.len(), 1);
        assert_eq!(missing(&mesh, 0), [pair(0, 1)]);
        assert_eq!(mesh.nodes[0].warnings.len(), 1);
        if count == 3 {
            assert_eq!(missing(&mesh, 2), [pair(0, 1)]);
        }
    }
}

#[test]
fn one_that_hears_nobody_but_this_one_is_one_warning() {
    let mut mesh = Mesh::of(1, 6);
    mesh.reaches = |from, to, _| from == to || from == 0 || to == 0 || (from != 5 && to != 5);
    mesh.run_ms(25_000);
    assert_eq!(missing(&mesh, 0).len(), 4);
    let warnings = &mesh.nodes[0].warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("(4 pairs of brokers are like this)"), "{warnings:?}");
}

#[test]
fn coming_going_and_coming_back_is_no_alarm() {
    for seed in 0..10 {
        let mut mesh = Mesh::of(seed, 3);
        mesh.loss_permille = 50;
        mesh.jitter_ns = MS_NS;
        let mut next = 3;
        for step in 0..30 {
            match mesh.random.below(4) {
                0 => {
                    mesh.start(config(next));
                    next += 1;
                }
                // Killed, or killed and started again with the same node id.
                1 => {
                    let at = mesh.random.below(mesh.nodes.len() as u64) as usize;
                    mesh.kill(at);
                    let mut again = config(at);
                    again.node = at as u32 + 1;
                    if step % 2 == 0 && at < 3 {
                        mesh.start(again);
                        next = mesh.nodes.len();
                    }
                }
                2 => {
                    let at = mesh.random.below(mesh.nodes.len() as u64) as usize;
                    let now = mesh.now;
                    mesh.nodes[at].link.leave(now, LEAVING);
                    mesh.run_ms(600);
                    mesh.kill(at);
                }
                _ => {}
            }
            for _ in 0..mesh.random.below(7) {
                mesh.run_ms(500);
                for at in (0..mesh.nodes.len()).filter(|&at| mesh.nodes[at].is_alive) {
                    assert_eq!(missing(&mesh, at), [[""; 2]; 0], "seed {seed}, step {step}");
                }
            }
        }
        let all = mesh.nodes.iter().flat_map(|node| &node.warnings);
        assert_eq!(all.filter(|text| text.contains("do not hear")).count(), 0);
    }
}

#[test]
fn a_list_in_several_parts_is_judged_as_one() {
    use netcluster_wire::link::limits::MAX_NEIGHBOURS;
    use netcluster_wire::link::{ControlHeader, ControlKind, Neighbour, Neighbours};
    let mut mesh = Mesh::of(1, 3);
    mesh.recorded = Some(Vec::new());
    mesh.run_ms(6000);
    let recorded = mesh.recorded.take().unwrap();
    let hello = recorded.iter().find(|(from, _, bytes)| *from == address(1) && bytes[2] == 0x10);
    let hello = hello.expect("a hello").2.clone();
    let session: [u8; 16] = hello[8..24].try_into().unwrap();
    // From now on nothing of it comes but its hellos, and lists that are too long for
    // one datagram.
    mesh.reaches = |from, to, _| (from, to) != (1, 0);
    let strangers: Vec<_> =
        (0..MAX_NEIGHBOURS as u32).map(|at| Neighbour { node: 100 + at }).collect();
    for (nodes, expected) in
        [(&[1][..], &[][..]), (&[1], &[pair(1, 2)]), (&[1, 3], &[]), (&[1, 3], &[])]
    {
        let rest: Vec<_> = nodes.iter().map(|&node| Neighbour { node }).collect();
        for (part, peers) in [(0, &strangers), (1, &rest)] {
            let mut bytes = Vec::new();
            ControlHeader::new(ControlKind::Neighbours, 0, &session, 0).write(&mut bytes);
            Neighbours::encode(part, 2, peers, &mut bytes);
            mesh.inject(0, address(1), true, &bytes);
        }
        assert_eq!(missing(&mesh, 0), expected);
        for _ in 0..5 {
            mesh.inject(0, address(1), true, &hello);
            mesh.run_ms(1000);
        }
    }
    assert!(mesh.nodes[0].downs.is_empty());
}

#[test]
fn configured_addresses_that_nobody_answers_from_are_told() {
    let mut mesh = Mesh::new(1);
    let nobody = core::net::SocketAddr::from(([10, 9, 9, 9], 5000));
    let shared = core::net::SocketAddr::new(address(1).ip(), PORT);
    let own = core::net::SocketAddr::new(address(0).ip(), PORT);
    let mut first = config(0);
    first.peers = vec![address(1), shared, nobody, own];
    mesh.start(first);
    mesh.start(config(1));
    let told = |mesh: &Mesh| mesh.nodes[0].link.status(mesh.now).unanswered_peers;
    mesh.run_ms(4000);
    assert_eq!(told(&mesh), [""; 0], "they have time to answer");
    mesh.run_ms(2000);
    assert_eq!(told(&mesh), [nobody.to_string()]);
    mesh.kill(1);
    mesh.run_ms(6000);
    assert_eq!(told(&mesh), [nobody.to_string()]);
    mesh.run_ms(5000);
    assert_eq!(told(&mesh).len(), 3);
    // A name stands for another address: that one gets its time.
    let now = mesh.now;
    let other = address(7);
    mesh.nodes[0].link.set_unicast_peers(now, vec![nobody, other], 0);
    assert_eq!(told(&mesh), [nobody.to_string()]);
    mesh.run_ms(5000);
    assert_eq!(told(&mesh), [nobody.to_string(), other.to_string()]);
}

#[test]
fn requests_and_repairs_are_counted_for_each_stream_and_its_channels_named() {
    let mut mesh = Mesh::of(1, 2);
    mesh.listen(1, CHANNEL);
    for index in 0..40 {
        mesh.listen(1, &format!("other-{index:02}"));
    }
    mesh.run_ms(500);
    mesh.loss_permille = 100;
    for _ in 0..50 {
        mesh.emit(0, CHANNEL, 100);
        mesh.run_ms(5);
    }
    mesh.run_ms(3000);
    mesh.assert_seen(1, 0, CHANNEL, 1..=5000);
    let [from, to] = [0, 1].map(|at| mesh.nodes[at].link.status(mesh.now));
    let [own] = &from.streams[..] else { panic!("{:?}", from.streams) };
    let of = |group| to.peers[0].streams.iter().find(|stream| stream.group == group).unwrap();
    let peer = of(own.group);
    // Some of both are lost on the way.
    assert!(own.naks_received > 0 && peer.naks_sent >= own.naks_received, "{own:?} {peer:?}");
    assert!(peer.repaired > 0 && own.repaired >= peer.repaired, "{own:?} {peer:?}");
    assert_eq!((peer.events_lost, peer.losses_unknown), (0, 0));
    assert_eq!(own.naks_received, from.counters.naks_received);
    assert_eq!(own.repaired, from.counters.repaired);
    let quiet = (0..4).find(|group| *group != own.group).unwrap();
    assert_eq!((of(quiet).naks_sent, of(quiet).repaired), (0, 0));

    let here = to.channels.iter().find(|channels| channels.group == own.group).unwrap();
    assert_eq!(here.names[0], CHANNEL);
    assert_eq!(here.names.len(), here.total.min(8));
    assert_eq!(to.channels.iter().map(|channels| channels.total).sum::<usize>(), 41);
    assert_eq!(from.channels.len(), 1);
    assert_eq!((&from.channels[0].names[..], from.channels[0].total), (&[CHANNEL.into()][..], 1));
}
