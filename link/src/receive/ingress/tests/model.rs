//! Random streams over a bad channel, in virtual time: every event once and in
//! order, or lost with the right count.

use super::channel::{Channel, Faults};
use super::sender::*;
use crate::crypto::{Key, Keys};
use crate::receive::ingress::IngressConfig;
use crate::stream::Position;

const MS: u64 = 1_000_000;

/// A random burst of events.
fn burst(random: &mut Random, sender: &mut Sender) {
    let channel = ["alpha", "beta"][random.below(2) as usize];
    let client = random.below(3) as u32;
    let name = ["tick", "a.rather.long.name.of.an.event", ""][random.below(3) as usize];
    let name = if name.is_empty() { "x" } else { name };
    for _ in 0..1 + random.below(20) {
        let payload = match random.below(40) {
            0 => random.below(5000),
            1 => 0,
            _ => random.below(100),
        };
        sender.event(channel, client, name, payload as usize);
    }
    match random.below(20) {
        0 => sender.skip(1 + random.below(5) as usize),
        1..6 => sender.flush(),
        _ => {}
    }
}

/// Each event once, in order; what is left out was reported just there.
fn check(got: &[Got], sender: &Sender, start: u64, seed: u64) -> u64 {
    let (mut expected, mut lost, mut total) = (start, 0, 0);
    for one in got {
        match one {
            Got::Event(ordinal) => {
                assert_eq!(*ordinal, expected + lost, "seed {seed}");
                (expected, lost) = (*ordinal + 1, 0);
            }
            Got::Lost(count) | Got::Large(count, _) => {
                let count = count.expect("it can be counted");
                assert!(count > 0, "seed {seed}");
                lost += count;
                total += count;
            }
        }
    }
    assert_eq!(expected + lost, sender.events.len() as u64, "seed {seed}");
    total
}

/// Returns how many events were lost that were sent.
fn run(seed: u64, faults: Faults, keys: &Keys, config: &IngressConfig) -> u64 {
    let mut random = Random(seed);
    let mut sender = Sender::new(keys, 200 + random.below(1300) as usize);
    for _ in 0..random.below(10) {
        burst(&mut random, &mut sender);
    }
    sender.flush();
    // As a sender does at a join: the channel comes anew.
    let join = sender.position();
    let mut ingress = ingress(keys, join, config);
    let mut channel = Channel::new(seed, faults, join.number);
    let mut got = Vec::new();
    for turn in 0..400 {
        burst(&mut random, &mut sender);
        if turn % 50 == 49 {
            sender.flush();
        }
        if random.chance(2) {
            ingress.set_held(true);
        } else if random.chance(20) {
            ingress.set_held(false);
        }
        channel.run_for(random.below(MS / 2), &mut ingress, &sender);
        if random.chance(70) {
            drain(&mut ingress, &sender, &mut got);
        }
    }
    ingress.set_held(false);
    sender.flush();
    // Time for retransmissions; then the peer leaves.
    for _ in 0..400 {
        channel.run_for(5 * MS, &mut ingress, &sender);
        drain(&mut ingress, &sender, &mut got);
    }
    let end = sender.position();
    let was_complete = ingress.position() == end.number;
    ingress.left(channel.now, end);
    drain(&mut ingress, &sender, &mut got);
    let lost = check(&got, &sender, join.ordinal, seed);
    assert!(was_complete, "seed {seed}: {} of {}", ingress.position(), end.number);
    assert_eq!(ingress.counters().lost, lost);
    assert_eq!(ingress.counters().malformed, 0, "seed {seed}");
    let wanted = &sender.events[join.ordinal as usize..];
    lost - wanted.iter().filter(|event| event.is_none()).count() as u64
}

#[test]
fn every_event_arrives_once_and_in_order_whatever_the_channel_does() {
    for seed in 0..60 {
        let mut faults = Faults::NONE;
        let mut random = Random(!seed);
        faults.loss_percent = random.below(20);
        faults.twice_percent = random.below(20);
        faults.jitter_ns = random.below(400_000);
        let keys = match seed % 3 {
            0 => Keys::new(vec![Key::new([seed as u8; 32])]),
            _ => Keys::open_link(),
        };
        let lost = run(seed, faults, &keys, &config(64 + (seed as usize % 5) * 1000));
        assert_eq!(lost, 0, "seed {seed}");
    }
}

#[test]
fn what_cannot_be_repaired_is_lost_and_nothing_else() {
    let mut total = 0;
    for seed in 100..140 {
        let mut faults = Faults::NONE;
        faults.loss_percent = 2 + Random(seed).below(20);
        faults.jitter_ns = 200_000;
        faults.history = 20 + Random(seed).below(200);
        let keys = Keys::open_link();
        total += run(seed, faults, &keys, &config(500));
    }
    assert!(total > 0, "some histories were too short");
}

#[test]
fn repairs_stay_within_twice_the_loss() {
    for seed in 200..210 {
        let mut faults = Faults::NONE;
        faults.loss_percent = 5;
        faults.jitter_ns = 50_000;
        let mut random = Random(seed);
        let keys = Keys::open_link();
        let mut sender = Sender::new(&keys, 1328);
        let mut ingress = ingress(&keys, Position::default(), &config(4096));
        let mut channel = Channel::new(seed, faults, 0);
        let mut got = Vec::new();
        for _ in 0..500 {
            burst(&mut random, &mut sender);
            sender.flush();
            channel.run_for(200_000, &mut ingress, &sender);
            drain(&mut ingress, &sender, &mut got);
        }
        let lost = channel.lost;
        assert!(lost > 10);
        assert!(channel.retransmits <= 2 * lost, "{} retransmits for {lost}", channel.retransmits);
        assert!(ingress.seen_lost() <= lost, "reordering is no loss");
    }
}
