use super::*;
use crate::tests::time::{millis, ns};

mod bottleneck;

const MS: u64 = 1_000_000;
const MB: u64 = 1_000_000;
const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);

/// Sends so much, a thousand bytes at a time.
fn spend(pace: &mut CongestionControl, bytes: usize) {
    (0..bytes / 1000).for_each(|_| pace.spend(1000));
}

fn sample(sent: u64, lost: u64) -> Sample {
    Sample { sent, lost }
}

/// Sends at this rate for an interval and reports so much loss.
fn interval(pace: &mut CongestionControl, now: &mut Instant, bytes_per_s: u64, loss_permille: u64) {
    interval_with_share(pace, now, bytes_per_s, loss_permille, 0);
}

/// Sends at this rate for an interval, and reports so much loss and what the receiver says
/// is a fair share.
fn interval_with_share(
    pace: &mut CongestionControl,
    now: &mut Instant,
    bytes_per_s: u64,
    loss_permille: u64,
    share: u64,
) {
    *now = (*now).max(pace.begun_at);
    if pace.is_settling {
        pace.report(*now, A, Sample::default(), 0);
    }
    *now += INTERVAL_NS;
    spend(pace, (bytes_per_s / (1_000_000_000 / INTERVAL_NS)) as usize);
    pace.report(*now, A, sample(1000, loss_permille), share);
}

#[test]
fn without_loss_and_without_a_cap_nothing_is_limited() {
    let mut pace = CongestionControl::new(ns(0), None);
    let mut now = ns(0);
    for _ in 0..100 {
        interval(&mut pace, &mut now, 1_000_000_000, LOSS_PERMILLE);
    }
    assert_eq!(pace.allow(now, 1), usize::MAX);
    assert_eq!((pace.rate(), pace.next_at(), pace.decreases()), (None, None, 0));
}

#[test]
fn loss_slows_down_below_what_arrived() {
    let mut pace = CongestionControl::new(ns(0), None);
    let mut now = ns(0);
    interval(&mut pace, &mut now, 1_000_000_000, 900);
    assert_eq!(pace.rate(), Some(85_000_000));
    assert_eq!(pace.decreases(), 1);
}

#[test]
fn who_must_slow_down_first_takes_the_share_whatever_it_lost() {
    for loss_permille in [200, 500, 999] {
        let (mut pace, mut now) = (CongestionControl::new(ns(0), None), ns(0));
        interval_with_share(&mut pace, &mut now, 60 * MB, loss_permille, 20 * MB);
        assert_eq!(pace.rate(), Some(17 * MB));
    }
}

#[test]
fn a_share_that_is_known_too_late_is_taken_once() {
    let (mut pace, mut now) = (CongestionControl::new(ns(0), None), ns(0));
    interval(&mut pace, &mut now, 50 * MB, 999);
    assert_eq!(pace.rate(), Some(FLOOR_BYTES_PER_S));
    interval_with_share(&mut pace, &mut now, MB, 0, 20 * MB);
    assert_eq!(pace.rate(), Some(17 * MB));
    // Its own way is narrower: that is not tried again.
    interval_with_share(&mut pace, &mut now, 17 * MB, 800, 20 * MB);
    let slow = pace.rate().unwrap();
    assert!(slow < 9 * MB);
    interval_with_share(&mut pace, &mut now, slow, 0, 20 * MB);
    assert_eq!(pace.rate(), Some(slow + STEP_BYTES_PER_S));
}

#[test]
fn who_has_more_than_a_share_gives_way_at_less_loss_and_without() {
    let (mut pace, mut now) = (CongestionControl::new(ns(0), None), ns(0));
    interval_with_share(&mut pace, &mut now, 60 * MB, GREEDY_LOSS_PERMILLE, 40 * MB);
    assert_eq!(pace.rate(), None);
    interval_with_share(&mut pace, &mut now, 60 * MB, GREEDY_LOSS_PERMILLE + 1, 40 * MB);
    assert_eq!(pace.rate(), Some(34 * MB));
    interval_with_share(&mut pace, &mut now, 34 * MB, 0, 26 * MB);
    assert_eq!(pace.rate(), Some(33 * MB));
    // The others need no more room.
    interval(&mut pace, &mut now, 33 * MB, 0);
    assert_eq!(pace.rate(), Some(33 * MB + STEP_BYTES_PER_S));
}

#[test]
fn a_share_grows_by_what_its_receiver_does_not_want() {
    let (mut pace, mut now) = (CongestionControl::new(ns(0), None), ns(0));
    now += INTERVAL_NS;
    spend(&mut pace, 4 * 1000 * FULL_DATAGRAM_BYTES as usize);
    pace.report(now, A, sample(1000, 500), 20 * MB);
    let rate = pace.rate().unwrap();
    assert!((67 * MB..=68 * MB).contains(&rate), "{rate}");
}

#[test]
fn the_rate_falls_once_per_interval_and_not_for_what_was_sent_before() {
    let mut pace = CongestionControl::new(ns(0), None);
    let mut now = ns(0);
    interval(&mut pace, &mut now, 1_000_000_000, 900);
    let rate = pace.rate();
    pace.report(now + (SETTLE_NS - 1), A, sample(10_000, 9000), 0);
    assert_eq!(pace.rate(), rate);
    // Nor does what is reported across that moment.
    pace.report(now + SETTLE_NS, A, sample(10_000, 9000), 0);
    spend(&mut pace, 85_000_000 / 50);
    pace.report(now + SETTLE_NS + INTERVAL_NS, A, sample(1000, 50), 0);
    assert_eq!(pace.decreases(), 1);
    assert!(pace.rate() > rate);
}

#[test]
fn a_limited_rate_never_falls_by_more_than_half_at_once() {
    let mut pace = CongestionControl::new(ns(0), None);
    let mut now = ns(0);
    interval(&mut pace, &mut now, 1_000_000_000, 900);
    interval(&mut pace, &mut now, 85_000_000, 990);
    assert_eq!(pace.rate(), Some(42_500_000));
}

#[test]
fn the_receiver_that_lost_most_counts() {
    let mut pace = CongestionControl::new(ns(0), None);
    spend(&mut pace, 20_000_000);
    pace.report(ns(INTERVAL_NS - 1), A, sample(1000, 200), 0);
    pace.report(ns(INTERVAL_NS), B, sample(1000, 0), 0);
    assert_eq!(pace.rate(), Some(680_000_000));

    let mut pace = CongestionControl::new(ns(0), None);
    spend(&mut pace, 20_000_000);
    pace.report(ns(INTERVAL_NS - 1), A, sample(1000, 900), 0);
    pace.forget(ns(INTERVAL_NS - 1), A); // demoted
    pace.report(ns(INTERVAL_NS), B, sample(1000, 0), 0);
    assert_eq!(pace.rate(), None);
}

#[test]
fn the_rate_is_what_it_was_once_all_who_lowered_it_are_gone() {
    let mut pace = CongestionControl::new(ns(0), None);
    spend(&mut pace, 20_000_000);
    pace.report(ns(INTERVAL_NS - 1), A, sample(1000, 300), 0);
    pace.report(ns(INTERVAL_NS), B, sample(1000, 900), 0);
    assert!(pace.rate().is_some());
    pace.forget(ns(4 * INTERVAL_NS), B);
    let is_limited = pace.rate().is_some();
    pace.forget(ns(4 * INTERVAL_NS), A);
    assert_eq!((is_limited, pace.rate()), (true, None));
}

#[test]
fn a_few_lost_of_a_few_mean_nothing() {
    let mut pace = CongestionControl::new(ns(0), None);
    pace.report(millis(100), A, sample(99, 99), 0);
    assert_eq!(pace.rate(), None);
    pace.report(millis(110), A, sample(1, 1), 0);
    assert_eq!(pace.rate(), Some(FLOOR_BYTES_PER_S));
}

#[test]
fn the_rate_rises_until_nothing_is_limited_any_more() {
    let mut pace = CongestionControl::new(ns(0), None);
    let mut now = ns(0);
    interval(&mut pace, &mut now, 1_000_000_000, 900);
    let mut last = 0;
    while let Some(rate) = pace.rate() {
        assert!(rate > last);
        last = rate;
        interval(&mut pace, &mut now, rate, 10);
    }
    assert!(last > 350_000_000, "the last limit was {last} B/s");
    assert!(now < millis(10_000), "it took {now:?}");
}

#[test]
fn a_rate_that_is_not_used_does_not_rise() {
    let mut pace = CongestionControl::new(ns(0), None);
    let mut now = ns(0);
    interval(&mut pace, &mut now, 1_000_000_000, 900);
    for _ in 0..50 {
        interval(&mut pace, &mut now, 30_000_000, 0);
    }
    assert_eq!(pace.rate(), Some(85_000_000));
}

#[test]
fn a_pause_before_a_burst_does_not_count_as_a_slow_line() {
    let mut pace = CongestionControl::new(ns(0), None);
    pace.report(millis(10), A, sample(50, 0), 0);
    // Ten seconds of silence, then a burst into a full queue.
    let mut now = millis(10_000);
    pace.spend(1_000_000);
    pace.report(now, A, sample(700, 600), 0);
    assert_eq!(pace.rate(), None);
    interval(&mut pace, &mut now, 1_000_000_000, 900);
    assert_eq!(pace.rate(), Some(85_000_000));
}

#[test]
fn a_limit_that_nobody_needs_is_dropped() {
    let mut pace = CongestionControl::new(ns(0), None);
    let mut now = ns(0);
    interval(&mut pace, &mut now, 1_000_000_000, 900);
    assert!(pace.allow(now + (UNUSED_NS - 1), 1) < usize::MAX);
    assert_eq!(pace.allow(now + UNUSED_NS, 1), usize::MAX);
    assert_eq!(pace.rate(), None);
}

#[test]
fn the_rate_has_a_floor_and_says_when_that_does_not_help() {
    let mut pace = CongestionControl::new(ns(0), None);
    let mut now = ns(0);
    while pace.rate() != Some(FLOOR_BYTES_PER_S) {
        let rate = pace.rate().unwrap_or(100_000_000);
        interval(&mut pace, &mut now, rate, 500);
    }
    let floored_since = now;
    while now < floored_since + FLOORED_NS {
        assert!(!pace.is_floored(now));
        interval(&mut pace, &mut now, FLOOR_BYTES_PER_S, 500);
        assert_eq!(pace.rate(), Some(FLOOR_BYTES_PER_S));
    }
    assert!(pace.is_floored(now));
    interval(&mut pace, &mut now, FLOOR_BYTES_PER_S, 0);
    assert!(!pace.is_floored(now));
}

#[test]
fn a_cap_holds_whatever_the_loss() {
    let mut pace = CongestionControl::new(ns(0), Some(10_000_000));
    assert_eq!(pace.rate(), Some(10_000_000));
    let mut now = ns(0);
    interval(&mut pace, &mut now, 10_000_000, 500);
    assert_eq!(pace.rate(), Some(4_250_000));
    for _ in 0..200 {
        let rate = pace.rate().expect("a cap");
        interval(&mut pace, &mut now, rate, 0);
        assert!(pace.rate() <= Some(10_000_000));
    }
    assert_eq!(pace.rate(), Some(10_000_000));
}

#[test]
fn a_capped_pace_sends_at_its_rate_in_bounded_bursts() {
    for cap in [FLOOR_BYTES_PER_S, 12_500_000, 125_000_000, 1_250_000_000] {
        let mut pace = CongestionControl::new(ns(0), Some(cap));
        let mut now = ns(0);
        let mut sent = 0;
        let mut rounds = 0;
        while now < millis(1000) {
            let bytes = pace.allow(now, usize::MAX);
            assert!(bytes <= 256 * 1024);
            pace.spend(bytes);
            sent += bytes as u64;
            rounds += 1;
            assert_eq!(pace.allow(now, usize::MAX), 0);
            let next_at = pace.next_at().expect("it is limited");
            assert!(next_at > now);
            now = next_at;
        }
        assert!(sent.abs_diff(cap) <= cap / 100 + 64 * 1024, "{sent} of {cap}");
        assert!(rounds < 10_000, "{rounds} wake-ups");
    }
}

#[test]
fn a_small_event_does_not_wait_for_a_large_batch() {
    let mut pace = CongestionControl::new(ns(0), Some(FLOOR_BYTES_PER_S));
    assert_eq!(pace.allow(ns(0), 100), 0);
    assert_eq!(pace.next_at(), Some(ns(100_000)));
    assert_eq!(pace.allow(ns(100_000), 100), 100);
}

#[test]
fn a_batch_that_overdraws_is_paid_for_by_the_next() {
    let mut pace = CongestionControl::new(ns(0), Some(FLOOR_BYTES_PER_S));
    pace.spend(64_000);
    assert_eq!(pace.allow(millis(64), 100), 0);
    assert_eq!(pace.next_at(), Some(millis(64) + 100_000));
}
