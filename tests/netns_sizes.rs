//! Ways that drop packets by their size, interfaces whose size changes, and packets
//! that come by another interface than the chosen one.

#![cfg(target_os = "linux")]

#[path = "support/hosts.rs"]
mod hosts;
mod support;

use std::time::{Duration, Instant};

use hosts::{
    Broker, EVENT, GROUP_V4, GROUP_V6, Listener, Losses, Site, any_backend, count, number_of, run,
    wait_for_mesh, wait_for_paths,
};
use netcluster_link::status::{LinkStatus, PeerStatus};
use support::{backends, wait_until};

/// Time within which an event that is longer than any packet is told as lost: 2 s and a
/// bit, with room for a machine that has other things to do.
const TOLD_WITHIN: Duration = Duration::from_secs(8);

/// Bytes by which the longest packet to a peer may stay below the MTU of its way.
const STEP: usize = 16;

/// Drops UDP packets that arrive at a host with more than so many bytes (IPv4: header
/// included).
fn drop_long(site: &Site, host: usize, bytes: usize) {
    let rules = format!(
        "add table inet narrow; add chain inet narrow i {{ type filter hook input priority 0 ; }} ; \
         add rule inet narrow i meta l4proto udp meta length > {bytes} drop"
    );
    run(site.host(host), "nft", &rules);
}

fn drop_no_more(site: &Site, host: usize) {
    run(site.host(host), "nft", "delete table inet narrow");
}

fn link(broker: &Broker<'_>) -> LinkStatus {
    broker.status().link.expect("it has a link")
}

fn only_peer(broker: &Broker<'_>) -> PeerStatus {
    let [peer] = &broker.peers()[..] else { panic!("one peer") };
    peer.clone()
}

/// Returns what `peers` prints.
fn page(broker: &Broker<'_>) -> String {
    broker.start(0, &["peers"]).finish().succeeded().stdout
}

fn emit_of(broker: &Broker<'_>, bytes: usize) {
    let client = broker.client();
    client.emit("large", vec![7; bytes]).unwrap();
    client.flush().unwrap();
}

/// Takes the next event, which has so many bytes.
#[track_caller]
fn take_of(listener: &Listener, bytes: usize) {
    let message = listener.take();
    assert_eq!((message.event(), message.payload().len()), ("large", bytes));
}

fn narrow_from_the_start(backend: &str, group: &str, longest: usize) {
    let Some(site) = Site::new(2) else { return };
    drop_long(&site, 1, longest);
    let brokers = site.brokers(backend, &["--link", group]);
    let listener = brokers[1].listener();
    // Nothing is lost, not even what is emitted before all is known.
    emit_of(&brokers[0], 5_000);
    take_of(&listener, 5_000);
    wait_until("the size of the way is found", || only_peer(&brokers[0]).is_path_narrow);
    let headers = if group.starts_with('[') { 48 } else { 28 };
    let most = longest - headers;
    let found = only_peer(&brokers[0]).path_bytes;
    assert!((most - STEP..=most).contains(&found), "{found} of {most}");
    emit_of(&brokers[0], 100_000);
    take_of(&listener, 100_000);
    assert_eq!(listener.losses(), Losses::default());
    // People are told, once, and what to do.
    let page = page(&brokers[0]);
    assert!(page.contains(&format!("more than {found} bytes do not reach host1")), "{page}");
    let log = brokers[0].process.notices();
    let told = format!("datagrams of more than {found} bytes do not reach broker host1");
    assert_eq!(log.matches(&told).count(), 1, "{log}");
    assert!(log.contains(&format!("--mtu {}", found + headers)), "{log}");
    // And when more passes again it is used.
    drop_no_more(&site, 1);
    wait_until("the whole size is sent again", || {
        only_peer(&brokers[0]).path_bytes == link(&brokers[0]).datagram_bytes
    });
    brokers[0].process.wait_for_notice("bytes reach broker host1");
}

#[test]
fn a_way_that_is_narrow_from_the_start_loses_nothing_uring() {
    if backends().contains(&"uring") {
        narrow_from_the_start("uring", GROUP_V4, 1300);
    }
}

#[test]
fn a_way_that_is_narrow_from_the_start_loses_nothing_poll_v6() {
    // By netfilter's count an IPv6 packet's header is part of it, too.
    narrow_from_the_start("poll", GROUP_V6, 1300);
}

/// Makes a way narrow while it is used: events that were under way are told as lost, in
/// their place and soon; nobody waits, and later events arrive.
fn narrow_in_between(backend: &str) {
    let Some(site) = Site::new(2) else { return };
    // Packets one by one, so that each is dropped or not for itself.
    run(site.host(0), "ip", "link set eth0 gso_max_segs 1");
    let brokers = site.brokers(backend, &["--link", GROUP_V4]);
    let listener = brokers[1].listener();
    wait_until("the whole size is found to pass", || {
        only_peer(&brokers[0]).path_bytes == link(&brokers[0]).datagram_bytes
    });
    drop_long(&site, 1, 1300);
    emit_of(&brokers[0], 5_000);
    let emitter = brokers[0].client();
    let start = Instant::now();
    let mut number = 0;
    let mut stood_still = Duration::ZERO;
    let mut heard = Vec::new();
    while heard.is_empty() {
        assert!(start.elapsed() < TOLD_WITHIN, "{:?}", link(&brokers[1]));
        let before = Instant::now();
        count(&emitter, number..number + 20);
        emitter.flush().unwrap();
        stood_still = stood_still.max(before.elapsed());
        number += 20;
        std::thread::sleep(Duration::from_millis(1));
        heard = listener.drain();
    }
    assert!(listener.losses().events >= 1, "{:?}", listener.losses());
    assert!(stood_still < Duration::from_secs(2), "the emitter stood still for {stood_still:?}");
    wait_until("the size of the way is found", || only_peer(&brokers[0]).is_path_narrow);
    emit_of(&brokers[0], 50_000);
    // All that is small and came later has arrived, each once and in order.
    let mut last = None;
    loop {
        for message in heard.drain(..) {
            if message.event() == "large" {
                assert_eq!(message.payload().len(), 50_000);
                let losses = listener.losses();
                assert!(losses.events < number, "{losses:?}");
                let counters = link(&brokers[1]).counters;
                assert!(counters.given_up > 0, "{counters:?}");
                let log = brokers[1].process.notices();
                assert!(log.contains("datagrams of broker host0") && log.contains("1372 bytes"));
                assert!(page(&brokers[1]).contains("did not arrive however often"));
                return;
            }
            assert_eq!(message.event(), EVENT);
            assert!(last < Some(number_of(&message)));
            last = Some(number_of(&message));
        }
        heard.push(listener.take());
    }
}

#[test]
fn what_a_way_drops_by_its_size_is_told_soon_and_stops_nobody_uring() {
    if backends().contains(&"uring") {
        narrow_in_between("uring");
    }
}

#[test]
fn what_a_way_drops_by_its_size_is_told_soon_and_stops_nobody_poll() {
    narrow_in_between("poll");
}

/// Shrinks the MTU of an interface while a broker uses it, and lets it grow again.
fn mtu_changes(backend: &str) {
    let Some(site) = Site::new(2) else { return };
    let brokers = site.brokers(backend, &["--link", GROUP_V4]);
    let listener = brokers[1].listener();
    emit_of(&brokers[0], 5_000);
    take_of(&listener, 5_000);
    run(site.host(0), "ip", "link set eth0 mtu 1300");
    // It is noticed by what the system refuses, before anybody looks.
    emit_of(&brokers[0], 6_000);
    let emitter = brokers[0].client();
    let mut number = 0;
    let mut events = Vec::new();
    wait_until("events get through again", || {
        count(&emitter, number..number + 1);
        number += 1;
        events.extend(listener.drain());
        events.iter().any(|message| message.event() == EVENT)
    });
    wait_until("datagrams are smaller", || link(&brokers[0]).datagram_bytes == 1300 - 28);
    let heard_large = events.iter().any(|message| message.event() == "large");
    assert!(heard_large || listener.losses().events > 0, "neither heard nor told");
    let log = brokers[0].process.notices();
    assert!(log.contains("takes no more than 1300 bytes: set --mtu 1300"), "{log}");
    let losses = listener.losses();
    emit_of(&brokers[0], 50_000);
    while listener.take().event() != "large" {}
    assert_eq!(listener.losses(), losses, "nothing more is lost");

    run(site.host(0), "ip", "link set eth0 mtu 1500");
    wait_until("datagrams are as large as before", || {
        let status = link(&brokers[0]);
        status.datagram_bytes == 1372 && status.peers[0].path_bytes == 1372
    });
}

#[test]
fn the_size_follows_the_interface_uring() {
    if backends().contains(&"uring") {
        mtu_changes("uring");
    }
}

#[test]
fn the_size_follows_the_interface_poll() {
    mtu_changes("poll");
}

#[test]
fn a_broker_that_started_with_loopback_alone_sends_what_its_network_takes() {
    let Some(site) = Site::new(2) else { return };
    run(site.host(0), "ip", "link set eth0 down mtu 1300");
    let brokers = [0, 1].map(|host| site.broker(host, any_backend(), &["--link", GROUP_V4]));
    assert_eq!(brokers[0].status().link_io.unwrap().interface, "lo");
    run(site.host(0), "ip", "link set eth0 up");
    run(site.host(0), "ip", "route replace 224.0.0.0/4 dev eth0");
    wait_for_mesh(&brokers);
    assert_eq!(link(&brokers[0]).datagram_bytes, 1300 - 28);
    let listener = brokers[1].listener();
    emit_of(&brokers[0], 50_000);
    take_of(&listener, 50_000);
    assert_eq!(listener.losses(), Losses::default());
}

/// Lets both brokers use another interface than the one that leads to the other broker,
/// which may be a tunnel or a second card. One of them names the other.
fn another_interface(backend: &str, group: &str) {
    for names in [0, 1] {
        let Some(site) = Site::new(2) else { return };
        for host in site.network.hosts() {
            let index = host.index() + 1;
            run(host, "ip", "link add own0 type veth peer name own1");
            run(host, "ip", &format!("address add 10.88.{index}.1/24 dev own0"));
            run(host, "ip", &format!("address add fd88:{index}::1/64 dev own0 nodad"));
            run(host, "ip", "link set own0 up");
            run(host, "ip", "link set own1 up");
        }
        let there = site.host(1 - names);
        let peer = if group.starts_with('[') {
            format!("[{}]:4454", there.v6())
        } else {
            format!("{}:4454", there.v4())
        };
        let brokers = [0, 1].map(|host| {
            let mut options = vec!["--link", group, "--interface", "own0"];
            if host == names {
                options.extend(["--peer", &peer]);
            }
            site.broker(host, backend, &options)
        });
        wait_for_paths(&brokers, "unicast");
        let listeners = [0, 1].map(|at: usize| brokers[at].listener());
        for (from, to) in [(0, 1), (1, 0)] {
            emit_of(&brokers[from], 50_000);
            take_of(&listeners[to], 50_000);
        }
        let strays = brokers[0].status().link_io.unwrap().strays;
        assert_eq!(strays, 0);
        assert!(!page(&brokers[names]).contains("firewall is between"));
    }
}

#[test]
fn unicast_by_another_interface_links_uring() {
    if backends().contains(&"uring") {
        another_interface("uring", GROUP_V4);
    }
}

#[test]
fn unicast_by_another_interface_links_poll_v6() {
    another_interface("poll", GROUP_V6);
}
