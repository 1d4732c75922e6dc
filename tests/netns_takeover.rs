//! Takeovers on a host that is linked with others, on real sockets and under load: the session
//! of its link goes on, so that nobody misses anything.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use hosts::{Broker, GROUP_V4, Listener, Losses, Site, number_of, wait_for_mesh};
use netcluster_client::Client;
use support::backends;

const HOSTS: usize = 3;
const TAKEOVERS: usize = 10;

/// Time between two takeovers.
const BETWEEN: Duration = Duration::from_millis(150);

/// Emits numbered events of one name, some of many datagrams, until told to stop; how many.
fn emit(client: &Client, name: &str, stop: &AtomicBool) -> u64 {
    let mut number = 0u64;
    while !stop.load(Ordering::Relaxed) {
        for _ in 0..10 {
            let mut payload = number.to_le_bytes().to_vec();
            let more = if number % 50 == 0 { 20_000 } else { number as usize * 37 % 900 };
            payload.resize(8 + more, b'.');
            client.emit(name, &payload).expect("the broker takes it");
            number += 1;
        }
        thread::sleep(Duration::from_millis(1));
    }
    client.flush().expect("a broker");
    number
}

/// Checks that everything came, once and in the order of each emitter, and no loss was told.
#[track_caller]
fn check(listener: &Listener, emitted: &[u64], at: usize) {
    let total: u64 = emitted.iter().sum();
    let mut next: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..total {
        let message = listener.take();
        let next = next.entry(message.event().to_owned()).or_default();
        assert_eq!(number_of(&message), *next, "{} at {at}", message.event());
        *next += 1;
    }
    for (host, emitted) in emitted.iter().enumerate() {
        assert_eq!(next[&format!("from.{host}")], *emitted, "of {host} at {at}");
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
    let emitted: Vec<u64> = thread::scope(|scope| {
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
        emitting.into_iter().map(|it| it.join().expect("it emits to the end")).collect()
    });
    for (at, listener) in listeners.iter().enumerate() {
        check(listener, &emitted, at);
    }
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
