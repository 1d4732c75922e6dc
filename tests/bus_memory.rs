//! Memory that clients can make a broker keep: limits, what is said at a limit, and that
//! all of it is charged and given back.

mod common;

use common::{Bed, Raw, on_all, on_both, wait_until};
use netcluster_wire::{ErrorCode, Hello, Kind};

/// Subscribes to these patterns; returns the text of the first refusal.
fn subscribe(raw: &mut Raw, patterns: impl Iterator<Item = String>) -> Option<String> {
    let mut refusal = None;
    let mut number = 0;
    let patterns: Vec<String> = patterns.collect();
    for block in patterns.chunks(500) {
        let mut frames = Vec::new();
        for pattern in block {
            number += 1;
            frames.extend(raw.encode(Kind::Subscribe, number, pattern.as_bytes(), b""));
        }
        raw.send(&frames);
        for _ in block {
            let answer = raw.frame();
            if answer.kind == Kind::Error {
                let (code, text) = answer.error();
                assert_eq!(code, ErrorCode::Pattern);
                refusal.get_or_insert(text);
            }
        }
    }
    refusal
}

on_both! {
    /// One pattern too many fails, that request alone.
    fn patterns_of_a_client_are_limited(bed) {
        let bus = bed.bus_with(|options| options.max_patterns = 100);
        let (mut listener, mut other) = (bus.raw(), bus.raw());
        assert_eq!(subscribe(&mut listener, (0..100).map(|number| format!("p.{number}"))), None);
        let one_more = || std::iter::once("p.100".to_owned());
        let text = subscribe(&mut listener, one_more()).expect("it is refused");
        assert!(text.contains("100 patterns") && text.contains("--max-patterns"), "{text}");
        // What it has is still so, once more is no more, and others have a limit each.
        listener.listen("p.7");
        assert_eq!(subscribe(&mut other, one_more()), None);
        listener.stop_listening("p.7");
        assert_eq!(subscribe(&mut listener, one_more()), None);
        other.emit("p.100", b"x");
        assert_eq!(listener.event_got().name, "p.100");
    }
}

on_all! {
    /// What broke: patterns counted for nothing, and 60,000 of them took 1.8 GB.
    fn patterns_are_charged_refused_at_the_limit_and_given_back(bed) {
        const LIMIT: usize = 16 << 20;
        let bus = bed.bus_with(|options| {
            options.max_memory_bytes = Some(LIMIT);
            options.max_patterns = 1 << 20;
        });
        let (mut listener, mut emitter) = (bus.raw(), bus.raw());
        emitter.listen("x.1");
        let before = bus.status().memory;
        let many = (0..30_000).map(|number| format!("{number}.{}*", "a.".repeat(120)));
        let text = subscribe(&mut listener, many).expect("the limit is reached");
        assert!(text.contains("--max-memory"), "{text}");
        let full = bus.status().memory;
        // Another shard hears of a block's patterns, and charges them, a moment later.
        let slack = if bed.shards > 1 { 1 << 20 } else { 64 << 10 };
        let kept = (full.patterns_bytes + full.connections_bytes) as usize;
        assert!((LIMIT / 4..=LIMIT * 3 / 8 + slack).contains(&kept), "{full:?}");
        assert!(full.used_bytes >= full.patterns_bytes && full.limit_bytes == LIMIT as u64);
        // Those who have their patterns are not concerned.
        listener.emit("x.1", b"data");
        assert_eq!(emitter.event_got().payload, b"data");
        drop(listener);
        wait_until("it is given back", || {
            bus.status().memory.patterns_bytes <= before.patterns_bytes
        });
        let again = subscribe(&mut emitter, std::iter::once("y".to_owned()));
        assert_eq!(again, None, "there is room again");
    }
}

on_both! {
    /// Connections take memory, too, and at the limit are told so before they can ask
    /// for anything; those that are there go on.
    fn connections_are_charged_and_refused_at_the_limit(bed) {
        // Half of it is for what is kept, and never less than 1 MiB.
        let bus = bed.bus_with(|options| options.max_memory_bytes = Some(1 << 20));
        let mut first = bus.raw();
        let mut others: Vec<Raw> = Vec::new();
        let text = loop {
            let mut raw = Raw::silent(&bus.path);
            // The broker may have closed before it is said.
            raw.try_send(&common::raw::hello_frame(b"default", &Hello::default().encode()));
            let answer = raw.frame();
            if answer.kind == Kind::Error {
                let (code, text) = answer.error();
                assert_eq!(code, ErrorCode::Busy);
                break text;
            }
            others.push(raw);
            assert!(others.len() < 200, "there is a limit");
        };
        assert!(text.contains("--max-memory"), "{text}");
        assert!(others.len() > 90, "{} connected", others.len());
        first.ping();
        drop(others);
        let mut settled = 0;
        wait_until("the others are gone", || {
            settled = first.status().memory.connections_bytes;
            settled == netcluster::internals::CONNECTION_BYTES as u64
        });
        bus.raw().ping();
    }
}

on_all! {
    /// What broke: 12,000 tiny events, each with a route of its own, to 1,500 listeners
    /// that read nothing took 483 MB: neither the lists of queues nor the routes counted.
    fn tiny_events_to_many_deaf_listeners_stay_within_the_limit(bed) {
        const LISTENERS: usize = 120;
        const EVENTS: usize = 4_000;
        const LIMIT: u64 = 4 << 20;
        let bus = bed.bus_with(|options| options.max_memory_bytes = Some(LIMIT as usize));
        let latest = Hello { latest: true, ..Hello::default() };
        let mut listeners: Vec<Raw> = (0..LISTENERS).map(|_| bus.raw_with(&latest)).collect();
        for (number, listener) in listeners.iter_mut().enumerate() {
            listener.listen(&format!("e.{number}.*"));
            listener.listen("e.*.*");
        }
        let (mut emitter, mut probe) = (bus.raw(), bus.raw());
        let mut most = 0;
        for number in 0..EVENTS {
            // Another emitter in between, so that no two events are one range.
            emitter.emit(&format!("e.{}.{number}", number % LISTENERS), b"");
            probe.emit("e.x.y", b"");
            if number % 200 == 199 {
                emitter.ping();
                most = most.max(probe.status().memory.used_bytes);
            }
        }
        // Never refused is what is received: a turn's worth of it for each.
        assert!(most < LIMIT * 2, "{most} bytes");
        drop((listeners, emitter));
        wait_until("it is given back", || probe.status().memory.queues_bytes == 0);
    }
}
