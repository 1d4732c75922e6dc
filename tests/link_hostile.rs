//! Links against a network that lies: datagrams that were recorded come again, changed,
//! cut, from elsewhere, and strangers make up sessions by the thousand.
//!
//! With a key nothing of it counts but in the counters of what was dropped. Without one
//! whoever reaches the link is a part of it; it must not fall over.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use netcluster_link::Datagrams;
use netcluster_link::crypto::{Key, Keys};
use netcluster_wire::link::{ControlHeader, ControlKind, Hello};

// Included: the fuzz crate needs a nightly compiler.
#[path = "../fuzz/src/links.rs"]
#[allow(dead_code, reason = "the fuzz target uses the rest")]
mod links;

use links::{Links, Sent, address, config};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn keyed() -> Keys {
    Keys::new(vec![Key::new([7; 32])])
}

fn stranger() -> SocketAddr {
    SocketAddr::from(([10, 9, 9, 9], 999))
}

/// Makes two links that found each other and talked; returns also all that they sent.
fn conversation(keys: &Keys) -> (Links, Vec<Sent>) {
    let mut links = Links::new();
    links.record = Some(Vec::new());
    links.start(config(0, keys));
    links.start(config(1, keys));
    for at in 0..2 {
        links.listen(at, "news", true);
        links.listen(at, "slow", true);
    }
    links.run_for(300 * MS);
    for round in 0..6 {
        links.emit(0, "news", 3, &[round; 700]);
        links.emit(1, "news", 2, b"small");
        links.emit(0, "slow", 1, &[round; 3000]);
        // Some is lost, so that requests and repairs are recorded too.
        links.drop_next = usize::from(round % 2 == 1);
        links.run_for(20 * MS);
    }
    links.run_for(1200 * MS);
    assert_eq!((links.nodes[0].got.len(), links.nodes[1].got.len()), (12, 24));
    let record = links.record.take().unwrap();
    assert!(ControlKind::ALL[..6].iter().all(|kind| record.iter().any(|it| is(it, *kind))));
    (links, record)
}

fn is(sent: &Sent, kind: ControlKind) -> bool {
    sent.bytes[2] == kind as u8
}

/// Returns the state of links that must not change while forgeries come in.
fn state(links: &Links) -> Vec<impl PartialEq + std::fmt::Debug + use<>> {
    let of = |node: &links::Node| {
        let status = node.link.status(links.now);
        let peers = status.peers.iter();
        let peers: Vec<_> = peers
            .map(|peer| {
                let told = (peer.session.clone(), peer.address.clone(), peer.groups_wanted);
                (told, peer.streams.clone(), peer.path.clone(), peer.counters.received)
            })
            .collect();
        (node.events, status.streams, peers, status.handshakes, status.counters.received)
    };
    links.nodes.iter().map(of).collect()
}

/// Hands a datagram to both links, by group and by unicast, with `from` as its sender.
fn hand(links: &mut Links, from: SocketAddr, bytes: &[u8]) {
    for at in 0..2 {
        links.inject(at, from, true, bytes);
        links.inject(at, from, false, bytes);
    }
}

/// Changes a datagram in every way: any byte, any length.
fn spoilt(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    let flipped = (0..bytes.len()).map(|at| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 1 << (at % 8);
        flipped
    });
    let cut = (0..bytes.len()).map(|length| bytes[..length].to_vec());
    let grown = std::iter::once([bytes, &[0; 24][..]].concat());
    flipped.chain(cut).chain(grown)
}

/// Picks at most so many datagrams of each kind: the rest would only take long.
fn samples(record: &[Sent], each: usize) -> Vec<&Sent> {
    let mut samples: Vec<&Sent> = Vec::new();
    for sent in record {
        let same = |other: &&&Sent| other.bytes[2] == sent.bytes[2];
        if samples.iter().filter(same).count() < each {
            samples.push(sent);
        }
    }
    samples
}

#[test]
fn with_a_key_recorded_datagrams_do_nothing_from_wherever_they_come() {
    let (mut links, record) = conversation(&keyed());
    let before = state(&links);
    for sent in &record {
        hand(&mut links, sent.from, &sent.bytes);
        hand(&mut links, stranger(), &sent.bytes);
        hand(&mut links, address(1), &sent.bytes);
    }
    assert_eq!(state(&links), before);
    assert!(links.strayed.is_empty(), "nobody is answered: {:?}", links.strayed);
    let drops = links.nodes[0].link.counters().drops;
    assert!(drops.replayed > 0 && drops.duplicate > 0 && drops.own > 0);
}

#[test]
fn with_a_key_changed_and_cut_datagrams_do_nothing() {
    let (mut links, record) = conversation(&keyed());
    let before = state(&links);
    for sent in samples(&record, 2) {
        for bytes in spoilt(&sent.bytes) {
            hand(&mut links, sent.from, &bytes);
        }
    }
    assert_eq!(state(&links), before);
    assert!(links.strayed.is_empty());
    assert!(links.nodes[0].link.counters().drops.forged > 0);
    links.emit(0, "news", 1, b"still there");
    links.run_for(20 * MS);
    assert_eq!(links.nodes[1].got.len(), 25);
}

#[test]
fn with_a_key_a_dead_session_that_is_played_back_becomes_no_peer() {
    let (old, record) = conversation(&keyed());
    drop(old);
    let mut links = Links::new();
    // Other sessions than those of the record.
    links.started = 100;
    let victim = links.start(config(2, &keyed()));
    links.listen(victim, "news", true);
    links.run_for(200 * MS);
    let (ups, got) = (links.nodes[victim].ups, links.nodes[victim].got.len());
    let mut bytes_in = 0;
    for sent in &record {
        links.inject(victim, stranger(), true, &sent.bytes);
        links.inject(victim, stranger(), false, &sent.bytes);
        bytes_in += 2 * sent.bytes.len();
        links.run_for(MS);
    }
    links.run_for(3 * SECOND);
    assert_eq!((links.nodes[victim].ups, links.nodes[victim].got.len()), (ups, got));
    let counters = links.nodes[victim].link.counters();
    assert!(counters.handshakes_expired > 0, "its hello was genuine once");
    let bytes_out: usize = links.strayed.iter().map(|sent| sent.bytes.len()).sum();
    assert!(bytes_out < bytes_in, "{bytes_out} bytes for {bytes_in}");
}

#[test]
fn without_a_key_no_event_comes_twice_by_replaying_or_cutting() {
    let (mut links, record) = conversation(&Keys::open_link());
    for (at, sent) in record.iter().enumerate() {
        hand(&mut links, sent.from, &sent.bytes);
        hand(&mut links, stranger(), &sent.bytes);
        hand(&mut links, sent.from, &sent.bytes[..sent.bytes.len() * (at % 7) / 7]);
        if at % 16 == 0 {
            links.run_for(MS);
        }
    }
    links.check();
    for node in &links.nodes {
        assert_eq!(node.twice(), Default::default());
    }
}

#[test]
fn without_a_key_changed_datagrams_break_nothing() {
    let (mut links, record) = conversation(&Keys::open_link());
    for sent in samples(&record, 2) {
        for bytes in spoilt(&sent.bytes) {
            hand(&mut links, sent.from, &bytes);
        }
        links.check();
        links.run_for(5 * MS);
    }
    // What they made up is forgotten; true peers find each other again.
    links.run_for(10 * SECOND);
    let newcomer = links.start(config(2, &Keys::open_link()));
    links.listen(newcomer, "news", true);
    links.run_for(SECOND);
    links.emit(0, "news", 1, b"hello");
    links.run_for(SECOND);
    assert!(links.nodes[newcomer].got.len() == 1);
}

/// Floods links with hellos of sessions that nobody has, from addresses that nobody has.
fn flood(keys: &Keys, sources: u32, per_ms: u32, seconds: u32) -> Links {
    let mut links = Links::new();
    links.start(config(0, keys));
    links.run_for(300 * MS);
    flood_on(&mut links, keys, sources, per_ms, seconds * 1000);
    links.check();
    links
}

/// Floods the first of some links with such hellos, for so many milliseconds.
fn flood_on(links: &mut Links, keys: &Keys, sources: u32, per_ms: u32, ms: u32) {
    let mut body = Vec::new();
    let mut datagram = Vec::new();
    let mut count = 0u32;
    for _ in 0..ms {
        for _ in 0..per_ms {
            count += 1;
            let mut session = [0x55; 16];
            session[..4].copy_from_slice(&count.to_le_bytes());
            body.clear();
            datagram.clear();
            Hello {
                node: count + 100,
                groups: 8,
                datagram_bytes: 1372,
                settings: hello_settings(keys),
                answer: count.is_multiple_of(2),
                cluster: "fuzz",
                name: "made up",
                padding_bytes: 560,
            }
            .encode(&mut body);
            ControlHeader::new(ControlKind::Hello, keys.id(), &session, 1).write(&mut datagram);
            datagram.extend_from_slice(&body);
            datagram.resize(datagram.len() + keys.tag_bytes(), 0xee);
            let source = Ipv4Addr::from(0x0b00_0000 + count % sources);
            let from = SocketAddr::new(IpAddr::V4(source), 7);
            let segment = datagram.len();
            let multicast = count.is_multiple_of(3);
            links.inject_train(0, Datagrams { bytes: &datagram, segment, from, multicast });
        }
        links.run_for(MS);
    }
    assert_eq!(count, ms * per_ms);
}

/// Returns the hash of the pressured channels, as a genuine hello tells it.
fn hello_settings(keys: &Keys) -> u64 {
    netcluster_link::config::StreamMap::new(&config(0, keys)).hash
}

#[test]
fn forged_hellos_with_a_key_cost_bounded_work_and_no_memory() {
    let links = flood(&keyed(), 1 << 20, 40, 5);
    let counters = links.nodes[0].link.counters();
    let opened = counters.drops.forged;
    assert!(opened <= 20_000 * 6, "{opened} were opened");
    assert_eq!(opened + counters.drops.hello_rate, 200_000);
    assert_eq!(links.nodes[0].link.status(links.now).handshakes, 0);
    assert!(links.strayed.is_empty(), "nobody is answered");
}

#[test]
fn one_source_of_forged_hellos_gets_two_thousand_tags_checked_a_second() {
    let links = flood(&keyed(), 1, 20, 5);
    let counters = links.nodes[0].link.counters();
    assert!(counters.drops.forged <= 2000 * 6, "{} were opened", counters.drops.forged);
}

#[test]
fn a_steady_flood_of_forged_hellos_keeps_no_newcomer_out() {
    // From one address and from a million of them, fifteen times what is taken.
    for sources in [1, 1 << 20] {
        let mut links = flood(&keyed(), sources, 15, 1);
        let newcomer = links.start(config(1, &keyed()));
        flood_on(&mut links, &keyed(), sources, 15, 20);
        assert_eq!((links.nodes[0].ups, links.nodes[newcomer].ups), (1, 1));
    }
}

#[test]
fn whatever_is_forged_who_was_a_peer_or_is_configured_comes_in() {
    for is_configured in [false, true] {
        let mut links = Links::new();
        let mut first = config(0, &keyed());
        if is_configured {
            first.peers = vec![address(1)];
        }
        links.start(first);
        if !is_configured {
            links.start(config(1, &keyed()));
            links.run_for(300 * MS);
            links.nodes.remove(1);
        }
        // As much as the machine can receive.
        flood_on(&mut links, &keyed(), 1 << 20, 200, 1000);
        let again = links.start(config(1, &keyed()));
        let ups = links.nodes[0].ups;
        flood_on(&mut links, &keyed(), 1 << 20, 200, 200);
        assert_eq!((links.nodes[0].ups, links.nodes[again].ups), (ups + 1, 1));
    }
}

#[test]
fn hellos_without_a_key_fill_no_table_and_answers_are_few() {
    let mut links = flood(&Keys::open_link(), 1 << 20, 20, 5);
    let counters = links.nodes[0].link.counters();
    assert!(counters.received <= 1000 * 6);
    assert!(links.nodes[0].link.status(links.now).handshakes <= 64);
    assert_eq!(links.nodes[0].ups, 0);
    // A hello and a challenge for each that was looked at, and three repetitions
    // unless newer ones push it out.
    let out = links.strayed.len();
    assert!(out <= 5 * 6000, "{out} datagrams for strangers");
    links.run_for(3 * SECOND);
    assert_eq!(links.nodes[0].link.status(links.now).handshakes, 0);
    // Afterwards a true one is welcome.
    links.start(config(1, &Keys::open_link()));
    links.run_for(SECOND);
    assert_eq!((links.nodes[0].ups, links.nodes[1].ups), (1, 1));
}

#[test]
fn one_source_without_a_key_is_answered_fifty_times_a_second() {
    let links = flood(&Keys::open_link(), 1, 20, 5);
    let out: usize = links.strayed.iter().map(|sent| sent.bytes.len()).sum();
    let count = links.nodes[0].link.counters().received as usize;
    assert!(
        count <= 50 * 6 && links.strayed.len() <= count * 5,
        "{} datagrams",
        links.strayed.len()
    );
    assert!(out <= count * 600, "{out} bytes for {count} hellos");
}
