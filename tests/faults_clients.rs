//! Clients that are silent, slow, greedy or killed: nobody else notices.

mod common;

use std::time::Duration;

use common::process::{Played, RemoteBus, part, play_broker};
use common::raw::{Got, hello_frame};
use common::{Bed, Raw, on_all, on_both, wait_until};
use netcluster_platform::BackendChoice;
use netcluster_wire::{ErrorCode, Hello, Kind};

/// Resident memory that may come and go with the allocator's mood.
const MEMORY_SLACK_BYTES: u64 = 6 << 20;

#[test]
fn broker_process() {
    play_broker();
}

on_both! {
    fn a_hello_that_never_comes_is_told_and_closed(bed) {
        let bus = bed.bus_with(|options| options.hello_timeout = Duration::from_millis(50));
        let mut silent = Raw::silent(&bus.path);
        let mut half = Raw::silent(&bus.path);
        half.send(&hello_frame(b"default", &Hello::default().encode())[..30]);
        for raw in [&mut silent, &mut half] {
            let (code, text) = raw.last_error();
            assert_eq!(code, ErrorCode::HelloTimeout);
            assert_eq!(text, "no hello within 0.05 s");
        }
        // One that said hello may be silent as long as it likes.
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        listener.listen("a");
        let mut third = Raw::silent(&bus.path);
        assert_eq!(third.last_error().0, ErrorCode::HelloTimeout);
        emitter.emit("a", b"x");
        assert_eq!(listener.event_got().payload, b"x");
    }
}

on_all! {
    fn a_client_that_sends_byte_by_byte_is_understood(bed) {
        let bus = bed.bus();
        let mut listener = bus.raw();
        listener.listen("slow.**");
        let mut slow = Raw::silent(&bus.path);
        let hello = hello_frame(b"default", &Hello::default().encode());
        hello.chunks(1).for_each(|byte| slow.send(byte));
        let welcome = slow.frame();
        assert_eq!(welcome.kind, Kind::Welcome);
        slow.source = welcome.source;
        for number in 0..20u8 {
            let event = slow.event("slow.event", &[number; 50]);
            event.chunks(1).for_each(|byte| slow.send(byte));
        }
        for number in 0..20u8 {
            assert_eq!(listener.event_got().payload, [number; 50]);
        }
    }
}

on_all! {
    /// More half frames than the receive pools have buffers stop nobody who sends whole
    /// frames, and once the halves are complete they arrive too.
    fn many_incomplete_frames_pin_no_buffers(bed) {
        const SLOW: usize = 150;
        let bus = bed.bus();
        let mut listener = bus.raw();
        listener.listen("**");
        let mut slow: Vec<Raw> = (0..SLOW).map(|_| bus.raw()).collect();
        let mut rests = Vec::new();
        for raw in &mut slow {
            let event = raw.event("slow", &[7; 3000]);
            raw.send(&event[..2000]);
            rests.push(event[2000..].to_vec());
        }
        let mut emitter = bus.raw();
        for number in 0..2000u32 {
            emitter.emit("fast", &number.to_le_bytes());
        }
        for number in 0..2000u32 {
            assert_eq!(listener.event_got().payload, number.to_le_bytes());
        }
        for (raw, rest) in slow.iter_mut().zip(&rests) {
            raw.send(rest);
        }
        for _ in 0..SLOW {
            assert_eq!(listener.event_got().payload, [7; 3000]);
        }
        drop(slow);
        wait_until("nothing is pinned", || {
            let status = bus.status();
            let pinned: u64 = status.shards.iter().map(|shard| shard.io.pinned_buffers).sum();
            // `poll` takes buffers back when it needs them, not before. One holds the
            // very question.
            let expected = if bed.backend == BackendChoice::Poll { u64::MAX } else { bed.shards.into() };
            status.memory.queues_bytes == 0 && pinned <= expected
        });
    }
}

/// Plays an emitter that is killed while half of a frame is written.
#[test]
fn half_a_frame() {
    let Some(path) = part("half_a_frame") else { return };
    let (mut raw, _) = Raw::welcomed(&path, &Hello::default());
    let mut bytes = raw.event("ready", b"");
    let event = raw.event("never", &[1; 5000]);
    bytes.extend_from_slice(&event[..3000]);
    raw.send(&bytes);
    park();
}

on_all! {
    fn a_client_killed_in_mid_frame_leaves_nothing(bed) {
        let bus = bed.bus();
        let mut listener = bus.raw();
        listener.listen("**");
        let mut child = Played::start("half_a_frame", &bus.path, |_| {});
        assert_eq!(listener.event_got().name, "ready");
        child.kill();
        wait_until("it is gone", || {
            let status = bus.status();
            status.totals.truncated == 1 && status.totals.clients == 2
        });
        let mut emitter = bus.raw();
        emitter.emit("whole", b"");
        assert_eq!(listener.event_got().name, "whole");
    }
}

/// Plays an emitter that floods until it is killed.
#[test]
fn flooding_emitter() {
    let Some(path) = part("flooding_emitter") else { return };
    let client = common::connect(&path, |builder| builder);
    for number in 0u64.. {
        client.emit("flood", number.to_le_bytes()).expect("the broker takes events");
    }
}

on_all! {
    /// Every listener gets the same events, without a gap, up to some point.
    fn an_emitter_killed_in_mid_fan_out_is_heard_alike_by_all(bed) {
        let bus = bed.bus();
        let mut listeners: Vec<Raw> = (0..3).map(|_| bus.raw()).collect();
        listeners.iter_mut().for_each(|listener| listener.listen("*"));
        let mut child = Played::start("flooding_emitter", &bus.path, |_| {});
        let mut counts = [0u64; 3];
        for (listener, count) in listeners.iter_mut().zip(&mut counts) {
            while *count < 5000 {
                check_next(&listener.event_got(), count);
            }
        }
        // It still writes, or waits for the listeners that now read no more.
        child.kill();
        let mut last = bus.raw();
        wait_until("its connection is gone", || bus.status().totals.clients == 5 || {
            // Paused for us: read on, or its end is not noticed before.
            listeners.iter_mut().zip(&mut counts).for_each(|(listener, count)| {
                listener.ping();
                for got in listener.stashed() {
                    check_next(&got, count);
                }
            });
            false
        });
        last.emit("last", b"");
        for (listener, count) in listeners.iter_mut().zip(&mut counts) {
            loop {
                let got = listener.event_got();
                if got.name == "last" {
                    break;
                }
                check_next(&got, count);
            }
        }
        assert!(counts[0] == counts[1] && counts[1] == counts[2], "{counts:?}");
    }
}

fn check_next(got: &Got, count: &mut u64) {
    assert_eq!((got.name.as_str(), got.payload.as_slice()), ("flood", &count.to_le_bytes()[..]));
    *count += 1;
    assert_eq!(got.sequence, *count);
}

/// Plays a listener that is killed while it receives.
#[test]
fn reading_listener() {
    let Some(path) = part("reading_listener") else { return };
    let (mut raw, _) = Raw::welcomed(&path, &Hello::default());
    raw.listen("flood");
    for number in 0.. {
        assert_eq!(raw.event_got().kind, Kind::Event);
        if number == 100 {
            raw.emit("reading", b"");
        }
    }
}

on_all! {
    fn a_listener_killed_in_mid_fan_out_costs_the_others_nothing(bed) {
        const AFTER: u64 = 20_000;
        let bus = bed.bus();
        let (mut listener, mut herald) = (bus.raw(), bus.raw());
        listener.listen("flood");
        herald.listen("reading");
        let mut child = Played::start("reading_listener", &bus.path, |_| {});
        wait_until("the child listens", || bus.status().totals.listeners == 3);
        let path = bus.path.clone();
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let emitter = std::thread::spawn(move || {
            let client = common::connect(&path, |builder| builder);
            let mut left = AFTER;
            for number in 0u64.. {
                client.emit("flood", number.to_le_bytes()).expect("the broker takes events");
                if stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Disconnected) {
                    left -= 1;
                    if left == 0 {
                        break;
                    }
                }
            }
            let sent = client.last_sequence();
            client.disconnect().expect("an orderly end");
            sent
        });
        let counting = std::thread::spawn(move || {
            let mut count = 0;
            while let Some(got) = listener.next() {
                if got.name == "flood" && got.payload.is_empty() {
                    break;
                }
                check_next(&got, &mut count);
            }
            count
        });
        assert_eq!(herald.event_got().name, "reading");
        child.kill();
        drop(stop);
        let sent = emitter.join().expect("the emitter goes on");
        let mut last = bus.raw();
        last.emit("flood", b"");
        assert_eq!(counting.join().expect("every event arrives"), sent);
        wait_until("the child is gone", || bus.status().totals.listeners == 1);
    }
}

on_both! {
    /// Answers are queued like events: who asks without reading is paused, then
    /// disconnected, and holds little meanwhile.
    fn a_flood_of_pings_is_bounded_and_ends_in_a_disconnection(bed) {
        const QUEUE: usize = 64 << 10;
        let bus = bed.bus_with(|options| {
            options.max_queue_bytes = Some(QUEUE);
            options.stall_timeout = Duration::from_millis(200);
        });
        let mut flood = bus.raw();
        let pings = flood.encode(Kind::Ping, 1, b"", b"").repeat(1000);
        let mut most = 0;
        let mut probe = Raw::on_channel(&bus.path, "probe", &Hello::default()).0;
        let mut sent = 0;
        wait_until("it is disconnected", || {
            let status = probe.status();
            most = most.max(status.totals.queued_bytes);
            if status.totals.stalled == 1 {
                return true;
            }
            sent += flood.send_some(&pings[sent % 24..]);
            false
        });
        let pool = 4 << 20; // What was received before the pause took hold.
        assert!(most <= (QUEUE + pool * 2) as u64, "{most} bytes were queued");
        let (code, text) = flood.last_error();
        assert_eq!(code, ErrorCode::Stalled);
        assert!(text.contains("too slow"), "{text}");
    }
}

on_all! {
    fn many_patterns_of_one_client_work_and_go_with_it(bed) {
        const PATTERNS: usize = 3000;
        let bus = bed.bus();
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        let mut requests = Vec::new();
        for number in 0..PATTERNS {
            let name = match number % 3 {
                0 => format!("p.{number}"),
                1 => format!("p.{number}.*"),
                _ => format!("**.p{number}.**"),
            };
            requests.extend(listener.encode(Kind::Subscribe, number as u64 + 1, name.as_bytes(), b""));
        }
        std::thread::scope(|scope| {
            let mut writer = listener.writer();
            scope.spawn(move || writer.send(&requests));
            for number in 0..PATTERNS {
                let ack = listener.frame();
                assert_eq!((ack.kind, ack.sequence), (Kind::Ack, number as u64 + 1));
            }
        });
        assert_eq!(bus.status().totals.listeners, PATTERNS as u64);
        for (name, heard) in [
            ("p.0", true),
            ("p.1", false),
            ("p.1.x", true),
            ("p.1.x.y", false),
            ("a.b.p2.c", true),
            ("p2", true),
            ("nobody", false),
            ("p.2997", true),
        ] {
            emitter.emit(name, b"");
            if heard {
                assert_eq!(listener.event_got().name, name);
            }
        }
        drop(listener);
        wait_until("its patterns are gone", || bus.status().totals.listeners == 0);
        let unheard = bus.status().totals.events_unheard;
        // Another shard may hear of it a moment later.
        wait_until("nobody listens", || {
            emitter.emit("p.0", b"");
            emitter.ping();
            bus.status().totals.events_unheard > unheard
        });
    }
}

on_all! {
    fn ten_thousand_connects_leave_nothing_behind(bed) {
        const CONNECTS: usize = 10_000;
        if cfg!(not(target_os = "linux")) {
            return println!("SKIPPED: only Linux shows the descriptors of a process");
        }
        let bus = RemoteBus::start(bed);
        let (mut listener, _) = Raw::welcomed(&bus.path, &Hello::default());
        listener.listen("stays");
        let mut churn = |connects: usize| {
            for number in 0..connects {
                match number % 4 {
                    0 => drop(Raw::silent(&bus.path)),
                    1 => {
                        let mut raw = Raw::silent(&bus.path);
                        raw.send(&hello_frame(b"default", &Hello::default().encode()));
                    }
                    2 => {
                        let channel = format!("channel-{}", number % 64);
                        let (mut raw, _) = Raw::on_channel(&bus.path, &channel, &Hello::default());
                        raw.listen("a.*");
                        raw.emit("a.b", b"data");
                    }
                    _ => {
                        let mut raw = Raw::silent(&bus.path);
                        raw.send(b"half of something");
                    }
                }
            }
            let mut settled = 0;
            wait_until("all are gone", || {
                let open = listener.status().clients.len();
                settled = bus.process.descriptors();
                open == 1
            });
            settled
        };
        // What is allocated once, and the most connections at a time.
        churn(CONNECTS / 5);
        let descriptors = bus.process.descriptors();
        let memory = bus.process.resident_bytes();
        churn(CONNECTS);
        wait_until("descriptors are closed", || bus.process.descriptors() <= descriptors);
        let grown = bus.process.resident_bytes().saturating_sub(memory);
        assert!(grown < MEMORY_SLACK_BYTES, "resident memory grew by {grown} bytes");
        let (mut emitter, _) = Raw::welcomed(&bus.path, &Hello::default());
        emitter.emit("stays", b"x");
        wait_for_event(&mut listener);
    }
}

fn wait_for_event(listener: &mut Raw) {
    while listener.frame().kind != Kind::Event {}
}

fn park() -> ! {
    loop {
        std::thread::park();
    }
}
