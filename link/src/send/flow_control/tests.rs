use super::*;
use crate::tests::time::{millis, ns};

const MS: u64 = 1_000_000;
const HISTORY: u64 = 10_000;
const A: PeerId = PeerId(1);
const B: PeerId = PeerId(2);
const C: PeerId = PeerId(3);

fn flow(peers: &[PeerId]) -> FlowControl {
    flow_with_stall(peers, 0)
}

fn flow_with_stall(peers: &[PeerId], stall_ns: u64) -> FlowControl {
    let mut flow = FlowControl::new(HISTORY, stall_ns);
    for &peer in peers {
        flow.join(ns(0), peer, 0, Path::Multicast);
    }
    flow
}

fn report(position: u64, limit: u64, seen_lost: u64) -> Report {
    Report { position, limit, seen_lost, is_held: false }
}

fn held(position: u64, limit: u64) -> Report {
    Report { is_held: true, ..report(position, limit, 0) }
}

/// All events up to `until`, each with its time, as a caller with timers sees
/// them.
fn events(flow: &mut FlowControl, next: u64, until: Instant) -> Vec<(Instant, FlowEvent)> {
    let mut events = Vec::new();
    while let Some(now) = flow.next_deadline().filter(|deadline| *deadline <= until) {
        while let Some(event) = flow.poll(now, next, false) {
            events.push((now, event));
        }
        assert!(events.len() < 100, "it never ends: {events:?}");
    }
    events
}

/// 1000 numbers each 10 ms up to `until`, of which each peer loses this many
/// per mille; everybody keeps up.
fn send(
    flow: &mut FlowControl,
    from: Instant,
    until: Instant,
    losses: &[(PeerId, u64)],
) -> Vec<FlowEvent> {
    let mut happened = Vec::new();
    let mut now = from;
    while now + 10 * MS <= until {
        now += 10 * MS;
        let next = now.as_nanos() / 10_000;
        for &(peer, permille) in losses {
            let seen_lost = flow.receiver(peer).map_or(0, |_| next * permille / 1000);
            flow.on_status(now, peer, next, &report(next, next + 5000, seen_lost));
        }
        happened.extend(std::iter::from_fn(|| flow.poll(now, next, false)));
    }
    happened.retain(|event| *event != FlowEvent::Poll);
    happened
}

#[test]
fn without_receivers_nothing_limits_and_nothing_is_needed() {
    let flow = flow(&[]);
    assert!(!flow.is_wanted());
    assert_eq!((flow.limit(), flow.needed()), (u64::MAX, u64::MAX));
    assert_eq!(flow.next_deadline(), None);
}

#[test]
fn the_slowest_healthy_receiver_paces() {
    let mut flow = flow(&[A, B]);
    assert_eq!((flow.limit(), flow.needed()), (FIRST_WINDOW, 0));
    flow.on_status(millis(1), A, 20, &report(20, 520, 0));
    assert_eq!((flow.limit(), flow.needed()), (FIRST_WINDOW, 0));
    flow.on_status(millis(1), B, 20, &report(10, 110, 0));
    assert_eq!((flow.limit(), flow.needed()), (110, 10));
    flow.remove(millis(1), B);
    assert_eq!((flow.limit(), flow.needed()), (520, 20));
}

#[test]
fn a_status_that_was_overtaken_takes_nothing_back() {
    let mut flow = flow(&[A]);
    flow.on_status(millis(1), A, 100, &report(50, 200, 3));
    flow.on_status(millis(1), A, 100, &report(40, 190, 2));
    assert_eq!((flow.limit(), flow.needed()), (200, 50));
    flow.join(millis(1), A, 0, Path::Multicast);
    assert_eq!((flow.limit(), flow.needed()), (200, 50));
}

#[test]
fn nobody_can_have_received_what_was_not_sent() {
    let mut flow = flow(&[A]);
    flow.on_status(millis(1), A, 7, &report(u64::MAX, u64::MAX, u64::MAX));
    assert_eq!((flow.limit(), flow.needed()), (u64::MAX, 7));
    assert_eq!(flow.on_status(millis(1), B, 7, &report(1, 1, 1)), None);
}

#[test]
fn receivers_are_told_apart_by_how_they_are_reached() {
    let mut flow = flow(&[A]);
    flow.join(ns(0), C, 0, Path::Unicast);
    flow.join(ns(0), B, 0, Path::Unicast);
    assert!(flow.hears_group());
    assert_eq!(flow.unicast_peers().collect::<Vec<_>>(), [B, C]);
    flow.set_path(B, Path::Multicast);
    flow.set_path(A, Path::Unicast);
    assert_eq!(flow.unicast_peers().collect::<Vec<_>>(), [A, C]);
}

#[test]
fn who_blocks_in_silence_is_polled_and_then_demoted_once() {
    let mut flow = flow(&[A, B]);
    flow.on_status(millis(1), B, 32, &report(32, 1000, 0));
    flow.blocked(millis(10), 32);
    let expected = [
        (millis(60), FlowEvent::Poll),
        (millis(110), FlowEvent::Poll),
        (millis(160), FlowEvent::Poll),
        (millis(210), FlowEvent::Demoted(A, Reason::Silent)),
    ];
    assert_eq!(events(&mut flow, 32, millis(400)), expected);
    assert_eq!((flow.limit(), flow.needed(), flow.demotions()), (1000, 32, 1));
    assert!(flow.is_wanted());
}

#[test]
fn who_does_not_block_may_be_silent() {
    let mut flow = flow(&[A]);
    assert_eq!(events(&mut flow, 31, millis(10_000)), []);
    flow.blocked(ns(0), 32);
    flow.unblocked();
    assert_eq!(flow.next_deadline(), None);
}

#[test]
fn who_answers_a_poll_and_moves_is_not_demoted() {
    let mut flow = flow(&[A]);
    flow.blocked(ns(0), 32);
    assert_eq!(events(&mut flow, 32, millis(50)), [(millis(50), FlowEvent::Poll)]);
    flow.on_status(millis(51), A, 32, &report(32, 64, 0));
    assert_eq!(events(&mut flow, 32, millis(10_000)), []);
    assert_eq!(flow.limit(), 64);
}

#[test]
fn who_holds_the_full_history_up_blocks_as_well() {
    let mut flow = flow(&[A, B]);
    flow.on_status(ns(0), A, HISTORY, &report(0, u64::MAX, 0));
    flow.on_status(ns(0), B, HISTORY, &report(HISTORY, u64::MAX, 0));
    flow.blocked(ns(0), HISTORY);
    let events = events(&mut flow, HISTORY, millis(300));
    assert_eq!(events.last(), Some(&(millis(200), FlowEvent::Demoted(A, Reason::Silent))));
    assert_eq!(flow.needed(), HISTORY);
}

#[test]
fn who_answers_but_never_moves_is_demoted() {
    let mut flow = flow(&[A]);
    flow.blocked(ns(0), 32);
    for ms in (40..1000).step_by(40) {
        flow.on_status(millis(ms), A, 32, &report(5, 32, 0));
        assert_eq!(events(&mut flow, 32, ns((ms + 39).min(999) * MS)), [] as [_; 0]);
        if ms == 40 {
            // The first one moved its position.
            assert_eq!(flow.needed(), 5);
        }
    }
    flow.on_status(millis(1000), A, 32, &report(5, 32, 0));
    let stuck = (millis(1040), FlowEvent::Demoted(A, Reason::Stuck));
    assert_eq!(events(&mut flow, 32, millis(1040)), [stuck]);
}

#[test]
fn a_receiver_under_pressure_is_waited_for_until_the_stall_timeout() {
    let stall_ns = 5000 * MS;
    let mut flow = flow_with_stall(&[A], stall_ns);
    flow.blocked(ns(0), 32);
    for ms in (40..6000).step_by(40) {
        flow.on_status(millis(ms), A, 32, &held(0, 32));
        assert_eq!(events(&mut flow, 32, ns((ms + 39).min(5999) * MS)), []);
    }
    let stuck = (millis(6000), FlowEvent::Demoted(A, Reason::Stuck));
    assert_eq!(events(&mut flow, 32, millis(6000)), [stuck]);
}

#[test]
fn a_receiver_under_pressure_must_still_answer() {
    let mut flow = flow_with_stall(&[A], 5000 * MS);
    flow.on_status(ns(0), A, 32, &held(0, 32));
    flow.blocked(ns(0), 32);
    let silent = (millis(200), FlowEvent::Demoted(A, Reason::Silent));
    assert_eq!(events(&mut flow, 32, millis(400)).last(), Some(&silent));
}

#[test]
fn a_receiver_that_is_no_longer_held_up_must_move_soon() {
    let mut flow = flow_with_stall(&[A], 5000 * MS);
    flow.blocked(ns(0), 32);
    for ms in (40..5000).step_by(40) {
        // Held up at first, then it says that it is free but does not move.
        let status = if ms < 3000 { held(0, 32) } else { report(0, 32, 0) };
        flow.on_status(millis(ms), A, 32, &status);
        if let Some((at, event)) = events(&mut flow, 32, millis(ms + 39)).pop() {
            assert_eq!(event, FlowEvent::Demoted(A, Reason::Stuck));
            assert_eq!(at, ns(4000 * MS));
            return;
        }
    }
    panic!("it was waited for");
}

#[test]
fn a_receiver_that_drops_most_is_no_longer_waited_for() {
    let mut flow = flow(&[A, B, C]);
    let events = send(&mut flow, ns(0), millis(200), &[(A, 600), (B, 10), (C, 0)]);
    assert_eq!(events, [FlowEvent::Demoted(A, Reason::Loss(600))]);
    assert_eq!((flow.needed(), flow.demotions()), (20_000, 1));
}

#[test]
fn loss_that_everybody_has_is_nobodys_fault() {
    let mut flow = flow(&[A, B, C]);
    assert_eq!(send(&mut flow, ns(0), millis(1000), &[(A, 600), (B, 500), (C, 400)]), []);
    // Of two that do better the upper one counts.
    let mut flow = self::flow(&[A, B, C]);
    assert_eq!(send(&mut flow, ns(0), millis(1000), &[(A, 600), (B, 350), (C, 0)]), []);
}

#[test]
fn a_moment_of_loss_is_no_reason_to_give_up_on_anybody() {
    let mut flow = flow(&[A, B]);
    assert_eq!(send(&mut flow, ns(0), millis(10), &[(A, 0), (B, 0)]), []);
    // All of the next 30 ms is lost, then nothing more.
    for ms in (20..=300).step_by(10) {
        let next = ms * 100;
        let seen_lost = next.min(4000) - 1000;
        flow.on_status(millis(ms), A, next, &report(next, next + 100, seen_lost));
        flow.on_status(millis(ms), B, next, &report(next, next + 100, 0));
        assert_eq!(flow.poll(millis(ms), next, false), None);
    }
}

#[test]
fn an_only_lossy_receiver_is_given_up_when_slowing_down_does_not_help() {
    let mut flow = flow(&[A]);
    assert_eq!(send(&mut flow, ns(0), millis(200), &[(A, 300)]), []);
    let mut demoted = None;
    for ms in (210..=400).step_by(10) {
        let next = ms * 100;
        flow.on_status(millis(ms), A, next, &report(next, next + 100, next * 3 / 10));
        demoted = demoted.or(flow.poll(millis(ms), next, true));
    }
    assert_eq!(demoted, Some(FlowEvent::Demoted(A, Reason::Loss(300))));
    assert_eq!(flow.limit(), u64::MAX);
}

#[test]
fn requests_for_repair_tell_of_loss_as_well() {
    let mut flow = flow(&[A, B]);
    let mut demoted = None;
    for ms in (10..=200).step_by(10) {
        let next = ms * 100;
        let sample = flow.on_request(millis(ms), A, next, next / 2);
        if demoted.is_none() {
            assert_eq!(sample, Some(Sample { sent: 1000, lost: 500 }));
        }
        flow.on_status(millis(ms), B, next, &report(next, next + 100, 0));
        demoted = demoted.or(flow.poll(millis(ms), next, false));
    }
    assert_eq!(demoted, Some(FlowEvent::Demoted(A, Reason::Loss(500))));
}

#[test]
fn the_pace_hears_of_healthy_receivers_only() {
    let mut flow = flow(&[A, B]);
    let status = report(0, 32, 4);
    assert_eq!(flow.on_status(millis(1), A, 20, &status), Some(Sample { sent: 20, lost: 4 }));
    assert_eq!(flow.on_status(millis(2), A, 30, &status), Some(Sample { sent: 10, lost: 0 }));
    flow.blocked(millis(2), 32);
    flow.on_status(millis(100), B, 32, &report(32, 64, 0));
    events(&mut flow, 32, millis(300));
    assert_eq!(flow.on_status(millis(300), A, 32, &status), None);
}

#[test]
fn a_demoted_receiver_is_waited_for_again_after_a_good_second() {
    let mut flow = flow(&[A, B]);
    send(&mut flow, ns(0), millis(200), &[(A, 600), (B, 0)]);
    assert!(!flow.receiver(A).expect("it is there").is_healthy());
    let lost = flow.receiver(A).map_or(0, |_| 20_000 * 600 / 1000);
    let mut restored_ms = None;
    for ms in (210..=3000).step_by(10) {
        let next = ms * 100;
        // Half a second more of loss, then none.
        let seen_lost = lost + (ms.min(700) - 200) * 10;
        flow.on_status(millis(ms), A, next, &report(next - 10, next + 100, seen_lost));
        flow.on_status(millis(ms), B, next, &report(next, next + 200, 0));
        while let Some(event) = flow.poll(millis(ms), next, false) {
            assert_eq!(event, FlowEvent::Restored(A));
            assert_eq!(restored_ms.replace(ms), None, "it was restored twice");
        }
    }
    let restored_ms = restored_ms.expect("it was restored");
    assert!((1700..=1800).contains(&restored_ms), "after {restored_ms} ms");
    assert_eq!(flow.limit(), 300_000 + 100);
}

#[test]
fn a_demoted_receiver_that_is_far_behind_is_not_waited_for() {
    let mut flow = flow(&[A, B]);
    send(&mut flow, ns(0), millis(200), &[(A, 600), (B, 0)]);
    for ms in (210..=3000).step_by(10) {
        let next = ms * 100;
        let position = next - HISTORY / 2 - 1;
        flow.on_status(millis(ms), A, next, &report(position, next + 100, 12_000));
        flow.on_status(millis(ms), B, next, &report(next, next + 200, 0));
        assert_eq!(flow.poll(millis(ms), next, false), None);
    }
}

#[test]
fn a_demoted_receiver_is_polled_or_it_could_not_recover_on_a_quiet_stream() {
    let mut flow = flow(&[A]);
    flow.blocked(ns(0), 32);
    events(&mut flow, 32, millis(200));
    flow.unblocked();
    let mut happened = Vec::new();
    for _ in 0..4 {
        let deadline = flow.next_deadline().expect("a poll");
        happened
            .extend(flow.poll(deadline, 32, false).map(|event| (deadline.as_nanos() / MS, event)));
        flow.on_status(deadline + MS, A, 32, &report(32, 64, 0));
        let restored = flow.poll(deadline + MS, 32, false);
        happened.extend(restored.map(|event| (deadline.as_nanos() / MS + 1, event)));
        if restored.is_some() {
            break;
        }
    }
    let expected =
        [(700, FlowEvent::Poll), (1201, FlowEvent::Poll), (1202, FlowEvent::Restored(A))];
    assert_eq!(happened, expected);
}

#[test]
fn who_is_restored_while_the_sender_is_blocked_gets_deadlines_of_its_own() {
    let mut flow = flow(&[A, B]);
    flow.on_status(ns(0), B, 32, &report(32, 40, 0));
    flow.blocked(ns(0), 32);
    events(&mut flow, 32, millis(200)); // A is demoted
    flow.blocked(millis(200), 40);
    for ms in (240..1300).step_by(40) {
        // B moves a little each time, never enough; A answers and could go on.
        flow.on_status(millis(ms), B, 40, &report(32 + ms / 200, 40, 0));
        flow.on_status(millis(ms), A, 40, &report(32, 36, 0));
        while flow.poll(millis(ms), 40, false).is_some() {}
    }
    assert!(flow.receiver(A).expect("it is there").is_healthy());
    assert_eq!(flow.limit(), 36);
    flow.on_status(millis(1300), B, 40, &report(40, 100, 0));
    flow.blocked(millis(1300), 40);
    assert!(flow.next_deadline().is_some());
    let events = events(&mut flow, 40, millis(3000));
    assert!(events.iter().any(|(_, event)| *event == FlowEvent::Demoted(A, Reason::Silent)));
    assert_eq!(flow.limit(), 100);
}

#[test]
fn who_is_to_be_asked_is_asked_although_another_is_demoted_in_the_same_moment() {
    let mut flow = flow(&[A, B]);
    flow.blocked(ns(0), FIRST_WINDOW);
    events(&mut flow, FIRST_WINDOW, millis(150));
    flow.on_status(millis(150), A, FIRST_WINDOW, &report(0, FIRST_WINDOW, 0));
    let at = millis(200);
    let happened = events(&mut flow, FIRST_WINDOW, at);
    assert_eq!(
        happened,
        [(at, FlowEvent::Demoted(B, Reason::Silent)), (at, FlowEvent::Poll)],
        "not 50 ms later"
    );
}
