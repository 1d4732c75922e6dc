//! Threads of a client that have nothing to do: they sleep, whatever its emitters do. In a
//! file of its own, since all threads of the process are looked at.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::sync::mpsc::channel;

use netcluster_client::Client;
use support::{Broker, PATIENCE};

/// Events that the broker reads one by one.
const EVENTS: u64 = 500;

/// Counts how often each thread of this name was switched to because it had waited.
fn wake_ups(name: &str) -> Vec<u64> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let tasks = tasks.map(|task| task.unwrap().path());
    let named = tasks.filter(|task| fs::read_to_string(task.join("comm")).unwrap().trim() == name);
    let waited = |status: String| {
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches"));
        line.unwrap().split_whitespace().last().unwrap().parse().unwrap()
    };
    named.map(|task| waited(fs::read_to_string(task.join("status")).unwrap())).collect()
}

#[test]
fn an_emitters_reader_sleeps_while_the_broker_reads_what_it_emits() {
    let broker = Broker::start();
    let emitter = Client::connect(&broker.path).unwrap();
    let listener = Client::connect(&broker.path).unwrap();
    let (heard, hear) = channel();
    listener.on("a", move |message| heard.send(message.sequence()).unwrap()).unwrap();
    for sequence in 1..=EVENTS {
        emitter.emit("a", "x").unwrap();
        assert_eq!(hear.recv_timeout(PATIENCE), Ok(sequence));
    }
    // The listener's reader is woken by each event, the emitter's by what it is told.
    let readers = wake_ups("netcluster-read");
    assert_eq!(readers.len(), 2);
    let (least, most) = (readers.iter().min().unwrap(), readers.iter().max().unwrap());
    assert!(*least < EVENTS / 10 && EVENTS / 10 <= *most, "{readers:?}");
}
