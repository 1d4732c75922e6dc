//! The broker is started again while its clients run. Elsewhere than on Linux it cannot
//! read what clients had written before its end.

#![cfg(target_os = "linux")]

mod common;

use std::sync::mpsc::channel;
use std::time::Duration;

use common::{Bed, Directory, PATIENCE, on_all, take, wait_until};
use netcluster::Broker;
use netcluster_client::{Lifecycle, Reconnect};

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
