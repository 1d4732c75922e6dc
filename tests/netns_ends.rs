//! Brokers that die, come back or are cut off, on real sockets: the others notice
//! in time, and what is missing is told.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use std::time::{Duration, Instant};

use hosts::{Broker, GROUP_V4, GROUP_V6, Listener, Losses, Site, any_backend, count, number_of};
use netcluster_client::Client;
use support::{PATIENCE, Signal, backends, wait_until};

/// Time within which a restart is noticed.
const RESTART: Duration = Duration::from_secs(1);

/// Takes events until one of this emitter with this number. Returns the numbers of all
/// events of the emitter, which are in order.
#[track_caller]
fn take_until(listener: &Listener, emitter: &Client, last: u64) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        let message = listener.take();
        if message.source() == emitter.source() {
            numbers.push(number_of(&message));
        }
    }
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    numbers
}

fn counters(broker: &Broker<'_>) -> netcluster_link::status::LinkCounters {
    broker.status().link.unwrap().counters
}

#[test]
fn listeners_elsewhere_are_told_when_a_broker_is_killed() {
    for backend in backends() {
        let Some(site) = Site::new(3) else { return };
        let mut brokers = site.brokers(backend, &["--link", GROUP_V4]);
        let listeners = [1, 2].map(|at: usize| brokers[at].listener());
        let emitter = brokers[0].client();
        count(&emitter, 0..50);
        listeners.iter().for_each(|listener| listener.take_counts(1, 50));
        let killed = brokers.remove(0);
        killed.process.signal(Signal::KILL);
        for (broker, listener) in brokers.iter().zip(&listeners) {
            wait_until("its listeners are told", || listener.losses().notices == 1);
            assert_eq!(listener.losses(), Losses { notices: 1, events: 0 }, "nobody knows");
            assert_eq!((broker.peers().len(), counters(broker).silent), (1, 1));
        }
        // Those that are left go on.
        count(&brokers[0].client(), 0..1);
        assert_eq!(number_of(&listeners[1].take()), 0);
    }
}

#[test]
fn a_restart_is_noticed_within_a_second() {
    const RESTARTS: u64 = 3;
    let Some(site) = Site::new(2) else { return };
    let there = site.broker(1, any_backend(), &["--link", GROUP_V4]);
    let options = ["--link", GROUP_V4, "--node-id", "a1"];
    let start = || site.broker(0, any_backend(), &options);
    let session = || there.peers().first().map(|peer| peer.session.clone());
    let mut restarted = start();
    wait_until("they know each other", || session().is_some());
    let listener = there.listener();
    let mut times = Vec::new();
    for number in 1..=RESTARTS {
        let before = session();
        restarted.process.signal(Signal::KILL);
        let began = Instant::now();
        restarted = start();
        wait_until("the new one is known", || session().is_some_and(|it| Some(it) != before));
        times.push(began.elapsed());
        // The loss of the old one is told before the first event of the new one.
        count(&restarted.client(), number..number + 1);
        assert_eq!(number_of(&listener.take()), number);
        assert_eq!(listener.losses(), Losses { notices: number, events: 0 });
    }
    let counters = counters(&there);
    assert_eq!((counters.restarted, counters.silent), (RESTARTS, 0));
    // A machine that is busy with other things may be slow once.
    let fastest = times.iter().min().unwrap();
    assert!(*fastest < RESTART, "{times:?}");
}

#[test]
fn a_short_cut_is_repaired_and_nothing_is_lost() {
    for backend in backends() {
        let Some(site) = Site::new(2) else { return };
        let brokers = site.brokers(backend, &["--link", GROUP_V6]);
        let listener = brokers[1].listener();
        let emitter = brokers[0].client();
        count(&emitter, 0..100);
        site.network.set_cable(1, false).unwrap();
        count(&emitter, 100..200);
        // What was emitted is on its way into nowhere.
        wait_until("it was sent", || {
            let link = brokers[0].status().link.unwrap();
            link.counters.sent > 0 && link.streams.iter().all(|stream| stream.queued_bytes == 0)
        });
        site.network.set_cable(1, true).unwrap();
        count(&emitter, 200..300);
        listener.take_counts(1, 300);
        assert_eq!(counters(&brokers[1]).silent, 0);
    }
}

#[test]
fn a_partition_is_told_and_heals() {
    let Some(site) = Site::new(3) else { return };
    let key = site.key();
    let brokers = site.brokers(any_backend(), &["--link", GROUP_V4, "--key-file", &key]);
    let [here, beside, away] = [0, 1, 2].map(|at: usize| brokers[at].listener());
    let emitters = [0, 2].map(|at: usize| brokers[at].client());
    count(&emitters[0], 0..10);
    take_until(&away, &emitters[0], 9);
    site.network.set_cable(2, false).unwrap();
    // Both sides go on, and soon without each other.
    let mut sent = 10;
    wait_until("both sides have given each other up", || {
        emitters.iter().for_each(|emitter| count(emitter, sent..sent + 1));
        sent += 1;
        brokers[0].peers().len() == 1 && brokers[2].peers().is_empty()
    });
    site.network.set_cable(2, true).unwrap();
    hosts::wait_for_mesh(&brokers);
    // A mark that all listeners hear, who wait for it in the cluster.
    for client in &emitters {
        client.wait_for_cluster(PATIENCE).unwrap();
    }
    brokers[1].client().wait_for_cluster(PATIENCE).unwrap();
    count(&emitters[0], sent..sent + 1);
    let heard = take_until(&away, &emitters[0], sent);
    assert!((heard.len() as u64) < sent - 9, "nothing was cut off");
    assert!(away.losses().notices > 0, "what is missing was not told");
    // Who was never cut off from the emitter has it all, besides what came from
    // the other side.
    for listener in [&here, &beside] {
        let heard = take_until(listener, &emitters[0], sent);
        assert!(heard.into_iter().eq(0..=sent));
    }
    assert!(here.losses().notices > 0 && beside.losses().notices > 0);
}

#[test]
fn a_broker_that_stands_still_holds_nobody_up_and_is_told_what_it_missed() {
    let Some(site) = Site::new(3) else { return };
    // What it misses is more than its socket takes and the history holds.
    let options = ["--link", GROUP_V4, "--history", "256KiB", "--receive-buffer", "256KiB"];
    let brokers = site.brokers(any_backend(), &options);
    let [still, beside] = [1, 2].map(|at: usize| brokers[at].listener());
    let emitter = brokers[0].client();
    count(&emitter, 0..10);
    take_until(&still, &emitter, 9);
    brokers[1].process.signal(Signal::STOP);
    count(&emitter, 10..3000);
    let heard = take_until(&beside, &emitter, 2999);
    assert!(heard.into_iter().eq(0..3000));
    assert_eq!(beside.losses(), Losses::default());
    brokers[1].process.signal(Signal::CONT);
    hosts::wait_for_mesh(&brokers);
    brokers[1].client().wait_for_cluster(PATIENCE).unwrap();
    count(&emitter, 3000..3001);
    let heard = take_until(&still, &emitter, 3000).len() as u64;
    assert!(heard < 2991, "it missed nothing");
    // What it lost is told, and never less than it was, unless it stood still for
    // so long that they gave each other up.
    let losses = still.losses();
    let is_known = brokers[..2].iter().all(|broker| counters(broker).silent == 0);
    assert!(losses.notices > 0, "nothing was told of it");
    assert!(!is_known || losses.events + heard >= 2991, "{losses:?} besides {heard}");
}
