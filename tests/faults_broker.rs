//! The broker is killed, refused descriptors, or left with its second-best back
//! end.

mod common;

use std::sync::mpsc::{Receiver, channel};

use common::process::{RemoteBus, play_broker};
use common::raw::hello_frame;
use common::{Bed, PATIENCE, Raw, on_all, on_both, take, wait_until};
use netcluster_client::{Client, ClientBuilder, DisconnectReason, Lifecycle, LossReason};
use netcluster_platform::{BackendChoice, select_backend_with};
use netcluster_wire::{Hello, Kind};

#[test]
fn broker_process() {
    play_broker();
}

/// Connects a client that reports what happens to its connection.
fn watched(bus: &RemoteBus) -> (Client, Receiver<Lifecycle>) {
    let (tell, told) = channel();
    let watch = |builder: ClientBuilder| {
        builder.on_lifecycle(move |event| {
            let _ = tell.send(event.clone());
        })
    };
    let client = common::connect(&bus.path, watch);
    match told.recv_timeout(PATIENCE) {
        Ok(Lifecycle::Connect { resumed: false, .. }) => (client, told),
        other => panic!("{other:?} instead of a first connect"),
    }
}

/// Waits for the end of a connection: the confirmed sequence, which is returned, then
/// that events may be missing, then the new connection.
fn outage(told: &Receiver<Lifecycle>) -> u64 {
    let next = || told.recv_timeout(PATIENCE).expect("the client tells what happens");
    let confirmed = match next() {
        Lifecycle::Disconnect { reason: DisconnectReason::ConnectionLost(_), confirmed } => {
            confirmed
        }
        other => panic!("{other:?} instead of a disconnect"),
    };
    let (mut lost, mut connected) = (0, 0);
    while connected == 0 || lost == 0 {
        match next() {
            Lifecycle::Lost { source: None, count: None, reason: LossReason::Disconnected } => {
                lost += 1;
            }
            Lifecycle::Connect { resumed: true, .. } => connected += 1,
            Lifecycle::Error(_) => {}
            other => panic!("{other:?} during an outage"),
        }
    }
    assert_eq!((lost, connected), (1, 1));
    confirmed
}

on_all! {
    fn clients_survive_a_killed_broker(bed) {
        let mut bus = RemoteBus::start(bed);
        let (listener, listener_told) = watched(&bus);
        let (emitter, emitter_told) = watched(&bus);
        let exact = listener.subscribe("count").expect("allowed");
        let wild = listener.subscribe("count.*").expect("allowed");
        let gone = listener.subscribe("gone").expect("allowed");
        drop(gone);
        let mut sent = 0;
        for round in 1..=3u64 {
            for _ in 0..10 {
                emitter.emit("count", round.to_le_bytes()).expect("it is connected");
                sent += 1;
            }
            emitter.ping().expect("an answer");
            assert_eq!(emitter.confirmed_sequence(), sent);
            for number in sent - 9..=sent {
                let message = take(&exact);
                assert_eq!((message.sequence(), message.payload()), (number, &round.to_le_bytes()[..]));
            }
            bus.process.kill();
            bus.restart(bed);
            assert_eq!(outage(&emitter_told), sent, "what was confirmed is known");
            outage(&listener_told);
        }
        emitter.emit("count", "end").expect("it is connected again");
        let last = take(&exact);
        assert_eq!((last.payload(), last.sequence()), (&b"end"[..], sent + 1));
        assert_eq!(wild.try_recv().ok(), None, "`*` is a token of its own");
        let status = common::status_at(&bus.path);
        assert_eq!(status.totals.listeners, 2, "what was listened to, and nothing else");
    }
}

on_both! {
    /// Events that were emitted while there was no broker are sent once there is one.
    fn events_emitted_during_an_outage_are_sent_after_it(bed) {
        let mut bus = RemoteBus::start(bed);
        let (emitter, told) = watched(&bus);
        emitter.emit("a", "1").expect("connected");
        emitter.ping().expect("an answer");
        bus.process.kill();
        match told.recv_timeout(PATIENCE) {
            Ok(Lifecycle::Disconnect { confirmed: 1, .. }) => {}
            other => panic!("{other:?}"),
        }
        emitter.emit("a", "2").expect("it waits in the buffer");
        bus.restart(bed);
        wait_until("it is sent", || {
            emitter.ping().is_ok() && emitter.confirmed_sequence() == 2
        });
        assert_eq!(common::status_at(&bus.path).totals.events_in, 1);
    }
}

on_both! {
    fn accepting_pauses_without_descriptors_and_goes_on_with_them(bed) {
        const LIMIT: usize = 48;
        if cfg!(not(unix)) {
            return println!("SKIPPED: only Unix limits the descriptors of a process");
        }
        let bus = RemoteBus::start_limited(bed, LIMIT);
        let (mut listener, _) = Raw::welcomed(&bus.path, &Hello::default());
        let (mut emitter, _) = Raw::welcomed(&bus.path, &Hello::default());
        listener.listen("a");
        let hello = hello_frame(b"default", &Hello::default().encode());
        let mut crowd: Vec<Raw> = (0..LIMIT + 10)
            .map(|_| {
                let mut raw = Raw::silent(&bus.path);
                raw.send(&hello);
                raw
            })
            .collect();
        wait_until("accepting pauses", || emitter.status().totals.accept_pauses > 0);
        // The retry comes once a second; it must find and say nothing new.
        let started = emitter.status().uptime_ms;
        let mut numbers = 0..;
        wait_until("some retries are over", || {
            let number: u64 = numbers.next().expect("numbers do not end");
            emitter.emit("a", &number.to_le_bytes());
            assert_eq!(listener.event_got().payload, number.to_le_bytes());
            emitter.status().uptime_ms > started + 2500
        });
        assert_eq!(emitter.status().totals.accept_pauses, 1);
        let logged = bus.logged();
        assert_eq!(logged.matches("accepting is paused").count(), 1, "{logged}");
        assert!(logged.contains("ulimit -n"), "{logged}");
        assert!(!logged.contains("accepting connections again"), "{logged}");

        // Half of those inside leave; the ones outside come in by themselves.
        let outside = crowd.split_off(LIMIT - 10);
        drop(crowd);
        for mut raw in outside {
            assert_eq!(raw.frame().kind, Kind::Welcome);
        }
        let (mut late, _) = Raw::welcomed(&bus.path, &Hello::default());
        late.emit("a", b"late");
        assert_eq!(listener.event_got().payload, b"late");
        assert!(bus.logged().contains("accepting connections again"));
    }
}

#[test]
fn a_refused_io_uring_falls_back_with_a_reason_or_fails_if_demanded() {
    let refused = || Err("io_uring is not allowed here".to_owned());
    let (backend, note) =
        select_backend_with(BackendChoice::Auto, refused).expect("`poll` always works");
    assert_eq!(backend.to_string(), "poll");
    assert_eq!(note.as_deref(), Some("io_uring is not allowed here"));
    assert!(select_backend_with(BackendChoice::Uring, refused).is_err());
}

on_all! {
    fn the_status_names_the_back_end_in_use(bed) {
        let bus = bed.bus();
        let expected = if bed.backend == BackendChoice::Poll { "poll" } else { "uring" };
        let status = bus.status();
        assert_eq!(status.backend, expected);
        assert_eq!(status.shards.len(), usize::from(bed.shards));
    }
}
