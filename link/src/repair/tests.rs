use super::recent::MAX_RECENT;
use super::*;

const MS: u64 = 1_000_000;
const REPAIR_NS: u64 = 4 * MS;
const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
/// Is reached by unicast.
const U: PeerId = PeerId(9);

fn ask(repairs: &mut Repairs, now_ns: u64, peer: PeerId, ranges: &[(u64, u32)]) -> u64 {
    let from = Requester { peer, hears_group: peer != U, is_healthy: true };
    repairs.request(now_ns, from, ranges.iter().copied(), 0..100_000, REPAIR_NS, |peer| peer != U)
}

fn all(repairs: &mut Repairs, now_ns: u64) -> Vec<(u64, u32, To)> {
    let next = || repairs.next(now_ns, 64, false);
    std::iter::from_fn(next).map(|repair| (repair.first, repair.count, repair.to)).collect()
}

#[test]
fn who_alone_misses_something_gets_it_alone() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(20, 3), (7, 1)]);
    assert_eq!(all(&mut repairs, 0), [(7, 1, To::Peer(A)), (20, 3, To::Peer(A))]);
    assert!(repairs.is_empty());
    assert_eq!(repairs.counters().unicast, 4);
}

#[test]
fn what_several_miss_goes_to_the_group_once() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(10, 4)]);
    ask(&mut repairs, 0, B, &[(12, 4)]);
    let expected = [(10, 2, To::Peer(A)), (12, 2, To::Group), (14, 2, To::Peer(B))];
    assert_eq!(all(&mut repairs, 0), expected);
    assert_eq!(repairs.counters().multicast, 2);
}

#[test]
fn who_asks_soon_after_another_was_served_is_served_with_the_group() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(10, 1)]);
    all(&mut repairs, 0);
    ask(&mut repairs, REPAIR_NS - 1, B, &[(10, 1)]);
    assert_eq!(all(&mut repairs, REPAIR_NS), [(10, 1, To::Group)]);

    ask(&mut repairs, 0, A, &[(20, 1)]);
    all(&mut repairs, 0);
    ask(&mut repairs, REPAIR_NS, B, &[(20, 1)]);
    assert_eq!(all(&mut repairs, REPAIR_NS), [(20, 1, To::Peer(B))]);
}

#[test]
fn who_does_not_hear_the_group_always_gets_its_own() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(10, 1)]);
    ask(&mut repairs, 0, U, &[(10, 1)]);
    ask(&mut repairs, 0, B, &[(10, 1)]);
    assert_eq!(all(&mut repairs, 0), [(10, 1, To::Group), (10, 1, To::Peer(U))]);
    // And what only such a one was sent is no reason to repair to the group.
    ask(&mut repairs, 0, U, &[(11, 1)]);
    all(&mut repairs, 0);
    ask(&mut repairs, 0, A, &[(11, 1)]);
    assert_eq!(all(&mut repairs, 0), [(11, 1, To::Peer(A))]);
}

#[test]
fn a_duplicate_request_is_dropped_and_counted() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(10, 2)]);
    ask(&mut repairs, 0, A, &[(10, 2)]); // still waits
    assert_eq!(repairs.counters().duplicates, 2);
    assert_eq!(all(&mut repairs, 0), [(10, 2, To::Peer(A))]);
    assert_eq!(ask(&mut repairs, REPAIR_NS / 2 - 1, A, &[(10, 2)]), 0); // on its way
    assert_eq!(repairs.counters().duplicates, 4);
    assert!(repairs.is_empty());
}

#[test]
fn a_repair_to_the_group_answers_everybody_who_hears_it() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(10, 1)]);
    ask(&mut repairs, 0, B, &[(10, 1)]);
    all(&mut repairs, 0);
    for peer in [A, B, PeerId(3)] {
        ask(&mut repairs, REPAIR_NS / 4, peer, &[(10, 1)]);
    }
    assert!(repairs.is_empty());
    assert_eq!(repairs.counters().duplicates, 3);
}

#[test]
fn a_repair_that_was_lost_is_sent_again_and_reported() {
    let mut repairs = Repairs::new();
    assert_eq!(ask(&mut repairs, 0, A, &[(10, 2)]), 0);
    all(&mut repairs, 0);
    assert_eq!(ask(&mut repairs, REPAIR_NS / 2, A, &[(10, 1)]), 1);
    assert_eq!(all(&mut repairs, REPAIR_NS / 2), [(10, 1, To::Peer(A))]);
}

#[test]
fn only_what_was_sent_and_is_still_held_is_repaired() {
    let mut repairs = Repairs::new();
    let from = Requester { peer: A, hears_group: true, is_healthy: true };
    let ranges = [(95, 10), (198, u32::MAX), (u64::MAX, u32::MAX), (0, 0)];
    repairs.request(0, from, ranges, 100..200, REPAIR_NS, |_| true);
    assert_eq!(all(&mut repairs, 0), [(100, 5, To::Peer(A)), (198, 2, To::Peer(A))]);
    assert_eq!(repairs.counters().unknown, 5 + 2 * u64::from(u32::MAX) - 2);

    ask(&mut repairs, 0, A, &[(300, 10)]);
    repairs.forget_below(308);
    assert_eq!(all(&mut repairs, 0), [(308, 2, To::Peer(A))]);
}

#[test]
fn receivers_that_nobody_waits_for_come_last() {
    let mut repairs = Repairs::new();
    let late = Requester { peer: B, hears_group: true, is_healthy: false };
    repairs.request(0, late, [(1, 2), (50, 1)], 0..1000, REPAIR_NS, |_| true);
    ask(&mut repairs, 0, A, &[(40, 1), (50, 1)]);
    let expected = [(40, 1, To::Peer(A)), (50, 1, To::Group), (1, 2, To::Peer(B))];
    assert_eq!(all(&mut repairs, 0), expected);
}

#[test]
fn what_does_not_fit_is_counted_and_forgotten() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(0, MAX_WANTED as u32 + 5)]);
    assert_eq!(repairs.len(), MAX_WANTED);
    assert_eq!(repairs.counters().overflowed, 5);
    all(&mut repairs, 0);
    // Asked for again, it is repaired.
    ask(&mut repairs, 0, A, &[(MAX_WANTED as u64, 5)]);
    assert_eq!(all(&mut repairs, 0), [(MAX_WANTED as u64, 5, To::Peer(A))]);
}

#[test]
fn one_request_costs_no_more_than_what_may_wait() {
    let mut repairs = Repairs::new();
    let ranges = [(0, u32::MAX); 100];
    ask(&mut repairs, 0, A, &ranges);
    let counters = repairs.counters();
    assert_eq!((repairs.len(), counters.duplicates), (MAX_WANTED, 0));
    assert_eq!(counters.overflowed, 100 * 100_000 - MAX_WANTED as u64);
}

#[test]
fn what_was_repaired_long_ago_is_forgotten() {
    let mut repairs = Repairs::new();
    for round in 0..4 {
        ask(&mut repairs, round, A, &[(round * 10_000, 10_000)]);
        all(&mut repairs, round);
    }
    // The first ones are no longer known to be on their way.
    ask(&mut repairs, 4, A, &[(0, 1), (39_999, 1)]);
    assert_eq!(all(&mut repairs, 4), [(0, 1, To::Peer(A))]);
    const { assert!(MAX_RECENT < 20_000) };
}

#[test]
fn repairs_and_new_data_take_turns() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(0, 2000)]);
    let mut fresh = 0_usize;
    let mut repaired = 0_usize;
    for _ in 0..1000 {
        if let Some(repair) = repairs.next(0, 4, true) {
            repaired += repair.count as usize * 1400;
            repairs.repaired(repair.count as usize * 1400);
        } else {
            fresh += 14_000;
            repairs.sent_new(14_000);
        }
        if repairs.is_empty() {
            break;
        }
    }
    assert_eq!(repaired, 2000 * 1400);
    assert!(fresh.abs_diff(repaired) < 64 * 1024, "{fresh} of new data, {repaired} of repairs");
}

#[test]
fn without_new_data_repairs_have_the_whole_rate() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(0, 1000)]);
    let mut count = 0;
    while let Some(repair) = repairs.next(0, 64, false) {
        repairs.repaired(64 * 1400);
        count += repair.count;
    }
    assert_eq!(count, 1000);
    // That is made up for, within bounds, once new data waits again.
    ask(&mut repairs, 0, B, &[(5000, 1)]);
    assert_eq!(repairs.next(0, 64, true), None);
    repairs.sent_new(MAX_CREDIT_BYTES as usize + 1);
    repairs.sent_new(MAX_CREDIT_BYTES as usize);
    assert!(repairs.next(0, 64, true).is_some());
}

#[test]
fn a_repair_that_the_socket_did_not_take_is_wanted_as_before() {
    let mut repairs = Repairs::new();
    ask(&mut repairs, 0, A, &[(10, 3)]);
    let repair = repairs.next(0, 64, false).expect("a repair");
    repairs.unsend(repair);
    assert_eq!(repairs.counters().unicast, 0);
    assert_eq!(all(&mut repairs, 0), [(10, 3, To::Peer(A))]);
    repairs.unsend(repair);
    repairs.forget_peer(A);
    assert!(repairs.is_empty());
}
