//! The broker is started again while its clients run. Elsewhere than on Linux it cannot
//! read what clients had written before its end.

#![cfg(target_os = "linux")]

mod common;

use std::sync::mpsc::channel;
use std::time::Duration;

use common::{Bed, Directory, PATIENCE, Raw, on_all, take, wait_until};
use netcluster::Broker;
use netcluster_client::{Lifecycle, Reconnect};
use netcluster_wire::Hello;

/// Lets a client try to come back after this time, again and again.
fn every(pause: Duration) -> Reconnect {
    Reconnect::Backoff { first: pause, longest: pause, attempts: None }
}

on_all! {
    /// The emitter comes back long before the listener; what it emits meanwhile waits.
    fn an_orderly_restart_loses_nothing_between_its_clients(bed) {
        const RESTARTS: u64 = 3;
        const EVENTS: u64 = 300;
        let directory = Directory::new();
        let path = directory.socket("s");
        let start = || Broker::start(bed.options(&path)).expect("it starts");
        let mut broker = start();
        let (tell, told) = channel();
        let listener = common::connect(&path, |builder| {
            let slow = builder.reconnect(every(Duration::from_millis(150)));
            slow.on_lifecycle(move |event| drop(tell.send(event.clone())))
        });
        let heard = listener.subscribe("count").expect("allowed");
        let emitter =
            common::connect(&path, |builder| builder.reconnect(every(Duration::from_millis(2))));
        let emitting = std::thread::spawn(move || {
            for number in 0..RESTARTS * EVENTS {
                emitter.emit("count", number.to_le_bytes()).expect("it comes back");
                std::thread::sleep(Duration::from_millis(1));
            }
            emitter.disconnect().expect("an orderly end");
        });
        let mut next = 0u64;
        for _ in 0..RESTARTS {
            while next % EVENTS < 50 {
                assert_eq!(take(&heard).payload(), next.to_le_bytes());
                next += 1;
            }
            broker.shutdown().request();
            broker.join().expect("an orderly end");
            broker = start();
            let back = |event| matches!(event, Lifecycle::Connect { resumed: true, .. });
            while !back(told.recv_timeout(PATIENCE).expect("it comes back")) {}
            while !next.is_multiple_of(EVENTS) {
                assert_eq!(take(&heard).payload(), next.to_le_bytes());
                next += 1;
            }
        }
        emitting.join().expect("it emits everything");
        drop(broker);
    }
}

on_all! {
    /// Brokers that end before a listener is back leave their successors word of it. It had
    /// missed what was emitted before it came.
    fn a_listener_is_waited_for_over_several_restarts(bed) {
        let directory = Directory::new();
        let path = directory.socket("s");
        let start = || Broker::start(bed.options(&path)).expect("it starts");
        let end = |broker: Broker| {
            broker.shutdown().request();
            broker.join().expect("an orderly end");
        };
        let broker = start();
        let (mut listener, _) = Raw::welcomed(&path, &Hello::default());
        listener.listen("a");
        listener.listen("b");
        let previous = listener.source;
        end(broker);
        end(start());
        let broker = start();
        let (mut back, welcome) = Raw::welcomed(&path, &Hello { previous, ..Hello::default() });
        assert!(!welcome.held, "the broker before may have let events go on");
        // It is back in part as the next broker comes.
        back.listen("a");
        let previous = back.source;
        end(broker);
        let broker = start();
        let (mut back, _) = Raw::welcomed(&path, &Hello { previous, ..Hello::default() });
        back.listen("a");
        let emitter = common::connect(&path, |builder| builder);
        emitter.emit("b", "x").expect("connected");
        emitter.flush().expect("it is written");
        back.listen("b");
        assert_eq!(back.event_got().payload, b"x");
        drop(broker);
    }
}

on_all! {
    /// The broker says how far it read as it ends: so nobody need fear for what arrived, and
    /// the rest is sent again.
    fn nothing_is_in_doubt_after_an_orderly_restart(bed) {
        const EVENTS: u64 = 2000;
        let directory = Directory::new();
        let path = directory.socket("s");
        let start = || Broker::start(bed.options(&path)).expect("it starts");
        let mut broker = start();
        let (tell, told) = channel();
        let emitter = common::connect(&path, |builder| {
            let quick = builder.reconnect(every(Duration::from_millis(2)));
            quick.on_lifecycle(move |event| drop(tell.send(event.clone())))
        });
        let emitting = emitter.clone();
        let emitting = std::thread::spawn(move || {
            for number in 1..=EVENTS {
                emitting.emit("count", number.to_le_bytes()).expect("it comes back");
                if number % 10 == 0 {
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        });
        for restart in 1..=3 {
            wait_until("it goes on", || emitter.last_sequence() >= EVENTS / 4 * restart);
            broker.shutdown().request();
            broker.join().expect("an orderly end");
            broker = start();
            let doubtful = loop {
                let event = told.recv_timeout(PATIENCE).expect("it comes back");
                if let Lifecycle::Connect { resumed: true, doubtful, .. } = event {
                    break doubtful;
                }
            };
            assert_eq!(doubtful, 0);
        }
        emitting.join().expect("it emits everything");
        emitter.ping().expect("connected");
        assert_eq!(emitter.confirmed_sequence(), EVENTS);
    }
}

on_all! {
    /// A restarted broker knows once what it knows of the last run.
    fn a_listener_that_does_not_come_back_delays_nobody_for_long(bed) {
        let directory = Directory::new();
        let path = directory.socket("s");
        let start = || Broker::start(bed.options(&path)).expect("it starts");
        let broker = start();
        let client = common::connect(&path, |builder| builder.reconnect(Reconnect::Never));
        client.on("a", |_| {}).expect("allowed");
        broker.shutdown().request();
        broker.join().expect("an orderly end");
        wait_until("it is over", || client.is_closed());
        for _ in 0..2 {
            let broker = start();
            let listener = common::connect(&path, |builder| builder);
            let heard = listener.subscribe("a").expect("allowed");
            let emitter = common::connect(&path, |builder| builder);
            emitter.emit("a", "x").expect("connected");
            assert_eq!(take(&heard).payload(), b"x");
            drop((listener, emitter, heard));
            broker.shutdown().request();
            broker.join().expect("an orderly end");
        }
    }
}
