//! Keys that change while brokers run.

use super::mesh::*;
use crate::crypto::{Key, Keys};

const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

fn keys(all: &[[u8; 32]]) -> Keys {
    Keys::new(all.iter().map(|&bytes| Key::new(bytes)).collect())
}

fn set_keys(mesh: &mut Mesh, index: usize, all: &[[u8; 32]]) {
    let now = mesh.now;
    assert!(mesh.nodes[index].link.set_keys(now, &keys(all)));
}

/// The procedure of docs/operating.md, machine after machine, under load and loss; twice, back
/// to the first key, which must not seal two datagrams with one nonce (the audit watches).
#[test]
fn a_rotation_loses_nothing_and_parts_nobody() {
    for seed in 0..6 {
        let mut mesh = Mesh::new(seed);
        for index in 0..3 {
            let mut config = config(index);
            config.keys = keys(&[OLD]);
            mesh.start_listening(config);
        }
        mesh.run_ms(300);
        mesh.loss_permille = if seed % 2 == 0 { 0 } else { 20 };
        let sessions: Vec<u64> = mesh.nodes.iter().map(|it| it.link.counters().renewed).collect();
        let mut emitted = 0;
        let mut go_on = |mesh: &mut Mesh, rounds: u64| {
            for _ in 0..rounds {
                (0..3).for_each(|index| mesh.emit_of(index, CHANNEL, 7, 300));
                mesh.run_ms(2);
                emitted += 7;
            }
        };
        for (old, new) in [(OLD, NEW), (NEW, OLD)] {
            for step in [&[old, new][..], &[new, old], &[new]] {
                for index in 0..3 {
                    set_keys(&mut mesh, index, step);
                    go_on(&mut mesh, 20);
                }
                // What the old key sealed is sent again for a moment yet.
                mesh.run_ms(500);
            }
        }
        mesh.loss_permille = 0;
        mesh.run_ms(1500);
        for (to, from) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            mesh.assert_seen(to, from, CHANNEL, 1..=emitted);
        }
        let renewed: Vec<u64> = mesh.nodes.iter().map(|it| it.link.counters().renewed).collect();
        assert_eq!(sessions, renewed);
        assert!(mesh.nodes.iter().all(|node| node.peers().len() == 2));
    }
}

#[test]
fn who_has_the_old_key_alone_is_no_longer_heard() {
    let mut mesh = Mesh::new(1);
    for index in 0..2 {
        let mut config = config(index);
        config.keys = keys(&[OLD]);
        mesh.start_listening(config);
    }
    mesh.run_ms(300);
    set_keys(&mut mesh, 0, &[NEW]);
    mesh.emit(1, CHANNEL, 5);
    mesh.run_ms(20_000);
    assert!(mesh.nodes.iter().all(|node| node.peers().is_empty()));
    set_keys(&mut mesh, 1, &[NEW]);
    mesh.run_ms(3000);
    assert!(mesh.nodes.iter().all(|node| node.peers().len() == 1));
}

#[test]
fn an_open_link_is_not_closed_nor_a_closed_one_opened() {
    let mut mesh = Mesh::of(1, 1);
    let now = mesh.now;
    assert!(!mesh.nodes[0].link.set_keys(now, &keys(&[NEW])));
    let mut mesh = Mesh::new(1);
    let mut config = config(0);
    config.keys = keys(&[OLD]);
    mesh.start_listening(config);
    let now = mesh.now;
    assert!(!mesh.nodes[0].link.set_keys(now, &Keys::open_link()));
}
