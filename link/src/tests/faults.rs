//! Partitions, and datagrams that nobody sent like this.

use super::mesh::*;
use crate::event::Gone;

/// Place of the number in the header of a data datagram.
const NUMBER: core::ops::Range<usize> = 16..24;

#[test]
fn a_short_cut_loses_nothing() {
    let mut mesh = Mesh::with_listener(1, 2);
    mesh.emit(0, CHANNEL, 100);
    mesh.reaches = |from, to, _| from == to;
    mesh.run_ms(100);
    mesh.emit(0, CHANNEL, 100);
    mesh.run_ms(100);
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(1000);
    mesh.assert_seen(1, 0, CHANNEL, 1..=200);
}

#[test]
fn a_partition_is_told_and_after_it_all_goes_on() {
    for seed in 0..10 {
        let mut mesh = Mesh::of_listeners(seed, 3);
        mesh.emit(0, CHANNEL, 100);
        mesh.run_ms(100);
        mesh.reaches = |from, to, _| (from == 2) == (to == 2);
        for _ in 0..50 {
            mesh.emit(0, CHANNEL, 10);
            mesh.run_ms(100);
        }
        assert_eq!(mesh.nodes[2].downs, [Gone::Silent; 2]);
        assert_eq!(mesh.nodes[0].downs, [Gone::Silent]);
        mesh.reaches = |_, _, _| true;
        mesh.loss_permille = 50;
        mesh.run_ms(2000);
        assert_eq!(mesh.nodes[2].ups, 4, "seed {seed}");
        mesh.emit(0, CHANNEL, 100);
        mesh.run_ms(1000);
        mesh.assert_seen(1, 0, CHANNEL, 1..=700);
        let (events, losses) = mesh.seen(2, 0, CHANNEL);
        assert_eq!(losses, [None], "seed {seed}");
        let expected: Vec<u64> = (1..=100).chain(601..=700).collect();
        assert_eq!(events, expected, "seed {seed}");
    }
}

#[test]
fn one_that_was_forgotten_by_one_side_only_is_told_what_it_missed() {
    for seed in 0..10 {
        let mut mesh = Mesh::of_listeners(seed, 3);
        mesh.emit(0, CHANNEL, 100);
        mesh.run_ms(100);
        // Node 0 hears nothing of node 2, which hears its heartbeats.
        mesh.reaches = |from, to, _| !(from == 2 && to == 0);
        for _ in 0..40 {
            mesh.emit(0, CHANNEL, 10);
            mesh.run_ms(100);
        }
        assert_eq!(mesh.nodes[0].downs, [Gone::Silent]);
        assert!(mesh.nodes[2].downs.is_empty());
        mesh.reaches = |_, _, _| true;
        mesh.loss_permille = 50;
        mesh.run_ms(2000);
        assert_eq!(mesh.nodes[0].ups, 3);
        mesh.emit(0, CHANNEL, 100);
        mesh.run_ms(1000);
        let (events, losses) = mesh.seen(2, 0, CHANNEL);
        let missed = 600 - events.len() as u64;
        let told: u64 = losses.iter().map(|count| count.expect("it can be counted")).sum();
        assert!(events.is_sorted_by(|a, b| a < b), "seed {seed}");
        assert!(told >= missed, "seed {seed}: told {told}, missed {missed}");
        assert_eq!(events[events.len() - 100..], (501..=600).collect::<Vec<_>>());
        mesh.assert_seen(1, 0, CHANNEL, 1..=600);
    }
}

#[test]
fn what_history_no_longer_holds_is_told() {
    let mut mesh = Mesh::new(1);
    for index in 0..3 {
        let mut config = config(index);
        config.history_bytes = 200_000;
        mesh.start_listening(config);
    }
    mesh.run_ms(300);
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(50);
    mesh.reaches = |from, to, _| from == to || (from != 2 && to != 2);
    for _ in 0..100 {
        mesh.emit(0, CHANNEL, 100);
        mesh.run_ms(20);
    }
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(500);
    mesh.emit(0, CHANNEL, 10);
    mesh.run_ms(500);
    let (events, losses) = mesh.seen(2, 0, CHANNEL);
    let told: u64 = losses.iter().map(|count| count.expect("it can be counted")).sum();
    assert!(told > 0);
    assert!(events.is_sorted_by(|a, b| a < b));
    assert!(events.len() as u64 + told >= 10_020);
    assert_eq!(events.last(), Some(&10_020));
    mesh.assert_seen(1, 0, CHANNEL, 1..=10_020);
}

/// All that two brokers said to each other, and a third one's view of the first.
fn conversation(seed: u64, is_sealed: bool) -> (Mesh, Vec<(core::net::SocketAddr, bool, Vec<u8>)>) {
    let mut mesh = Mesh::new(seed);
    mesh.recorded = Some(Vec::new());
    for index in 0..2 {
        let mut config = config(index);
        if is_sealed {
            config.keys = key(9);
        }
        mesh.start_listening(config);
    }
    mesh.run_ms(300);
    mesh.loss_permille = 100;
    mesh.emit(0, CHANNEL, 200);
    mesh.emit(1, CHANNEL, 200);
    mesh.run_ms(1000);
    mesh.loss_permille = 0;
    let recorded = mesh.recorded.take().unwrap();
    (mesh, recorded)
}

#[test]
fn forged_replayed_and_cut_datagrams_change_nothing_on_a_sealed_link() {
    let (mut mesh, recorded) = conversation(5, true);
    let before = mesh.nodes[1].drops();
    let mut attempts = 0;
    for (from, multicast, bytes) in &recorded {
        // As it was.
        mesh.inject(1, *from, *multicast, bytes);
        // With one bit flipped.
        let mut flipped = bytes.clone();
        let at = mesh.random.below(bytes.len() as u64) as usize;
        flipped[at] ^= 1 << mesh.random.below(8);
        mesh.inject(1, *from, *multicast, &flipped);
        // Cut off.
        let cut = mesh.random.below(bytes.len() as u64) as usize;
        mesh.inject(1, *from, *multicast, &bytes[..cut]);
        // With more behind.
        let mut longer = bytes.clone();
        longer.extend_from_slice(&[0; 40]);
        mesh.inject(1, *from, *multicast, &longer);
        attempts += 4;
    }
    let after = mesh.nodes[1].drops();
    assert!(after.forged > before.forged && after.short > before.short);
    assert!(after.replayed > before.replayed, "{attempts} {before:?} {after:?}");
    mesh.run_ms(500);
    assert_eq!((mesh.nodes[1].ups, mesh.nodes[0].ups), (1, 1));
    assert!(mesh.nodes.iter().all(|node| node.downs.is_empty()));
    mesh.emit(0, CHANNEL, 100);
    mesh.emit(1, CHANNEL, 100);
    mesh.run_ms(500);
    mesh.assert_seen(1, 0, CHANNEL, 1..=300);
    mesh.assert_seen(0, 1, CHANNEL, 1..=300);
}

#[test]
fn noise_harms_an_open_link_no_more_than_loss() {
    for seed in 0..30 {
        let (mut mesh, recorded) = conversation(seed, false);
        for (from, multicast, bytes) in &recorded {
            let mut noise = bytes.clone();
            let cut = mesh.random.below(bytes.len() as u64 + 1) as usize;
            noise.truncate(cut.max(1));
            for _ in 0..3 {
                let at = mesh.random.below(noise.len() as u64) as usize;
                noise[at] = mesh.random.next() as u8;
            }
            mesh.inject(1, *from, *multicast, &noise);
        }
        // Whatever it believes now, it works, and nothing comes out of order.
        mesh.run_ms(4000);
    }
}

#[test]
fn a_recorded_hello_makes_no_peer() {
    let (_, recorded) = conversation(5, true);
    let mut mesh = Mesh::new(6);
    let mut config = config(2);
    config.keys = key(9);
    mesh.start(config);
    for (from, multicast, bytes) in &recorded {
        mesh.inject(0, *from, *multicast, bytes);
    }
    mesh.run_ms(3000);
    assert_eq!(mesh.nodes[0].ups, 0);
    assert!(mesh.nodes[0].drops().unknown_session > 0);
    assert_eq!(mesh.nodes[0].link.counters().handshakes_expired, 2);
}

#[test]
fn a_rotated_key_is_known_to_both_sides_meanwhile() {
    use crate::crypto::{Key, Keys};
    let mut mesh = Mesh::new(1);
    let (old, new) = (|| Key::new([1; 32]), || Key::new([2; 32]));
    let rings = [vec![old(), new()], vec![new(), old()]];
    for (index, keys) in rings.into_iter().enumerate() {
        let mut config = config(index);
        config.keys = Keys::new(keys);
        mesh.start_listening(config);
    }
    mesh.run_ms(300);
    mesh.emit(0, CHANNEL, 100);
    mesh.emit(1, CHANNEL, 100);
    mesh.run_ms(300);
    mesh.assert_seen(1, 0, CHANNEL, 1..=100);
    mesh.assert_seen(0, 1, CHANNEL, 1..=100);
}

#[test]
fn a_large_frame_that_cannot_go_on_keeps_no_other_out_for_good() {
    let mut mesh = Mesh::new(1);
    for index in 0..3 {
        let mut config = config(index);
        config.reassembly_bytes = 1 << 20;
        mesh.start(config);
    }
    mesh.listen(2, CHANNEL);
    mesh.run_ms(300);
    // Of node 0 retransmissions do not arrive, but it is alive.
    mesh.reaches = |from, _, multicast| from != 0 || multicast;
    mesh.loss_permille = 20;
    mesh.emit_of(0, CHANNEL, 1, 700_000);
    mesh.run_ms(1000);
    mesh.loss_permille = 0;
    mesh.emit_of(1, CHANNEL, 1, 700_000);
    mesh.run_ms(500);
    assert_eq!(mesh.seen(2, 1, CHANNEL), (vec![], vec![]), "it waits");
    mesh.run_ms(2500);
    mesh.assert_seen(2, 1, CHANNEL, 1..=1);
    let counters = mesh.nodes[2].link.counters();
    assert!(counters.given_up > 0 && counters.stalled_frames == 0, "{counters:?}");
    mesh.reaches = |_, _, _| true;
    mesh.run_ms(1000);
    mesh.emit_of(0, CHANNEL, 1, 100);
    mesh.run_ms(1000);
    assert_eq!(mesh.seen(2, 0, CHANNEL), (vec![2], vec![Some(1)]));
}

/// Brings node 1 what node 0 sends to its group, but for a few, as if it were
/// sent to node 1 alone, and each besides by multicast with a number that is too far ahead.
/// Returns whether node 1 then takes that group for filtered.
fn is_deaf_when_ahead_comes(ahead: Option<u64>) -> bool {
    let mut mesh = Mesh::with_listener(1, 2);
    mesh.reaches = |from, _, multicast| from != 0 || !multicast;
    for sent in 0..200 {
        mesh.recorded = Some(Vec::new());
        mesh.emit(0, CHANNEL, 1);
        mesh.run_ms(10);
        let of_group = |(_, multicast, bytes): &(_, bool, Vec<u8>)| *multicast && bytes[2] == 1;
        let recorded = mesh.recorded.take().expect("recorded");
        for (from, _, mut bytes) in recorded.into_iter().filter(of_group) {
            if sent % 5 != 2 {
                mesh.inject(1, from, false, &bytes);
            }
            if let Some(ahead) = ahead {
                let number = bytes[NUMBER].try_into().map(u64::from_le_bytes).expect("a number");
                bytes[NUMBER].copy_from_slice(&(number + ahead).to_le_bytes());
                mesh.inject(1, from, true, &bytes);
            }
        }
    }
    assert_eq!(mesh.nodes[1].drops().too_far > 0, ahead.is_some());
    !mesh.nodes[1].peers()[0].deaf_groups.is_empty()
}

/// Data that is too far ahead of a receiver that was left behind is not kept, but it did
/// come by multicast: no copies are asked for, which would take half of the sender's line.
#[test]
fn a_receiver_that_is_left_behind_is_not_deaf() {
    assert!(is_deaf_when_ahead_comes(None), "the group is filtered");
    assert!(!is_deaf_when_ahead_comes(Some(2 * crate::REORDER_DATAGRAMS as u64)));
}
