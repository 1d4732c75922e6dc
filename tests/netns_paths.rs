//! Ways that datagrams take: several brokers on one machine, unicast alone, interfaces
//! that change.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use std::path::Path;
use std::process::Command;

use hosts::{
    Broker, GROUP_V4, GROUP_V6, Listener, Site, any_backend, count, number_of, run, wait_for_mesh,
    wait_for_paths,
};
use support::{PATIENCE, backends, wait_until};

const EVENTS: u64 = 400;

fn all_hear_all(brokers: &[Broker<'_>]) {
    let listeners: Vec<_> = brokers.iter().map(Broker::listener).collect();
    let emitters: Vec<_> = brokers.iter().map(Broker::client).collect();
    emitters.iter().for_each(|emitter| count(emitter, 0..EVENTS));
    listeners.iter().for_each(|listener| listener.take_counts(brokers.len(), EVENTS));
}

#[test]
fn brokers_of_one_machine_share_the_port_and_each_gets_its_answers() {
    for (group, backend) in [GROUP_V4, GROUP_V6].into_iter().zip(backends().into_iter().cycle()) {
        let Some(site) = Site::new(2) else { return };
        let on = |host| site.broker(host, backend, &["--link", group]);
        let brokers = [on(0), on(0), on(0), on(1)];
        wait_for_mesh(&brokers);
        // Repairs are asked for and come by unicast.
        site.host(1).set_loss(100).unwrap();
        all_hear_all(&brokers);
        let repaired = |broker: &Broker<'_>| broker.status().link.unwrap().counters.repaired;
        assert!(brokers[..3].iter().all(|broker| repaired(broker) > 0), "nothing to repair");
    }
}

#[test]
fn brokers_alone_on_a_machine_without_a_network_hear_each_other() {
    let Some(site) = Site::new(1) else { return };
    run(site.host(0), "ip", "link set eth0 down");
    let on = || site.broker(0, any_backend(), &["--link", GROUP_V4]);
    let brokers = [on(), on()];
    wait_for_mesh(&brokers);
    all_hear_all(&brokers);
}

/// Checks that events get through between brokers once the way is there again.
fn hear_again(brokers: &[Broker<'_>], listeners: &[Listener]) {
    for (from, to) in [(0, 1), (1, 0), (1, 2), (2, 0)] {
        let client = brokers[from].client();
        let mut number = 0;
        wait_until("events get through again", || {
            count(&client, number..number + 1);
            number += 1;
            let heard = listeners[to].drain();
            heard.iter().any(|message| message.source() == client.source())
        });
    }
}

fn interfaces_change(backend: &str) {
    const JOINED: &str = "joined anew";
    if !backends().contains(&backend) {
        return;
    }
    let Some(site) = Site::new(2) else { return };
    let on = |host| site.broker(host, backend, &["--link", GROUP_V4]);
    let brokers = [on(0), on(1), on(1)];
    wait_for_mesh(&brokers);
    let listeners = [0, 1, 2].map(|at: usize| brokers[at].listener());
    let host = site.host(1);
    let times_joined = || {
        let logs = brokers[1..].iter().map(|broker| broker.process.notices());
        logs.map(|log| log.matches(JOINED).count()).min().unwrap()
    };
    let joined_anew = |before| {
        wait_until("the groups are joined anew", || times_joined() > before);
    };
    // What one broker of the machine sends is looped back to the other.
    let looped = || {
        wait_until("neighbours know that they are", || {
            let mut status = brokers[1..].iter().map(Broker::status);
            status.all(|status| status.link.unwrap().is_looped)
        });
    };
    let before = times_joined();
    run(host, "ip", "address del 10.77.0.2/24 dev eth0");
    run(host, "ip", "address add 10.77.0.42/24 dev eth0");
    hear_again(&brokers, &listeners);
    let moved = || brokers[0].peers().iter().any(|peer| peer.address.starts_with("10.77.0.42:"));
    wait_until("the other knows the new address", moved);
    joined_anew(before);
    looped();

    let before = times_joined();
    run(host, "ip", "link set eth0 down");
    joined_anew(before);
    assert_eq!(brokers[1].status().link_io.unwrap().interface, "lo", "all that is left");
    let before = times_joined();
    run(host, "ip", "link set eth0 up");
    joined_anew(before);
    hear_again(&brokers, &listeners);

    // Another interface by the same name: what was joined on the old one is gone.
    let before = times_joined();
    site.replace_interface(&brokers[1], 1);
    joined_anew(before);
    hear_again(&brokers, &listeners);
    wait_for_mesh(&brokers);
    looped();
    let io = brokers[1].status().link_io.unwrap();
    assert_eq!(io.interface, "eth0");
    assert!(io.unicast.starts_with("10.77.0.101:"), "{}", io.unicast);
}

#[test]
fn groups_are_joined_anew_when_the_interface_changes_uring() {
    interfaces_change("uring");
}

#[test]
fn groups_are_joined_anew_when_the_interface_changes_poll() {
    interfaces_change("poll");
}

/// Wraps a command so that it looks names up in this table.
fn with_hosts(table: &Path, serve: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(["--mount", "sh", "-c"]);
    wrapped.arg("mount --bind \"$0\" /etc/hosts && exec \"$@\"").arg(table);
    wrapped.arg(serve.get_program()).args(serve.get_args());
    wrapped
}

/// Checks brokers of three hosts that name each other, where multicast is dropped.
fn unicast_alone(backend: &str, group: &str, names: bool, sealed: bool) {
    let Some(site) = Site::new(3) else { return };
    site.forbid_multicast();
    let key = site.key();
    let mut table = String::from("127.0.0.1 localhost\n");
    for host in site.network.hosts() {
        table += &format!("{} host{}.test\n", host.v4(), host.index());
    }
    let table = site.file("hosts", &table);
    let peers: Vec<String> = site
        .network
        .hosts()
        .iter()
        .map(|host| match (names, group.starts_with('[')) {
            (true, _) => format!("host{}.test:4454", host.index()),
            (false, true) => format!("[{}]:4454", host.v6()),
            (false, false) => format!("{}:4454", host.v4()),
        })
        .collect();
    // One that nobody has, and one that no table knows.
    let dead = if group.starts_with('[') { "[fd77::63]:4454" } else { "10.77.0.99:4454" };
    let mut options = vec!["--link", group, "--peer", dead];
    if names {
        options.extend(["--peer", "nobody.test:4454"]);
    }
    peers.iter().for_each(|peer| options.extend(["--peer", peer]));
    if sealed {
        options.extend(["--key-file", &key]);
    }
    let brokers: Vec<_> = (0..3)
        .map(|host| {
            if names {
                site.broker_by(host, backend, &options, |serve| with_hosts(&table, &serve))
            } else {
                site.broker(host, backend, &options)
            }
        })
        .collect();
    wait_for_paths(&brokers, "unicast");
    site.set_loss(30);
    all_hear_all(&brokers);
}

#[test]
fn named_peers_are_reached_by_unicast_where_there_is_no_multicast() {
    unicast_alone(any_backend(), GROUP_V4, true, true);
}

/// Checks that events that are emitted as soon as a broker is ready reach a peer that has
/// a name.
fn first_events_for_a_name(backend: &str) {
    if !backends().contains(&backend) {
        return;
    }
    let Some(site) = Site::new(2) else { return };
    site.forbid_multicast();
    let table = format!("127.0.0.1 localhost\n{} listener.test\n", site.host(1).v4());
    let table = site.file("hosts", &table);
    let other = site.broker(1, backend, &["--link", GROUP_V4]);
    let listener = other.listener();
    let options = ["--link", GROUP_V4, "--peer", "listener.test:4454"];
    let broker = site.broker_by(0, backend, &options, |serve| with_hosts(&table, &serve));
    let emitter = broker.client();
    count(&emitter, 0..500);
    listener.take_counts(1, 500);
}

#[test]
fn first_events_reach_a_named_peer_uring() {
    first_events_for_a_name("uring");
}

#[test]
fn first_events_reach_a_named_peer_poll() {
    first_events_for_a_name("poll");
}

#[test]
fn peers_by_address_are_reached_by_unicast_poll_v4() {
    unicast_alone("poll", GROUP_V4, false, false);
}

#[test]
fn peers_by_address_are_reached_by_unicast_v6() {
    unicast_alone(any_backend(), GROUP_V6, false, true);
}

#[test]
fn a_path_follows_multicast_as_it_goes_and_comes() {
    let Some(site) = Site::new(2) else { return };
    let peers = site.network.hosts().iter().map(|host| format!("{}:4454", host.v4()));
    let peers: Vec<String> = peers.collect();
    let options = ["--link", GROUP_V4, "--peer", &peers[0], "--peer", &peers[1]];
    let brokers = site.brokers(any_backend(), &options);
    let listener = brokers[1].listener();
    let emitter = brokers[0].client();
    count(&emitter, 0..10);
    site.forbid_multicast();
    wait_for_paths(&brokers, "unicast");
    count(&emitter, 10..20);
    for host in site.network.hosts() {
        run(host, "nft", "delete table inet cloud");
    }
    wait_for_mesh(&brokers);
    count(&emitter, 20..30);
    listener.take_counts(1, 30);
}

#[test]
fn a_listener_that_waits_for_the_cluster_misses_nothing() {
    let Some(site) = Site::new(2) else { return };
    let brokers = site.brokers(any_backend(), &["--link", GROUP_V4]);
    site.set_loss(50);
    let emitter = brokers[0].client();
    for number in 0..20 {
        let client = brokers[1].client_with(|builder| builder.wait_for_cluster(PATIENCE));
        let subscription = client.subscribe("count.*").unwrap();
        count(&emitter, number..number + 1);
        let message = subscription.recv_timeout(PATIENCE).unwrap();
        assert_eq!(number_of(&message), number);
        // Nobody listens there any more when the next one begins.
        client.disconnect().unwrap();
    }
}
