use netcluster::status::LinkIo;
use netcluster_link::status::{
    InboundStreamStatus, MissingPair, OutboundStreamStatus, PeerCounters, UnlinkedStatus,
};

use super::*;

fn well() -> PeerStatus {
    PeerStatus {
        node: "0000000b".into(),
        name: "db1".into(),
        address: "10.0.0.2:4000".into(),
        session: "00112233445566778899aabbccddeeff".into(),
        path: "multicast".into(),
        is_multicast_heard: true,
        since_ms: 60_000,
        heard_ms: 20,
        round_trip_us: Some(1250),
        groups_wanted: 0b1011,
        is_joined: true,
        counters: PeerCounters { received: 77, naks_sent: 3, ..PeerCounters::default() },
        streams: vec![
            InboundStreamStatus { group: 1, position: 500, missing: 2, ..Default::default() },
            InboundStreamStatus { group: 1, index: 4, missing: 3, ..Default::default() },
        ],
        ..PeerStatus::default()
    }
}

fn with(change: impl FnOnce(&mut LinkStatus)) -> Status {
    let mut link = LinkStatus {
        cluster: "office".into(),
        group: "239.255.44.54:4454".into(),
        groups: 16,
        is_sealed: true,
        peers: vec![well()],
        ..LinkStatus::default()
    };
    change(&mut link);
    let mut status = Status::default();
    status.link = Some(link);
    status
}

fn sentences(change: impl FnOnce(&mut LinkStatus)) -> Vec<String> {
    trouble::sentences(&with(change).link.unwrap(), None)
}

fn troubles(change: impl FnOnce(&mut PeerStatus)) -> String {
    sentences(|link| change(&mut link.peers[0])).join("\n")
}

#[test]
fn a_peer_that_is_well_is_a_row_without_a_word_more() {
    let page = page(&with(|_| {}), false, usize::MAX);
    let row = page.lines().find(|line| line.starts_with("0000000b")).unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    let expected = "0000000b db1 10.0.0.2:4000 00112233 multicast 1.25 ms 1min 0s \
        0 77 0 0 0 3 3 5";
    assert_eq!(cells, expected.split_whitespace().collect::<Vec<_>>());
    assert!(page.contains("cluster office at 239.255.44.54:4454, 16 groups, sealed, 1 peer\n"));
    assert!(!page.contains('!'), "{page}");
}

#[test]
fn streams_are_shown_when_asked_for() {
    let status = with(|link| {
        let stream = OutboundStreamStatus {
            group: 2,
            next: 90,
            tail: 40,
            limit: Some(100),
            naks_received: 6,
            repaired: 12,
            ..Default::default()
        };
        link.streams.push(stream);
        let [one, other] = &mut link.peers[0].streams[..] else { panic!() };
        (one.naks_sent, one.repaired, one.events_lost) = (4, 3, 9);
        other.losses_unknown = 1;
        let names = vec!["default".to_owned(), "a\x1b".to_owned()];
        link.channels = vec![
            StreamChannels { group: 1, index: 0, names: names.clone(), total: 2 },
            StreamChannels { group: 2, index: 0, names, total: 12 },
        ];
    });
    let page = page(&status, true, usize::MAX);
    let rows: Vec<Vec<&str>> = page.lines().map(|line| line.split_whitespace().collect()).collect();
    for row in [
        "db1 1 500 2 0 4 3 9 default, a\\u{1b}",
        "db1 1.4 0 3 0 0 0 >0 -",
        // Sent, kept for repairs, still allowed, waiting; asked for, sent again.
        "2 0 90 50 10 0 B 6 12 default, a\\u{1b}, 10 more",
    ] {
        let row: Vec<&str> = row.split_whitespace().collect();
        assert!(rows.contains(&row), "{row:?} is not in\n{page}");
    }
}

#[test]
fn a_link_that_hears_nobody_says_where_to_look_but_not_while_it_looks_itself() {
    let alone = |is_discovering| {
        sentences(|link| {
            link.peers.clear();
            link.is_discovering = is_discovering;
        })
    };
    assert!(alone(false)[0].contains("netcluster link check"));
    assert_eq!(alone(true), [""; 0]);
}

#[test]
fn each_trouble_of_a_peer_is_a_sentence() {
    assert_eq!(troubles(|_| {}), "");
    assert!(troubles(|peer| peer.demoted = 2).contains("not waited for in 2 streams"));
    assert!(troubles(|peer| peer.heard_ms = 2340).contains("nothing for 2.3 s"));
    assert!(troubles(|peer| peer.counters.events_lost = 1).contains("1 event of db1 were lost"));
    assert!(troubles(|peer| peer.counters.losses_unknown = 1).contains("unknown numbers 1 time"));
    let in_vain = troubles(|peer| (peer.counters.given_up, peer.datagram_bytes) = (2, 1372));
    assert!(in_vain.contains("2 datagrams of db1") && in_vain.contains("1372 bytes"), "{in_vain}");
    let narrow = troubles(|peer| (peer.is_path_narrow, peer.path_bytes) = (true, 1268));
    assert!(narrow.contains("more than 1268 bytes do not reach db1"), "{narrow}");
    let unanswered = troubles(|peer| (peer.is_path_unanswered, peer.path_bytes) = (true, 1232));
    assert!(unanswered.contains("db1 answers no probe of 1232 bytes"), "{unanswered}");
    assert!(troubles(|peer| peer.is_joined = false).contains("has not confirmed"));
    assert!(troubles(|peer| peer.is_multicast_heard = false).contains("of db1 is not heard here"));
    assert!(troubles(|peer| peer.path = "unicast".into()).contains("does not hear our multicast"));
    let deaf = troubles(|peer| {
        peer.is_multicast_heard = false;
        peer.deaf_groups = vec!["239.255.44.57".into()];
    });
    assert!(deaf.contains("of db1 arrives, but not in the groups 239.255.44.57"), "{deaf}");
    let both = troubles(|peer| {
        peer.path = "unicast".into();
        peer.is_multicast_heard = false;
    });
    assert!(both.contains("no multicast goes between db1 and here") && both.contains("snooping"));
}

#[test]
fn brokers_that_do_not_hear_each_other_are_named_and_many_are_counted() {
    let pair = |at: usize| MissingPair {
        nodes: ["0000000b".into(), format!("{at:08x}")],
        names: ["db\n1".into(), format!("web{at}")],
    };
    let few = sentences(|link| {
        (link.missing_pairs, link.missing_pairs_total) = (vec![pair(1)], 1);
    });
    let [only] = &few[..] else { panic!("{few:?}") };
    assert!(only.starts_with("brokers db\\n1 and web1 do not hear each other: "), "{only}");
    assert!(only.contains("add --peer"), "{only}");
    let many = sentences(|link| {
        (link.missing_pairs, link.missing_pairs_total) = ((0..64).map(pair).collect(), 100);
    });
    assert_eq!(many.len(), 9);
    assert!(many[8].starts_with("92 more pairs of brokers"), "{many:?}");
}

#[test]
fn brokers_that_are_heard_and_do_not_answer_are_named() {
    let of = |count: usize| {
        let unlinked = |at: usize| UnlinkedStatus {
            name: format!("db{at}"),
            address: format!("10.0.1.{at}:4000"),
            ..UnlinkedStatus::default()
        };
        sentences(|link| {
            link.peers.clear();
            link.unlinked = (0..count).map(unlinked).collect();
        })
    };
    let one = of(1).join("\n");
    assert!(one.starts_with("db0 at 10.0.1.0:4000 is heard, but does not answer"), "{one}");
    assert!(!one.contains("no other broker is heard"), "{one}");
    assert_eq!(of(10).len(), 9);
    assert!(of(10)[8].starts_with("2 more brokers are heard"), "{:?}", of(10));
}

#[test]
fn named_brokers_that_do_not_answer_are_one_sentence() {
    let of = |count: usize| {
        let addresses = (0..count).map(|at| format!("10.0.1.{at}:4454")).collect();
        sentences(|link| link.unanswered_peers = addresses).join("\n")
    };
    assert_eq!(of(0), "");
    assert!(of(2).starts_with("no broker answers at 10.0.1.0:4454, 10.0.1.1:4454, named by"));
    assert!(of(20).contains("10.0.1.7:4454, 12 more, named by --peer"));
}

#[test]
fn a_peer_just_found_has_time_to_settle() {
    let fresh = troubles(|peer| {
        peer.since_ms = 900;
        peer.is_joined = false;
        peer.is_multicast_heard = false;
    });
    assert_eq!(fresh, "");
}

/// Rows of 180 characters were a tangle in a terminal of 80.
#[test]
fn a_page_is_no_wider_than_the_terminal_and_says_the_same() {
    let status = with(|link| {
        link.peers[0].since_ms = 3_660_000;
        link.peers[0].is_path_narrow = true;
        link.streams.push(OutboundStreamStatus { group: 2, ..Default::default() });
    });
    for width in [40, 80, 120] {
        let narrow = page(&status, true, width);
        assert!(narrow.lines().all(|line| line.chars().count() <= width), "{narrow}");
        let words = |page: &str| {
            let mut words: Vec<String> = page.split_whitespace().map(str::to_owned).collect();
            words.sort();
            words
        };
        assert_eq!(words(&narrow), words(&page(&status, true, usize::MAX)));
    }
}

#[test]
fn drops_of_the_kernel_come_with_the_command_that_gives_more_room() {
    let mut status = with(|_| {});
    let io = status.link_io.insert(LinkIo::default());
    (io.kernel_drops, io.receive_buffer_bytes) = (9, 425_984);
    let page = page(&status, false, usize::MAX);
    assert!(page.contains("dropped 9 datagrams since the receive buffer of 416 KiB"), "{page}");
    assert!(page.contains("`sysctl -w net.core.rmem_max=16777216` and --receive-buffer 16MiB"));
}

#[test]
fn brokers_that_are_refused_are_told_with_the_setting_that_differs() {
    let refused = |change: fn(&mut LinkStatus)| sentences(change).join("\n");
    assert!(refused(|link| link.counters.drops.wrong_key = 4).contains("--key-file"));
    assert!(refused(|link| link.counters.drops.version = 1).contains("same release"));
    assert!(refused(|link| link.counters.drops.other_settings = 1).contains("--groups"));
    assert!(refused(|link| link.counters.drops.other_cluster = 1).contains("--cluster"));
    assert!(refused(|link| link.counters.drops.same_node = 1).contains("--node-id"));
    assert!(refused(|link| link.counters.drops.own = 7).is_empty());
    assert!(refused(|link| link.counters.drops.duplicate = 7).is_empty());
}

#[test]
fn what_peers_call_themselves_cannot_break_the_page() {
    let status = with(|link| {
        link.peers[0].name = "a\nb\x1b[2J".into();
        link.peers[0].demoted = 1;
        link.cluster = "c\r".into();
    });
    let page = page(&status, true, usize::MAX);
    assert!(page.contains("a\\nb\\u{1b}[2J"), "{page}");
    assert!(!page.contains(['\x1b', '\r']), "{page}");
}

#[test]
fn a_status_without_a_link_has_nothing_to_show() {
    let status = Status::default();
    assert_eq!((page(&status, true, usize::MAX), summary(&status)), (String::new(), Vec::new()));
}
