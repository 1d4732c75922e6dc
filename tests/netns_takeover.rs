//! Takeovers on a host that is linked with others, on real sockets and under load: the session
//! of its link goes on, so that nobody misses anything.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hosts::{Broker, GROUP_V4, Listener, Losses, Site, number_of, wait_for_mesh};
use netcluster_client::Client;
use support::{PATIENCE, backends};

const HOSTS: usize = 3;
const TAKEOVERS: usize = 10;

/// Time between two takeovers.
const BETWEEN: Duration = Duration::from_millis(150);

/// Emits numbered events of one name, some of many datagrams, until told to stop; how many.
fn emit(client: &Client, name: &str, stop: &AtomicBool) -> u64 {
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..3 {
            let mut payload = number.to_le_bytes().to_vec();
            let more = if number.is_multiple_of(40) { 20_000 } else { number as usize * 37 % 900 };
            payload.resize(8 + more, b'.');
            client.emit(name, &payload).expect("the broker takes it");
            number += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    client.flush().expect("a broker");
    number
}

/// Takes everything that comes, once and in the order of each emitter, until `emitted` says how
/// much that is and all of it has come.
fn hear(listener: &Listener, at: usize, emitted: &OnceLock<Vec<u64>>) {
    let mut next = [0u64; HOSTS];
    let start = Instant::now();
    while emitted.get().is_none_or(|emitted| emitted[..] != next) {
        let late = format!("{next:?} of {emitted:?} at {at}, {:?}", listener.losses());
        assert!(start.elapsed() < PATIENCE, "{late}");
        for message in listener.drain() {
            let host = message.event().strip_prefix("from.").and_then(|it| it.parse().ok());
            let next = &mut next[host.unwrap_or(HOSTS)];
            assert_eq!(number_of(&message), *next, "{} at {at}", message.event());
            *next += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(listener.losses(), Losses::default(), "at {at}");
}

/// Sessions that a broker has as peers.
fn sessions(broker: &Broker<'_>) -> Vec<String> {
    let mut sessions: Vec<String> = broker.peers().into_iter().map(|it| it.session).collect();
    sessions.sort();
    sessions
}

/// Has one host's broker succeeded again and again, while all hosts emit and listen.
fn succeed_under_load(backend: &str, link: &[&str], here: &[&str]) {
    let Some(site) = Site::new(HOSTS) else { return };
    let key = site.key();
    let link: Vec<&str> = link.iter().copied().chain(["--key-file", &key]).collect();
    let options: Vec<&str> = link.iter().chain(here).copied().collect();
    let mut brokers = vec![site.broker(0, backend, &options)];
    brokers.extend((1..HOSTS).map(|host| site.broker(host, backend, &link)));
    wait_for_mesh(&brokers);
    let (before, node) = (sessions(&brokers[1]), brokers[0].status().node);
    let listeners: Vec<Listener> = brokers.iter().map(Broker::listener).collect();
    let emitters: Vec<Client> = brokers.iter().map(Broker::client).collect();
    let stop = AtomicBool::new(false);
    let emitted = OnceLock::new();
    thread::scope(|scope| {
        for (at, listener) in listeners.iter().enumerate() {
            let emitted = &emitted;
            scope.spawn(move || hear(listener, at, emitted));
        }
        let emitting: Vec<_> = emitters
            .iter()
            .enumerate()
            .map(|(host, client)| {
                let (name, stop) = (format!("from.{host}"), &stop);
                scope.spawn(move || emit(client, &name, stop))
            })
            .collect();
        for _ in 0..TAKEOVERS {
            thread::sleep(BETWEEN);
            let old = brokers.remove(0);
            brokers.insert(0, site.succeed(0, backend, &options, old));
        }
        thread::sleep(BETWEEN);
        stop.store(true, Ordering::Relaxed);
        let ended = emitting.into_iter().map(|it| it.join().expect("it emits to the end"));
        emitted.set(ended.collect()).expect("once");
    });
    // To the others it was one broker all the time.
    assert_eq!((sessions(&brokers[1]), brokers[0].status().node), (before, node));
    for broker in &brokers[1..] {
        let counters = broker.status().link.expect("it has a link").counters;
        assert_eq!((counters.restarted, counters.silent, counters.left), (0, 0, 0));
        assert_eq!(counters.drops.forged, 0);
    }
}

#[test]
fn ten_successors_lose_nothing_and_double_nothing_in_either_direction() {
    for backend in backends() {
        succeed_under_load(backend, &["--link", GROUP_V4], &[]);
    }
}

#[test]
fn a_successor_with_a_node_id_and_a_port_of_its_own_has_the_same() {
    let here = ["--node-id", "a1", "--unicast-port", "4455"];
    succeed_under_load(hosts::any_backend(), &["--link", GROUP_V4], &here);
}
