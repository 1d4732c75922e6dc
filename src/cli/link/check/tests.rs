use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use netcluster_link::config::{Entropy, LinkConfig};
use netcluster_link::crypto::{Key, Keys};
use netcluster_link::options::LinkOptions;
use netcluster_link::{Datagrams, Link, To};
use netcluster_platform::{DatagramInfo, Instant, InterfaceReason};

use super::diagnose::{Finding, Level, diagnose};
use super::hearing::{Hearing, Oddity, Way};
use super::neighbours;
use super::observe::{Named, Observations, Refused};
use super::print::as_page;
use super::prober::{Prober, SMALL_PROBE_BYTES};

mod beside_a_broker;

const GROUP: &str = "239.255.44.54:4454";
const HERE: &str = "10.0.0.1:5000";
const LARGE: usize = 1372;

const GOOD: Network = Network {
    multicast_there: true,
    multicast_here: true,
    unicast_there: true,
    unicast_here: true,
    longest: 9000,
};

struct Zeros;

impl Entropy for Zeros {
    fn fill(&mut self, out: &mut [u8; 16]) {
        *out = [0; 16];
    }
}

fn ns(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn options(keys: &Keys) -> LinkOptions {
    let mut options = LinkOptions::new("here");
    options.cluster = "office".into();
    options.keys = keys.clone();
    options
}

fn key(byte: u8) -> Keys {
    Keys::new(vec![Key::new([byte; 32])])
}

/// A broker of the same settings; a test changes what differs.
fn broker(keys: &Keys, number: u8, change: impl FnOnce(&mut LinkConfig)) -> Link {
    let mut config = LinkConfig {
        cluster: "office".into(),
        name: format!("db{number}"),
        node: number.into(),
        group: address(GROUP),
        groups: LinkOptions::new("x").groups,
        datagram_bytes: LARGE,
        history_bytes: 1 << 20,
        rate: None,
        receive_buffer_bytes: 8 << 20,
        keys: keys.clone(),
        peers: Vec::new(),
        unresolved: 0,
        pressured: Vec::new(),
        stall_timeout: Duration::from_secs(5),
        max_payload_bytes: 1 << 20,
        reassembly_bytes: 64 << 20,
        local_addresses: Vec::new(),
        discovery: Duration::ZERO,
    };
    change(&mut config);
    Link::new(config, [number; 16], Box::new(Zeros), ns(0))
}

/// Network between a broker and the check: which datagrams it carries.
#[derive(Clone, Copy)]
struct Network {
    multicast_there: bool,
    multicast_here: bool,
    unicast_there: bool,
    unicast_here: bool,
    longest: usize,
}

/// A check without sockets: what it would have seen.
struct Trial {
    prober: Prober,
    hearing: Hearing,
    seen: Observations,
    options: LinkOptions,
    now: Duration,
}

impl Trial {
    fn new(options: LinkOptions) -> Trial {
        let prober = Prober::new(&options.keys).unwrap();
        let mut trial = Trial {
            hearing: Hearing::new(&options.keys, prober.session()),
            prober,
            seen: Observations {
                sockets: sockets(),
                packet_bytes: options.packet_bytes,
                not_joined: None,
                named: Vec::new(),
                refused: Vec::new(),
                small_sent: [options.group].into(),
                large_sent: [options.group].into(),
                heard: Default::default(),
                kernel_drops: 0,
            },
            options,
            now: Duration::from_millis(1),
        };
        trial.loop_back();
        trial
    }

    fn probe(&mut self, way: Way, is_large: bool) -> Vec<u8> {
        let bytes = if is_large { LARGE } else { SMALL_PROBE_BYTES };
        let (nonce, datagram) = self.prober.probe(bytes).unwrap();
        assert_eq!(datagram.len(), bytes);
        self.hearing.sent(nonce, way, is_large, self.now);
        datagram
    }

    fn loop_back(&mut self) {
        let datagram = self.probe(Way::Group, false);
        self.hearing.datagram(self.now, &datagram, address(HERE), true);
    }

    /// Plays all that happens between the check and one broker.
    fn meet(&mut self, link: &mut Link, from: &str, network: Network) {
        let from = address(from);
        link.handle_timeout(ns(1));
        self.hear(link, from, network);
        for is_large in [false, true] {
            for way in [Way::Group, Way::Address(from)] {
                let is_multicast = way == Way::Group;
                let reaches =
                    if is_multicast { network.multicast_there } else { network.unicast_there };
                let datagram = self.probe(way, is_large);
                if !is_multicast {
                    let sent = if is_large {
                        &mut self.seen.large_sent
                    } else {
                        &mut self.seen.small_sent
                    };
                    sent.insert(from);
                }
                if !reaches || datagram.len() > network.longest {
                    continue;
                }
                let (bytes, segment, from_us) = (&datagram[..], datagram.len(), address(HERE));
                let multicast = is_multicast;
                link.handle_datagrams(
                    ns(2),
                    &Datagrams { bytes, segment, from: from_us, multicast },
                );
                self.now += Duration::from_micros(250);
                self.hear(link, from, network);
            }
        }
    }

    fn hear(&mut self, link: &mut Link, from: SocketAddr, network: Network) {
        while let Some(transmit) = link.poll_transmit(ns(2)) {
            let (is_heard, multicast) = match transmit.to {
                To::Group(_) => (network.multicast_here, true),
                To::Addr(_) => (network.unicast_here, false),
            };
            if is_heard {
                self.hearing.datagram(self.now, transmit.bytes, from, multicast);
            }
        }
    }

    fn findings(&mut self) -> Vec<Finding> {
        self.seen.heard = self.hearing.heard.clone();
        let findings = diagnose(&self.options, &self.seen);
        // Every page that can be printed is printed once.
        assert!(
            as_page(&self.options, &findings, usize::MAX)
                .starts_with("the link of the cluster office")
        );
        findings
    }

    /// The only finding that is worse than well, or is about a peer.
    #[track_caller]
    fn only(&mut self) -> Finding {
        let mut worse = self.findings();
        worse.retain(|finding| finding.level > Level::Note);
        assert_eq!(worse.len(), 1, "{worse:#?}");
        worse.remove(0)
    }
}

fn sockets() -> DatagramInfo {
    DatagramInfo {
        interface: "eth0".into(),
        interface_index: 2,
        reason: InterfaceReason::Route,
        loopback: false,
        mtu_bytes: Some(1500),
        local_addresses: vec!["10.0.0.1".parse().unwrap()],
        unicast: address(HERE),
        also_on_group_port: true,
        receive_buffer_bytes: 16 << 20,
        send_buffer_bytes: 4 << 20,
        gso: true,
        gro: true,
        notes: Vec::new(),
    }
}

#[track_caller]
fn is(finding: &Finding, level: Level, about: &str, words: &str) {
    assert_eq!((finding.level, finding.about), (level, about), "{finding:?}");
    assert!(finding.text.contains(words), "{words:?} is not in {finding:?}");
    assert!(finding.level < Level::Warning || finding.advice.is_some(), "{finding:?}");
}

#[test]
fn brokers_that_are_reached_both_ways_are_all_that_is_said() {
    for keys in [Keys::open_link(), key(1)] {
        let mut trial = Trial::new(options(&keys));
        trial.meet(&mut broker(&keys, 2, |_| {}), "10.0.0.2:4000", GOOD);
        trial.meet(&mut broker(&keys, 3, |_| {}), "10.0.0.1:4001", GOOD);
        let findings = trial.findings();
        assert!(findings.iter().all(|finding| finding.level == Level::Ok), "{findings:#?}");
        let peers: Vec<_> = findings.iter().filter(|finding| finding.about == "peer").collect();
        assert!(peers[0].text.contains("db2 (10.0.0.2:4000): multicast both ways, round trip 0.2"));
        assert!(peers[1].text.contains("on this machine"), "{peers:?}");
        let listed = neighbours::list(&trial.options, &trial.seen);
        assert!(listed.iter().all(|it| it.takes_large_multicast && it.takes_large_unicast));
    }
}

#[test]
fn asking_makes_no_peer_and_names_no_ourselves() {
    let keys = Keys::open_link();
    let mut link = broker(&keys, 2, |_| {});
    let mut trial = Trial::new(options(&keys));
    trial.meet(&mut link, "10.0.0.2:4000", GOOD);
    assert!(link.status(ns(3)).peers.is_empty() && link.status(ns(3)).handshakes == 0);
    assert_eq!(trial.hearing.heard.peers.len(), 1);
}

#[test]
fn multicast_that_works_one_way_is_told_by_its_direction() {
    let keys = key(1);
    let meet = |network| {
        let mut trial = Trial::new(options(&keys));
        trial.meet(&mut broker(&keys, 2, |_| {}), "10.0.0.2:4000", network);
        trial.only()
    };
    let there = meet(Network { multicast_here: false, ..GOOD });
    is(&there, Level::Warning, "multicast-in", "db2 (10.0.0.2:4000) hears our multicast, but its");
    assert!(there.advice.unwrap().contains("querier"));
    let here = meet(Network { multicast_there: false, ..GOOD });
    is(&here, Level::Warning, "multicast-out", "does not hear ours");
    let neither = Network { multicast_there: false, multicast_here: false, ..GOOD };
    is(&meet(neither), Level::Warning, "unicast-only", "unicast alone");
}

#[test]
fn a_broker_whose_unicast_does_not_come_through_is_a_problem() {
    let keys = key(1);
    let mut trial = Trial::new(options(&keys));
    let network = Network { unicast_here: false, ..GOOD };
    trial.meet(&mut broker(&keys, 2, |_| {}), "10.0.0.2:4000", network);
    is(&trial.only(), Level::Problem, "no-answer", "db2 (10.0.0.2:4000) is heard, but does not");
}

/// What broke: what is asked by multicast is answered by unicast, and was taken for a way
/// that works.
#[test]
fn a_broker_that_hears_no_unicast_is_a_problem_although_it_answers() {
    let mut trial = Trial::new(options(&key(1)));
    let network = Network { unicast_there: false, ..GOOD };
    trial.meet(&mut broker(&key(1), 2, |_| {}), "10.0.0.2:4000", network);
    is(&trial.only(), Level::Problem, "unicast-out", "not what is sent to it alone");
}

#[test]
fn a_way_that_takes_shorter_packets_only_is_found() {
    let keys = Keys::open_link();
    let mut trial = Trial::new(options(&keys));
    let network = Network { longest: 1300, ..GOOD };
    trial.meet(&mut broker(&keys, 2, |_| {}), "10.0.0.2:4000", network);
    is(&trial.only(), Level::Problem, "mtu", "1400 bytes do not reach db2");
    let peer = trial.hearing.heard.peers.values_mut().next().unwrap();
    peer.by_unicast.large = true;
    is(&trial.only(), Level::Problem, "mtu", "not by multicast, but by unicast");
    // What was never sent is not missed.
    trial.seen.large_sent.clear();
    assert!(trial.findings().iter().all(|finding| finding.level <= Level::Note));
}

#[test]
fn other_settings_of_the_same_cluster_are_a_problem() {
    let keys = Keys::open_link();
    let differing = |change: fn(&mut LinkConfig)| {
        let mut trial = Trial::new(options(&keys));
        trial.meet(&mut broker(&keys, 2, change), "10.0.0.2:4000", GOOD);
        trial.only()
    };
    let groups = differing(|config| config.groups = 4);
    is(&groups, Level::Problem, "settings", "over 4 groups, here it is 16");
    let pressured = differing(|config| config.pressured.push("orders".into()));
    is(&pressured, Level::Problem, "settings", "pressure from the cluster");
    // The same set is no difference, whatever its order.
    let mut alike = options(&keys);
    alike.pressured = vec!["a".into(), "b".into()];
    let mut trial = Trial::new(alike);
    let names = ["b".to_owned(), "a".to_owned()];
    let mut link = broker(&keys, 2, |config| config.pressured = names.into());
    trial.meet(&mut link, "10.0.0.2:4000", GOOD);
    assert!(trial.findings().iter().all(|finding| finding.level == Level::Ok));
}

#[test]
fn two_brokers_with_one_node_id_are_a_problem() {
    let keys = Keys::open_link();
    let mut trial = Trial::new(options(&keys));
    for (number, from) in [(2, "10.0.0.2:4000"), (3, "10.0.0.3:4000")] {
        trial.meet(&mut broker(&keys, number, |config| config.node = 9), from, GOOD);
    }
    let found = trial.only();
    is(&found, Level::Problem, "node-id", "db2 (10.0.0.2:4000) and db3 (10.0.0.3:4000) have");
}

#[test]
fn a_broker_with_another_key_is_told_with_both_ids() {
    let id = |keys: &Keys| format!("{:08x}", keys.id());
    let meet = |ours: &Keys, theirs: &Keys| {
        let mut trial = Trial::new(options(ours));
        trial.meet(&mut broker(theirs, 2, |_| {}), "10.0.0.2:4000", GOOD);
        assert!(trial.hearing.heard.peers.is_empty());
        let findings = trial.findings();
        // One reason is enough: the list of all others is not repeated.
        let nobody = findings.last().unwrap().advice.as_ref().unwrap();
        assert!(nobody.contains("the problems above"), "{nobody}");
        findings.into_iter().find(|finding| finding.about == "key").unwrap()
    };
    let other = meet(&key(1), &key(2));
    is(&other, Level::Problem, "key", &format!("10.0.0.2 has the key {}", id(&key(2))));
    assert!(other.text.contains(&id(&key(1))));
    is(&meet(&key(1), &Keys::open_link()), Level::Problem, "key", "has no key");
    is(&meet(&Keys::open_link(), &key(2)), Level::Problem, "key", "here is none");
}

#[test]
fn another_cluster_is_a_note_and_no_peer() {
    let keys = Keys::open_link();
    let mut trial = Trial::new(options(&keys));
    let mut other = broker(&keys, 2, |config| config.cluster = "lab".into());
    trial.meet(&mut other, "10.0.0.2:4000", GOOD);
    let findings = trial.findings();
    let cluster = findings.iter().find(|finding| finding.about == "cluster").unwrap();
    is(cluster, Level::Note, "cluster", "1 broker is of the cluster lab");
    assert!(cluster.advice.as_ref().unwrap().contains("--cluster lab"));
    is(findings.last().unwrap(), Level::Problem, "nobody", "no broker of the cluster office");
}

#[test]
fn other_versions_and_other_programs_are_told_apart() {
    let keys = key(1);
    let mut trial = Trial::new(options(&keys));
    trial.meet(&mut broker(&keys, 2, |_| {}), "10.0.0.2:4000", GOOD);
    let now = trial.now;
    trial.hearing.datagram(now, b"NL\x10\x02", address("10.0.0.7:1"), true);
    is(&trial.only(), Level::Problem, "version", "10.0.0.7 speaks version 2");
    trial.hearing.heard.strangers.clear();
    for _ in 0..3 {
        trial.hearing.datagram(now, b"M-SEARCH *", address("10.0.0.8:1900"), true);
    }
    is(&trial.only(), Level::Warning, "other-program", "from 10.0.0.8");
}

#[test]
fn forged_datagrams_are_counted_and_make_no_peer() {
    let keys = key(1);
    let mut link = broker(&keys, 2, |_| {});
    let mut trial = Trial::new(options(&keys));
    link.handle_timeout(ns(1));
    let mut hello = link.poll_transmit(ns(2)).unwrap().bytes.to_vec();
    *hello.last_mut().unwrap() ^= 1;
    trial.hearing.datagram(trial.now, &hello, address("10.0.0.9:1"), true);
    let from: IpAddr = "10.0.0.9".parse().unwrap();
    assert_eq!(trial.hearing.heard.strangers.get(&(from, Oddity::Forged)), Some(&1));
    assert!(trial.hearing.heard.peers.is_empty());
}

#[test]
fn a_flood_of_sessions_fills_no_memory() {
    let keys = Keys::open_link();
    let mut trial = Trial::new(options(&keys));
    let mut link = broker(&keys, 2, |_| {});
    link.handle_timeout(ns(1));
    let mut hello = link.poll_transmit(ns(2)).unwrap().bytes.to_vec();
    for number in 0u32..3000 {
        hello[8..12].copy_from_slice(&number.to_le_bytes());
        trial.hearing.datagram(trial.now, &hello, address("10.0.0.9:1"), true);
        let from = SocketAddr::from((number.to_be_bytes(), 1));
        trial.hearing.datagram(trial.now, b"noise", from, true);
    }
    let heard = &trial.hearing.heard;
    assert!(heard.peers.len() <= 1024 && heard.strangers.len() <= 1024);
    assert!(heard.omitted > 3900, "{}", heard.omitted);
}

#[test]
fn the_own_side_is_told_first() {
    let keys = Keys::open_link();
    let well = || {
        let mut trial = Trial::new(options(&keys));
        trial.meet(&mut broker(&keys, 2, |_| {}), "10.0.0.2:4000", GOOD);
        trial
    };
    let mut trial = well();
    trial.seen.sockets.reason = InterfaceReason::Loopback;
    is(&trial.only(), Level::Warning, "interface", "eth0 (10.0.0.1) is used: no other");
    let mut trial = well();
    trial.seen.sockets.notes.push("the TTL is of no use".into());
    assert_eq!(trial.findings()[1].text, "the TTL is of no use");
    let mut trial = well();
    trial.seen.sockets.receive_buffer_bytes = 425_984;
    let buffer = trial.only();
    is(&buffer, Level::Warning, "receive-buffer", "416 KiB where 8 MiB were asked for");
    assert!(buffer.advice.unwrap().contains("sysctl -w net.core.rmem_max=8388608"));
    let mut trial = well();
    trial.seen.sockets.mtu_bytes = Some(1280);
    is(&trial.only(), Level::Warning, "mtu", "1400 bytes are set, but eth0 takes 1280");
    let mut trial = well();
    trial.seen.kernel_drops = 5;
    is(&trial.only(), Level::Warning, "kernel-drops", "dropped 5 datagrams");
    let mut trial = well();
    trial.hearing.heard.own.small = false;
    is(&trial.only(), Level::Warning, "loopback", "does not come back");
    let mut trial = well();
    let to = address(GROUP);
    let error = "Network is unreachable".to_owned();
    trial.seen.refused.push(Refused { to, is_large: false, error: error.clone() });
    is(&trial.only(), Level::Problem, "send", "Network is unreachable");
    let mut trial = well();
    trial.seen.refused.push(Refused { to, is_large: true, error });
    is(&trial.only(), Level::Problem, "mtu", "does not send packets of 1400 bytes");
}

#[test]
fn nobody_else_is_a_problem_but_not_where_nobody_else_can_be() {
    let keys = Keys::open_link();
    let nobody = Trial::new(options(&keys)).only();
    is(&nobody, Level::Problem, "nobody", "no broker of the cluster office was heard");
    let mut trial = Trial::new(options(&keys));
    trial.meet(&mut broker(&keys, 2, |_| {}), "10.0.0.1:4000", GOOD);
    is(&trial.only(), Level::Problem, "nobody", "only this machine's own broker");
    trial.seen.sockets.loopback = true;
    assert!(trial.findings().iter().all(|finding| finding.level == Level::Ok));
}

#[test]
fn named_peers_answer_or_it_is_said_why_not() {
    let keys = Keys::open_link();
    let mut trial = Trial::new(options(&keys));
    trial.meet(&mut broker(&keys, 2, |_| {}), "10.0.0.2:4000", GOOD);
    let named = |name: &str, addresses: Result<&str, &str>| Named {
        name: name.into(),
        addresses: addresses.map(|it| vec![address(it)]).map_err(str::to_owned),
    };
    trial.seen.named = vec![named("db2", Ok("10.0.0.2:4000"))];
    assert!(trial.findings().iter().all(|finding| finding.level == Level::Ok));
    trial.seen.named = vec![named("db3", Ok("10.0.0.3:4454"))];
    is(&trial.only(), Level::Problem, "peer", "the peer db3 does not answer");
    trial.seen.named = vec![named("dbx", Err("no such host"))];
    is(&trial.only(), Level::Problem, "peer", "dbx is not found: no such host");
    // A name of this machine: the probe comes back by unicast.
    let here = address("10.0.0.1:4454");
    let datagram = trial.probe(Way::Address(here), false);
    trial.hearing.datagram(trial.now, &datagram, address(HERE), false);
    trial.seen.named = vec![named("me", Ok("10.0.0.1:4454"))];
    let found = trial.findings();
    let me = found.iter().find(|finding| finding.level == Level::Note).unwrap();
    is(me, Level::Note, "peer", "me is this machine itself");
}
