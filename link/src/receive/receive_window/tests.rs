use super::*;
use crate::tests::time::{millis, ns};

const STREAM: StreamId = StreamId::new(0, 0);

/// A window of 1000 datagrams.
fn window() -> ReceiveWindow {
    let granted_bytes = 1000 * 2304 * 10 / 8;
    ReceiveWindow::new(&ReceiveWindowConfig {
        granted_bytes,
        datagram_bytes: 1372,
        reorder_datagrams: 4096,
    })
}

impl ReceiveWindow {
    fn grant_now(&mut self, now: Instant, peer: PeerId, stream: StreamId, position: u64) -> u64 {
        let shares = self.shares(&self.senders(now), peer);
        self.grant(&shares, stream, position)
    }
}

#[test]
fn a_datagram_is_charged_what_the_kernel_charges() {
    assert_eq!(truesize_bytes(100), 2304);
    assert_eq!(truesize_bytes(1372), 2304);
    assert_eq!(truesize_bytes(1472), 2304);
    assert_eq!(truesize_bytes(8952), 16_384 + 256);
    assert_eq!(truesize_bytes(usize::MAX), 131_072 + 256);
}

#[test]
fn four_fifths_of_the_granted_buffer_are_given_away() {
    assert_eq!(window().total(), 1000);
    let config = ReceiveWindowConfig {
        granted_bytes: 8 << 20,
        datagram_bytes: 8952,
        reorder_datagrams: 4096,
    };
    assert_eq!(ReceiveWindow::new(&config).total(), (8 << 20) * 8 / 10 / 16_640);
}

#[test]
fn an_only_sender_gets_the_whole_buffer_once_it_is_active() {
    let mut window = window();
    window.open(PeerId(1), STREAM, 0);
    assert_eq!(window.grant_now(ns(0), PeerId(1), STREAM, 0), 500);
    window.received(ns(0), PeerId(1), STREAM, 10);
    assert_eq!(window.grant_now(ns(0), PeerId(1), STREAM, 10), 1010);
}

#[test]
fn active_senders_divide_one_half_and_everybody_the_other() {
    let mut window = window();
    for peer in 0..10 {
        window.open(PeerId(peer), STREAM, 0);
    }
    window.received(ns(0), PeerId(0), STREAM, 0);
    window.received(ns(0), PeerId(1), STREAM, 0);
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, 0), 250 + 50);
    assert_eq!(window.grant_now(ns(0), PeerId(1), STREAM, 0), 250 + 50);
    assert_eq!(window.grant_now(ns(0), PeerId(2), STREAM, 0), 50);
}

#[test]
fn shares_together_do_not_exceed_the_buffer() {
    for (senders, active, streams) in [(1, 0, 1), (7, 3, 1), (5, 5, 4), (20, 1, 2), (3, 2, 5)] {
        let mut window = window();
        for peer in 0..senders {
            for group in 0..streams {
                window.open(PeerId(peer), StreamId::new(group, 0), 0);
            }
        }
        for peer in 0..active {
            for group in 0..streams.div_ceil(2) {
                window.received(ns(0), PeerId(peer), StreamId::new(group, 0), 0);
            }
        }
        let keys = (0..senders).flat_map(|peer| (0..streams).map(move |group| (peer, group)));
        let keys: Vec<_> = keys.collect();
        let grant =
            |(peer, group)| window.grant_now(ns(0), PeerId(peer), StreamId::new(group, 0), 0);
        let sum: u64 = keys.into_iter().map(grant).sum();
        assert!(sum <= 1000, "{senders} senders, {active} active, {streams} streams: {sum}");
    }
}

#[test]
fn a_sender_is_idle_after_a_while_and_its_part_goes_to_the_others() {
    let mut window = window();
    window.open(PeerId(0), STREAM, 0);
    window.open(PeerId(1), STREAM, 0);
    window.received(ns(0), PeerId(0), STREAM, 0);
    window.received(millis(150), PeerId(1), STREAM, 0);
    assert_eq!(window.grant_now(millis(199), PeerId(1), STREAM, 0), 250 + 250);
    assert_eq!(window.grant_now(millis(200), PeerId(1), STREAM, 0), 500 + 250);
}

#[test]
fn a_limit_never_falls_when_more_senders_become_active() {
    let mut window = window();
    window.open(PeerId(0), STREAM, 0);
    window.received(ns(0), PeerId(0), STREAM, 0);
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, 0), 1000);
    window.open(PeerId(1), STREAM, 0);
    window.received(ns(0), PeerId(1), STREAM, 0);
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, 100), 1000);
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, 700), 700 + 500);
}

#[test]
fn streams_of_one_sender_divide_its_share() {
    let mut window = window();
    for group in 0..4 {
        window.open(PeerId(0), StreamId::new(group, 0), 0);
    }
    window.received(ns(0), PeerId(0), StreamId::new(0, 0), 0);
    assert_eq!(window.grant_now(ns(0), PeerId(0), StreamId::new(0, 0), 0), 750 + 62);
    assert_eq!(window.grant_now(ns(0), PeerId(0), StreamId::new(1, 0), 0), 62);
    window.received(ns(0), PeerId(0), StreamId::new(2, 0), 0);
    assert_eq!(window.grant_now(ns(0), PeerId(0), StreamId::new(2, 0), 0), 375 + 62);
}

#[test]
fn everybody_gets_a_little_however_small_the_buffer_is() {
    let config =
        ReceiveWindowConfig { granted_bytes: 4096, datagram_bytes: 1372, reorder_datagrams: 64 };
    let mut window = ReceiveWindow::new(&config);
    for peer in 0..100 {
        window.open(PeerId(peer), STREAM, 7);
        assert_eq!(window.grant_now(ns(0), PeerId(peer), STREAM, 7), 7 + MIN_SHARE);
    }
}

#[test]
fn a_share_never_exceeds_the_room_for_reordering() {
    let config = ReceiveWindowConfig {
        granted_bytes: 64 << 20,
        datagram_bytes: 1372,
        reorder_datagrams: 512,
    };
    let mut window = ReceiveWindow::new(&config);
    window.open(PeerId(0), STREAM, 0);
    window.received(ns(0), PeerId(0), STREAM, 0);
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, 0), 512);
}

#[test]
fn a_status_is_due_after_joining_and_after_each_quarter_window() {
    let mut window = window();
    window.open(PeerId(0), STREAM, 0);
    assert!(window.is_due(PeerId(0), STREAM, 0));
    window.grant_now(ns(0), PeerId(0), STREAM, 0); // 500
    assert!(!window.is_due(PeerId(0), STREAM, 0));
    assert!(!window.received(ns(0), PeerId(0), STREAM, 124));
    assert!(window.received(ns(0), PeerId(0), STREAM, 125));
    window.grant_now(ns(0), PeerId(0), STREAM, 125); // now active: 1000
    assert!(!window.received(ns(0), PeerId(0), STREAM, 374));
    assert!(window.received(ns(0), PeerId(0), STREAM, 375));
}

#[test]
fn a_sender_with_a_small_grant_hears_before_it_is_used_up() {
    let mut window = window();
    for peer in 0..50 {
        window.open(PeerId(peer), STREAM, 0);
    }
    let limit = window.grant_now(ns(0), PeerId(0), STREAM, 0);
    assert_eq!(limit, 10);
    // Active, its share would be 510, of which a quarter is more than it may send.
    assert!(window.received(ns(0), PeerId(0), STREAM, 2));
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, 2), 512);
}

#[test]
fn a_closed_stream_is_granted_nothing() {
    let mut window = window();
    window.open(PeerId(0), STREAM, 0);
    window.open(PeerId(1), STREAM, 0);
    window.close(PeerId(0), STREAM);
    window.close_peer(PeerId(1));
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, 5), 5);
    assert!(!window.received(ns(0), PeerId(1), STREAM, 5));
    window.open(PeerId(2), STREAM, 0);
    assert_eq!(window.grant_now(ns(0), PeerId(2), STREAM, 0), 500);
}

#[test]
fn absurd_positions_do_no_harm() {
    let mut window = window();
    window.open(PeerId(0), STREAM, u64::MAX - 1);
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, u64::MAX), u64::MAX);
    assert_eq!(window.grant_now(ns(0), PeerId(0), STREAM, 0), u64::MAX);
    assert!(!window.received(ns(0), PeerId(0), STREAM, 0));
}
