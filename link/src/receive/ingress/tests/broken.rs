//! Streams that no peer should send: counted, skipped, reported as lost; never a panic.

use netcluster_wire::{Kind, Source, frame};

use super::sender::*;
use crate::channel::ChannelHash;
use crate::crypto::Keys;
use crate::receive::ingress::*;
use crate::stream::Position;
use crate::tests::time::ns;

const START: Position = Position { number: 0, ordinal: 0 };
const OURS: Source = Source { node: NODE, client: 1 };

fn open_ingress() -> Ingress {
    ingress(&Keys::open_link(), START, &config(1000))
}

/// Two good events, then `bad` in the same datagram, then two in the next ones.
fn around(bad: &[u8], is_event: bool) -> (Vec<Got>, u64) {
    let mut sender = Sender::new(&Keys::open_link(), 1328);
    sender.event("alpha", 1, "tick", 16);
    sender.event("alpha", 1, "tick", 16);
    sender.lay(bad, is_event);
    sender.event("alpha", 1, "tick", 16);
    sender.flush();
    sender.event("alpha", 1, "tick", 16);
    sender.flush();
    sender.event("alpha", 1, "tick", 16);
    sender.flush();
    let together = play(&mut open_ingress(), &sender, &[0, 1, 2]);
    let mut ingress = open_ingress();
    let mut apart = Vec::new();
    for number in 0..3 {
        apart.extend(play(&mut ingress, &sender, &[number]));
    }
    assert_eq!(together, apart);
    (apart, ingress.counters().malformed)
}

fn expected(first_behind: u64, lost: u64) -> (Vec<Got>, u64) {
    let mut got = events(0..2);
    got.push(Got::Lost(Some(lost)));
    got.extend(events(first_behind..first_behind + 2));
    (got, 1)
}

#[test]
fn a_bad_frame_costs_the_rest_of_its_datagram() {
    let event =
        |source, payload: usize| frame::encode(Kind::Event, source, 9, b"x", &vec![0; payload]);
    let foreign = Source { node: NODE + 1, client: 1 };
    assert_eq!(around(&event(foreign, 8), true), expected(4, 2));
    assert_eq!(around(&event(Source::NONE, 8), true), expected(4, 2));
    for (at, value) in [(0, 1), (3, 0xff), (4, 0x77), (5, 0xff), (7, 9)] {
        let mut broken = event(OURS, 8);
        broken[at] = value;
        assert_eq!(around(&broken, true), expected(4, 2), "byte {at}");
    }
    for kind in [Kind::Hello, Kind::Ping, Kind::Lost, Kind::Stats, Kind::Bye] {
        let control = frame::encode(kind, Source::NONE, 1, b"", b"");
        assert_eq!(around(&control, false), expected(3, 1), "{kind:?}");
    }
}

#[test]
fn a_payload_over_the_limit_is_skipped_as_soon_as_it_is_announced() {
    let mut head = Vec::new();
    frame::append_head(&mut head, Kind::Event, OURS, 9, b"x", (1 << 20) + 1);
    let (mut got, malformed) = expected(4, 2);
    got[2] = Got::Large(Some(2), (1 << 20) + 1);
    assert_eq!(around(&head, true), (got, malformed));
}

#[test]
fn a_channel_frame_must_hash_to_what_it_says() {
    let hash = ChannelHash::of("beta").0;
    let encode = |sequence, name: &[u8], payload: &[u8]| {
        frame::encode(Kind::Channel, Source::NONE, sequence, name, payload)
    };
    for bad in [
        encode(hash + 1, b"beta", b""),
        encode(hash, b"beto", b""),
        encode(hash, b"", b""),
        encode(hash, b"\xff", b""),
        encode(hash, b"beta", b"x"),
    ] {
        assert_eq!(around(&bad, false), expected(3, 1));
    }
}

#[test]
fn events_of_no_channel_are_not_delivered() {
    let mut sender = Sender::new(&Keys::open_link(), 1328);
    sender.lay(&frame::encode(Kind::Event, OURS, 1, b"x", b""), true);
    sender.event("alpha", 1, "tick", 16);
    sender.flush();
    sender.event("alpha", 1, "tick", 16);
    sender.flush();
    let mut ingress = open_ingress();
    assert_eq!(play(&mut ingress, &sender, &[0, 1]), [Got::Lost(Some(2)), Got::Event(2)]);
    assert_eq!(ingress.counters().malformed, 1);
}

#[test]
fn an_ordinal_that_goes_back_is_counted_and_not_believed() {
    let mut sender = Sender::new(&Keys::open_link(), 1328);
    for _ in 0..3 {
        sender.event("alpha", 1, "tick", 16);
        sender.flush();
    }
    sender.rewrite(1, |header| header.ordinal = 0.into());
    let mut ingress = open_ingress();
    assert_eq!(play(&mut ingress, &sender, &[0, 1, 2]), events(0..3));
    assert_eq!(ingress.counters().malformed, 1);
}

#[test]
fn a_boundary_inside_a_frame_costs_that_frame() {
    let mut sender = Sender::new(&Keys::open_link(), 100);
    for _ in 0..4 {
        sender.event("alpha", 1, "tick", 16);
        sender.flush();
    }
    sender.rewrite(2, |header| header.boundary = 8.into());
    let mut ingress = open_ingress();
    let got = play(&mut ingress, &sender, &[0, 1, 2, 3]);
    assert_eq!(got, [Got::Event(0), Got::Event(1), Got::Lost(Some(1)), Got::Event(3)]);
    assert!(ingress.counters().malformed > 0);
}

#[test]
fn headers_that_lie_never_panic() {
    let extremes = [0, 1, 2, 1 << 40, (1 << 62) - 1, 1 << 62, u64::MAX - 1, u64::MAX];
    let mut random = Random(4);
    for seed in 0..2000 {
        let mut sender = Sender::new(&Keys::open_link(), 100 + random.below(300) as usize);
        for at in 0..20 {
            sender.event(["alpha", "beta"][at % 2], 1, "tick", random.below(300) as usize);
        }
        sender.flush();
        let at = extremes[random.below(8) as usize];
        let join = Position { number: if seed % 2 == 0 { 0 } else { at }, ordinal: at };
        let mut ingress = ingress(&Keys::open_link(), join, &config(50));
        for _ in 0..60 {
            let mut pick = || match random.below(3) {
                0 => extremes[random.below(8) as usize],
                1 => join.number.wrapping_add(random.below(60)),
                _ => random.below(40),
            };
            let (one, two, three) = (pick(), pick(), pick());
            let number = random.below(sender.datagrams.len() as u64) as usize;
            let mut datagram = sender.datagrams[number].clone();
            match random.below(8) {
                0 => ingress.heartbeat(ns(one), two, three, one),
                1 => datagram.truncate(44 + random.below(60) as usize),
                2 => datagram[16..24].copy_from_slice(&one.to_le_bytes()),
                3 => datagram[24..32].copy_from_slice(&two.to_le_bytes()),
                4 => datagram[42] = one as u8,
                5 => {
                    let at = 44 + random.below(datagram.len() as u64 - 44) as usize;
                    datagram[at] = two as u8;
                }
                6 => ingress.set_held(one % 2 == 0),
                _ => {}
            }
            handle(&mut ingress, ns(two), &datagram);
            ingress.poll_nak(ns(three), one, &mut Vec::new());
            while ingress.poll_delivery().is_some() {}
        }
        if seed % 3 == 0 {
            ingress.left(ns(0), Position { number: at, ordinal: at });
        } else {
            ingress.died();
        }
        ingress.set_held(false);
        while ingress.poll_delivery().is_some() {}
        assert!(ingress.poll_delivery().is_none());
    }
}
