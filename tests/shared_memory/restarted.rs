//! Brokers that end in order while clients emit as fast as they can.

use std::sync::mpsc::channel;
use std::thread;

use netcluster::Broker;

use crate::common::on_sharing;
use crate::common::{self, Bed, Directory, patterned, take, wait_until};

/// Events of one run, and after how many the broker is restarted.
const EVENTS: u64 = 20_000;
const EVENTS_PER_RUN: u64 = 5_000;

/// Size of each 997th event: larger than any ring, so that it is put in pieces.
const LARGE_BYTES: usize = 1_200_000;

fn payload(number: u64) -> Vec<u8> {
    patterned(number, if number % 997 == 996 { LARGE_BYTES } else { (number % 700) as usize })
}

on_sharing! {
    /// The bytes in a ring when the broker ends are delivered by it, or emitted again by its
    /// client: once, and in order.
    fn an_orderly_end_in_mid_flood_loses_and_repeats_nothing(bed) {
        let directory = Directory::new();
        let path = directory.socket("s");
        let mut options = bed.options(&path);
        // Who reads slowly is cut off then.
        options.drain_timeout = common::PATIENCE;
        let broker = Broker::start(options.clone()).expect("it starts");
        let listener = common::connect(&path, |builder| builder);
        let heard = listener.subscribe("n").expect("allowed");
        let emitter = common::connect(&path, |builder| builder);
        let emitting = thread::spawn(move || {
            for number in 0..EVENTS {
                emitter.emit("n", payload(number)).expect("it comes back");
            }
            emitter.flush().expect("all is the broker's");
            emitter
        });
        let (restart, restarts) = channel();
        let restarting = thread::spawn(move || {
            let mut broker = broker;
            for () in restarts {
                broker.shutdown().request();
                broker.join().expect("an orderly end");
                broker = Broker::start(options.clone()).expect("it starts");
                // The next one waits for those who were there as this one ends.
                wait_until("the listener is back", || {
                    common::status_at(&options.socket).totals.listeners == 1
                });
            }
            broker
        });
        for number in 0..EVENTS {
            if number % EVENTS_PER_RUN == EVENTS_PER_RUN / 2 {
                restart.send(()).unwrap();
            }
            let message = take(&heard);
            assert_eq!(message.sequence(), number + 1);
            assert!(message.payload() == payload(number), "event {number}");
        }
        drop(restart);
        drop((emitting.join().unwrap(), listener, restarting.join().unwrap()));
    }
}
