use super::*;
use crate::tests::time::{millis, ns};

const MS: u64 = 1_000_000;

fn poll(gaps: &mut LossDetector, now: Instant, retransmit_ns: u64) -> Vec<(u64, u32)> {
    let mut out = Vec::new();
    gaps.poll(now, retransmit_ns, &mut out);
    out.iter().map(|range| (range.first, range.count)).collect()
}

#[test]
fn should_not_nak_when_nothing_is_missing() {
    let mut gaps = LossDetector::default();
    assert_eq!(poll(&mut gaps, ns(u64::MAX), 0), []);
    assert_eq!(gaps.next_at(), None);
    gaps.notice(5, 5, ns(0));
    assert!(gaps.is_empty());
}

#[test]
fn should_not_nak_before_the_delay_is_over() {
    let mut gaps = LossDetector::default();
    gaps.notice(3, 5, ns(1000));
    assert_eq!(gaps.next_at(), Some(ns(1000 + FIRST_NAK_NS)));
    assert_eq!(poll(&mut gaps, ns(999 + FIRST_NAK_NS), 0), []);
    assert_eq!(poll(&mut gaps, ns(1000 + FIRST_NAK_NS), 0), [(3, 2)]);
}

#[test]
fn should_not_nak_what_was_only_reordered() {
    let mut gaps = LossDetector::default();
    gaps.notice(3, 5, ns(0));
    gaps.arrived(4, ns(50_000));
    gaps.arrived(3, ns(60_000));
    assert_eq!(poll(&mut gaps, millis(1), 0), []);
    assert_eq!((gaps.missing(), gaps.seen_lost()), (0, 0));
}

#[test]
fn should_nak_all_gaps_at_once() {
    let mut gaps = LossDetector::default();
    for at in 0..5 {
        gaps.notice(at * 10, at * 10 + 2, ns(0));
    }
    let ranges = [(0, 2), (10, 2), (20, 2), (30, 2), (40, 2)];
    assert_eq!(poll(&mut gaps, ns(FIRST_NAK_NS), 0), ranges);
    assert_eq!((gaps.missing(), gaps.seen_lost()), (10, 10));
}

#[test]
fn should_split_a_gap_by_what_arrives_in_its_middle() {
    let mut gaps = LossDetector::default();
    gaps.notice(10, 20, ns(0));
    gaps.arrived(15, ns(1));
    gaps.arrived(10, ns(1));
    gaps.arrived(19, ns(1));
    gaps.arrived(19, ns(1));
    gaps.arrived(25, ns(1));
    assert_eq!(poll(&mut gaps, millis(1), 0), [(11, 4), (16, 3)]);
    assert_eq!(gaps.missing(), 7);
    gaps.forget_below(13);
    assert_eq!(gaps.missing(), 5);
    gaps.forget_below(100);
    assert!(gaps.is_empty());
    assert_eq!((gaps.missing(), gaps.seen_lost()), (0, 7));
}

#[test]
fn should_retry_ever_more_slowly() {
    let mut gaps = LossDetector::default();
    gaps.notice(0, 1, ns(0));
    let mut asked = Vec::new();
    while asked.len() < 7 {
        let now = gaps.next_at().unwrap();
        assert_eq!(poll(&mut gaps, now, 0), [(0, 1)]);
        asked.push(now);
    }
    let waits: Vec<u64> = asked.windows(2).map(|pair| pair[1].since(pair[0]) / MS).collect();
    assert_eq!(waits, [4, 8, 16, 32, 50, 50]);
}

#[test]
fn should_wait_for_twice_the_measured_repair_time() {
    let mut gaps = LossDetector::default();
    gaps.notice(0, 1, ns(0));
    poll(&mut gaps, ns(FIRST_NAK_NS), 10 * MS);
    assert_eq!(gaps.next_at(), Some(millis(20) + FIRST_NAK_NS));
}

#[test]
fn should_measure_the_repair_of_what_was_asked_for_once() {
    let mut gaps = LossDetector::default();
    gaps.notice(0, 2, ns(0));
    poll(&mut gaps, millis(1), 0);
    gaps.arrived(0, millis(3));
    assert_eq!(gaps.take_sample(), Some(2 * MS));
    assert_eq!(gaps.take_sample(), None);
    poll(&mut gaps, millis(10), 0);
    gaps.arrived(1, millis(11));
    assert_eq!(gaps.take_sample(), None, "to which request is it the answer?");
}

#[test]
fn should_ask_for_many_gaps_in_several_requests() {
    let mut gaps = LossDetector::default();
    for at in 0..MAX_NAK_RANGES as u64 + 3 {
        gaps.notice(at * 2, at * 2 + 1, ns(0));
    }
    assert_eq!(poll(&mut gaps, millis(1), 0).len(), MAX_NAK_RANGES);
    assert_eq!(poll(&mut gaps, millis(1), 0).len(), 3);
    assert_eq!(poll(&mut gaps, millis(1), 0), []);
}

#[test]
fn should_measure_repairs_that_take_longer_than_the_first_retry() {
    let mut gaps = LossDetector::default();
    let (mut retransmit_ns, mut requests) = (0, Vec::new());
    for round in 0..10 {
        let noticed_at = round * 1000 * MS;
        let arrives_at = noticed_at + FIRST_NAK_NS + 20 * MS;
        gaps.notice(round, round + 1, ns(noticed_at));
        requests.push(0);
        while let Some(now) = gaps.next_at().filter(|due_at| *due_at < ns(arrives_at)) {
            assert_eq!(poll(&mut gaps, now, retransmit_ns), [(round, 1)]);
            *requests.last_mut().unwrap() += 1;
        }
        // Each request is answered.
        gaps.arrived(round, ns(arrives_at));
        (1..*requests.last().unwrap()).for_each(|_| gaps.came_again(round));
        retransmit_ns = gaps.take_sample().unwrap_or(retransmit_ns);
    }
    assert_eq!(retransmit_ns, 20 * MS);
    assert_eq!(requests[0], 3);
    assert_eq!(requests[5..], [1; 5], "{requests:?}");
}

/// Asks for all that is due until then.
fn ask_until(gaps: &mut LossDetector, end_at: Instant) {
    while let Some(now) = gaps.next_at().filter(|due_at| *due_at < end_at) {
        poll(gaps, now, 0);
    }
}

#[test]
fn should_give_up_what_was_asked_for_in_vain() {
    let mut gaps = LossDetector::default();
    gaps.notice(3, 5, ns(0));
    gaps.notice(9, 10, millis(500));
    let end_at = FIRST_NAK_NS + IN_VAIN_NS;
    ask_until(&mut gaps, ns(end_at));
    assert_eq!(gaps.in_vain(ns(end_at - 1), 0, 10), None);
    let vain = gaps.in_vain(ns(end_at), 0, 10).unwrap();
    assert_eq!((vain.end, vain.numbers), (5, 2), "the younger one has its time");
    assert!(vain.requests >= IN_VAIN_REQUESTS);
    assert_eq!(gaps.in_vain(ns(end_at), 0, 4).unwrap().end, 4, "the other was not sent");
    assert_eq!(gaps.in_vain(ns(end_at), 0, 3), None);
    assert_eq!(gaps.in_vain(ns(end_at), IN_VAIN_NS, 10), None, "a way that is so slow");
    ask_until(&mut gaps, millis(end_at + 500));
    let both = gaps.in_vain(millis(end_at + 500), 0, 10).unwrap();
    assert_eq!((both.end, both.numbers), (10, 3));
}

#[test]
fn should_not_give_up_what_waits_for_its_turn() {
    let mut gaps = LossDetector::default();
    gaps.notice(0, 1000, ns(0));
    // One number after the other is retransmitted, slowly.
    for number in 0..100 {
        let now = (number + 1) * 100 * MS;
        ask_until(&mut gaps, ns(now));
        gaps.arrived(number, ns(now));
        assert_eq!(gaps.in_vain(ns(now), 0, 1000), None);
    }
    // Then no more of these, but one of the last.
    ask_until(&mut gaps, millis(11_900));
    gaps.arrived(900, millis(11_900));
    let vain = gaps.in_vain(millis(12_000), 0, 1000).unwrap();
    assert_eq!((vain.end, vain.numbers), (900, 800));
}

#[test]
fn should_not_give_up_what_nobody_could_send_or_take() {
    let mut gaps = LossDetector::default();
    gaps.notice(0, 2, ns(0));
    ask_until(&mut gaps, ns(IN_VAIN_NS));
    gaps.forgive(ns(IN_VAIN_NS));
    ask_until(&mut gaps, ns(2 * IN_VAIN_NS));
    assert_eq!(gaps.in_vain(ns(2 * IN_VAIN_NS - 1), 0, 2), None);
    assert_eq!(gaps.in_vain(ns(2 * IN_VAIN_NS), 0, 2).unwrap().numbers, 2);
}

#[test]
fn should_not_wait_longer_because_requests_are_lost() {
    let mut gaps = LossDetector::default();
    gaps.notice(0, 1, ns(0));
    poll(&mut gaps, millis(1), 0);
    poll(&mut gaps, millis(5), 0);
    gaps.arrived(0, millis(6));
    gaps.notice(1, 2, millis(10));
    poll(&mut gaps, millis(11), 0);
    assert_eq!(gaps.next_at(), Some(millis(11) + MIN_RETRY_NS));
}
