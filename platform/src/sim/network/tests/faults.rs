//! Effects of each fault.

use super::*;

const MTU_BYTES: usize = 1000;

/// Number of datagrams that are missing in a row, for each gap.
fn gaps(numbers: &[u32]) -> Vec<u32> {
    numbers.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|&gap| gap > 0).collect()
}

#[test]
fn loss_takes_single_datagrams_out_of_trains() {
    let lossy = PathFaults { loss_per_million: 50_000, ..PathFaults::default() };
    let (network, mut one, mut other) = pair(lossy, PortFaults::default());
    one.send_numbered(TO_GROUP, 0..5_000, 100);
    let mut numbers = other.numbers();
    one.send_numbered(TO_GROUP, 5_000..10_000, 100);
    numbers.extend(other.numbers());
    let lost = 10_000 - numbers.len() as u64;
    assert!((400..600).contains(&lost), "{lost}");
    assert!(gaps(&numbers).iter().all(|&gap| gap < 5));
    assert_eq!(network.counters().dropped_loss, lost);
}

#[test]
fn bursts_have_their_mean_length() {
    let bursts =
        PathFaults { burst_per_million: 5_000, burst_datagrams: 10, ..PathFaults::default() };
    let (_, mut one, mut other) = pair(bursts, PortFaults::default());
    let mut numbers = Vec::new();
    for round in 0..10 {
        one.send_numbered(TO_GROUP, round * 2000..(round + 1) * 2000, 100);
        numbers.extend(other.numbers());
    }
    let gaps = gaps(&numbers);
    let mean = f64::from(gaps.iter().sum::<u32>()) / gaps.len() as f64;
    assert!((70..130).contains(&gaps.len()), "{}", gaps.len());
    assert!((8.0..13.0).contains(&mean), "{mean}");
}

#[test]
fn copies_and_late_ones_are_counted() {
    let path = PathFaults {
        duplicate_per_million: 100_000,
        reorder_per_million: 100_000,
        max_reorder_ns: 1_000_000,
        ..PathFaults::default()
    };
    let (network, mut one, mut other) = pair(path, PortFaults::default());
    one.send_numbered(TO_GROUP, 0..1000, 100);
    let on_time = other.numbers().len();
    settle(&network);
    let rest = other.numbers().len();
    let counters = network.counters();
    assert_eq!((on_time + rest) as u64, 1000 + counters.duplicated);
    assert_eq!(rest as u64, counters.duplicated + counters.reordered);
    assert!((50..200).contains(&counters.duplicated), "{}", counters.duplicated);
    assert!((50..200).contains(&counters.reordered), "{}", counters.reordered);
}

#[test]
fn delay_and_jitter_keep_the_order() {
    let path = PathFaults { delay_ns: 1000, max_jitter_ns: 500, ..PathFaults::default() };
    let (network, mut one, mut other) = pair(path, PortFaults::default());
    for number in 0..100 {
        one.send_numbered(TO_GROUP, number..number + 1, 100);
        network.advance(Duration::from_nanos(10));
    }
    assert!(network.next_due().unwrap() >= ns(1000));
    let mut numbers = Vec::new();
    while network.advance_to_next() {
        assert!((ns(1000)..=ns(2500)).contains(&network.now()));
        numbers.extend(other.numbers());
    }
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
}

#[test]
fn one_path_has_its_own_faults() {
    let network = network(PathFaults::default(), PortFaults::default());
    let mut brokers = machines(&network, 3);
    let ids: Vec<_> = brokers.iter().map(|(machine, _)| machine.id()).collect();
    let lossy = PathFaults { loss_per_million: 1_000_000, ..PathFaults::default() };
    network.set_path_faults(ids[0], ids[1], Some(lossy));
    let mut heard = |sender: usize| -> Vec<usize> {
        brokers[sender].1.send(TO_GROUP, &[b"hello"]);
        brokers.iter_mut().map(|(_, broker)| broker.heard().len()).collect()
    };
    assert_eq!(heard(0), [0, 0, 1]);
    assert_eq!(heard(1), [1, 0, 1], "the way back is another path");
    network.set_path_faults(ids[0], ids[1], None);
    assert_eq!(heard(0), [0, 1, 1]);
}

#[test]
fn the_senders_bandwidth_spreads_datagrams_and_drops_the_tail() {
    let port = PortFaults {
        send_bytes_per_s: Some(1_000_000),
        send_queue_bytes: 10_000,
        ..PortFaults::default()
    };
    let (network, mut one, mut other) = pair(PathFaults::default(), port);
    one.send_numbered(TO_GROUP, 0..20, 1000);
    assert_eq!(network.next_due(), Some(ns(1_000_000)), "1000 bytes take 1 ms");
    assert!(other.numbers().is_empty());
    settle(&network);
    assert_eq!(other.numbers(), (0..10).collect::<Vec<_>>());
    assert_eq!(network.counters().dropped_queue, 10);
}

#[test]
fn many_senders_share_the_receivers_bandwidth() {
    let port = PortFaults {
        receive_bytes_per_s: Some(100_000_000),
        receive_queue_bytes: 50_000,
        ..PortFaults::default()
    };
    let network = network(PathFaults::default(), port);
    let mut brokers = machines(&network, 3);
    let to = brokers[0].1.address;
    for sender in [1, 2] {
        brokers[sender].1.send_numbered(to, 0..40, 1000);
    }
    network.advance(Duration::from_micros(250));
    let early = brokers[0].1.numbers().len();
    assert!((20..=25).contains(&early), "{early}: 100 bytes take 1 µs");
    settle(&network);
    assert_eq!(early + brokers[0].1.numbers().len(), 50);
    assert_eq!(network.counters().dropped_queue, 30);
}

#[test]
fn large_datagrams_vanish_on_the_path_or_are_refused_at_home() {
    let path = PathFaults { mtu_bytes: MTU_BYTES, ..PathFaults::default() };
    let port = PortFaults { mtu_bytes: 2 * MTU_BYTES, ..PortFaults::default() };
    let (network, mut one, mut other) = pair(path, port);
    one.send_numbered(TO_GROUP, 0..1, MTU_BYTES);
    one.send_numbered(TO_GROUP, 1..2, MTU_BYTES + 1);
    assert_eq!(other.numbers(), [0]);
    assert_eq!(network.counters().dropped_mtu, 1);
    let refused = one.io.send_datagrams(TO_GROUP, &[0; 5000], 2 * MTU_BYTES + 1, false);
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(90));
    assert_eq!(one.io.datagram_stats().send_errors, 1);
    // A train whose last datagram alone is small enough.
    one.io.send_datagrams(TO_GROUP, &[9; 1500], 1400, false).unwrap();
    assert_eq!(other.heard(), [vec![9; 100]]);
}

#[test]
fn a_full_receive_buffer_drops_and_counts() {
    let port = PortFaults { datagram_overhead_bytes: 900, ..PortFaults::default() };
    let network = network(PathFaults::default(), port);
    let mut one = Broker::new(&network.machine(1, Faults::default()));
    let mut other = Broker::with_buffer(&network.machine(2, Faults::default()), 10_000);
    one.send_numbered(TO_GROUP, 0..15, 100);
    network.advance(Duration::from_nanos(1));
    one.send_numbered(other.address, 15..16, 100);
    assert_eq!(other.numbers(), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15], "the own port has its own");
    assert_eq!(other.io.datagram_stats().kernel_drops, 5);
    assert_eq!(network.counters().dropped_buffer, 5);
    one.send_numbered(TO_GROUP, 20..25, 100);
    assert_eq!(other.numbers().len(), 5, "what was read gives its room back");
}

#[test]
fn pinned_chunks_pause_receiving() {
    let network = network(PathFaults::default(), PortFaults::default());
    let mut one = Broker::new(&network.machine(1, Faults::default()));
    let few = Faults { pool_buffers: 2, ..Faults::default() };
    let mut other = Broker::new(&network.machine(2, few));
    one.send(TO_GROUP, &[b"1", b"2", b"3"]);
    let pinned = other.trains();
    assert_eq!(pinned.len(), 2);
    assert_eq!(network.next_due(), None);
    drop(pinned);
    assert_eq!(network.next_due(), Some(ns(0)));
    assert_eq!(other.heard(), [b"3"]);
}

#[test]
fn a_blocked_send_is_followed_by_one_writable() {
    let port =
        PortFaults { blocked_send_permille: 1000, max_blocked_ns: 100, ..PortFaults::default() };
    let (network, mut one, mut other) = pair(PathFaults::default(), port);
    for _ in 0..2 {
        let error = one.io.send_datagrams(TO_GROUP, b"again", 5, false).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
    assert!(one.wait().is_empty());
    network.set_faults(NetworkFaults::default());
    assert!(network.advance_to_next());
    assert!((ns(1)..=ns(100)).contains(&network.now()));
    assert!(matches!(one.wait()[..], [Completion::DatagramsWritable]));
    assert!(one.wait().is_empty());
    one.send(TO_GROUP, &[b"again"]);
    assert_eq!(other.heard(), [b"again"]);
    assert_eq!(network.counters().sent, 1);
}

#[test]
fn a_full_send_buffer_blocks_until_it_is_half_empty() {
    let port = PortFaults {
        send_bytes_per_s: Some(1_000_000),
        send_buffer_bytes: 10_000,
        ..PortFaults::default()
    };
    let (network, mut one, mut other) = pair(PathFaults::default(), port);
    one.send_numbered(TO_GROUP, 0..10, 1000);
    assert!(one.io.send_datagrams(TO_GROUP, &[0; 100], 100, false).is_err());
    network.advance(Duration::from_millis(4));
    assert!(one.wait().is_empty());
    network.advance(Duration::from_millis(1));
    assert!(matches!(one.wait()[..], [Completion::DatagramsWritable]));
    one.send_numbered(TO_GROUP, 10..15, 1000);
    settle(&network);
    assert_eq!(other.numbers().len(), 15);
}

#[test]
fn a_short_send_takes_whole_datagrams() {
    let port = PortFaults { short_send_permille: 1000, ..PortFaults::default() };
    let (_, mut one, mut other) = pair(PathFaults::default(), port);
    let mut lengths = Vec::new();
    for _ in 0..50 {
        let taken = one.io.send_datagrams(TO_GROUP, &[3; 950], 100, false).unwrap();
        assert!(taken == 950 || taken > 0 && taken.is_multiple_of(100), "{taken}");
        assert_eq!(other.heard().len(), taken.div_ceil(100));
        lengths.push(taken);
    }
    assert!(lengths.iter().any(|&taken| taken < 500));
}

#[test]
fn trains_are_cut_and_joined() {
    let cut = PortFaults { cut_permille: 1000, ..PortFaults::default() };
    let (network, mut one, mut other) = pair(PathFaults::default(), cut);
    one.send_numbered(TO_GROUP, 0..5, 100);
    assert_eq!(other.trains().len(), 5);
    let port = PortFaults { join_permille: 1000, ..PortFaults::default() };
    network.set_faults(NetworkFaults { path: PathFaults::default(), port });
    one.send_numbered(TO_GROUP, 0..3, 100);
    one.send_numbered(TO_GROUP, 3..5, 100);
    one.send(TO_GROUP, &[b"short", b"after the short one"]);
    let trains = other.trains();
    assert_eq!(trains.len(), 2);
    assert_eq!((trains[0].segment, trains[0].chunk.len()), (100, 505));
    assert_eq!(&trains[0].chunk[400..500], numbered(4, 100));
    assert_eq!(&trains[1].chunk[..], b"after the short one");
    one.send_numbered(TO_GROUP, 0..64, 100);
    one.send_numbered(TO_GROUP, 64..65, 100);
    assert_eq!(other.trains().len(), 2, "a train has at most 64");
}
