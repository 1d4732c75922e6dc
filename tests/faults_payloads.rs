//! Large payloads, and those over the limit.

mod common;

use std::time::Duration;

use common::{Bed, Raw, on_all, on_both, patterned, take};
use netcluster_client::Error;
use netcluster_wire::{ErrorCode, Hello};

const LARGEST_BYTES: usize = 16 << 20;

/// Starts a broker that takes large payloads.
fn bus_for_large(bed: &Bed) -> common::Bus {
    bed.bus_with(|options| options.max_payload_bytes = LARGEST_BYTES)
}

on_all! {
    /// Several of the largest payloads, with small ones between, reach a listener of each
    /// kind in their order, aligned and unchanged.
    fn the_largest_payloads_arrive_whole_between_small_ones(bed) {
        let lengths = [5, LARGEST_BYTES, 0, 17, LARGEST_BYTES - 3, 300_000, 1, LARGEST_BYTES, 70_001, 8];
        let bus = bus_for_large(bed);
        let (client, mut raw) = (bus.client(), bus.raw());
        raw.listen("blob.*");
        let (report, reported) = std::sync::mpsc::channel();
        let mut number = 0;
        client
            .on("blob.*", move |message| {
                let expected = patterned(number, lengths[number as usize]);
                let aligned = (message.payload().as_ptr() as usize).is_multiple_of(8);
                report.send((aligned, message.payload() == expected)).unwrap();
                number += 1;
            })
            .expect("the pattern is allowed");
        let path = bus.path.clone();
        let emitter = std::thread::spawn(move || {
            let emitter = common::connect(&path, |builder| builder);
            for (number, &length) in lengths.iter().enumerate() {
                let name = if length > 1000 { "blob.large" } else { "blob.small" };
                emitter.emit(name, patterned(number as u64, length)).expect("it is allowed");
            }
            emitter.disconnect().expect("all are queued");
        });
        for (number, &length) in lengths.iter().enumerate() {
            let got = raw.event_got();
            assert_eq!(got.sequence, number as u64 + 1);
            assert!(got.payload == patterned(number as u64, length), "payload {number} differs");
        }
        for number in 0..lengths.len() {
            let seen = reported.recv_timeout(common::PATIENCE).expect("it arrives");
            assert_eq!(seen, (true, true), "alignment and content of payload {number}");
        }
        emitter.join().expect("the emitter is not disturbed");
    }
}

on_all! {
    /// The client knows the limit from its welcome and sends nothing.
    fn a_payload_over_the_limit_fails_at_its_emitter(bed) {
        const LIMIT: usize = 100_000;
        let bus = bed.bus_with(|options| options.max_payload_bytes = LIMIT);
        let (listener, emitter) = (bus.client(), bus.client());
        let heard = listener.subscribe("a").expect("allowed");
        assert_eq!(emitter.max_payload(), LIMIT);
        match emitter.emit("a", vec![0; LIMIT + 1]) {
            Err(Error::PayloadTooLarge { bytes, limit }) => {
                assert_eq!((bytes, limit), (LIMIT + 1, LIMIT));
            }
            other => panic!("{other:?}"),
        }
        emitter.emit("a", vec![3; LIMIT]).expect("exactly the limit is allowed");
        emitter.emit("a", "small").expect("it goes on");
        assert_eq!(take(&heard).payload(), vec![3; LIMIT]);
        let small = take(&heard);
        assert_eq!((small.payload(), small.sequence()), (&b"small"[..], 2));
        assert_eq!(bus.status().totals.protocol_errors, 0);
    }
}

on_all! {
    /// A client that sends a larger payload all the same is told and disconnected, in the
    /// middle of sending.
    fn a_violator_of_the_limit_is_told_and_closed(bed) {
        const LIMIT: usize = 100_000;
        let bus = bed.bus_with(|options| options.max_payload_bytes = LIMIT);
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        listener.listen("a");
        for length in [LIMIT + 1, 4 << 20] {
            let (mut violator, welcome) = Raw::welcomed(&bus.path, &Hello::default());
            assert_eq!(welcome.max_payload, LIMIT as u64);
            violator.emit("a", b"fine");
            let event = violator.event("a", &vec![0; length]);
            let mut writer = violator.writer();
            let sending = std::thread::spawn(move || writer.try_send(&event));
            let (code, text) = violator.last_error();
            assert_eq!(code, ErrorCode::PayloadTooLarge);
            assert!(text.contains(&length.to_string()) && text.contains("100000"), "{text}");
            sending.join().expect("a write fails at worst");
            emitter.emit("a", b"other");
            assert_eq!(listener.event_got().payload, b"fine");
            assert_eq!(listener.event_got().payload, b"other");
        }
    }
}

on_both! {
    /// An incomplete large frame costs others nothing but its own memory.
    fn a_large_frame_that_is_never_completed_holds_nobody_up(bed) {
        let bus = bus_for_large(bed);
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        listener.listen("a");
        let mut slow = bus.raw();
        let event = slow.event("a", &vec![5; 4 << 20]);
        slow.send(&event[..3 << 20]);
        for number in 0..1000u32 {
            emitter.emit("a", &number.to_le_bytes());
        }
        for number in 0..1000u32 {
            assert_eq!(listener.event_got().payload, number.to_le_bytes());
        }
        slow.send(&event[3 << 20..]);
        assert_eq!(listener.event_got().payload, vec![5; 4 << 20]);
        drop((slow, listener));
        common::wait_until("its memory is free", || bus.status().memory.queues_bytes == 0);
    }
}

on_both! {
    /// Emitters of large frames on a budget that holds few of them wait their turn;
    /// nothing is lost, nothing stands still.
    fn large_frames_beyond_the_memory_budget_wait_their_turn(bed) {
        const EMITTERS: usize = 4;
        const EACH: u64 = 5;
        const LENGTH: usize = 1 << 20;
        let bus = bed.bus_with(|options| options.max_memory_bytes = Some(2 << 20));
        let mut listeners = [bus.raw(), bus.raw()];
        listeners.iter_mut().for_each(|listener| listener.listen("a"));
        let emitters: Vec<_> = (0..EMITTERS)
            .map(|_| {
                let mut emitter = bus.raw();
                std::thread::spawn(move || {
                    for number in 1..=EACH {
                        emitter.emit("a", &patterned(number, LENGTH));
                    }
                    assert_eq!(emitter.ping(), EACH);
                })
            })
            .collect();
        let readers = listeners.map(|mut listener| {
            std::thread::spawn(move || {
                let mut last = std::collections::BTreeMap::new();
                for _ in 0..EMITTERS as u64 * EACH {
                    let got = listener.event_got();
                    let number = last.entry(got.source).or_insert(0);
                    *number += 1;
                    assert_eq!(got.sequence, *number);
                    assert!(got.payload == patterned(*number, LENGTH), "{number} differs");
                }
            })
        });
        for thread in emitters.into_iter().chain(readers) {
            thread.join().expect("all is delivered");
        }
        common::wait_until("all is free", || bus.status().memory.queues_bytes == 0);
    }
}

on_both! {
    /// A listener that holds the memory and has stopped reading is disconnected, and the
    /// others go on.
    fn a_stuck_listener_that_holds_the_whole_budget_is_given_up(bed) {
        const LENGTH: usize = 600_000;
        let bus = bed.bus_with(|options| {
            options.max_memory_bytes = Some(1 << 20);
            options.stall_timeout = Duration::from_millis(200);
            // Until then it keeps the frame that is half sent.
            options.linger = Duration::from_millis(50);
        });
        let mut stuck = bus.raw();
        stuck.listen("dull");
        let mut dull = bus.raw();
        // More than its socket takes, less than its queue.
        for _ in 0..2 {
            dull.emit("dull", &vec![1; LENGTH]);
        }
        dull.ping();
        let mut listener = bus.raw();
        listener.listen("news");
        let mut emitter = bus.raw();
        for number in 1..=5 {
            emitter.emit("news", &patterned(number, LENGTH));
            assert!(listener.event_got().payload == patterned(number, LENGTH));
        }
    }
}
