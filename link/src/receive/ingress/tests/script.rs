//! Behaviour of an inbound stream, step by step.

use super::sender::*;
use crate::crypto::{Key, Keys};
use crate::receive::ingress::*;
use crate::stream::Position;
use crate::tests::time::ns;

const START: Position = Position { number: 0, ordinal: 0 };
const BODY_BYTES: usize = 1328;

/// Datagrams of 100 bytes, one event of 48 bytes in each but the first, which has
/// the channel frame too.
fn numbered(datagrams: u64) -> Sender {
    let mut sender = Sender::new(&Keys::open_link(), 100);
    for _ in 0..datagrams {
        sender.event("alpha", 1, "tick", 16);
        sender.flush();
    }
    sender
}

fn open_ingress() -> Ingress {
    ingress(&Keys::open_link(), START, &config(1000))
}

fn all(sender: &Sender) -> Vec<usize> {
    (0..sender.datagrams.len()).collect()
}

#[test]
fn a_batch_of_one_name_is_one_run_however_many_datagrams_it_came_in() {
    let mut sender = Sender::new(&Keys::open_link(), BODY_BYTES);
    for _ in 0..500 {
        sender.event("alpha", 1, "tick", 64);
    }
    sender.flush();
    assert!(sender.datagrams.len() > 20);
    let mut ingress = open_ingress();
    for datagram in &sender.datagrams {
        assert_eq!(handle(&mut ingress, ns(0), datagram), Verdict::Taken);
    }
    let Some(Delivery::Run { frames, slice, name_len, .. }) = ingress.poll_delivery() else {
        panic!("a run");
    };
    assert_eq!((frames, slice.len(), name_len), (500, 500 * 96, 4));
    assert!(ingress.poll_delivery().is_none());
}

#[test]
fn runs_of_one_batch_lie_in_one_chunk() {
    let mut sender = Sender::new(&Keys::open_link(), BODY_BYTES);
    for at in 0..10 {
        sender.event("alpha", 1, ["tick", "tock"][at % 2], 64);
    }
    sender.flush();
    let mut ingress = open_ingress();
    handle(&mut ingress, ns(0), &sender.datagrams[0]);
    let mut joined: Option<netcluster_platform::Slice> = None;
    while let Some(Delivery::Run { slice, .. }) = ingress.poll_delivery() {
        match &mut joined {
            Some(joined) => assert!(joined.try_join(&slice)),
            None => joined = Some(slice),
        }
    }
    assert_eq!(joined.unwrap().len(), 10 * 96);
}

#[test]
fn datagrams_in_any_order_are_delivered_in_theirs() {
    let sender = numbered(5);
    let mut ingress = open_ingress();
    assert_eq!(play(&mut ingress, &sender, &[4, 1, 3]), []);
    assert_eq!((ingress.position(), ingress.missing()), (0, 2));
    assert_eq!(play(&mut ingress, &sender, &[0]), events(0..2));
    assert_eq!(ingress.position(), 2);
    assert_eq!(play(&mut ingress, &sender, &[2]), events(2..5));
    assert_eq!((ingress.position(), ingress.missing()), (5, 0));
}

#[test]
fn each_datagram_is_taken_once() {
    let sender = numbered(5);
    let mut ingress = open_ingress();
    play(&mut ingress, &sender, &[0, 3]);
    for number in [0, 3, 0] {
        assert_eq!(handle(&mut ingress, ns(0), &sender.datagrams[number]), Verdict::Duplicate);
    }
    assert_eq!(ingress.counters().duplicates, 3);
    assert_eq!(play(&mut ingress, &sender, &[1, 2, 4]), events(1..5));
}

#[test]
fn a_datagram_too_far_ahead_is_refused_and_asked_for_later() {
    let sender = numbered(20);
    let mut ingress = ingress(&Keys::open_link(), START, &config(10));
    assert_eq!(handle(&mut ingress, ns(0), &sender.datagrams[10]), Verdict::TooFar);
    assert_eq!((ingress.missing(), ingress.next_nak_at()), (0, None), "no trace");
    assert_eq!(handle(&mut ingress, ns(0), &sender.datagrams[9]), Verdict::Taken);
    ingress.heartbeat(ns(0), 20, 0, 20);
    let mut ranges = Vec::new();
    ingress.poll_nak(ns(FIRST_NAK_NS), 0, &mut ranges);
    assert_eq!(ranges.len(), 1, "no more is asked for than would be taken");
    assert_eq!((ranges[0].first, ranges[0].count), (0, 9));
    assert_eq!(play(&mut ingress, &sender, &[0, 1, 2, 3, 4, 5, 6, 7, 8]), events(0..10));
    assert_eq!(ingress.missing(), 10, "now the rest is");
}

#[test]
fn forged_datagrams_leave_no_trace() {
    let keys = Keys::new(vec![Key::new([1; 32])]);
    let mut sender = Sender::new(&keys, 100);
    for _ in 0..3 {
        sender.event("alpha", 1, "tick", 16);
        sender.flush();
    }
    let mut ingress = ingress(&keys, START, &config(1000));
    for number in [0, 2] {
        for at in [20, 30, 43, 50, sender.datagrams[number].len() - 1] {
            let mut forged = sender.datagrams[number].clone();
            forged[at] ^= 1;
            let verdict = handle(&mut ingress, ns(0), &forged);
            assert!(matches!(verdict, Verdict::Forged | Verdict::TooFar | Verdict::Malformed));
        }
        let mut other_key = sender.datagrams[number].clone();
        other_key[4] ^= 1;
        assert!(matches!(handle(&mut ingress, ns(0), &other_key), Verdict::WrongKey(_)));
        let mut no_key = sender.datagrams[number].clone();
        no_key[4..8].fill(0);
        assert_eq!(handle(&mut ingress, ns(0), &no_key), Verdict::WrongKey(0));
    }
    assert_eq!((ingress.missing(), ingress.position()), (0, 0));
    assert_eq!(play(&mut ingress, &sender, &[2, 0, 1]), events(0..3));
}

#[test]
fn should_nak_what_a_heartbeat_reveals() {
    let sender = numbered(5);
    let mut ingress = open_ingress();
    play(&mut ingress, &sender, &[0, 2]);
    ingress.heartbeat(ns(1000), 5, 0, 5);
    assert_eq!(ingress.missing(), 3);
    let mut ranges = Vec::new();
    assert!(!ingress.poll_nak(ns(50_000), 0, &mut ranges));
    assert!(ingress.poll_nak(ns(1000 + FIRST_NAK_NS), 0, &mut ranges));
    let ranges: Vec<_> = ranges.iter().map(|range| (range.first, range.count)).collect();
    assert_eq!(ranges, [(1, 1), (3, 2)]);
    assert_eq!(play(&mut ingress, &sender, &[3, 1, 4]), events(1..5));
    assert_eq!(ingress.next_nak_at(), None);
}

#[test]
fn what_is_below_the_tail_is_lost() {
    let sender = numbered(10);
    let mut ingress = open_ingress();
    assert_eq!(play(&mut ingress, &sender, &[0, 1, 4, 7]), events(0..2));
    ingress.heartbeat(ns(0), 8, 6, 8);
    let mut got = Vec::new();
    drain(&mut ingress, &sender, &mut got);
    assert_eq!(got, [Got::Lost(Some(2)), Got::Event(4)]);
    assert_eq!((ingress.position(), ingress.missing()), (6, 1), "6 can still be repaired");
    assert_eq!(handle(&mut ingress, ns(0), &sender.datagrams[3]), Verdict::Duplicate);
    assert_eq!(
        play(&mut ingress, &sender, &[6]),
        [Got::Lost(Some(1)), Got::Event(6), Got::Event(7)]
    );
}

#[test]
fn a_frame_that_reaches_over_a_hole_is_lost_as_a_whole() {
    let mut sender = Sender::new(&Keys::open_link(), 100);
    for _ in 0..10 {
        sender.event("alpha", 1, "tick", 200);
    }
    sender.flush();
    let mut ingress = open_ingress();
    let mut got = play(&mut ingress, &sender, &[0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    ingress.heartbeat(ns(0), sender.datagrams.len() as u64, 4, 10);
    drain(&mut ingress, &sender, &mut got);
    let rest: Vec<usize> = (13..sender.datagrams.len()).collect();
    got.extend(play(&mut ingress, &sender, &rest));
    assert_eq!(got[0], Got::Event(0));
    assert_eq!(got[1], Got::Lost(Some(1)), "only the one that lay in datagram 3");
    assert_eq!(got[2..], events(2..10));
}

#[test]
fn the_channel_is_known_again_behind_a_hole() {
    let mut sender = Sender::new(&Keys::open_link(), 100);
    for at in 0..6 {
        sender.event(["alpha", "beta"][at / 3], 1, "tick", 16);
        sender.flush();
    }
    let mut ingress = open_ingress();
    let mut got = play(&mut ingress, &sender, &[0, 1, 4, 5]);
    ingress.heartbeat(ns(0), 6, 4, 6);
    drain(&mut ingress, &sender, &mut got);
    assert_eq!(got[..3], [Got::Event(0), Got::Event(1), Got::Lost(Some(2))]);
    assert_eq!(got[3..], events(4..6));
}

#[test]
fn events_that_nobody_wanted_are_lost_to_one_who_joined_before() {
    let mut sender = numbered(2);
    sender.skip(7);
    let mut ingress = open_ingress();
    let mut got = play(&mut ingress, &sender, &[0, 1]);
    ingress.heartbeat(ns(0), 2, 0, 9);
    drain(&mut ingress, &sender, &mut got);
    assert_eq!(got[2..], [Got::Lost(Some(7))], "the heartbeat tells it");
    sender.skip(3);
    sender.event("alpha", 1, "tick", 16);
    sender.flush();
    assert_eq!(play(&mut ingress, &sender, &[2]), [Got::Lost(Some(3)), Got::Event(12)]);
    assert_eq!(ingress.counters().malformed, 0);
}

#[test]
fn a_stream_is_joined_where_the_sender_says() {
    let mut sender = numbered(3);
    sender.skip(4);
    let join = sender.position();
    sender.event("alpha", 1, "tick", 16);
    sender.flush();
    let mut ingress = ingress(&Keys::open_link(), join, &config(1000));
    assert_eq!(handle(&mut ingress, ns(0), &sender.datagrams[2]), Verdict::Duplicate);
    assert_eq!(play(&mut ingress, &sender, &[3]), events(7..8));
}

#[test]
fn an_end_that_is_reached_loses_nothing() {
    let sender = numbered(3);
    let mut ingress = open_ingress();
    play(&mut ingress, &sender, &[0, 1, 2]);
    ingress.left(ns(0), sender.position());
    assert!(ingress.poll_delivery().is_none());
    assert_eq!(handle(&mut ingress, ns(0), &sender.datagrams[0]), Verdict::Ended);
}

#[test]
fn an_end_that_is_not_reached_says_how_much_is_missing() {
    let sender = numbered(6);
    let mut ingress = open_ingress();
    let mut got = play(&mut ingress, &sender, &[0, 2, 3]);
    ingress.left(ns(0), sender.position());
    assert_eq!(ingress.next_nak_at(), None, "nobody is there to ask");
    drain(&mut ingress, &sender, &mut got);
    let lost = |count| Got::Lost(Some(count));
    assert_eq!(got, [Got::Event(0), lost(1), Got::Event(2), Got::Event(3), lost(2)]);
}

#[test]
fn a_death_loses_an_unknown_number_once() {
    let sender = numbered(4);
    let mut ingress = open_ingress();
    for number in [0, 1, 3] {
        handle(&mut ingress, ns(0), &sender.datagrams[number]);
    }
    ingress.died();
    let mut got = Vec::new();
    drain(&mut ingress, &sender, &mut got);
    drain(&mut ingress, &sender, &mut got);
    assert_eq!(got, [Got::Event(0), Got::Event(1), Got::Lost(None)]);
    assert!(!ingress.poll_nak(ns(u64::MAX), 0, &mut Vec::new()));
}

#[test]
fn a_held_stream_keeps_what_comes_and_stands_still() {
    let sender = numbered(20);
    let mut ingress = ingress(&Keys::open_link(), START, &config(10));
    assert_eq!(play(&mut ingress, &sender, &[0, 1]), events(0..2));
    ingress.set_held(true);
    assert_eq!(play(&mut ingress, &sender, &[2, 3, 5, 4, 6, 7, 8, 9, 10, 11]), []);
    assert_eq!((ingress.position(), ingress.missing()), (2, 0));
    assert_eq!(handle(&mut ingress, ns(0), &sender.datagrams[12]), Verdict::TooFar);
    ingress.set_held(false);
    let mut got = Vec::new();
    drain(&mut ingress, &sender, &mut got);
    assert_eq!((got, ingress.position()), (events(2..12), 12));
}

#[test]
fn a_hole_behind_a_pile_of_datagrams_is_fed_in_portions() {
    let mut sender = Sender::new(&Keys::open_link(), BODY_BYTES);
    for _ in 0..20_000 {
        sender.event("alpha", 1, "tick", 64);
    }
    sender.flush();
    let mut ingress = ingress(&Keys::open_link(), START, &config(10_000));
    let mut numbers = all(&sender);
    numbers.rotate_left(1);
    for &number in &numbers {
        assert_eq!(handle(&mut ingress, ns(0), &sender.datagrams[number]), Verdict::Taken);
    }
    let mut frames_in_all = 0;
    while let Some(Delivery::Run { frames, slice, .. }) = ingress.poll_delivery() {
        assert!(slice.chunk().len() <= CHUNK_BYTES);
        frames_in_all += frames;
    }
    assert_eq!(frames_in_all, 20_000);
}

#[test]
fn a_stream_that_is_not_polled_takes_no_more_than_its_limit() {
    let sender = numbered(5000);
    let mut ingress = ingress(&Keys::open_link(), START, &config(100));
    let verdicts: Vec<Verdict> =
        sender.datagrams.iter().map(|datagram| handle(&mut ingress, ns(0), datagram)).collect();
    let refused = verdicts.iter().position(|verdict| *verdict == Verdict::TooFar).unwrap();
    let bytes: usize = sender.datagrams[..refused].iter().map(|datagram| datagram.len() - 44).sum();
    assert!(bytes < MAX_FRESH_BYTES + 101 * 100, "{bytes}");
    let mut got = Vec::new();
    drain(&mut ingress, &sender, &mut got);
    assert_eq!(got, events(0..refused as u64));
}

fn large(payload: usize) -> Sender {
    let mut sender = Sender::new(&Keys::open_link(), BODY_BYTES);
    for payload in [10, payload, 20] {
        sender.event("alpha", 1, "big", payload);
    }
    sender.flush();
    sender
}

#[test]
fn a_large_frame_spans_as_many_datagrams_as_it_needs() {
    let sender = large(1 << 20);
    let config = config(10_000);
    let mut ingress = ingress(&Keys::open_link(), START, &config);
    let mut got = Vec::new();
    for (at, datagram) in sender.datagrams.iter().enumerate() {
        assert_eq!(handle(&mut ingress, ns(0), datagram), Verdict::Taken);
        if at % 10 == 0 {
            drain(&mut ingress, &sender, &mut got);
            assert!(config.reassembly.used_bytes() > 1 << 20, "charged once it is known");
        }
    }
    drain(&mut ingress, &sender, &mut got);
    assert_eq!(got, events(0..3));
    assert_eq!(config.reassembly.used_bytes(), 0);
}

#[test]
fn a_second_large_frame_waits_until_the_first_is_complete() {
    let sender = large(400 << 10);
    let mut config = config(10_000);
    config.reassembly = ReassemblyBudget::new(500 << 10);
    let mut one = ingress(&Keys::open_link(), START, &config);
    let mut other = ingress(&Keys::open_link(), START, &config);
    assert_eq!(play(&mut one, &sender, &[0, 1]), events(0..1));
    assert_eq!(play(&mut other, &sender, &[0, 1]), events(0..1));
    assert_eq!(handle(&mut other, ns(0), &sender.datagrams[2]), Verdict::NoMemory);
    other.heartbeat(ns(0), sender.datagrams.len() as u64, 0, 3);
    assert!(!other.poll_nak(ns(FIRST_NAK_NS), 0, &mut Vec::new()), "it would be refused");
    assert_eq!(play(&mut one, &sender, &all(&sender)[2..]), events(1..3));
    assert!(other.poll_nak(ns(u64::MAX), 0, &mut Vec::new()));
    assert_eq!(play(&mut other, &sender, &all(&sender)[2..]), events(1..3));
    assert_eq!(other.counters().no_memory, 1);
    assert_eq!(config.reassembly.used_bytes(), 0);
}

#[test]
fn a_large_frame_that_is_given_up_gives_its_memory_back() {
    let sender = large(400 << 10);
    let config = config(10_000);
    let end = sender.datagrams.len();
    let mut one = ingress(&Keys::open_link(), START, &config);
    play(&mut one, &sender, &[0, 1, end - 1]);
    assert!(config.reassembly.used_bytes() > 0);
    one.heartbeat(ns(0), end as u64, end as u64 - 1, 3);
    let mut got = Vec::new();
    drain(&mut one, &sender, &mut got);
    assert_eq!(got, [Got::Lost(Some(1)), Got::Event(2)]);
    assert_eq!(config.reassembly.used_bytes(), 0);
    let mut other = ingress(&Keys::open_link(), START, &config);
    play(&mut other, &sender, &[0, 1]);
    drop(other);
    assert_eq!(config.reassembly.used_bytes(), 0);
}

#[test]
fn a_large_frame_that_does_not_go_on_is_given_up_and_told() {
    const SECOND_NS: u64 = 1_000_000_000;
    let sender = large(400 << 10);
    let config = config(10_000);
    let mut one = ingress(&Keys::open_link(), START, &config);
    let (half, end) = (sender.datagrams.len() / 2, sender.datagrams.len());
    let mut got = play(&mut one, &sender, &all(&sender)[..half - 1]);
    let mut given_up_s = None;
    for second in 0..30 {
        if second == 5 {
            got.extend(play(&mut one, &sender, &[half - 1]));
        }
        if one.give_up_stalled(ns(second * SECOND_NS), 0) {
            given_up_s = Some(second);
        }
    }
    assert_eq!(given_up_s, Some(15), "10 s after it grew last");
    assert_eq!(config.reassembly.used_bytes(), 0);
    got.extend(play(&mut one, &sender, &all(&sender)[half..end]));
    assert_eq!(got, [Got::Event(0), Got::Lost(Some(1)), Got::Event(2)]);
    // Or the next heartbeat tells.
    let mut other = ingress(&Keys::open_link(), START, &config);
    let mut got = play(&mut other, &sender, &all(&sender)[..half]);
    assert!(!other.give_up_stalled(ns(0), SECOND_NS));
    assert!(!other.give_up_stalled(ns(STALLED_FRAME_NS), SECOND_NS));
    assert!(other.give_up_stalled(ns(STALLED_FRAME_NS + SECOND_NS), SECOND_NS));
    other.heartbeat(ns(0), half as u64, 0, 2);
    drain(&mut other, &sender, &mut got);
    assert_eq!(got, [Got::Event(0), Got::Lost(Some(1))]);
}

#[test]
fn while_others_wait_a_large_frame_must_grow_by_more_than_a_trickle() {
    const SECOND_NS: u64 = 1_000_000_000;
    let sender = large(900 << 10);
    let mut config = config(10_000);
    config.reassembly = ReassemblyBudget::new(1 << 20);
    let of = |peer: u32| IngressConfig {
        reassembly: config.reassembly.of(crate::PeerId(peer)),
        ..config.clone()
    };
    let mut one = ingress(&Keys::open_link(), START, &of(1));
    let mut other = ingress(&Keys::open_link(), START, &of(2));
    play(&mut one, &sender, &[0, 1]);
    for second in 0..30 {
        play(&mut one, &sender, &[second + 2]);
        assert!(!one.give_up_stalled(ns(second as u64 * SECOND_NS), 0));
    }
    play(&mut other, &sender, &[0, 1]);
    assert!(other.waits_for_memory());
    let given_up = (30..60).find(|&second| {
        play(&mut one, &sender, &[second + 2]);
        one.give_up_stalled(ns(second as u64 * SECOND_NS), 0)
    });
    assert_eq!(given_up, Some(39));
    assert_eq!(play(&mut other, &sender, &all(&sender)[2..]), events(1..3));
}

#[test]
fn an_end_does_not_wait_for_memory() {
    let sender = large(400 << 10);
    let mut config = config(10_000);
    config.reassembly = ReassemblyBudget::new(500 << 10);
    let mut one = ingress(&Keys::open_link(), START, &config);
    let mut other = ingress(&Keys::open_link(), START, &config);
    play(&mut one, &sender, &[0, 1]);
    // All but the first is stored before anything is known of a large frame.
    let end = sender.datagrams.len();
    for number in (0..end).rev() {
        assert_eq!(handle(&mut other, ns(0), &sender.datagrams[number]), Verdict::Taken);
    }
    let mut got = Vec::new();
    drain(&mut other, &sender, &mut got);
    assert_eq!(got, events(0..1));
    other.left(ns(0), sender.position());
    drain(&mut other, &sender, &mut got);
    assert_eq!(got[1..], [Got::Lost(Some(1)), Got::Event(2)]);
}

#[test]
fn a_stream_that_pauses_goes_on_as_before() {
    let sender = numbered(6);
    let mut ingress = open_ingress();
    let mut got = play(&mut ingress, &sender, &[0, 2, 1]);
    ingress.heartbeat(ns(0), 3, 0, 3);
    ingress.heartbeat(ns(0), 3, 0, 3);
    got.extend(play(&mut ingress, &sender, &[4, 3, 5]));
    assert_eq!(got, events(0..6));
}
