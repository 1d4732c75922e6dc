//! Events between machines: real brokers in network namespaces, which lose real
//! packets.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use hosts::{GROUP_V4, GROUP_V6, Losses, Site, any_backend, count, run, wait_for_mesh};
use support::{Signal, backends, wait_until};

/// Thousandths of packets that every host loses.
const LOSS: u32 = 30;
const EVENTS: u64 = 1500;

/// Checks on three hosts, each with a listener and an emitter, that every event reaches
/// every listener once and in order.
fn three_hosts(backend: &str, group: &str, sealed: bool) {
    if !backends().contains(&backend) {
        return;
    }
    let Some(site) = Site::new(3) else { return };
    let key = site.key();
    let mut options = vec!["--link", group];
    if sealed {
        options.extend(["--key-file", &key]);
    }
    let brokers = site.brokers(backend, &options);
    site.set_loss(LOSS);
    all_hear_all(&brokers);
    let sealing = brokers.iter().map(|broker| broker.status().link.unwrap().is_sealed);
    assert!(sealing.eq([sealed; 3]));
    assert!(site.host(1).packets_lost().unwrap() > 0, "nothing was put to the test");
}

fn all_hear_all(brokers: &[hosts::Broker<'_>]) {
    let listeners: Vec<_> = brokers.iter().map(hosts::Broker::listener).collect();
    let emitters: Vec<_> = brokers.iter().map(hosts::Broker::client).collect();
    std::thread::scope(|scope| {
        for emitter in &emitters {
            scope.spawn(|| count(emitter, 0..EVENTS));
        }
        for listener in &listeners {
            scope.spawn(|| listener.take_counts(brokers.len(), EVENTS));
        }
    });
}

#[test]
fn three_hosts_hear_each_other_uring_v4_open() {
    three_hosts("uring", GROUP_V4, false);
}

#[test]
fn three_hosts_hear_each_other_uring_v4_sealed() {
    three_hosts("uring", GROUP_V4, true);
}

#[test]
fn three_hosts_hear_each_other_uring_v6_open() {
    three_hosts("uring", GROUP_V6, false);
}

#[test]
fn three_hosts_hear_each_other_uring_v6_sealed() {
    three_hosts("uring", GROUP_V6, true);
}

#[test]
fn three_hosts_hear_each_other_poll_v4_open() {
    three_hosts("poll", GROUP_V4, false);
}

#[test]
fn three_hosts_hear_each_other_poll_v4_sealed() {
    three_hosts("poll", GROUP_V4, true);
}

#[test]
fn three_hosts_hear_each_other_poll_v6_open() {
    three_hosts("poll", GROUP_V6, false);
}

#[test]
fn three_hosts_hear_each_other_poll_v6_sealed() {
    three_hosts("poll", GROUP_V6, true);
}

#[test]
fn brokers_of_both_back_ends_hear_each_other() {
    let Some(site) = Site::new(2) else { return };
    let backends = backends();
    let on =
        |host: usize| site.broker(host, backends[host % backends.len()], &["--link", GROUP_V4]);
    let brokers = [on(0), on(1)];
    wait_for_mesh(&brokers);
    let named: Vec<_> = brokers.iter().map(|broker| broker.status().backend).collect();
    println!("back ends: {named:?}");
    site.set_loss(LOSS);
    all_hear_all(&brokers);
}

#[test]
fn the_first_address_of_all_works_as_it_is() {
    let Some(site) = Site::new(2) else { return };
    let brokers = site.brokers(any_backend(), &["--link", "224.0.0.0:4454"]);
    all_hear_all(&brokers);
    let link = brokers[0].status().link.unwrap();
    assert_eq!((link.group.as_str(), link.groups), ("224.0.0.0:4454", 1));
}

#[test]
fn large_payloads_arrive_whole_in_spite_of_loss() {
    const PAYLOAD_BYTES: usize = 16 << 20;
    let Some(site) = Site::new(2) else { return };
    let key = site.key();
    let options = ["--link", GROUP_V4, "--key-file", &key, "--max-payload", "16MiB"];
    let brokers = site.brokers(any_backend(), &options);
    site.set_loss(10);
    let listener = brokers[1].listener();
    let emitter = brokers[0].client();
    let payload: Vec<u8> =
        (0..PAYLOAD_BYTES as u32).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 24) as u8).collect();
    count(&emitter, 0..1);
    emitter.emit("large", &payload).unwrap();
    // At once: the listener's queue has room for it behind the large one.
    count(&emitter, 1..2);
    assert_eq!(listener.take().event(), hosts::EVENT);
    let large = listener.take();
    assert!(large.event() == "large" && large.payload() == payload, "it came otherwise");
    assert_eq!(listener.take().event(), hosts::EVENT);
    assert_eq!(listener.losses(), Losses::default());
    assert!(site.host(1).packets_lost().unwrap() > 0);
}

#[test]
fn commands_on_one_host_hear_those_on_another() {
    for backend in backends() {
        let Some(site) = Site::new(2) else { return };
        let brokers = site.brokers(backend, &["--link", GROUP_V4]);
        let on = brokers[1].start(1, &["on", "log.*", "--count", "3"]);
        on.wait_for_notice("listening to ");
        // `on` waits for its own machine alone; a client can wait for all others.
        brokers[1].client().wait_for_cluster(support::PATIENCE).unwrap();
        let emit = |arguments: &[&str]| {
            brokers[0].start(0, &[&["emit"], arguments].concat()).finish().succeeded();
        };
        emit(&["other", "not heard"]);
        emit(&["log.web", "hello"]);
        emit(&["log.web", "on another channel", "--channel", "red"]);
        emit(&["log.db", "{\"rows\": 3}", "--json"]);
        emit(&["log.end", ""]);
        let done = on.finish().succeeded();
        assert_eq!(done.stdout, "log.web hello\nlog.db {\"rows\":3}\nlog.end \n", "{backend}");
    }
}

#[test]
fn a_broker_that_is_told_to_end_loses_nothing() {
    const EVENTS: u64 = 3000;
    for backend in backends() {
        let Some(site) = Site::new(2) else { return };
        let mut brokers = site.brokers(backend, &["--link", GROUP_V4]);
        site.set_loss(LOSS);
        let listener = brokers[1].listener();
        let emitter = brokers[0].client();
        count(&emitter, 0..EVENTS);
        emitter.disconnect().unwrap();
        let ending = brokers.remove(0);
        ending.process.signal(Signal::TERM);
        listener.take_counts(1, EVENTS);
        let left = || brokers[0].status().link.unwrap().counters.left == 1;
        wait_until("the other has said goodbye", left);
        assert_eq!(listener.losses(), Losses::default());
    }
}

/// Counts the packets of data, known by their first bytes, that a host lets through
/// somewhere.
fn count_data(host: &netcluster_testkit::netns::Host, hook: &str) {
    run(
        host,
        "nft",
        &format!(
            "add table inet data; add chain inet data {hook} {{ type filter hook {hook} \
             priority -10 ; }} ; add rule inet data {hook} meta l4proto udp @th,64,24 0x4e4c01 \
             counter"
        ),
    );
}

fn data_counted(host: &netcluster_testkit::netns::Host, hook: &str) -> u64 {
    let text = run(host, "nft", &format!("list chain inet data {hook}"));
    let (_, rest) = text.split_once("counter packets ").expect("it counts");
    rest.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn what_nobody_listens_to_is_not_on_the_wire() {
    let Some(site) = Site::new(3) else { return };
    let brokers = site.brokers(any_backend(), &["--link", GROUP_V4]);
    count_data(site.host(0), "output");
    count_data(site.host(2), "input");
    let emitter = brokers[0].client();
    // A listener on the emitter's own machine is none.
    let here = brokers[0].listener();
    let red = brokers[2].listener_on("red");
    count(&emitter, 0..EVENTS);
    here.take_counts(1, EVENTS);
    emitter.flush().unwrap();
    assert_eq!(data_counted(site.host(0), "output"), 0);
    // What one host wants does not trouble another that is in other groups.
    let there = brokers[1].listener();
    count(&emitter, 0..EVENTS);
    there.take_counts(1, EVENTS);
    assert!(data_counted(site.host(0), "output") > 0);
    assert_eq!(data_counted(site.host(2), "input"), 0);
    let counters = brokers[0].status().link.unwrap().counters;
    assert_eq!(counters.events_unwanted, EVENTS);
    drop(red);
}
