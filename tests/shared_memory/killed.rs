//! Clients that are killed, at any point: nothing of theirs stays, and nobody notices.

use std::time::{Duration, Instant};

use netcluster_wire::{Hello, Kind, SharedStep};

use crate::common::on_sharing;
use crate::common::process::{Played, RemoteBus};
use crate::common::raw::hello_frame;
use crate::common::{Bed, PATIENCE, Raw, connect, status_at, take, wait_until};

/// Parts of those that are killed: one that emits and listens, and one each that does one
/// of both.
const VICTIMS: [&str; 3] = ["parts::victim", "parts::emitting_victim", "parts::listening_victim"];

/// Milliseconds within which a process is killed that was just started: by then it is
/// anywhere between its start and a flood.
const ANY_POINT_MS: u64 = 60;

/// Number of descriptors and of shared mappings of a process.
fn held(process: u32) -> (usize, usize) {
    let descriptors = std::fs::read_dir(format!("/proc/{process}/fd")).expect("it runs").count();
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).expect("it runs");
    (descriptors, maps.matches("memfd:netcluster-client").count())
}

/// Resident memory of a process, in KiB.
fn resident_kib(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says it");
    let digits = |it: &char| it.is_ascii_digit();
    line.chars().filter(digits).collect::<String>().parse().expect("digits")
}

/// Pseudo-random number below a bound.
fn random(seed: u64, bound: u64) -> u64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) % bound
}

/// Steps of a connection, one after the other, by one who says them himself; it ends as
/// suddenly as that of a process that is killed.
fn end_between_two_steps(bus: &RemoteBus, steps: u64) {
    let mut raw = Raw::silent(&bus.path);
    if steps == 0 {
        return;
    }
    let hello = Hello { shared: true, client_name: "victim".into(), ..Hello::default() };
    raw.send(&hello_frame(b"default", &hello.encode()));
    if steps == 1 {
        return;
    }
    let welcome = raw.frame();
    raw.source = welcome.source;
    raw.listen("theirs");
    raw.emit("theirs", &[7; 1000]);
    while raw.frame().kind != Kind::Shared {}
    let answer = match steps {
        2 => return,
        3 => SharedStep::Accept,
        _ => SharedStep::Decline("it is to be killed".into()),
    };
    raw.send(&raw.encode(Kind::Shared, 0, b"", &answer.encode()));
    if steps > 4 {
        raw.emit("theirs", &[7; 1000]);
        // Beside the ring, if it was accepted.
        raw.ping();
    }
}

on_sharing! {
    /// Whatever a client is doing at the moment, its death leaves nothing in the broker, and
    /// the others do not notice. `SHARED_MEMORY_CYCLES` says how often.
    fn killed_clients_leave_nothing(bed) {
        let cycles = std::env::var("SHARED_MEMORY_CYCLES").ok();
        let cycles: u64 = cycles.map_or(24, |text| text.parse().expect("a number of cycles"));
        let bus = RemoteBus::start(bed);
        let (emitter, listener) = (connect(&bus.path, |it| it), connect(&bus.path, |it| it));
        let events = listener.subscribe("steady").unwrap();
        // What is heard of those who are killed must not stop them.
        listener.on("theirs", |_| ()).unwrap();
        let mut sent = 0_u64;
        let mut go_on = |payload: &[u8]| {
            emitter.emit("steady", payload).unwrap();
            emitter.emit("ours", payload).unwrap();
            assert!(take(&events).payload() == payload);
            sent += 1;
        };
        wait_until("both have memory", || {
            go_on(b"first");
            status_at(&bus.path).totals.shared_clients == 2
        });
        let before = held(bus.process.id());
        let resident_before = resident_kib(bus.process.id());
        for number in 0..cycles {
            let part = VICTIMS[number as usize % VICTIMS.len()];
            if number % 4 == 3 {
                end_between_two_steps(&bus, random(number, 7));
                go_on(&number.to_le_bytes());
                continue;
            }
            let mut victim = Played::start(part, &bus.path, |_| {});
            // At any point, or once it is under way.
            let mut rest = Duration::from_millis(random(number, ANY_POINT_MS));
            if number % 2 == 0 {
                rest = Duration::from_micros(random(number, 3000));
                let start = Instant::now();
                loop {
                    go_on(&[8; 500]);
                    let clients = status_at(&bus.path).clients;
                    if clients.iter().any(|it| it.name == "victim" && it.shared.is_some()) {
                        break;
                    }
                    assert!(start.elapsed() < PATIENCE, "the victim has no memory: {clients:#?}");
                }
            }
            let end = Instant::now() + rest;
            while Instant::now() < end {
                go_on(&[9; 900]);
            }
            victim.kill();
            go_on(&number.to_le_bytes());
        }
        // The count before may have had a connection that asked for the status.
        wait_until("all that was shared is given back", || {
            let now = held(bus.process.id());
            now.0 <= before.0 && now.1 <= before.1
        });
        let (after, resident) = (held(bus.process.id()), resident_kib(bus.process.id()));
        println!("{cycles} cycles: descriptors and mappings {before:?}, then {after:?}");
        println!("resident memory {resident_before} KiB, then {resident} KiB");
        let status = status_at(&bus.path);
        assert_eq!(status.totals.shared_clients, 2, "{:#?}", status.clients);
        assert!(status.clients.iter().all(|it| it.name != "victim"), "{:#?}", status.clients);
    }
}
