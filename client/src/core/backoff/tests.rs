use std::io;
use std::path::Path;

use super::*;

fn other() -> Error {
    Error::Protocol("x".into())
}

#[test]
fn pauses_double_up_to_the_longest_with_jitter_below() {
    let mut backoff = Backoff::new(Reconnect::default(), 7);
    for full in [20, 40, 80, 160, 320, 640, 1280, 2000, 2000] {
        let pause = backoff.next(&other()).unwrap();
        let full = Duration::from_millis(full);
        assert!(pause >= full / 2 && pause <= full, "{pause:?} of {full:?}");
    }
    backoff.reset();
    assert!(backoff.next(&other()).unwrap() <= Duration::from_millis(20));
}

#[test]
fn who_waits_for_a_broker_that_is_absent_is_there_soon_after_it() {
    let absent = Error::connect(Path::new("x"), io::ErrorKind::NotFound.into());
    let mut backoff = Backoff::new(Reconnect::default(), 7);
    let pauses: Vec<_> = (0..100).map(|_| backoff.next(&absent).unwrap()).collect();
    assert!(pauses[0] <= Duration::from_millis(20));
    assert!(pauses.iter().all(|pause| *pause <= LONGEST_WHILE_ABSENT), "{pauses:?}");
    // One that is about to end is as good as absent.
    for ending in [
        Error::ClosedByBroker { code: ErrorCode::Shutdown, text: String::new() },
        Error::Disconnected(DisconnectReason::BrokerShutDown),
    ] {
        assert!(backoff.next(&ending).unwrap() <= LONGEST_WHILE_ABSENT);
    }
    // One that is there and refuses is left alone for longer.
    assert!(backoff.next(&other()).unwrap() >= Duration::from_secs(1));
    let minute = Duration::from_secs(60);
    let policy = Reconnect::Backoff { first: minute, longest: minute, attempts: None };
    assert!(Backoff::new(policy, 7).next(&absent).unwrap() >= minute / 2);
}

#[test]
fn a_first_connection_is_tried_until_its_time_is_over_or_trying_is_vain() {
    let absent = || Error::connect(Path::new("x"), io::ErrorKind::NotFound.into());
    let start = Instant::now();
    let mut tries = FirstTries::new(start, Duration::from_secs(1), 7);
    let mut now = start;
    let mut count = 0;
    while let Ok(pause) = tries.pause(absent(), now) {
        assert!(pause <= Duration::from_millis(250));
        now += pause;
        count += 1;
    }
    assert_eq!(now - start, Duration::from_secs(1), "the last try is at the very end");
    assert!(count >= 6, "{count}");
    let mut tries = FirstTries::new(start, Duration::from_secs(1), 7);
    let refused = Error::connect(Path::new("x"), io::ErrorKind::PermissionDenied.into());
    assert!(tries.pause(refused, start).is_err());
}

#[test]
fn another_run_of_the_broker_begins_the_pauses_anew_and_the_same_does_not() {
    let mut backoff = Backoff::new(Reconnect::default(), 7);
    backoff.welcomed(1);
    for _ in 0..5 {
        backoff.next(&other());
    }
    backoff.welcomed(1);
    assert!(backoff.next(&other()).unwrap() >= Duration::from_millis(320));
    backoff.welcomed(2);
    assert!(backoff.next(&other()).unwrap() <= Duration::from_millis(20));
}

#[test]
fn tries_end_when_told_so() {
    let millisecond = Duration::from_millis(1);
    let policy = Reconnect::Backoff { first: millisecond, longest: millisecond, attempts: Some(2) };
    let mut backoff = Backoff::new(policy, 1);
    assert!(backoff.next(&other()).is_some() && backoff.next(&other()).is_some());
    assert_eq!(backoff.next(&other()), None);
    assert_eq!(Backoff::new(Reconnect::Never, 1).next(&other()), None);
}
