use netcluster_platform::Instant;

use super::recent::MAX_RECENT;
use super::*;
use crate::tests::time::ns;

const MS: u64 = 1_000_000;
const RETRANSMIT_NS: u64 = 4 * MS;
const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
/// Is reached by unicast.
const U: PeerId = PeerId(9);

fn ask(retransmits: &mut Retransmits, now: Instant, peer: PeerId, ranges: &[(u64, u32)]) -> u64 {
    let from = Requester { peer, hears_group: peer != U, is_healthy: true };
    retransmits
        .request(now, from, ranges.iter().copied(), 0..100_000, RETRANSMIT_NS, |peer| peer != U)
}

fn all(retransmits: &mut Retransmits, now: Instant) -> Vec<(u64, u32, To)> {
    let next = || retransmits.next(now, 64, false);
    std::iter::from_fn(next)
        .map(|retransmit| (retransmit.first, retransmit.count, retransmit.to))
        .collect()
}

#[test]
fn who_alone_misses_something_gets_it_alone() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(20, 3), (7, 1)]);
    assert_eq!(all(&mut retransmits, ns(0)), [(7, 1, To::Peer(A)), (20, 3, To::Peer(A))]);
    assert!(retransmits.is_empty());
    assert_eq!(retransmits.counters().unicast, 4);
}

#[test]
fn what_several_miss_goes_to_the_group_once() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(10, 4)]);
    ask(&mut retransmits, ns(0), B, &[(12, 4)]);
    let expected = [(10, 2, To::Peer(A)), (12, 2, To::Group), (14, 2, To::Peer(B))];
    assert_eq!(all(&mut retransmits, ns(0)), expected);
    assert_eq!(retransmits.counters().multicast, 2);
}

#[test]
fn who_asks_soon_after_another_was_served_is_served_with_the_group() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(10, 1)]);
    all(&mut retransmits, ns(0));
    ask(&mut retransmits, ns(RETRANSMIT_NS - 1), B, &[(10, 1)]);
    assert_eq!(all(&mut retransmits, ns(RETRANSMIT_NS)), [(10, 1, To::Group)]);

    ask(&mut retransmits, ns(0), A, &[(20, 1)]);
    all(&mut retransmits, ns(0));
    ask(&mut retransmits, ns(RETRANSMIT_NS), B, &[(20, 1)]);
    assert_eq!(all(&mut retransmits, ns(RETRANSMIT_NS)), [(20, 1, To::Peer(B))]);
}

#[test]
fn who_does_not_hear_the_group_always_gets_its_own() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(10, 1)]);
    ask(&mut retransmits, ns(0), U, &[(10, 1)]);
    ask(&mut retransmits, ns(0), B, &[(10, 1)]);
    assert_eq!(all(&mut retransmits, ns(0)), [(10, 1, To::Group), (10, 1, To::Peer(U))]);
    // And what only such a one was sent is no reason to retransmit to the group.
    ask(&mut retransmits, ns(0), U, &[(11, 1)]);
    all(&mut retransmits, ns(0));
    ask(&mut retransmits, ns(0), A, &[(11, 1)]);
    assert_eq!(all(&mut retransmits, ns(0)), [(11, 1, To::Peer(A))]);
}

#[test]
fn a_duplicate_request_is_dropped_and_counted() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(10, 2)]);
    ask(&mut retransmits, ns(0), A, &[(10, 2)]); // still waits
    assert_eq!(retransmits.counters().duplicates, 2);
    assert_eq!(all(&mut retransmits, ns(0)), [(10, 2, To::Peer(A))]);
    assert_eq!(ask(&mut retransmits, ns(RETRANSMIT_NS / 2 - 1), A, &[(10, 2)]), 0); // on its way
    assert_eq!(retransmits.counters().duplicates, 4);
    assert!(retransmits.is_empty());
}

#[test]
fn a_repair_to_the_group_answers_everybody_who_hears_it() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(10, 1)]);
    ask(&mut retransmits, ns(0), B, &[(10, 1)]);
    all(&mut retransmits, ns(0));
    for peer in [A, B, PeerId(3)] {
        ask(&mut retransmits, ns(RETRANSMIT_NS / 4), peer, &[(10, 1)]);
    }
    assert!(retransmits.is_empty());
    assert_eq!(retransmits.counters().duplicates, 3);
}

#[test]
fn a_repair_that_was_lost_is_sent_again_and_reported() {
    let mut retransmits = Retransmits::new();
    assert_eq!(ask(&mut retransmits, ns(0), A, &[(10, 2)]), 0);
    all(&mut retransmits, ns(0));
    assert_eq!(ask(&mut retransmits, ns(RETRANSMIT_NS / 2), A, &[(10, 1)]), 1);
    assert_eq!(all(&mut retransmits, ns(RETRANSMIT_NS / 2)), [(10, 1, To::Peer(A))]);
}

#[test]
fn only_what_was_sent_and_is_still_held_is_repaired() {
    let mut retransmits = Retransmits::new();
    let from = Requester { peer: A, hears_group: true, is_healthy: true };
    let ranges = [(95, 10), (198, u32::MAX), (u64::MAX, u32::MAX), (0, 0)];
    retransmits.request(ns(0), from, ranges, 100..200, RETRANSMIT_NS, |_| true);
    assert_eq!(all(&mut retransmits, ns(0)), [(100, 5, To::Peer(A)), (198, 2, To::Peer(A))]);
    assert_eq!(retransmits.counters().unknown, 5 + 2 * u64::from(u32::MAX) - 2);

    ask(&mut retransmits, ns(0), A, &[(300, 10)]);
    retransmits.forget_below(308);
    assert_eq!(all(&mut retransmits, ns(0)), [(308, 2, To::Peer(A))]);
}

#[test]
fn receivers_that_nobody_waits_for_come_last() {
    let mut retransmits = Retransmits::new();
    let late = Requester { peer: B, hears_group: true, is_healthy: false };
    retransmits.request(ns(0), late, [(1, 2), (50, 1)], 0..1000, RETRANSMIT_NS, |_| true);
    ask(&mut retransmits, ns(0), A, &[(40, 1), (50, 1)]);
    let expected = [(40, 1, To::Peer(A)), (50, 1, To::Group), (1, 2, To::Peer(B))];
    assert_eq!(all(&mut retransmits, ns(0)), expected);
}

#[test]
fn what_does_not_fit_is_counted_and_forgotten() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(0, MAX_WANTED as u32 + 5)]);
    assert_eq!(retransmits.len(), MAX_WANTED);
    assert_eq!(retransmits.counters().overflowed, 5);
    all(&mut retransmits, ns(0));
    // Asked for again, it is retransmitted.
    ask(&mut retransmits, ns(0), A, &[(MAX_WANTED as u64, 5)]);
    assert_eq!(all(&mut retransmits, ns(0)), [(MAX_WANTED as u64, 5, To::Peer(A))]);
}

#[test]
fn one_request_costs_no_more_than_what_may_wait() {
    let mut retransmits = Retransmits::new();
    let ranges = [(0, u32::MAX); 100];
    ask(&mut retransmits, ns(0), A, &ranges);
    let counters = retransmits.counters();
    assert_eq!((retransmits.len(), counters.duplicates), (MAX_WANTED, 0));
    assert_eq!(counters.overflowed, 100 * 100_000 - MAX_WANTED as u64);
}

#[test]
fn what_was_repaired_long_ago_is_forgotten() {
    let mut retransmits = Retransmits::new();
    for round in 0..4 {
        ask(&mut retransmits, ns(round), A, &[(round * 10_000, 10_000)]);
        all(&mut retransmits, ns(round));
    }
    // The first ones are no longer known to be on their way.
    ask(&mut retransmits, ns(4), A, &[(0, 1), (39_999, 1)]);
    assert_eq!(all(&mut retransmits, ns(4)), [(0, 1, To::Peer(A))]);
    const { assert!(MAX_RECENT < 20_000) };
}

#[test]
fn repairs_and_new_data_take_turns() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(0, 2000)]);
    let mut fresh = 0_usize;
    let mut repaired = 0_usize;
    for _ in 0..1000 {
        if let Some(retransmit) = retransmits.next(ns(0), 4, true) {
            repaired += retransmit.count as usize * 1400;
            retransmits.repaired(retransmit.count as usize * 1400);
        } else {
            fresh += 14_000;
            retransmits.sent_new(14_000);
        }
        if retransmits.is_empty() {
            break;
        }
    }
    assert_eq!(repaired, 2000 * 1400);
    assert!(fresh.abs_diff(repaired) < 64 * 1024, "{fresh} of new data, {repaired} of retransmits");
}

#[test]
fn without_new_data_repairs_have_the_whole_rate() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(0, 1000)]);
    let mut count = 0;
    while let Some(retransmit) = retransmits.next(ns(0), 64, false) {
        retransmits.repaired(64 * 1400);
        count += retransmit.count;
    }
    assert_eq!(count, 1000);
    // That is made up for, within bounds, once new data waits again.
    ask(&mut retransmits, ns(0), B, &[(5000, 1)]);
    assert_eq!(retransmits.next(ns(0), 64, true), None);
    retransmits.sent_new(MAX_CREDIT_BYTES as usize + 1);
    retransmits.sent_new(MAX_CREDIT_BYTES as usize);
    assert!(retransmits.next(ns(0), 64, true).is_some());
}

#[test]
fn a_repair_that_the_socket_did_not_take_is_wanted_as_before() {
    let mut retransmits = Retransmits::new();
    ask(&mut retransmits, ns(0), A, &[(10, 3)]);
    let retransmit = retransmits.next(ns(0), 64, false).expect("a retransmit");
    retransmits.unsend(retransmit);
    assert_eq!(retransmits.counters().unicast, 0);
    assert_eq!(all(&mut retransmits, ns(0)), [(10, 3, To::Peer(A))]);
    retransmits.unsend(retransmit);
    retransmits.forget_peer(A);
    assert!(retransmits.is_empty());
}
