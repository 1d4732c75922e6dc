//! Summaries of peers, and brokers that are expected.

use core::net::SocketAddr;

use netcluster_wire::link::{ControlKind, Summary};

use super::addresses::sealed;
use super::mesh::*;
use crate::crypto::{ControlSealer, Key, Keys};
use crate::status::PeerSummary;

fn summary(mesh: &Mesh, at: usize, of: usize) -> Option<PeerSummary> {
    let status = mesh.nodes[at].link.status(mesh.now);
    let name = format!("node-{of}");
    status.peers.into_iter().find(|peer| peer.name == name)?.summary
}

/// Makes the summary of a broker with so many clients.
pub fn summary_of(uptime_ms: u64, clients: u32) -> Summary<'static> {
    Summary {
        uptime_ms,
        in_per_s: 1,
        out_per_s: 2,
        lost: 3,
        queued_bytes: 4,
        clients,
        is_draining: false,
        version: "0.1.0",
    }
}

fn forged(uptime_ms: u64) -> Summary<'static> {
    Summary {
        uptime_ms,
        in_per_s: u64::MAX,
        out_per_s: u64::MAX,
        lost: u64::MAX,
        queued_bytes: u64::MAX,
        clients: u32::MAX,
        is_draining: true,
        version: "evil",
    }
}

/// Brings node 1 a summary in the name of node 0.
fn forge(mesh: &mut Mesh, keys: &Keys, uptime_ms: u64) {
    let session = mesh.nodes[0].link.local.session;
    let mut sealer = ControlSealer::new(keys, &session);
    let bytes = sealed(&mut sealer, &session, ControlKind::Summary, |out| {
        forged(uptime_ms).encode(out);
    });
    mesh.inject(1, SocketAddr::from(([10, 9, 9, 9], 999)), true, &bytes);
}

#[test]
fn everybody_knows_the_state_of_everybody_by_multicast_and_without() {
    for reaches in [(|_, _, _| true) as Reaches, |_, _, is_multicast| !is_multicast] {
        let mut mesh = Mesh::new(1);
        for index in 0..3 {
            let mut config = config(index);
            config.peers = (0..3).filter(|other| *other != index).map(address).collect();
            mesh.start(config);
        }
        mesh.reaches = reaches;
        mesh.tells_summaries = true;
        mesh.run_ms(1500);
        assert_eq!(summary(&mesh, 0, 1), None, "not yet");
        mesh.run_ms(1000);
        for (at, of) in [(0, 1), (1, 2), (2, 0)] {
            let told = summary(&mesh, at, of).expect("it told");
            assert_eq!((told.clients, &*told.version), (of as u32, "0.1.0"));
            assert!(told.age_ms <= 501, "{told:?}");
        }
        mesh.kill(2);
        mesh.run_ms(2000);
        assert!(summary(&mesh, 0, 2).expect("still a peer").age_ms >= 2000);
        assert!(summary(&mesh, 0, 1).expect("a peer").age_ms < 1000);
    }
}

#[test]
fn an_idle_link_with_summaries_is_quiet() {
    let mut mesh = Mesh::of(1, 3);
    mesh.tells_summaries = true;
    mesh.run_ms(10_000);
    let before: Vec<u64> = mesh.nodes.iter().map(|node| node.control).collect();
    mesh.run_ms(10_000);
    for (node, before) in mesh.nodes.iter().zip(before) {
        // Ten hellos, two lists of neighbours, five summaries.
        let sent = node.control - before;
        assert!((16..=18).contains(&sent), "{sent} datagrams in ten idle seconds");
    }
}

#[test]
fn the_newest_of_those_that_are_lost_doubled_and_overtake_each_other_stays() {
    for seed in 0..20 {
        let mut mesh = Mesh::of(seed, 3);
        mesh.tells_summaries = true;
        (mesh.loss_permille, mesh.duplicate_permille) = (200, 200);
        mesh.jitter_ns = 3_000_000_000;
        let mut latest = 0;
        for _ in 0..60 {
            mesh.run_ms(1000);
            if let Some(told) = summary(&mesh, 0, 1) {
                assert!(told.uptime_ms >= latest, "an older one is there again");
                latest = told.uptime_ms;
            } else {
                // It was forgotten meanwhile.
                latest = 0;
            }
        }
    }
}

#[test]
fn with_keys_a_forged_one_is_dropped_and_without_it_is_a_wrong_line_and_no_more() {
    let key = Keys::new(vec![Key::new([7; 32])]);
    for keys in [Keys::open_link(), key] {
        let mut mesh = Mesh::new(1);
        for index in 0..2 {
            let mut config = config(index);
            config.keys = keys.clone();
            mesh.start(config);
        }
        mesh.listen(1, CHANNEL);
        mesh.tells_summaries = true;
        mesh.run_ms(2500);
        let (is_open, control) = (keys.is_open(), mesh.nodes[1].control);
        let other = if is_open { keys } else { Keys::new(vec![Key::new([8; 32])]) };
        forge(&mut mesh, &other, u64::MAX);
        for _ in 0..1000 {
            forge(&mut mesh, &Keys::open_link(), 5000);
        }
        mesh.run_ms(50);
        assert_eq!(mesh.nodes[1].control, control, "nobody is answered");
        let told = summary(&mesh, 1, 0).expect("a peer");
        assert_eq!((&*told.version == "evil", told.is_draining), (is_open, is_open), "{told:?}");
        mesh.run_ms(9000);
        assert_eq!(summary(&mesh, 1, 0).expect("a peer").version, "0.1.0", "what is true is back");
        mesh.emit(0, CHANNEL, 10);
        mesh.run_ms(100);
        mesh.assert_seen(1, 0, CHANNEL, 1..=10);
    }
}

#[test]
fn who_is_expected_and_missing_is_told_once_and_who_comes_back_as_well() {
    let mut mesh = Mesh::of(1, 2);
    let names = ["node-0", "node-1", "node-2", "node-2"].map(str::to_owned);
    let now = mesh.now;
    mesh.nodes[0].link.set_expected_peers(now, &names);
    mesh.run_ms(300);
    let status = mesh.nodes[0].link.status(mesh.now);
    assert_eq!(status.expected_peers, names[..3]);
    assert_eq!(status.missing_peers, ["node-2"], "the own name is not");
    assert!(mesh.nodes[0].warnings.is_empty());
    mesh.run_ms(30_000);
    let warnings = &mesh.nodes[0].warnings;
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with("node-2 is expected (--expect-peer) and not linked"));
    mesh.start(config(2));
    mesh.run_ms(5000);
    assert_eq!(mesh.nodes[0].link.status(mesh.now).missing_peers, [""; 0]);
    mesh.kill(2);
    mesh.run_ms(12_000);
    assert_eq!(mesh.nodes[0].warnings.len(), 2, "it is told anew");
    // Other names while it runs.
    let now = mesh.now;
    mesh.nodes[0].link.set_expected_peers(now, &names[..2]);
    let status = mesh.nodes[0].link.status(mesh.now);
    assert_eq!((status.expected_peers.len(), status.missing_peers.len()), (2, 0));
}
